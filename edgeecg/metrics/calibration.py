"""Calibration of probabilities: of the beats said to be V with 0.9, are nine in ten V?

Only beats that have a partner in the reference are asked: a beat's probability is that of its label,
given that it is a beat.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.optimize
from numpy.typing import NDArray

from edgeecg.errors import SignalError

__all__ = [
    "BINS",
    "Bin",
    "Reliability",
    "by_label",
    "equal_widths",
    "fit_confidence",
    "platt",
    "reliability",
]

BINS = 15
FEWEST = 200  # beats told with a label from which on its confidence is fitted


@dataclass(frozen=True)
class Bin:
    """One bar of the reliability diagram: where it lies, how many beats, what was said, what was so."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Reliability:
    """Reliability diagram and its summary.

    Parameters
    ----------
    bins : tuple of Bin
        Those that hold a beat, ascending.
    ece : float
        Expected calibration error: mean distance of accuracy and confidence, weighted by count.
    worst : float
        Largest distance in a bin.
    brier : float
        Mean squared distance of probability and outcome.
    count : int
        Beats in all bins.
    """

    bins: tuple[Bin, ...]
    ece: float
    worst: float
    brier: float
    count: int


def equal_widths(bins: int = BINS) -> NDArray[np.float64]:
    """Edges of ``bins`` bins of one width over 0..1: ``(bins + 1,)``."""
    return np.linspace(0.0, 1.0, bins + 1)


def reliability(
    probability: NDArray[np.float64],
    outcome: NDArray[np.bool_],
    edges: NDArray[np.float64] | None = None,
) -> Reliability:
    """Reliability of ``(n,)`` probabilities of something that was so or not.

    Parameters
    ----------
    probability : (n,) float, 0 to 1
    outcome : (n,) bool
    edges : (bins + 1,) float, optional
        Ascending from 0 to 1; equal widths by default.

    Raises
    ------
    SignalError
        If there is nothing to bin, the columns differ in length or a probability is outside 0..1.
    """
    if len(probability) == 0 or len(probability) != len(outcome):
        raise SignalError(
            f"reliability needs as many outcomes as probabilities and at least one, "
            f"got {len(probability)} and {len(outcome)}"
        )
    if not np.all((probability >= 0) & (probability <= 1)):  # NaN fails both
        raise SignalError("reliability needs probabilities between 0 and 1: apply a softmax or sigmoid first")
    borders = equal_widths() if edges is None else edges
    place = np.clip(np.searchsorted(borders, probability, side="right") - 1, 0, len(borders) - 2)
    size = len(borders) - 1
    count = np.bincount(place, minlength=size)
    filled = np.flatnonzero(count)
    said = np.bincount(place, probability, size)[filled] / count[filled]
    was = np.bincount(place, outcome.astype(np.float64), size)[filled] / count[filled]
    off = np.abs(said - was)
    return Reliability(
        bins=tuple(
            Bin(float(borders[k]), float(borders[k + 1]), int(count[k]), float(s), float(w))
            for k, s, w in zip(filled, said, was, strict=True)
        ),
        ece=float(off @ count[filled] / len(probability)),
        worst=float(off.max()),
        brier=float(np.mean((probability - outcome) ** 2)),
        count=len(probability),
    )


def by_label(
    probability: NDArray[np.float64], label: NDArray[np.str_], reference: NDArray[np.str_]
) -> dict[str, Reliability]:
    """Reliability of what was said, for all beats (``"all"``) and for each label said.

    Parameters
    ----------
    probability : (n,) float
        Of the label said.
    label, reference : (n,) str
        The label said and the true one, in the same alphabet.
    """
    right = label == reference
    if len(probability) == 0:
        return {}
    curves = {"all": reliability(probability, right)}
    for name in np.unique(label).tolist():
        said = label == name
        curves[name] = reliability(probability[said], right[said])
    return curves


def platt(probability: NDArray[np.float64], outcome: NDArray[np.bool_]) -> tuple[float, float]:
    """Slope and offset of the log odds under which what happened is likeliest.

    Platt, *Probabilistic outputs for support vector machines*, 1999; one beat's worth of belief in the line
    that changes nothing keeps it finite.

    Parameters
    ----------
    probability : (n,) float, 0 to 1
    outcome : (n,) bool
    """
    p = np.clip(probability, 1e-6, 1 - 1e-6)
    odds, sign = np.log(p) - np.log1p(-p), np.where(outcome, 1.0, -1.0)

    def loss(line: NDArray[np.float64]) -> float:
        unlikely = np.logaddexp(0, -sign * (np.exp(line[0]) * odds + line[1]))
        return float(unlikely.sum() + 0.5 * line @ line)

    found = scipy.optimize.minimize(loss, np.zeros(2), method="BFGS")
    return float(np.exp(found.x[0])), float(found.x[1])


def fit_confidence(
    probability: NDArray[np.float64], label: NDArray[np.str_], reference: NDArray[np.str_]
) -> dict[str, tuple[float, float]]:
    """Slope and offset for each label that was told often enough: ``Thresholds.confidence`` of a bundle.

    Parameters
    ----------
    probability : (n,) float
        Of the label said, as the softmax gave it.
    label, reference : (n,) str
        The label said and the true one, of held-out patients.
    """
    lines = {}
    for name in np.unique(label).tolist():
        said = label == name
        if said.sum() >= FEWEST:
            lines[name] = platt(probability[said], (label == reference)[said])
    return lines
