"""Running heart rate: the mean over the last intervals between beats that followed each other."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["WINDOW", "RateState", "beat", "initial", "per_minute"]

WINDOW = 8
"""Intervals that the running rate is a mean of."""


class RateState(NamedTuple):
    """``samples``: the last beats without a break between them, oldest first; source samples."""

    samples: tuple[int, ...]


def initial() -> RateState:
    """No beat yet, or samples are missing or unreadable: the next beat starts a new row of intervals."""
    return RateState(())


def beat(sample: int, state: RateState, window: int = WINDOW) -> RateState:
    """Take in the next beat; ``window`` intervals are kept."""
    return RateState((*state.samples, sample)[-window - 1 :])


def per_minute(state: RateState, fs: float, least: int = 2) -> float | None:
    """Beats per minute over the intervals known, ``None`` while there are fewer than ``least``."""
    intervals = len(state.samples) - 1
    if intervals < max(least, 1):
        return None
    return 60.0 * fs * intervals / (state.samples[-1] - state.samples[0])
