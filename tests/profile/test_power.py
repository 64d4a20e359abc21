"""Power readers on file trees of real boards, and energy by arithmetic."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from edgeecg.profile.energy import EnergyMeter, integrate, total
from edgeecg.profile.power import Ina3221, Nvml, Rapl, TegraStatsPower, all_conditions, find_readers
from tests.profile import boards


def none(program: str) -> None:
    return None


def test_rails_of_an_orin_nano(tmp_path: Path) -> None:
    boards.write_rails(tmp_path, boards.ORIN_NANO_RAILS)
    reader = Ina3221.find(tmp_path)
    assert reader is not None
    watts = reader.read()
    assert watts == pytest.approx({"VDD_IN": 4.976, "VDD_CPU_GPU_CV": 0.59712, "VDD_SOC": 1.512704})
    assert total(watts) == pytest.approx(4.976), "VDD_IN carries the whole board"


def test_rails_of_an_agx_orin(tmp_path: Path) -> None:
    boards.write_rails(tmp_path, boards.AGX_ORIN_RAILS)
    reader = Ina3221.find(tmp_path)
    assert reader is not None
    watts = reader.read()
    assert sorted(watts) == ["VDDQ_VDD2_1V8AO", "VDD_CPU_CV", "VDD_GPU_SOC", "VIN_SYS_5V0"]
    memory = watts["VDDQ_VDD2_1V8AO"]  # is part of VIN_SYS_5V0
    assert total(watts) == pytest.approx(sum(watts.values()) - memory), "no rail carries it all: they add up"


def test_rails_of_a_thor(tmp_path: Path) -> None:
    boards.write_rails(tmp_path, boards.THOR_RAILS)
    boards.write(tmp_path, "sys/class/hwmon/hwmon5/name", "ina238\n")
    boards.write(tmp_path, "sys/class/hwmon/hwmon5/power1_input", "23125000\n")
    boards.write(tmp_path, "sys/class/hwmon/hwmon6/name", "amdgpu\n")
    boards.write(tmp_path, "sys/class/hwmon/hwmon6/power1_input", "99000000\n")
    reader = Ina3221.find(tmp_path)
    assert reader is not None
    watts = reader.read()
    assert watts["VDD_GPU"] == pytest.approx(7.7056)
    assert total(watts) == pytest.approx(23.125)


def test_a_rail_that_cannot_be_read_now_is_left_out(tmp_path: Path) -> None:
    boards.write_rails(tmp_path, boards.ORIN_NANO_RAILS)
    reader = Ina3221.find(tmp_path)
    assert reader is not None
    next(tmp_path.rglob("curr2_input")).write_text("")
    assert sorted(reader.read()) == ["VDD_IN", "VDD_SOC"]


def rapl(root: Path, microjoules: int) -> None:
    for zone, name in (("intel-rapl:0", "package-0"), ("intel-rapl:0:0", "core")):
        boards.write(root, f"sys/class/powercap/{zone}/name", f"{name}\n")
        boards.write(root, f"sys/class/powercap/{zone}/energy_uj", f"{microjoules}\n")
        boards.write(root, f"sys/class/powercap/{zone}/max_energy_range_uj", "262143328850\n")


def test_rapl_counts_packages_and_sees_a_wrap(tmp_path: Path) -> None:
    rapl(tmp_path, 262143000000)
    reader = Rapl.find(tmp_path)
    assert reader is not None
    assert reader.read() == {"package-0": 0.0}, "a package holds its cores"
    rapl(tmp_path, 1_671_150)
    assert reader.read() == pytest.approx({"package-0": 2.0})


def test_rapl_does_not_count_a_package_once_more_with_its_platform(tmp_path: Path) -> None:
    rapl(tmp_path, 1)
    boards.write(tmp_path, "sys/class/powercap/intel-rapl:1/name", "psys\n")
    boards.write(tmp_path, "sys/class/powercap/intel-rapl:1/energy_uj", "1\n")
    reader = Rapl.find(tmp_path)
    assert reader is not None
    assert reader.read() == {"package-0": 0.0}


def test_readers_that_are_there_are_found(tmp_path: Path) -> None:
    rapl(tmp_path, 1)
    boards.write_rails(tmp_path, boards.ORIN_NANO_RAILS)
    readers, _ = find_readers(tmp_path, none)
    assert [reader.name for reader in readers][:2] == ["INA3221", "RAPL"]


def test_a_counter_that_may_not_be_read_is_told(tmp_path: Path) -> None:
    rapl(tmp_path, 1)
    for path in tmp_path.rglob("energy_uj"):
        path.write_text("")  # root reads what others may not: an empty file stands for a refusal
    readers, reasons = find_readers(tmp_path, none)
    assert "RAPL" not in [reader.name for reader in readers]
    assert any("only root may read" in reason for reason in reasons)


def test_nothing_at_all_is_told(tmp_path: Path) -> None:
    readers, reasons = find_readers(tmp_path, none)
    if not readers:
        assert reasons == ["no power sensor: neither INA3221, tegrastats, RAPL nor NVML is there"]


def test_tegrastats_is_followed_and_ended() -> None:
    line = boards.ORIN_NANO_LINE
    program = f"import time\nwhile True:\n    print({line!r}, flush=True)\n    time.sleep(0.01)"
    reader = TegraStatsPower((sys.executable, "-c", program))
    end = time.monotonic() + 10
    while not reader.read() and time.monotonic() < end:
        time.sleep(0.01)
    assert reader.read() == pytest.approx({"VDD_IN": 6.626, "VDD_CPU_GPU_CV": 1.228, "VDD_SOC": 2.38})
    process = reader._process
    reader.close()
    assert process.poll() is not None


def test_power_is_integrated() -> None:
    samples = [(0.0, {"VDD_IN": 4.0}), (1.0, {"VDD_IN": 8.0}), (3.0, {"VDD_IN": 8.0})]
    energy = integrate("INA3221", samples, counts=False)
    assert energy is not None
    assert (energy.joules, energy.seconds) == (22.0, 3.0)
    assert energy.watts == pytest.approx(22 / 3)
    assert energy.rails["VDD_IN"] == pytest.approx(22 / 3)


def test_counters_are_subtracted() -> None:
    energy = integrate("RAPL", [(10.0, {"a": 5.0, "b": 1.0}), (12.0, {"a": 9.0, "b": 2.0})], counts=True)
    assert energy is not None
    assert (energy.joules, energy.watts, energy.rails) == (5.0, 2.5, {"a": 2.0, "b": 0.5})


def test_one_sample_is_no_energy() -> None:
    assert integrate("x", [(0.0, {"a": 1.0}), (1.0, {})], counts=False) is None


def test_a_meter_samples_while_the_block_runs(tmp_path: Path) -> None:
    boards.write_rails(tmp_path, boards.ORIN_NANO_RAILS)
    reader = Ina3221.find(tmp_path)
    assert reader is not None
    with EnergyMeter(reader, interval=0.005) as meter:
        time.sleep(0.1)
    assert meter.energy is not None
    assert meter.energy.watts == pytest.approx(4.976)
    assert meter.energy.seconds == pytest.approx(0.1, abs=0.09)
    assert len(meter._samples) > 4


@pytest.mark.skipif(os.cpu_count() is None, reason="needs a processor")
def test_this_machine_is_asked_without_failing() -> None:
    readers, reasons = find_readers()
    for reader in readers:
        reader.close()
    assert readers or reasons


class Library:
    """NVML of one card; its error is a class, as theirs is."""

    NVMLError = RuntimeError
    NVML_CLOCK_SM, NVML_TEMPERATURE_GPU = 1, 0
    open = 0

    def nvmlInit(self) -> None:  # noqa: N802
        self.open += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:  # noqa: N802
        return f"card {index}"

    def nvmlDeviceGetPowerUsage(self, card: str) -> int:  # noqa: N802
        return 72_500

    def nvmlDeviceGetClockInfo(self, card: str, kind: int) -> int:  # noqa: N802
        return 1980 if (card, kind) == ("card 0", 1) else 0

    def nvmlDeviceGetTemperature(self, card: str, kind: int) -> int:  # noqa: N802
        return 35 if (card, kind) == ("card 0", 0) else 0


def test_a_discrete_gpu_tells_power_clock_and_temperature(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its library's names; no card was here."""
    library = Library()
    monkeypatch.setitem(sys.modules, "pynvml", library)  # type: ignore[arg-type]
    found = Nvml.find()
    assert found is not None
    assert found.read() == {"GPU0": 72.5}
    found.close()
    told = all_conditions()
    assert (told.clocks["GPU0"], told.temperatures["GPU0"]) == (1980.0, 35.0)
    assert library.open == 0
