"""Percentile bootstrap over patients: how far would a figure move had other patients been recorded?

The patient is the unit, not the beat and not the record: a statistic is a function of how often each
patient was drawn. All draws are computed at once.

Draws can only vary what they draw from: where one patient has a class, every draw gives his figure, and the
interval would have no width however little is known. ``docs/evaluation.md`` says what intervals of few hold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgeecg.errors import SignalError

__all__ = ["DRAWS", "FEW", "Estimate", "Statistic", "difference", "estimate", "f1", "ratio"]

DRAWS = 2000
LEVEL = 0.95

FEW = 5
"""Intervals of fewer contributing patients are far too narrow."""


@dataclass(frozen=True, eq=False)
class Statistic:
    """A figure over patients, as a function of how often each was drawn.

    Parameters
    ----------
    of : callable
        ``(draws, patients)`` how often each patient was drawn, to ``(draws,)`` values; NaN where undefined.
    contributing : NDArray[np.bool_]
        ``(patients,)``: in whom there is something to compute it from.
    """

    of: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    contributing: NDArray[np.bool_]

    def __call__(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """The values of these draws."""
        return self.of(weights)


@dataclass(frozen=True)
class Estimate:
    """A figure and its bootstrap interval.

    Parameters
    ----------
    value : float or None
        The figure over the patients as they are; ``None`` where it is undefined.
    low, high : float or None
        Percentile interval; ``None`` where fewer than two patients contribute.
    patients : int
        How many were drawn from.
    contributing : int, optional
        How many of them have something to compute the figure from; ``None`` in older reports.
    """

    value: float | None
    low: float | None
    high: float | None
    patients: int
    contributing: int | None = None


def _weights(patients: int, draws: int, seed: int) -> NDArray[np.float64]:
    source = np.random.default_rng(seed)
    return source.multinomial(patients, np.full(patients, 1 / patients), size=draws).astype(np.float64)


def estimate(
    statistic: Statistic, patients: int, *, draws: int = DRAWS, seed: int = 0, level: float = LEVEL
) -> Estimate:
    """A statistic over patients with its percentile interval.

    Draws in which the statistic is undefined (no patient of the class was drawn) are left out.

    Raises
    ------
    SignalError
        If there is no patient, or ``level`` is not between 0 and 1.
    """
    if patients < 1 or not 0 < level < 1:
        raise SignalError(f"a bootstrap needs a patient and a level in 0..1, got {patients} and {level}")
    value = float(statistic(np.ones((1, patients)))[0])
    contributing = int(statistic.contributing.sum())
    if not np.isfinite(value):
        return Estimate(None, None, None, patients, contributing)
    if contributing < 2:
        return Estimate(value, None, None, patients, contributing)
    drawn = statistic(_weights(patients, draws, seed))
    low, high = np.nanquantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(value, float(low), float(high), patients, contributing)


def difference(
    first: Statistic,
    second: Statistic,
    patients: int,
    *,
    draws: int = DRAWS,
    seed: int = 0,
    level: float = LEVEL,
) -> Estimate:
    """Paired: ``second - first`` over the same draws of the same patients.

    Those contribute who contribute to both. A loss of ``second`` is real where the interval's ``high`` is
    below 0.
    """
    change = Statistic(
        lambda weights: second(weights) - first(weights), first.contributing & second.contributing
    )
    return estimate(change, patients, draws=draws, seed=seed, level=level)


def ratio(part: ArrayLike, whole: ArrayLike) -> Statistic:
    """Gross ratio: the sum of ``part`` over the sum of ``whole``, both ``(patients,)``."""
    parts, wholes = np.asarray(part, np.float64), np.asarray(whole, np.float64)

    def statistic(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        below = weights @ wholes
        quotient: NDArray[np.float64] = (weights @ parts) / np.where(below > 0, below, np.nan)
        return quotient

    return Statistic(statistic, wholes > 0)


def f1(hits: ArrayLike, misses: ArrayLike, false: ArrayLike) -> Statistic:
    """Gross F1 from counts per patient ``(patients,)``; undefined without a beat of the class.

    Who has none of the class does not contribute, whatever was told falsely of him.
    """
    hit, miss, wrong = (np.asarray(counts, np.float64) for counts in (hits, misses, false))
    quotient = ratio(2 * hit, 2 * hit + miss + wrong)

    def statistic(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        present = weights @ (hit + miss) > 0
        return np.where(present, quotient(weights), np.nan)

    return Statistic(statistic, hit + miss > 0)
