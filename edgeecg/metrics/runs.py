"""Run-by-run scores of ventricular ectopy, in the manner of PhysioNet's ``rxr``.

A run is a row of V or F beats; any other beat ends it, and ventricular flutter or fibrillation counts
as a run of the longest kind. Each run of one side is held against the longest run of the other side
within 150 ms around it: reference runs give the sensitivity, test runs the positive predictivity.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeecg.errors import SignalError
from edgeecg.metrics.beats import BeatList, ratio
from edgeecg.metrics.match import Interval, inside, window_samples

__all__ = ["KINDS", "LONGEST", "RunScore", "Runs", "compare"]

LONGEST = 6
"""Runs of this length or more are one kind."""

KINDS = {"couplet": (2, 2), "short run": (3, 5), "long run": (LONGEST, LONGEST)}
"""Shortest and longest run of each kind, in beats."""


@dataclass(frozen=True)
class RunScore:
    """Runs of one kind: ``found`` or ``missed`` of the reference, ``right`` or ``wrong`` of the test."""

    found: int
    missed: int
    right: int
    wrong: int

    @property
    def sensitivity(self) -> float | None:
        """Found over all reference runs of the kind."""
        return ratio(self.found, self.found + self.missed)

    @property
    def predictivity(self) -> float | None:
        """Right over all test runs of the kind."""
        return ratio(self.right, self.right + self.wrong)


@dataclass(frozen=True, eq=False)
class Runs:
    """Counts by run length, reference length in rows, test length in columns; they add up.

    Parameters
    ----------
    sensitivity : (7, 7) int64
        One count for each reference run.
    predictivity : (7, 7) int64
        One count for each test run.
    """

    sensitivity: NDArray[np.int64]
    predictivity: NDArray[np.int64]

    @classmethod
    def empty(cls) -> Runs:
        """No run yet."""
        return cls(*np.zeros((2, LONGEST + 1, LONGEST + 1), np.int64))

    def __add__(self, other: Runs) -> Runs:
        return Runs(self.sensitivity + other.sensitivity, self.predictivity + other.predictivity)

    def score(self, kind: str) -> RunScore:
        """Score of one of ``KINDS``; a run is found if the other side's is at least of that kind."""
        if kind not in KINDS:
            raise SignalError(f"no kind of run called {kind!r}: choose one of {', '.join(KINDS)}")
        low, high = KINDS[kind]
        there, said = self.sensitivity[low : high + 1], self.predictivity[:, low : high + 1]
        return RunScore(
            found=int(there[:, low:].sum()),
            missed=int(there[:, :low].sum()),
            right=int(said[low:].sum()),
            wrong=int(said[:low].sum()),
        )


class _Marks(NamedTuple):
    """Beats and flutter in a row: first and last sample, and beats of a run that it counts as."""

    first: list[int]
    last: list[int]
    length: list[int]


def compare(
    reference: BeatList,
    test: BeatList,
    fs: float,
    *,
    start: int = 0,
    end: int | None = None,
    masks: Sequence[Interval] = (),
    test_masks: Sequence[Interval] = (),
) -> Runs:
    """Hold the runs of two annotations of a record against each other.

    Parameters
    ----------
    reference, test : BeatList
    fs : float
        Hertz.
    start, end : int
        First and last sample that is compared.
    masks, test_masks : sequence of (int, int)
        Ventricular flutter or fibrillation of the reference, and of the test.
    """
    window = window_samples(fs)
    ours, theirs = _marks(reference, masks), _marks(test, test_masks)
    total = Runs.empty()
    for length, first, last in _runs(ours, start, end):
        total.sensitivity[length, _longest(theirs, first - window, last + window)] += 1
    for length, first, last in _runs(theirs, start, end):
        total.predictivity[_longest(ours, first - window, last + window), length] += 1
    return total


def _marks(beats: BeatList, masks: Sequence[Interval]) -> _Marks:
    outside = ~inside(beats.sample, masks)
    ventricular = np.isin(beats.label[outside], ("V", "F")).astype(int).tolist()
    samples = beats.sample[outside].tolist()
    rows = [(at, at, length) for at, length in zip(samples, ventricular, strict=True)]
    rows = sorted(rows + [(first, last, LONGEST) for first, last in masks])
    return _Marks([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows])


def _runs(marks: _Marks, start: int, end: int | None) -> list[tuple[int, int, int]]:
    """Length, first and last sample of each run between ``start`` and ``end``."""
    found: list[tuple[int, int, int]] = []
    run: tuple[int, int, int] | None = None
    for first, last, length in zip(*marks, strict=True):
        if last < start or (end is not None and first > end):
            continue
        if length:
            run = (min(LONGEST, length + (run[0] if run else 0)), run[1] if run else first, last)
        elif run:
            found.append(run)
            run = None
    return [*found, run] if run else found


def _longest(marks: _Marks, first: int, last: int) -> int:
    """Longest run among the marks that touch the window."""
    place = bisect_left(marks.last, first)
    best = row = 0
    while place < len(marks.first) and marks.first[place] <= last:
        row = min(LONGEST, row + marks.length[place]) if marks.length[place] else 0
        best = max(best, row)
        place += 1
    return best
