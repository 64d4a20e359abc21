"""What the doctor says, for machines good and bad."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from edgeecg.bundle import Bundle
from edgeecg.errors import BackendError
from edgeecg.profile import health
from edgeecg.profile.health import (
    advise,
    check_backends,
    check_cuda,
    check_jetson,
    check_python,
    check_tensorrt,
)
from edgeecg.profile.machine import Machine, identify
from tests.profile import boards


@pytest.fixture
def orin(tmp_path: Path) -> Machine:
    return identify(boards.orin_nano(tmp_path), lambda command: None)


def states(findings: list[health.Finding]) -> dict[str, str]:
    return {finding.what: finding.state for finding in findings}


def test_a_good_jetson_is_well(orin: Machine) -> None:
    assert states(check_jetson(orin)) == {"JetPack": "well", "TensorRT": "well", "power mode": "well"}


def test_an_old_jetpack_is_told_to_be_flashed(orin: Machine) -> None:
    old = dataclasses.replace(orin, jetpack="5", release="R35.4.1", expected_tensorrt="8.5", tensorrt="8.5.2")
    jetpack, tensorrt, _ = check_jetson(old)
    assert (jetpack.state, tensorrt.state) == ("ill", "ill")
    assert "JetPack 6.1" in jetpack.advice
    assert check_jetson(dataclasses.replace(orin, jetpack="6.0"))[0].state == "ill"


def test_a_jetpack_that_is_newer_than_we_know_is_not_ill(orin: Machine) -> None:
    assert check_jetson(dataclasses.replace(orin, jetpack="", release="R45.1"))[0].state == "well"


def test_a_slow_power_mode_is_a_note(orin: Machine) -> None:
    finding = check_jetson(dataclasses.replace(orin, power_mode="15W (mode 0)"))[2]
    assert finding.state == "note"
    assert "nvpmodel -m" in finding.advice


@pytest.mark.parametrize("tensorrt", ["", "8.6.2"])
def test_a_jetson_is_never_told_to_pip_install_tensorrt(orin: Machine, tensorrt: str) -> None:
    machine = dataclasses.replace(orin, tensorrt=tensorrt)
    for finding in [*check_jetson(machine), *check_cuda(machine), check_python(machine)]:
        assert "tensorrt" not in finding.advice or "pip" not in finding.advice, finding


def test_the_python_of_jetpack_is_asked_for(orin: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health.sys, "version_info", (3, 12, 3))
    finding = check_python(orin)
    assert finding.state == "ill"
    assert "/usr/bin/python3.10 -m venv --system-site-packages" in finding.advice
    thor = dataclasses.replace(orin, jetpack="7.0")
    monkeypatch.setattr(health, "_sees_system_packages", lambda: True)
    assert check_python(thor).state == "well"


@pytest.mark.parametrize("jetpack", ["4", "5", "6.0"])
def test_a_jetpack_whose_tensorrt_is_too_old_asks_for_no_python(orin: Machine, jetpack: str) -> None:
    """It runs on the CPU, in any; JetPack 5 has Python 3.8, and was told to take 3.12."""
    assert check_python(dataclasses.replace(orin, jetpack=jetpack)).state == "well"


def test_an_environment_of_its_own_does_not_see_jetpack(
    orin: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health.sys, "version_info", (3, 10, 12))
    monkeypatch.setattr(health.sys, "prefix", "/home/me/venv")
    monkeypatch.setattr(health, "_sees_system_packages", lambda: False)
    finding = check_python(orin)
    assert finding.state == "ill"
    assert "--system-site-packages" in finding.advice


def test_without_cuda_graphs_cuda_python_is_offered(orin: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "available_libraries", lambda: ("pycuda",))
    assert check_cuda(orin)[1].advice == "pip install 'cuda-python<13'"  # JetPack 6 has CUDA 12
    assert check_cuda(dataclasses.replace(orin, cuda="13.2"))[1].advice.endswith("<14'")
    monkeypatch.setattr(health, "available_libraries", lambda: ())
    assert check_cuda(orin)[1].state == "ill"


def test_cuda_python_of_a_later_cuda_is_told(orin: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "available_libraries", lambda: ("cuda-python",))
    monkeypatch.setattr(health, "installed", lambda package: "13.0.1")
    finding = check_cuda(orin)[1]
    assert finding.state == "note"
    assert "'cuda-python<13'" in finding.advice
    monkeypatch.setattr(health, "installed", lambda package: "12.6.2")
    assert check_cuda(orin)[1].state == "well"


def test_a_machine_without_nvidia_is_not_ill() -> None:
    findings = check_cuda(dataclasses.replace(identify(), driver="", release=""))
    assert "ill" not in states(findings).values()


def test_python_modules_of_tensorrt_are_told(orin: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_tensorrt(orin) == []  # JetPack's own is told of, and nothing else is to be installed
    elsewhere = dataclasses.replace(identify(), release="", driver="580.1")
    monkeypatch.setattr(health, "installed", lambda package: "1.7.1" if package == "tensorrt_rtx" else "")
    assert check_tensorrt(elsewhere)[0].says == "tensorrt_rtx 1.7.1"
    monkeypatch.setattr(health, "installed", lambda package: "10.13.3" if package == "tensorrt_cu12" else "")
    assert check_tensorrt(elsewhere)[0].says == "tensorrt_cu12 10.13.3"
    monkeypatch.setattr(health, "installed", lambda package: "")
    assert "pip install tensorrt" in check_tensorrt(elsewhere)[0].advice


def test_backends_prove_themselves(bundle: Bundle) -> None:
    findings = check_backends(bundle)
    assert states(findings)["onnxruntime"] == "well"
    assert "golden vectors exactly" in findings[0].says  # it made them
    assert states(findings)["tensorrt"] in ("well", "note")


def test_a_backend_that_is_needed_and_fails_is_ill(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise BackendError("TensorRT is not installed: sudo apt install nvidia-jetpack")

    monkeypatch.setattr(health, "open_engine", refuse)
    (finding,) = check_backends(bundle, ("tensorrt",), ("tensorrt",))
    assert (finding.state, finding.says) == ("ill", "TensorRT is not installed")
    assert finding.advice == "sudo apt install nvidia-jetpack"


def test_all_of_it(bundle: Bundle) -> None:
    told: list[str] = []
    findings = advise(identify(), bundle, told.append)
    assert told == ["machine", "backends"]
    assert {"Python", "onnxruntime", "tensorrt"} <= set(states(findings))
    assert "onnxruntime" not in states(advise(identify(), None))


def test_of_a_compiler_that_fails_all_words_are_told(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    compiler = tmp_path / "cc"
    compiler.write_text("#!/bin/sh\necho 'step.c:1: error: no such thing' >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    monkeypatch.setenv("EDGEECG_CACHE", str(tmp_path / "kept"))
    (finding,) = check_backends(bundle, ("native",), ("native",))
    assert finding.state == "ill"
    assert finding.says.endswith("(step.c:1: error: no such thing)")
    assert finding.advice.startswith("name another compiler by CC")
    monkeypatch.setenv("CC", "gcc '")
    (finding,) = check_backends(bundle, (), ("native",))
    assert (finding.state, finding.advice) == ("note", "name the C compiler there, or unset it")
