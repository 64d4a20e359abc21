"""Beats on their way: found and waiting, by row, decided; and what of earlier steps they still read."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Decided", "Pending", "Recent", "Runs", "no_beats", "nothing", "runs_of"]


class Pending(NamedTuple):
    """Beats that wait for their decision, ordered by row, then token; a column each.

    ``shape`` is the probability of a V's shape against an N's.
    """

    row: NDArray[np.intp]
    token: NDArray[np.int64]
    place: NDArray[np.float64]
    quality: NDArray[np.float32]
    shape: NDArray[np.float32]

    def take(self, keep: NDArray[Any]) -> Pending:
        """Those that a mask or an order picks."""
        return Pending(*(column[keep] for column in self))

    def joined(self, other: Pending) -> Pending:
        """Both, in order."""
        both = Pending(
            np.concatenate([self.row, other.row]),
            np.concatenate([self.token, other.token]),
            np.concatenate([self.place, other.place]),
            np.concatenate([self.quality, other.quality]),
            np.concatenate([self.shape, other.shape]),
        )
        return both.take(np.lexsort((both.token, both.row)))


class Runs(NamedTuple):
    """Rows that have beats, ascending; where the beats of each begin, and how many there are."""

    rows: NDArray[np.intp]
    begin: NDArray[np.intp]
    counts: NDArray[np.intp]


class Decided(NamedTuple):
    """Beats that were decided in a step, ordered by row, then time; a column each.

    ``token`` counts from the row's segment; ``place`` is the R peak in model samples at the front end's
    output; ``label`` indexes ``BEAT_LABELS``; ``quality`` and ``afib`` are probabilities.
    """

    row: NDArray[np.intp]
    token: NDArray[np.int64]
    place: NDArray[np.float64]
    label: NDArray[np.intp]
    probability: NDArray[np.float32]
    quality: NDArray[np.float32]
    afib: NDArray[np.float32]


class Recent:
    """Columns of this step, and the last ones of the steps before at negative numbers.

    Parameters
    ----------
    now : (rows, T, k)
    before : (rows, kept, k)
    """

    def __init__(self, now: NDArray[np.float32], before: NDArray[np.float32]) -> None:
        self.now, self.before = now, before

    def take(self, row: NDArray[np.intp], column: NDArray[np.int64]) -> NDArray[np.float32]:
        """``(n, k)`` values of ``(row, column)`` pairs."""
        values = self.now[row, np.maximum(column, 0)]
        early = column < 0
        values[early] = self.before[row[early], column[early]]
        return values

    def last(self) -> NDArray[np.float32]:
        """The last ``kept`` columns, this step's included."""
        kept, count = self.before.shape[1], self.now.shape[1]
        if count >= kept:
            return self.now[:, count - kept :]
        return np.concatenate([self.before[:, count:], self.now], axis=1)


def runs_of(row: NDArray[np.intp]) -> Runs:
    """Runs of equal values in an ordered column."""
    begin = np.concatenate([[0], np.flatnonzero(row[1:] != row[:-1]) + 1])
    return Runs(row[begin], begin, np.diff(begin, append=len(row)))


def nothing() -> Pending:
    """Nobody waits."""
    real = np.empty(0, np.float32)
    return Pending(np.empty(0, np.intp), np.empty(0, np.int64), np.empty(0), real, real)


def no_beats() -> Decided:
    """None was decided."""
    row, token, place, real, _ = nothing()
    return Decided(row, token, place, row, real, real, real)
