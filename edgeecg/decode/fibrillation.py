"""In atrial fibrillation no beat is S: each comes early or late, and is N by the convention of the labels.

P(AFIB) of each beat is smoothed over some twenty beats; once that is at the bundle's limit, a beat that
would be S is told as N. Chosen on patients that the networks had not seen (docs/models/README.md).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edgeecg.specs import BEAT_LABELS

__all__ = ["burden", "initial", "without_s"]

BEATS = 20.0  # time constant
N, S = BEAT_LABELS.index("N"), BEAT_LABELS.index("S")
_KEEP = math.exp(-1 / BEATS)


def initial(rows: int) -> NDArray[np.float64]:
    """State ``(rows, 2)`` of streams without a beat: decayed sum and count of P(AFIB)."""
    return np.zeros((rows, 2))


def burden(probability: NDArray[np.float32], state: NDArray[np.float64]) -> NDArray[np.float64]:
    """Take in the next beat of every row.

    Parameters
    ----------
    probability : (rows,) float32
        P(AFIB) of the beat.
    state : (rows, 2) float64

    Returns
    -------
    The new state; the smoothed probability is its first column over its second.
    """
    return state * _KEEP + np.stack([probability, np.ones_like(probability)], axis=1)


def without_s(
    probabilities: NDArray[np.float32], smoothed: NDArray[np.float64], limit: float
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Labels of beats and their probabilities, S told as N in fibrillation.

    Parameters
    ----------
    probabilities : (beats, 5) float32
    smoothed : (beats,) float64
        Smoothed P(AFIB) up to each beat.
    limit : float
        From which on no beat is S.
    """
    label = probabilities.argmax(axis=1)
    chosen = probabilities[np.arange(len(label)), label]
    moved = (label == S) & (smoothed >= limit)
    return np.where(moved, N, label), np.where(moved, probabilities[:, N] + chosen, chosen)
