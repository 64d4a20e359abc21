"""Running heart rate: the mean over the last intervals between beats that followed each other."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["WINDOW", "RateState", "beat", "initial", "per_minute", "torn"]

WINDOW = 8
"""Intervals that the running rate is a mean of."""


class RateState(NamedTuple):
    """``starts``, ``lengths``: the last intervals, oldest first, and ``last``: the beat that the next one
    begins with, if there is one; source samples.
    """

    starts: tuple[int, ...] = ()
    lengths: tuple[int, ...] = ()
    last: int | None = None


def initial() -> RateState:
    """No beat yet."""
    return RateState()


def beat(sample: int, state: RateState, window: int = WINDOW) -> RateState:
    """Take in the next beat; ``window`` intervals are kept."""
    starts, lengths, last = state
    if last is None:
        return RateState(starts, lengths, sample)
    return RateState((*starts, last)[-window:], (*lengths, sample - last)[-window:], sample)


def torn(state: RateState) -> RateState:
    """A beat may be missing here: what lies between the last one and the next is no interval."""
    return RateState(state.starts, state.lengths)


def per_minute(state: RateState, fs: float, least: int = 2) -> float | None:
    """Beats per minute over the intervals known, ``None`` while there are fewer than ``least``."""
    intervals = len(state.lengths)
    if intervals < max(least, 1):
        return None
    return 60.0 * fs * intervals / sum(state.lengths)
