"""When no beat is S, whatever the network says: two rules about rhythm of which it has seen too few examples.

In atrial fibrillation each beat comes early or late, and is N by the convention of the labels. And the sinus
beat behind an *interpolated* V comes early after the V, but on time after the beat before: the two intervals
around the V make one. What would be S is told as N then. Chosen on patients that the networks had not seen
(docs/models/README.md).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgeecg.decode.rr import median
from edgeecg.specs import BEAT_LABELS

__all__ = ["behind_interpolated", "without_s"]

N, S, V = (BEAT_LABELS.index(label) for label in "NSV")
ON_TIME = (0.9, 1.2)
"""Both intervals around an interpolated V, in usual ones; the beat behind it is mostly a little late."""


def behind_interpolated(before: NDArray[np.intp], intervals: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which beats come behind a V, and no earlier than the beat that was due.

    Parameters
    ----------
    before : (beats,) int
        Label of the beat before each; negative where there is none.
    intervals : (beats, HISTORY + 1) seconds
        As :func:`edgeecg.decode.rr.past_intervals` gives them.
    """
    both = intervals[:, -1] + intervals[:, -2]
    usual = median(intervals[:, :-1])
    low, high = ON_TIME
    return np.asarray((before == V) & (low * usual <= both) & (both <= high * usual))


def without_s(
    probabilities: NDArray[np.float32], never: NDArray[np.bool_]
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Labels of beats and their probabilities; S is told as N where it cannot be.

    Parameters
    ----------
    probabilities : (beats, 5) float32
    never : (beats,) bool
        Where no beat is S.
    """
    label = probabilities.argmax(axis=1)
    chosen = probabilities[np.arange(len(label)), label]
    moved = (label == S) & never
    return np.where(moved, N, label), np.where(moved, probabilities[:, N] + chosen, chosen)
