"""Which rate times have, and which steps between them are gaps rather than jitter. Only numbers here."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Stretches", "rate_change", "rows_of", "stretches_of"]

LATE = 1.5  # periods: a step that is longer may be a gap
NEXT = 4  # samples, the late one among them: where one of them is on time, there was no gap
BEFORE = 9  # samples whose median says what on time is
BLOCKS = 20  # in which the rate is looked at one by one
LEAST_STEPS = 100  # of a block: times in milliseconds give its rate within half a percent
CHANGE = 0.02  # of the rate, more than any crystal drifts


class Stretches(NamedTuple):
    """The rate between gaps in hertz, the sample each gap ends at, and its length in missing samples."""

    fs: float
    ends: NDArray[np.int64]
    missing: NDArray[np.float64]


def stretches_of(seconds: NDArray[np.float64]) -> Stretches:
    """Rate and gaps of ascending times ``(n,)`` in seconds, at least two.

    The rate is samples over time in what lies between the gaps: there jitter and the rounding of a clock
    cancel, whatever their size, as each late sample takes from the step after it.
    """
    steps = np.diff(seconds)
    period = _usual_step(steps)
    for _ in range(2):  # the first rate is good enough to tell the gaps, the second good enough to keep
        ends, missing = _gaps(seconds, 1 / period)
        period = float(np.delete(steps, ends - 1).mean())
    ends, missing = _gaps(seconds, 1 / period)
    return Stretches(1 / period, ends, missing)


def rows_of(n: int, gaps: Stretches, fs: float) -> NDArray[np.int64] | None:
    """Row of each of ``n`` samples on a grid of rate ``fs``; ``None`` where none are missing.

    Samples between two gaps follow each other, and a gap takes the rows that fit into its time.
    """
    holes = np.round(gaps.missing * (fs / gaps.fs)).astype(np.int64)
    if not holes.any():
        return None
    ahead = np.zeros(n, dtype=np.int64)
    ahead[gaps.ends] = holes
    return np.arange(n) + np.cumsum(ahead)


def rate_change(seconds: NDArray[np.float64]) -> tuple[float, float, int] | None:
    """Rates before and after a change, and the sample about which it lies; ``None`` for times of one rate."""
    blocks = min(BLOCKS, (len(seconds) - 1) // LEAST_STEPS)
    if blocks < 2:
        return None
    pieces = np.array_split(seconds, blocks)
    rates = np.array([stretches_of(piece).fs for piece in pieces])
    other = np.flatnonzero(np.abs(rates / rates[0] - 1) > CHANGE)
    if len(other) == 0:
        return None
    first = int(other[0])
    return float(rates[0]), float(np.median(rates[first:])), sum(len(piece) for piece in pieces[:first])


def _usual_step(steps: NDArray[np.float64]) -> float:
    """The mean of steps near the median: as far below as above, so that jitter does not shift it."""
    usual = float(np.sort(steps)[(len(steps) - 1) // 2])  # one of them, also where there are two lengths
    for _ in range(3):
        usual = float(steps[np.abs(steps - usual) < 0.6 * usual].mean())
    return usual


def _gaps(seconds: NDArray[np.float64], fs: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Where gaps end, and how many samples are missing in each.

    A sample that comes late is jitter where one of the next is on time again; after a gap all are late.
    """
    ends, missing = [], []
    delay = (seconds - seconds[0]) * fs - np.arange(len(seconds))  # in samples, behind a clock without gaps
    begin = 0  # of the stretch
    for late in (np.flatnonzero(np.diff(seconds) * fs > LATE) + 1).tolist():
        before = sorted(delay[max(begin, late - BEFORE) : late].tolist())
        hole = float(delay[late : late + NEXT].min()) - before[len(before) // 2]
        if hole > LATE - 1:
            ends.append(late)
            missing.append(hole)
            begin = late
    return np.array(ends, dtype=np.int64), np.array(missing)
