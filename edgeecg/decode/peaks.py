"""Beat scores of tokens to beats: a local peak that holds enough probability.

An R peak near the border of two tokens shares its probability between them, so the *mass* of a peak
is summed over its neighbours; the peak itself must lead ``REACH`` tokens on both sides, which is
also the refractory time (3 tokens, 188 ms). Noise holds some of it too, so where the signal is noisy a
beat needs more (:func:`clear`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeecg.specs import REACH

__all__ = ["INSIDE", "REACH", "PeakState", "Peaks", "clear", "initial", "step"]

INSIDE = 0.999
"""Largest offset of a beat, in tokens: it stays inside its own."""


class PeakState(NamedTuple):
    """``scores``: beat probabilities of the last ``2 * REACH`` tokens ``(rows, 4)``; 0 before the start."""

    scores: NDArray[np.float32]


class Peaks(NamedTuple):
    """Beats found, row-major.

    ``row``; ``column``: token within the step *minus* ``REACH`` (negative: a token of an earlier
    step); ``mass``: probability, 0 to 1.
    """

    row: NDArray[np.intp]
    column: NDArray[np.intp]
    mass: NDArray[np.float32]


def initial(rows: int) -> PeakState:
    """State of rows that have seen no token."""
    return PeakState(np.zeros((rows, 2 * REACH), np.float32))


def step(scores: NDArray[np.float32], state: PeakState, threshold: float) -> tuple[Peaks, PeakState]:
    """Find the beats among ``(rows, tokens)`` probabilities that follow those before.

    A beat in column ``c`` of the step is told when column ``c + REACH`` has come.
    """
    row_scores = np.concatenate([state.scores, scores], axis=1)
    tokens = scores.shape[1]
    centre = row_scores[:, REACH : REACH + tokens]
    leads = np.ones(centre.shape, dtype=bool)
    for shift in range(1, REACH + 1):  # of equal scores the earlier one leads
        leads &= centre > row_scores[:, REACH - shift : REACH - shift + tokens]
        leads &= centre >= row_scores[:, REACH + shift : REACH + shift + tokens]
    mass = (
        row_scores[:, REACH - 1 : REACH - 1 + tokens] + centre + row_scores[:, REACH + 1 : REACH + 1 + tokens]
    )
    row, column = np.nonzero(leads & (mass >= threshold))
    peaks = Peaks(row, column - REACH, np.minimum(mass[row, column], np.float32(1)))
    return peaks, PeakState(row_scores[:, tokens:])


def clear(
    mass: NDArray[np.float32], quality: NDArray[np.float32], threshold: float, noise: float
) -> NDArray[np.bool_]:
    """Which peaks hold enough mass for the quality of the signal at them, 0 to 1.

    Where it is 1 ``threshold`` is enough, where it is 0 ``noise`` is asked on top; between, in proportion.
    """
    enough: NDArray[np.bool_] = mass >= threshold + noise * (1 - quality)
    return enough
