"""tegrastats lines and sysfs trees of real boards."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest

from edgeecg.profile.sensors import conditions, memory_used, tegrastats_rails
from tests.profile import boards


def test_a_thor_computes_at_the_clock_of_its_gpc(tmp_path: Path) -> None:
    """Its codecs have a devfreq of their own beside it."""
    boards.write(tmp_path, "sys/class/devfreq/gpu-gpc-0/cur_freq", "1575000000\n")
    boards.write(tmp_path, "sys/class/devfreq/gpu-nvd-0/cur_freq", "1692000000\n")
    assert conditions(tmp_path, lambda command: None).clocks == {"gpu": 1575.0}


@pytest.mark.parametrize(
    ("line", "rails"),
    [
        (boards.ORIN_NANO_LINE, {"VDD_IN": 6626, "VDD_CPU_GPU_CV": 1228, "VDD_SOC": 2380}),
        (
            boards.AGX_ORIN_LINE,
            {"VDD_GPU_SOC": 2340, "VDD_CPU_CV": 390, "VIN_SYS_5V0": 4025, "VDDQ_VDD2_1V8AO": 301},
        ),
        (boards.BUSY_ORIN_LINE, {"VDD_GPU_SOC": 2412, "VDD_CPU_CV": 1607, "VIN_SYS_5V0": 4707}),
        (boards.XAVIER_NX_LINE, {"VDD_IN": 3902, "VDD_CPU_GPU_CV": 1331, "VDD_SOC": 997}),
        (boards.THOR_LINE, {"VDD_GPU": 0, "VDD_CPU_SOC_MSS": 4165, "VIN_SYS_5V0": 4126}),
        # a Thor's GPU rail reads less than nothing when idle
        ("RAM 1/2MB VDD_GPU -392mW/-392mW VIN 23000mW/23000mW", {"VDD_GPU": -392, "VIN": 23000}),
    ],
)
def test_rails_of_real_boards(line: str, rails: dict[str, int]) -> None:
    assert tegrastats_rails(line) == rails


@pytest.mark.parametrize("line", ["", "tegrastats: not found", "CPU [0%@729]"])
def test_other_lines_are_none(line: str) -> None:
    assert tegrastats_rails(line) is None


def test_conditions_of_an_orin_nano(tmp_path: Path) -> None:
    now = conditions(boards.orin_nano(tmp_path), lambda command: None)
    assert now.temperatures == {"cpu": 51.187, "gpu": 50.218}, "a zone that sleeps is left out"
    assert now.clocks == {"cpu0": 1728.0, "gpu": 1020.0}
    assert now.power_mode == "MAXN_SUPER (mode 2)"


def test_elsewhere_the_governor_is_the_power_mode(tmp_path: Path) -> None:
    boards.write(tmp_path, "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n")
    assert conditions(tmp_path, lambda command: None).power_mode == "performance"


def test_memory_grows_with_what_is_held() -> None:
    before, _ = memory_used()
    with mmap.mmap(-1, 64 << 20) as held:  # an array might take memory that was freed and is still held
        held.write(b"1" * len(held))
        after, peak = memory_used()
    assert after - before > 32 << 20
    assert peak >= after
