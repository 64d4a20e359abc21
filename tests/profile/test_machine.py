"""What machine this is, from the files of real boards."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeecg.profile.machine import (
    PowerMode,
    Release,
    identify,
    jetpack_of,
    parse_power_mode,
    parse_release,
    run_command,
    saved_power_mode,
)
from tests.profile import boards


def nothing(command: object) -> None:
    return None


@pytest.mark.parametrize(
    ("text", "version", "jetpack", "tensorrt"),
    [
        (boards.ORIN_NANO_RELEASE, "R36.4.7", "6.2.1", "10.3"),
        (boards.JP61_RELEASE, "R36.4.0", "6.1", "10.3"),
        (boards.JP60_RELEASE, "R36.3.0", "6.0", "8.6"),
        (boards.JP5_RELEASE, "R35.4.1", "5", "8.5"),
        (boards.THOR_RELEASE, "R38.2.2", "7.0", "10.13"),
        (boards.THOR_71_RELEASE, "R38.4.0", "7.1", "10.13"),
        (boards.ORIN_72_RELEASE, "R39.2.0", "7.2", "10.16"),
        ("# R39 (release), REVISION: 2.2, GCID: 1", "R39.2.2", "7.2.2", "11.4"),
        ("# R45 (release), REVISION: 1.0, GCID: 1", "R45.1.0", "", ""),
    ],
)
def test_releases_of_real_boards(text: str, version: str, jetpack: str, tensorrt: str) -> None:
    release = parse_release(text)
    assert release is not None
    assert str(release) == version
    assert jetpack_of(release) == (jetpack, tensorrt)


@pytest.mark.parametrize("text", ["", "Ubuntu 22.04", "# R36 (beta)"])
def test_other_texts_are_no_release(text: str) -> None:
    assert parse_release(text) is None


@pytest.mark.parametrize(
    ("text", "mode", "shown"),
    [
        (boards.NVPMODEL_VERBOSE, PowerMode("MAXN_SUPER", 2), "MAXN_SUPER (mode 2)"),
        (boards.NVPMODEL_15W, PowerMode("15W", 0), "15W (mode 0)"),
        (boards.NVPMODEL_NAME_ONLY, PowerMode("MAXN", None), "MAXN"),
    ],
)
def test_power_modes_as_nvpmodel_tells_them(text: str, mode: PowerMode, shown: str) -> None:
    assert parse_power_mode(text) == mode
    assert str(mode) == shown


def test_without_nvpmodel_its_saved_mode_is_read(tmp_path: Path) -> None:
    assert saved_power_mode(tmp_path) is None
    boards.orin_nano(tmp_path)
    assert saved_power_mode(tmp_path) == PowerMode("MAXN_SUPER", 2)
    (tmp_path / "etc/nvpmodel.conf").unlink()
    assert str(saved_power_mode(tmp_path)) == "mode 2"


def test_an_orin_nano_is_known(tmp_path: Path) -> None:
    machine = identify(boards.orin_nano(tmp_path), nothing)
    assert machine.jetson
    assert machine.model == "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super"
    assert (machine.release, machine.jetpack, machine.expected_tensorrt) == ("R36.4.7", "6.2.1", "10.3")
    assert (machine.tensorrt, machine.cuda) == ("10.3.0", "12.6.11")
    assert machine.power_mode == "MAXN_SUPER (mode 2)"
    assert machine.system == "Ubuntu 22.04.5 LTS"
    assert machine.memory == 7802944 * 1024


def test_what_nvpmodel_says_now_goes_before_what_it_saved(tmp_path: Path) -> None:
    machine = identify(boards.orin_nano(tmp_path), lambda command: boards.NVPMODEL_15W)
    assert machine.power_mode == "15W (mode 0)"


def test_tensorrt_11_header_is_read(tmp_path: Path) -> None:
    header = (
        "#define TRT_MAJOR_ENTERPRISE 11\n#define TRT_MINOR_ENTERPRISE 4\n#define TRT_PATCH_ENTERPRISE 1\n"
        "#define NV_TENSORRT_MAJOR TRT_MAJOR_ENTERPRISE\n"
    )
    boards.write(tmp_path, "usr/include/aarch64-linux-gnu/NvInferVersion.h", header)
    assert identify(tmp_path, nothing).tensorrt == "11.4.1"


def test_tensorrt_without_headers_is_known_by_its_library(tmp_path: Path) -> None:
    boards.write(tmp_path, "usr/lib/aarch64-linux-gnu/libnvinfer.so.10.3.0", "")
    boards.write(tmp_path, "usr/lib/aarch64-linux-gnu/libnvinfer.so.10", "")
    assert identify(tmp_path, nothing).tensorrt == "10.3.0"


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024",
            "535.183.01",
        ),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  540.4.0  Release Build", "540.4.0"),
    ],
)
def test_drivers(tmp_path: Path, text: str, version: str) -> None:
    boards.write(tmp_path, "proc/driver/nvidia/version", text)
    assert identify(tmp_path, nothing).driver == version


def test_an_empty_root_says_nothing_and_does_not_fail(tmp_path: Path) -> None:
    machine = identify(tmp_path, nothing)
    assert not machine.jetson
    assert (machine.jetpack, machine.tensorrt, machine.cuda, machine.driver) == ("", "", "", "")


def test_this_machine_is_known() -> None:
    machine = identify()
    assert machine.model
    assert machine.cores >= 1
    assert machine.memory > 1 << 28


def test_a_command_that_is_missing_or_fails_is_none() -> None:
    assert run_command(["no-such-program-here"]) is None
    assert run_command(["false"]) is None
    assert run_command(["echo", "hello"]) == "hello\n"


def test_a_release_is_shown_as_nvidia_writes_it() -> None:
    assert str(Release((36, 4, 3))) == "R36.4.3"
