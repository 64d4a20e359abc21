"""Texts of real boards, as their owners and documentation show them, and file trees made of them."""

# ruff: noqa: E501 - captured lines are as long as they are

from __future__ import annotations

from pathlib import Path

ORIN_NANO_RELEASE = """\
# R36 (release), REVISION: 4.7, GCID: 42132812, BOARD: generic, EABI: aarch64, DATE: Thu Sep 18 22:54:44 UTC 2025
# KERNEL_VARIANT: oot
TARGET_USERSPACE_LIB_DIR=nvidia
TARGET_USERSPACE_LIB_DIR_PATH=usr/lib/aarch64-linux-gnu/nvidia
"""
JP61_RELEASE = (
    "# R36 (release), REVISION: 4.0, GCID: 37537400, BOARD: generic, EABI: aarch64, "
    "DATE: Fri Sep 13 04:36:44 UTC 2024\n# KERNEL_VARIANT: oot\n"
)
JP60_RELEASE = (
    "# R36 (release), REVISION: 3.0, GCID: 36923193, BOARD: generic, EABI: aarch64, "
    "DATE: Fri Jul 19 23:24:25 UTC 2024\n"
)
THOR_RELEASE = (
    "# R38 (release), REVISION: 2.2, GCID: 42205042, BOARD: generic, EABI: aarch64, "
    "DATE: Thu Sep 25 22:47:11 UTC 2025\n# KERNEL_VARIANT: oot\nTARGET_USERSPACE_LIB_DIR=nvidia\nINSTALL_TYPE=\n"
)
THOR_71_RELEASE = "# R38 (release), REVISION: 4.0, GCID: 43443517, BOARD: generic, EABI: aarch64\n"
ORIN_72_RELEASE = (
    "# R39 (release), REVISION: 2.0, GCID: 45755727, BOARD: generic, EABI: aarch64, "
    "DATE: Mon Jun  1 09:28:48 PM UTC 2026\n# KERNEL_VARIANT: oot\n"
)
JP5_RELEASE = "# R35 (release), REVISION: 4.1, GCID: 33958178, BOARD: t186ref, EABI: aarch64\n"

NVPMODEL_VERBOSE = """\
NVPM VERB: Config file: /etc/nvpmodel.conf
NVPM VERB: parsing done for /etc/nvpmodel.conf
NV Power Mode: MAXN_SUPER
2
"""
NVPMODEL_15W = "NV Power Mode: 15W\n0\n"
NVPMODEL_NAME_ONLY = "NV Power Mode: MAXN\n"

ORIN_NANO_LINE = (
    "04-27-2026 15:00:54 RAM 779/7620MB (lfb 2x4MB) SWAP 0/3810MB (cached 0MB) CPU "
    "[0%@1344,0%@1344,0%@1344,0%@1344,0%@1344,0%@1344] GR3D_FREQ 0% cpu@50.125C soc2@49.125C soc0@49.25C "
    "gpu@50.562C tj@50.562C soc1@50.437C VDD_IN 6626mW/6625mW VDD_CPU_GPU_CV 1228mW/1230mW VDD_SOC 2380mW/2380mW "
)
AGX_ORIN_LINE = (
    "04-11-2025 10:36:27 RAM 4321/62801MB (lfb 1759x4MB) SWAP 19/31400MB (cached 0MB) CPU "
    "[0%@729,0%@729,0%@729,0%@729,0%@729,0%@729,0%@729,0%@729,0%@729,0%@729,0%@729,0%@729] EMC_FREQ 0%@2133 "
    "GR3D_FREQ 0%@[0,0] VIC_FREQ 729 APE 174 CV0@-256C CPU@44.562C Tboard@32C SOC2@40.093C Tdiode@33C "
    "SOC0@41.093C CV1@-256C GPU@-256C tj@44.343C SOC1@41.25C CV2@-256C VDD_GPU_SOC 2340mW/2340mW "
    "VDD_CPU_CV 390mW/390mW VIN_SYS_5V0 4025mW/4025mW NC 0mW/0mW VDDQ_VDD2_1V8AO 301mW/301mW NC 0mW/0mW"
)
BUSY_ORIN_LINE = (
    "05-09-2026 18:42:06 RAM 18207/62841MB (lfb 466x4MB) SWAP 86/31420MB (cached 0MB) CPU "
    "[14%@2188,5%@2112,8%@2035,14%@2201,46%@1267,47%@1267,2%@1267,10%@1267,4%@1036,5%@1036,6%@1036,10%@1036] "
    "EMC_FREQ 3%@2133 GR3D_FREQ 37%@[918,918] NVENC 79%@166 NVDEC off NVJPG off NVJPG1 off VIC 36%@115 OFA off "
    "NVDLA0 off NVDLA1 off PVA0_FREQ off APE 174 cpu@52.562C soc2@48.437C soc0@49.093C tj@52.562C soc1@49.656C "
    "VDD_GPU_SOC 2412mW/2412mW VDD_CPU_CV 1607mW/1607mW VIN_SYS_5V0 4707mW/4707mW"
)
THOR_LINE = (
    "05-17-2026 10:00:32 RAM 4208/125773MB (lfb 31x4MB) SWAP 0/2048MB (cached 0MB) CPU "
    "[1%@972,0%@972,0%@972,0%@972,1%@972,0%@972,1%@972,1%@972,0%@972,0%@972,3%@972,0%@972,0%@972,1%@972] "
    "EMC_FREQ 0%@665 GR3D_FREQ @[0,0,0] NVENC0_FREQ @0 NVENC1_FREQ @0 NVDEC0_FREQ @0 NVDEC1_FREQ @0 "
    "NVJPG0_FREQ @0 VIC off OFA_FREQ @0 PVA0_FREQ off APE 300 "
    "cpu@34.468C tj@34.5C soc012@33.781C soc345@34.5C VDD_GPU 0mW/0mW VDD_CPU_SOC_MSS 4165mW/4165mW "
    "VIN_SYS_5V0 4126mW/4126mW"
)
XAVIER_NX_LINE = (
    "RAM 1673/7765MB (lfb 118x4MB) SWAP 0/3883MB (cached 0MB) CPU [12%@1190,8%@1190,4%@1190,off,off,off] "
    "EMC_FREQ 7% GR3D_FREQ 33% AO@35C GPU@33C PMIC@100C AUX@33.5C CPU@35C thermal@33.9C VDD_IN 3902/3611 "
    "VDD_CPU_GPU_CV 1331/1180 VDD_SOC 997/941"
)

Rail = tuple[str, int, int]
ORIN_NANO_RAILS: list[tuple[str, list[Rail]]] = [
    ("1-0040/hwmon/hwmon1", [("VDD_IN", 4976, 1000), ("VDD_CPU_GPU_CV", 4976, 120), ("VDD_SOC", 4976, 304)])
]
AGX_ORIN_RAILS: list[tuple[str, list[Rail]]] = [
    (
        "1-0040/hwmon/hwmon3",
        [("VDD_GPU_SOC", 18792, 140), ("VDD_CPU_CV", 18784, 20), ("VIN_SYS_5V0", 4968, 980)],
    ),
    ("1-0041/hwmon/hwmon4", [("NC", 0, 0), ("VDDQ_VDD2_1V8AO", 4968, 60), ("NC", 0, 0)]),
]
THOR_RAILS: list[tuple[str, list[Rail]]] = [
    (
        "2-0040/hwmon/hwmon4",
        [("VDD_GPU", 12040, 640), ("VDD_CPU_SOC_MSS", 12040, 960), ("VIN_SYS_5V0", 5088, 1740)],
    )
]


def write(root: Path, path: str, text: str) -> None:
    """A file of a fake root."""
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)


def write_rails(root: Path, chips: list[tuple[str, list[Rail]]]) -> None:
    """INA3221 chips in sysfs, with the sum of shunt voltages that is no rail."""
    for chip, rails in chips:
        base = f"sys/bus/i2c/drivers/ina3221/{chip}"
        for index, (name, millivolts, milliamperes) in enumerate(rails, start=1):
            write(root, f"{base}/in{index}_label", f"{name}\n")
            write(root, f"{base}/in{index}_input", f"{millivolts}\n")
            write(root, f"{base}/curr{index}_input", f"{milliamperes}\n")
        write(root, f"{base}/in7_label", "sum of shunt voltages\n")
        write(root, f"{base}/in7_input", "760\n")
        write(root, f"{base}/curr7_input", "360\n")


def orin_nano(root: Path) -> Path:
    """A Jetson Orin Nano developer kit with JetPack 6.2.1."""
    write(root, "etc/nv_tegra_release", ORIN_NANO_RELEASE)
    model = "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0"
    write(root, "proc/device-tree/model", model)
    write(root, "etc/os-release", 'PRETTY_NAME="Ubuntu 22.04.5 LTS"\nNAME="Ubuntu"\n')
    write(root, "proc/meminfo", "MemTotal:        7802944 kB\nMemFree: 1 kB\n")
    write(root, "usr/local/cuda-12.6/version.json", '{"cuda": {"name": "CUDA SDK", "version": "12.6.11"}}')
    header = "#define NV_TENSORRT_MAJOR 10\n#define NV_TENSORRT_MINOR 3\n#define NV_TENSORRT_PATCH 0\n"
    write(root, "usr/include/aarch64-linux-gnu/NvInferVersion.h", header)
    write(root, "var/lib/nvpmodel/status", "pmode:0002")
    write(root, "etc/nvpmodel.conf", "< POWER_MODEL ID=0 NAME=15W >\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n")
    write_rails(root, ORIN_NANO_RAILS)
    for index, (zone, value) in enumerate(
        (("cpu-thermal", "51187"), ("gpu-thermal", "50218"), ("cv0-thermal", "-256000"))
    ):
        write(root, f"sys/class/thermal/thermal_zone{index}/type", f"{zone}\n")
        write(root, f"sys/class/thermal/thermal_zone{index}/temp", f"{value}\n")
    write(root, "sys/class/thermal/thermal_zone9/type", "cv1-thermal\n")  # temp cannot be read: it sleeps
    write(root, "sys/class/devfreq/17000000.gpu/cur_freq", "1020000000\n")
    write(root, "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "1728000\n")
    return root
