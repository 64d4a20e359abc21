"""Beat-by-beat matching after ANSI/AAMI EC57, as PhysioNet's ``bxb`` does it.

Both lists are walked in the order of time. The earlier of the two beats at hand is paired with the
other if they lie within the window and the beat that *follows* the earlier one in its own list is not
nearer (or as near); else the earlier one is a miss (reference) or an extra (test).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeecg.errors import SignalError

__all__ = ["LEARNING", "NEVER", "WINDOW", "Interval", "Matches", "match", "window_samples"]

WINDOW = 0.150
"""Largest distance between a reference beat and the test beat that it is paired with, seconds."""

LEARNING = 300.0
"""Seconds at the start of a record that EC57 leaves out: an algorithm may learn there."""

NEVER = int(np.iinfo(np.int64).max // 4)
"""A sample that no record reaches; differences of two such values do not overflow."""

Interval = tuple[int, int]
"""First and last source sample of a stretch, both included."""


class Matches(NamedTuple):
    """Indices into the two lists of beats.

    ``pairs`` ``(n, 2)``: reference and test beat that belong together; ``missed``: reference beats
    without a test beat; ``extra``: test beats without a reference beat. Beats that the protocol leaves
    out (before ``start``, after ``end``, in a mask) are in none of them.
    """

    pairs: NDArray[np.intp]
    missed: NDArray[np.intp]
    extra: NDArray[np.intp]


def window_samples(fs: float) -> int:
    """The match window in samples, rounded half up as WFDB's ``strtim`` does."""
    return int(WINDOW * fs + 0.5)


def match(
    reference: NDArray[np.int64],
    test: NDArray[np.int64],
    fs: float,
    *,
    start: int = 0,
    end: int | None = None,
    masks: Sequence[Interval] = (),
) -> Matches:
    """Pair the beats of a reference with those of a test.

    Parameters
    ----------
    reference, test : (n,) and (m,) int64
        Samples of the beats, ascending.
    fs : float
        Rate that the samples count at, hertz.
    start : int
        First sample that is compared. A test beat just before it may still pair with the first
        reference beat, and one just after it that belongs to a reference beat before is passed over.
    end : int, optional
        Last sample that is compared.
    masks : sequence of (int, int)
        Stretches of ventricular flutter or fibrillation: reference beats in them do not count, nor do
        test beats in them that found no partner.

    Raises
    ------
    SignalError
        If samples do not ascend or are negative.
    """
    for name, samples in (("reference", reference), ("test", test)):
        if len(samples) and (samples[0] < 0 or np.any(np.diff(samples) < 0)):
            raise SignalError(f"{name} beats must be ascending sample numbers: sort them first")
    window = window_samples(fs)
    kept = np.flatnonzero((reference >= start) & ~inside(reference, masks))
    begin = int(np.searchsorted(test, start))
    ref_times = [*reference[kept].tolist(), NEVER, NEVER]
    test_times = [*test.tolist(), NEVER, NEVER]
    pairs, first_ref, first_test = _border(ref_times, test_times, begin, start, window)
    walked = _walk(ref_times, test_times, (first_ref, first_test), window, NEVER - 1 if end is None else end)
    table = np.array(pairs + walked[0], dtype=np.intp).reshape(-1, 2)
    table[:, 0] = kept[table[:, 0]]
    extra = np.array(walked[2], dtype=np.intp)
    return Matches(table, kept[np.array(walked[1], dtype=np.intp)], extra[~inside(test[extra], masks)])


def inside(samples: NDArray[np.int64], masks: Sequence[Interval]) -> NDArray[np.bool_]:
    """Which samples lie in any of the stretches, ``(n,)`` bool."""
    covered = np.zeros(len(samples), dtype=bool)
    for first, last in masks:
        covered |= (samples >= first) & (samples <= last)
    return covered


def _border(
    ref: list[int], test: list[int], begin: int, start: int, window: int
) -> tuple[list[tuple[int, int]], int, int]:
    """Test beats on both sides of ``start``; returns the pairs made and where the walk begins."""
    if start <= 0:
        return [], 0, 0
    after = test[begin]
    if begin and ref[0] - test[begin - 1] <= window and ref[0] - test[begin - 1] < abs(ref[0] - after):
        return [(0, begin - 1)], 1, begin
    if after - start <= window and abs(ref[0] - test[begin + 1]) < abs(ref[0] - after):
        return [], 0, begin + 1
    return [], 0, begin


def _walk(
    ref: list[int], test: list[int], first: tuple[int, int], window: int, end: int
) -> tuple[list[tuple[int, int]], list[int], list[int]]:
    """Pairs, misses and extras of two lists that close with two ``NEVER``."""
    pairs: list[tuple[int, int]] = []
    missed: list[int] = []
    extra: list[int] = []
    i, j = first
    while ref[i] <= end or test[j] <= end:
        distance = abs(ref[i] - test[j])
        test_first = test[j] < ref[i]
        follower = abs(ref[i] - test[j + 1]) if test_first else abs(test[j] - ref[i + 1])
        if distance <= window and distance < follower:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif test_first:
            extra.append(j)
            j += 1
        else:
            missed.append(i)
            i += 1
    return pairs, missed, extra
