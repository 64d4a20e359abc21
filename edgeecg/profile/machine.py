"""What machine this is: read from the files that say so, under a root that a test may replace."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = [
    "JETPACKS",
    "Machine",
    "PowerMode",
    "Release",
    "Run",
    "identify",
    "jetpack_of",
    "parse_power_mode",
    "parse_release",
    "read_text",
    "run_command",
]

Run = Callable[[Sequence[str]], "str | None"]
"""Runs a command; its output, or ``None`` where it is missing or fails."""

JETPACKS: tuple[tuple[tuple[int, ...], str, str], ...] = (
    ((39, 2, 2), "7.2.2", "11.4"),
    ((39, 2, 1), "7.2.1", "10.16"),
    ((39, 2), "7.2", "10.16"),
    ((38, 4), "7.1", "10.13"),
    ((38, 2), "7.0", "10.13"),
    ((36, 5), "6.2.2", "10.3"),
    ((36, 4, 7), "6.2.1", "10.3"),
    ((36, 4, 4), "6.2.1", "10.3"),
    ((36, 4, 3), "6.2", "10.3"),
    ((36, 4), "6.1", "10.3"),
    ((36,), "6.0", "8.6"),
    ((35,), "5", "8.5"),
    ((32,), "4", "8.2"),
)
"""Jetson Linux release, the JetPack that it belongs to, and that JetPack's TensorRT; most exact first."""


@dataclass(frozen=True)
class Release:
    """Jetson Linux, e.g. ``(36, 4, 3)``."""

    version: tuple[int, ...]

    def __str__(self) -> str:
        return "R" + ".".join(map(str, self.version))


@dataclass(frozen=True)
class PowerMode:
    """What nvpmodel is set to, e.g. ``MAXN_SUPER`` and 2; a name that is not told is empty."""

    name: str
    number: int | None

    def __str__(self) -> str:
        number = "" if self.number is None else f"mode {self.number}"
        return f"{self.name} ({number})" if self.name and number else self.name or number


@dataclass(frozen=True)
class Machine:
    """What was found; empty where it was not.

    Parameters
    ----------
    model : str
        Board of a Jetson, else the processor.
    release, jetpack : str
        Jetson Linux and JetPack; empty elsewhere.
    expected_tensorrt : str
        TensorRT that this JetPack brings.
    tensorrt, cuda, driver : str
        Versions that are installed.
    power_mode : str
        Of nvpmodel.
    system, kernel, python, cores, memory
        The host; memory in bytes.
    """

    model: str
    release: str
    jetpack: str
    expected_tensorrt: str
    tensorrt: str
    cuda: str
    driver: str
    power_mode: str
    system: str
    kernel: str
    python: str = field(default_factory=platform.python_version)
    cores: int = field(default_factory=lambda: os.cpu_count() or 1)
    memory: int = 0

    @property
    def jetson(self) -> bool:
        """Whether it is a Jetson."""
        return bool(self.release)


def run_command(command: Sequence[str]) -> str | None:
    """Output of a command within five seconds, or ``None``."""
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(list(command), capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def read_text(path: Path) -> str:
    """A small text file, or nothing; device trees end their strings with a zero byte."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0 \n\t")
    except OSError:
        return ""


def parse_release(text: str) -> Release | None:
    """``/etc/nv_tegra_release``: ``# R36 (release), REVISION: 4.3, GCID: ...``."""
    found = re.search(r"R(\d+)\s*\(release\),\s*REVISION:\s*([\d.]+)", text)
    if found is None:
        return None
    return Release((int(found[1]), *(int(part) for part in found[2].split(".") if part)))


def jetpack_of(release: Release) -> tuple[str, str]:
    """JetPack of a release and its TensorRT; empty where the release is newer than this table."""
    for prefix, jetpack, tensorrt in JETPACKS:
        if release.version[: len(prefix)] == prefix:
            return jetpack, tensorrt
    return "", ""


def parse_power_mode(text: str) -> PowerMode | None:
    """``nvpmodel -q``: lines before are warnings, the name stands in one line and the number in the next."""
    found = re.search(r"NV Power Mode:[ \t]*(\S+)(?:\s+(\d+))?", text)
    if found is None:
        return None
    return PowerMode(found[1], int(found[2]) if found[2] else None)


def saved_power_mode(root: Path) -> PowerMode | None:
    """What nvpmodel wrote down, for where the tool itself is missing (in a container) or refuses."""
    status = re.search(r"pmode:(\d+)", read_text(root / "var/lib/nvpmodel/status"))
    if status is None:
        return None
    number = int(status[1])
    named = re.search(rf"POWER_MODEL\s+ID={number}\s+NAME=(\w+)", read_text(root / "etc/nvpmodel.conf"))
    return PowerMode(named[1] if named else "", number)


def power_mode(root: Path = Path("/"), run: Run = run_command) -> PowerMode | None:
    """The power mode of a Jetson."""
    return parse_power_mode(run(["nvpmodel", "-q"]) or "") or saved_power_mode(root)


def cuda_version(root: Path) -> str:
    """CUDA toolkit: ``version.json`` since 11.1, else the compiler's library name."""
    for path in sorted(root.glob("usr/local/cuda*/version.json")):
        found = re.search(r'"cuda"\s*:\s*{[^}]*"version"\s*:\s*"([\d.]+)"', read_text(path))
        if found:
            return found[1]
    names = sorted(path.name for path in root.glob("usr/local/cuda-*"))
    return names[-1].removeprefix("cuda-") if names else ""


def driver_version(root: Path) -> str:
    """NVIDIA's kernel driver; on a Jetson it has a date instead of a number."""
    text = read_text(root / "proc/driver/nvidia/version") or read_text(root / "sys/module/nvidia/version")
    number = re.search(r"\b(\d{3}\.\d+(?:\.\d+)?)\b", text)
    if number:
        return number[1]
    built = re.search(r"Release Build.*?\)\s+(.*)", text)
    return built[1].strip() if built else ""


def tensorrt_version(root: Path) -> str:
    """TensorRT as a system package: the version in its header, else in its library's name."""
    for header in sorted(root.glob("usr/include/**/NvInferVersion.h")):
        parts = re.findall(
            r"#define (?:NV_TENSORRT|TRT)_(?:MAJOR|MINOR|PATCH)(?:_ENTERPRISE)? (\d+)", read_text(header)
        )
        if len(parts) >= 3:
            return ".".join(parts[:3])
    libraries = [
        re.search(r"libnvinfer\.so\.(\d+\.\d+\.\d+)$", str(p)) for p in root.glob("usr/lib/*/libnvinfer.so.*")
    ]
    versions = sorted(found[1] for found in libraries if found)
    return versions[-1] if versions else ""


def processor(root: Path) -> str:
    """Name of the CPU."""
    text = read_text(root / "proc/cpuinfo")
    found = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1] if found else platform.processor() or platform.machine()


def identify(root: Path = Path("/"), run: Run = run_command) -> Machine:
    """Find out what machine this is; nothing is asked of a device, and nothing raises."""
    release = parse_release(read_text(root / "etc/nv_tegra_release"))
    jetpack, tensorrt = jetpack_of(release) if release else ("", "")
    mode = power_mode(root, run) if release else None
    name = re.search(r'^PRETTY_NAME="?([^"\n]+)', read_text(root / "etc/os-release"), re.MULTILINE)
    kilobytes = re.search(r"MemTotal:\s+(\d+) kB", read_text(root / "proc/meminfo"))
    return Machine(
        model=(read_text(root / "proc/device-tree/model") if release else "") or processor(root),
        release=str(release or ""),
        jetpack=jetpack,
        expected_tensorrt=tensorrt,
        tensorrt=tensorrt_version(root),
        cuda=cuda_version(root),
        driver=driver_version(root),
        power_mode=str(mode or ""),
        system=name[1] if name else platform.system(),
        kernel=platform.release(),
        memory=int(kilobytes[1]) << 10 if kilobytes else 0,
    )
