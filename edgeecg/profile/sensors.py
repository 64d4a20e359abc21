"""Clocks, temperatures and memory, as the kernel tells them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgeecg.profile.machine import Run, power_mode, read_text, run_command

__all__ = ["Conditions", "conditions", "memory_used", "tegrastats_rails"]

RAIL = re.compile(r"\b([A-Z][A-Z0-9_]+) (-?\d+)(?:mW)?/-?\d+(?:mW)?(?= |$)")
"""Name, present and mean milliwatts; JetPack 4 leaves the unit out."""

OFF = -200.0
"""A sensor of a sleeping block tells -256 degrees."""


@dataclass(frozen=True)
class Conditions:
    """What a measurement was made under.

    Parameters
    ----------
    clocks : mapping of name to megahertz
    temperatures : mapping of zone to degrees Celsius
    power_mode : str
        Of nvpmodel; the CPU's governor elsewhere.
    """

    clocks: Mapping[str, float]
    temperatures: Mapping[str, float]
    power_mode: str


def tegrastats_rails(line: str) -> dict[str, int] | None:
    """Milliwatts by rail in a line of JetPack 5, 6 or 7; ``None`` where it is none."""
    if not re.search(r"\bRAM \d+/\d+MB", line):
        return None
    return {name: int(now) for name, now in RAIL.findall(line) if name not in ("RAM", "SWAP", "IRAM", "NC")}


def conditions(root: Path = Path("/"), run: Run = run_command) -> Conditions:
    """Clocks, temperatures and power mode now."""
    mode = str(power_mode(root, run) or "") or read_text(
        root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
    )
    return Conditions(clocks(root), temperatures(root), mode)


def clocks(root: Path) -> dict[str, float]:
    """Megahertz of each core, and of a Jetson's GPU."""
    found = {}
    for path in sorted(root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq")):
        value = read_text(path)
        if value.isdigit():
            found[path.parent.parent.name] = int(value) / 1e3
    for path in sorted(root.glob("sys/class/devfreq/*gpu*/cur_freq")):
        value = read_text(path)
        if value.isdigit():  # of a Thor's gpu-gpc-0 and gpu-nvd-0 the latter is the codecs'
            found.setdefault("gpu", int(value) / 1e6)
    return found


def temperatures(root: Path) -> dict[str, float]:
    """Degrees Celsius by thermal zone; a zone whose block sleeps cannot be read and is left out."""
    found = {}
    for zone in sorted(root.glob("sys/class/thermal/thermal_zone*")):
        value, name = read_text(zone / "temp"), read_text(zone / "type")
        if name and re.fullmatch(r"-?\d+", value) and int(value) / 1e3 > OFF:
            found[name.removesuffix("-thermal")] = int(value) / 1e3
    return found


def memory_used() -> tuple[int, int]:
    """Bytes that this process holds now, and that it held at most."""
    status = read_text(Path("/proc/self/status"))
    now, peak = (re.search(rf"{key}:\s+(\d+) kB", status) for key in ("VmRSS", "VmHWM"))
    return (int(now[1]) << 10 if now else 0), (int(peak[1]) << 10 if peak else 0)
