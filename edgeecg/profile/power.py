"""What tells power or energy: INA3221 rails or tegrastats on a Jetson, RAPL and NVML elsewhere.

What is not there or may not be read is told with the way to mend it, never guessed.
"""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from edgeecg.profile.machine import read_text
from edgeecg.profile.sensors import Conditions, conditions, tegrastats_rails

__all__ = [
    "Ina3221",
    "Nvml",
    "PowerReader",
    "Rapl",
    "TegraStatsPower",
    "all_conditions",
    "find_readers",
]


class PowerReader(Protocol):
    """Something that tells power."""

    @property
    def name(self) -> str:
        """What it is called in reports."""
        ...

    @property
    def counts(self) -> bool:
        """Whether it tells energy so far, not power now."""
        ...

    def read(self) -> dict[str, float]:
        """Watts by rail, or joules since whenever where it ``counts``."""
        ...

    def close(self) -> None:
        """Stop what it runs."""
        ...


@dataclass(frozen=True)
class Ina3221:
    """Power monitors of a Jetson in sysfs: millivolts and milliamperes by labelled channel.

    ``VIN`` of a Thor comes from another chip, which tells microwatts itself.
    """

    channels: Mapping[str, tuple[Path, ...]]
    name: str = "INA3221"
    counts: bool = False

    @classmethod
    def find(cls, root: Path = Path("/")) -> Ina3221 | None:
        """The channels under a root; ``None`` where there are none."""
        channels: dict[str, tuple[Path, ...]] = {}
        for label in sorted(root.glob("sys/bus/i2c/drivers/ina3221*/*/hwmon/hwmon*/in*_label")):
            name, number = read_text(label), label.name[2 : -len("_label")]
            current = label.with_name(f"curr{number}_input")
            if name in ("", "NC") or "shunt" in name or not current.exists():
                continue  # not connected, or the sum of shunt voltages, which is no rail
            channels[name] = (label.with_name(f"in{number}_input"), current)
        for power in sorted(root.glob("sys/class/hwmon/hwmon*/power1_input")):
            if read_text(power.with_name("name")) == "ina238":
                channels["VIN"] = (power,)
        return cls(channels) if channels else None

    def read(self) -> dict[str, float]:
        """Watts by rail; a rail that cannot be read now is left out."""
        watts = {}
        for name, paths in self.channels.items():
            values = [read_text(path) for path in paths]
            if all(value.lstrip("-").isdigit() for value in values):
                product = float(values[0]) * (float(values[1]) if len(values) == 2 else 1.0)
                watts[name] = product / 1e6
        return watts

    def close(self) -> None:
        """Nothing to stop."""


class Rapl:
    """Energy counters of Intel and AMD processors; they wrap, which is seen to."""

    name = "RAPL"
    counts = True

    def __init__(self, packages: Mapping[str, Path]) -> None:
        self._packages = packages
        self._last: dict[str, int] = {}
        self._sum = dict.fromkeys(packages, 0)

    @classmethod
    def find(cls, root: Path = Path("/")) -> Rapl | None:
        """The packages under a root, whether they may be read or not.

        Not what lies within them (``core``), nor ``psys`` of laptops, the platform that holds them.
        """
        zones = sorted(root.glob("sys/class/powercap/intel-rapl:*"))
        named = {read_text(zone / "name"): zone for zone in zones}
        packages = {name: zone for name, zone in named.items() if name.startswith("package")}
        return cls(packages) if packages else None

    def readable(self) -> bool:
        """Whether this user may read them; since 2020 only root may."""
        return all(read_text(zone / "energy_uj").isdigit() for zone in self._packages.values())

    def read(self) -> dict[str, float]:
        """Joules by package since the first read."""
        for name, zone in self._packages.items():
            now = int(read_text(zone / "energy_uj"))
            before = self._last.get(name, now)
            wrap = int(read_text(zone / "max_energy_range_uj") or 0) if now < before else 0
            self._sum[name] += now - before + wrap
            self._last[name] = now
        return {name: value / 1e6 for name, value in self._sum.items()}

    def close(self) -> None:
        """Nothing to stop."""


class Nvml:
    """Power of discrete NVIDIA GPUs (a Jetson's GPU has none to tell)."""

    name = "NVML"
    counts = False

    def __init__(self, library: Any) -> None:
        self._library = library
        count = library.nvmlDeviceGetCount()
        self._gpus = [library.nvmlDeviceGetHandleByIndex(index) for index in range(count)]

    @classmethod
    def find(cls) -> Nvml | None:
        """The GPUs; ``None`` where nvidia-ml-py, the driver or a readable GPU is missing."""
        try:
            pynvml: Any = import_module("pynvml")
        except ImportError:
            return None
        try:
            pynvml.nvmlInit()
            reader = cls(pynvml)
            reader.read()
        except pynvml.NVMLError:
            return None
        return reader

    def read(self) -> dict[str, float]:
        """Watts by GPU."""
        power = self._library.nvmlDeviceGetPowerUsage
        return {f"GPU{index}": power(gpu) / 1e3 for index, gpu in enumerate(self._gpus)}

    def conditions(self) -> Conditions:
        """Clocks of the multiprocessors and temperatures now."""
        library, gpus = self._library, dict(enumerate(self._gpus))
        clock, heat = library.nvmlDeviceGetClockInfo, library.nvmlDeviceGetTemperature
        return Conditions(
            {f"GPU{n}": float(clock(gpu, library.NVML_CLOCK_SM)) for n, gpu in gpus.items()},
            {f"GPU{n}": float(heat(gpu, library.NVML_TEMPERATURE_GPU)) for n, gpu in gpus.items()},
            "",
        )

    def close(self) -> None:
        """Let go of the library."""
        self._library.nvmlShutdown()


class TegraStatsPower:
    """Rails as ``tegrastats`` prints them, for where the sysfs files are closed to this user."""

    name = "tegrastats"
    counts = False

    def __init__(self, command: tuple[str, ...] = ("tegrastats", "--interval", "100")) -> None:
        self._rails: dict[str, float] = {}
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._thread = threading.Thread(target=self._follow, name="tegrastats", daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        for line in self._process.stdout or ():
            rails = tegrastats_rails(line)
            if rails is not None:
                self._rails = {name: milliwatts / 1e3 for name, milliwatts in rails.items()}

    def read(self) -> dict[str, float]:
        """Watts by rail of the last line; nothing before the first."""
        return self._rails

    def close(self) -> None:
        """End the program."""
        self._process.terminate()
        self._process.wait()
        self._thread.join()
        if self._process.stdout is not None:
            self._process.stdout.close()


def find_readers(
    root: Path = Path("/"), which: Callable[[str], str | None] = shutil.which
) -> tuple[list[PowerReader], list[str]]:
    """All readers that work here, and why others do not; ``which`` finds programs."""
    readers: list[PowerReader] = []
    reasons: list[str] = []
    rails = Ina3221.find(root)
    if rails is not None and rails.read():
        readers.append(rails)
    else:
        if rails is not None:
            reasons.append("INA3221: the rails may not be read by this user (sudo chmod a+r its hwmon files)")
        if which("tegrastats"):
            readers.append(TegraStatsPower())
    packages = Rapl.find(root)
    if packages is not None:
        if packages.readable():
            readers.append(packages)
        else:
            reasons.append("RAPL: only root may read it (sudo chmod a+r /sys/class/powercap/*/energy_uj)")
    graphics = Nvml.find()
    if graphics is not None:
        readers.append(graphics)
    if not readers and not reasons:
        reasons.append("no power sensor: neither INA3221, tegrastats, RAPL nor NVML is there")
    return readers, reasons


def all_conditions() -> Conditions:
    """Clocks, temperatures and power mode now: what the kernel tells, and NVML of discrete GPUs."""
    found, graphics = conditions(), Nvml.find()
    if graphics is None:
        return found
    try:
        more = graphics.conditions()
    finally:
        graphics.close()
    clocks, temperatures = {**found.clocks, **more.clocks}, {**found.temperatures, **more.temperatures}
    return Conditions(clocks, temperatures, found.power_mode)
