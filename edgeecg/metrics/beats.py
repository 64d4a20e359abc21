"""Scores of beats after EC57: the confusion matrix with misses and extras, and what follows from it.

The counting is ``bxb``'s. In the matrix a row is the reference class (``O``: no reference beat), a
column the test class (``o``: no test beat).

* QRS: every pair is a hit, whatever its labels.
* V false positives are N, S and extra beats called V. F and Q beats called V do not count.
* S false positives are N, V, F and extra beats called S. Q beats called S do not count.
* F false positives, which ``bxb`` does not score, are N, S, V and extra beats called F; Q is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeecg.errors import SignalError
from edgeecg.metrics.match import Interval, Matches, match

__all__ = ["CLASSES", "SCORED", "BeatList", "Confusion", "Score", "compare", "confusion", "ratio"]

CLASSES = ("N", "S", "V", "F", "Q")
"""AAMI classes; rows and columns of the matrix are these and ``O``."""

SCORED = ("QRS", "V", "S", "F")
"""What a score is made of, in the order of the tables."""

FORGIVEN = {"V": ("V", "F", "Q"), "S": ("S", "Q"), "F": ("F", "Q"), "N": ("N", "Q"), "Q": ("Q",)}
"""Reference classes whose beats are no false positives of a class."""


class BeatList(NamedTuple):
    """``sample`` ``(n,)`` int64 ascending; ``label`` ``(n,)`` AAMI classes, one of ``CLASSES`` each."""

    sample: NDArray[np.int64]
    label: NDArray[np.str_]


@dataclass(frozen=True)
class Score:
    """Hits, misses and false alarms of one class.

    Sensitivity, positive predictivity and F1 are 0 to 1, ``None`` where nothing was there to be
    counted.
    """

    hits: int
    misses: int
    false: int

    @property
    def sensitivity(self) -> float | None:
        """Hits over beats of the class in the reference."""
        return ratio(self.hits, self.hits + self.misses)

    @property
    def predictivity(self) -> float | None:
        """Hits over beats called the class (positive predictivity, +P)."""
        return ratio(self.hits, self.hits + self.false)

    @property
    def f1(self) -> float | None:
        """Harmonic mean of the two; ``None`` where the reference has no beat of the class."""
        if self.hits + self.misses == 0:
            return None
        return ratio(2 * self.hits, 2 * self.hits + self.misses + self.false)


def ratio(part: int, whole: int) -> float | None:
    """Nothing of nothing is no share."""
    return part / whole if whole else None


@dataclass(frozen=True, eq=False)
class Confusion:
    """Counts of pairs, misses and extras; matrices of several records add up.

    Parameters
    ----------
    counts : (6, 6) int64
        Rows: reference N S V F Q and O (extras). Columns: test n s v f q and o (misses).
    """

    counts: NDArray[np.int64]

    @classmethod
    def empty(cls) -> Confusion:
        """No beat yet."""
        return cls(np.zeros((len(CLASSES) + 1, len(CLASSES) + 1), np.int64))

    def __add__(self, other: Confusion) -> Confusion:
        return Confusion(self.counts + other.counts)

    def score(self, name: str) -> Score:
        """Score of ``"QRS"`` or of a class."""
        pairs, missed, extra = self.counts[:-1, :-1], self.counts[:-1, -1], self.counts[-1, :-1]
        if name == "QRS":
            return Score(int(pairs.sum()), int(missed.sum()), int(extra.sum()))
        if name not in CLASSES:
            raise SignalError(f"no score called {name!r}: choose QRS or one of {', '.join(CLASSES)}")
        k = CLASSES.index(name)
        hits = int(self.counts[k, k])
        forgiven = sum(int(self.counts[CLASSES.index(c), k]) for c in FORGIVEN[name])
        return Score(hits, int(self.counts[k].sum()) - hits, int(self.counts[:, k].sum()) - forgiven)


def compare(
    reference: BeatList,
    test: BeatList,
    fs: float,
    *,
    start: int = 0,
    end: int | None = None,
    masks: Sequence[Interval] = (),
) -> Confusion:
    """Match two annotations of a record and count; the parameters are those of :func:`.match.match`.

    Raises
    ------
    SignalError
        If a label is not an AAMI class or samples do not ascend.
    """
    found = match(reference.sample, test.sample, fs, start=start, end=end, masks=masks)
    return confusion(reference.label, test.label, found)


def confusion(reference: NDArray[np.str_], test: NDArray[np.str_], found: Matches) -> Confusion:
    """Count matched beats by the labels of both sides."""
    rows, columns = _codes(reference, "reference"), _codes(test, "test")
    none, side = len(CLASSES), len(CLASSES) + 1
    cells = np.concatenate(
        [
            rows[found.pairs[:, 0]] * side + columns[found.pairs[:, 1]],
            rows[found.missed] * side + none,
            none * side + columns[found.extra],
        ]
    )
    counts = np.bincount(cells, minlength=side * side).astype(np.int64).reshape(side, side)
    return Confusion(counts)


def _codes(labels: NDArray[np.str_], whose: str) -> NDArray[np.intp]:
    """Labels to places in ``CLASSES``."""
    names, inverse = np.unique(labels, return_inverse=True)
    unknown = sorted(set(names.tolist()) - set(CLASSES))
    if unknown:
        known = ", ".join(CLASSES)
        raise SignalError(f"{whose} beats have labels {', '.join(unknown)}: map them to {known} first")
    return np.array([CLASSES.index(name) for name in names], dtype=np.intp)[inverse]
