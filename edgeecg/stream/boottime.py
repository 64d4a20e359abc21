"""Seconds since the machine was started: a clock that nobody sets, and that outlives a process."""

from __future__ import annotations

import time
from pathlib import Path

__all__ = ["boot", "heard_again", "kept"]

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot() -> str:
    """Which start of the machine this is; empty where it does not say."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""


def kept(heard: float) -> float:
    """What ``time.monotonic`` told, as seconds since the start of the machine."""
    return heard + _asleep()


def heard_again(kept: float) -> float:
    """What ``time.monotonic`` would have told then, had this process been there; may lie below zero."""
    return kept - _asleep()


def _asleep() -> float:
    """By how much the clock that nobody sets is behind one that goes on while the machine sleeps."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return 0.0 if clock is None else time.clock_gettime(clock) - time.monotonic()
