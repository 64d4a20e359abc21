"""S by rhythm: three rules where the network has seen too few examples to say it by itself.

* In atrial fibrillation each beat comes early or late, and is N by the convention of the labels: no S there.
* The sinus beat behind an *interpolated* V comes early after the V, but on time after the beat before: both
  intervals around the V make one. It is no S.
* Intervals that are short and long in turn, again and again, are bigeminy and no sinus rhythm, however little
  the short ones differ: where the beats that end them would be N, and S is not out of question, they are S.

Chosen on patients that the networks had not seen (docs/models/decisions.md, docs/ablations.md).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgeecg.decode.rr import RR_RANGE, median
from edgeecg.specs import BEAT_LABELS

__all__ = ["alternating", "behind_interpolated", "told"]

N, S, V = (BEAT_LABELS.index(label) for label in "NSV")
ON_TIME = (0.9, 1.2)
"""Both intervals around an interpolated V, in usual ones; the beat behind it is mostly a little late."""

TURNS = 10
"""Changes from long to short and back in a row that make bigeminy."""

STEP = 0.08
"""Least logarithm of a change: the short interval is 8 % shorter than the long one."""

POSSIBLE = 0.02
"""Least P(S) of a beat that is S because its rhythm says so."""


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


def alternating(intervals: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which beats end a short interval after :data:`TURNS` of short and long in turn.

    Parameters
    ----------
    intervals : (beats, HISTORY + 1) seconds
    """
    change = np.diff(np.log(np.clip(intervals[:, -TURNS - 2 :], *RR_RANGE)), axis=1)
    turns = (change[:, 1:] * change[:, :-1] < 0) & (np.abs(change[:, 1:]) > STEP)
    return np.asarray(turns.all(axis=1) & (change[:, -1] < 0))


def told(
    probabilities: NDArray[np.float32], never: NDArray[np.bool_], bigeminal: NDArray[np.bool_]
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Labels of beats and their probabilities, by the network and by the rules about S.

    A beat that goes from S to N or back takes the probability of both along.

    Parameters
    ----------
    probabilities : (beats, 5) float32
    never : (beats,) bool
        Where no beat is S: in fibrillation, behind an interpolated V.
    bigeminal : (beats,) bool
        As :func:`alternating` gives it.
    """
    label = probabilities.argmax(axis=1)
    possible = bigeminal & ~never & (probabilities[:, S] >= POSSIBLE)
    to_n, to_s = (label == S) & never, (label == N) & possible
    either = probabilities[:, N] + probabilities[:, S]
    chosen = np.where(to_n | to_s, either, probabilities[np.arange(len(label)), label])
    return np.where(to_n, N, np.where(to_s, S, label)), chosen
