"""P(AFIB) of each beat, smoothed over some twenty beats; at the bundle's limit, no beat is S any more."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

__all__ = ["BEATS", "burden", "burdens", "initial", "smoothed"]

BEATS = 20.0  # time constant
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


def burdens(
    probability: NDArray[np.float32], state: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """As :func:`burden` for beats that follow each other in one row: to the same numbers, all at once.

    Parameters
    ----------
    probability : (beats,) float32
    state : (2,) float64

    Returns
    -------
    The smoothed probability at each beat ``(beats,)``, and the state behind the last.
    """
    both = np.stack([probability, np.ones_like(probability)]).astype(np.float64)
    sums, _ = lfilter([1.0], [1.0, -_KEEP], both, axis=1, zi=_KEEP * state[:, None])
    return np.asarray(sums[0] / sums[1]), np.asarray(sums[:, -1] if len(probability) else state)


def smoothed(probability: NDArray[np.float32]) -> NDArray[np.float64]:
    """The smoothed probability at each beat ``(beats,)`` of one stream, from its first beat on."""
    return burdens(probability, initial(1)[0])[0]
