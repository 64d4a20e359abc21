"""V by rhythm: a run of V goes on while its beats go on alike.

The network looks back on some thirty beats. In a tachycardia that lasts it sees nothing else any more, takes
the fast rhythm for the patient's own, and calls the beats N or S. So behind ``LEAST`` V in a row a beat stays
V while its interval is that of the run and its shape, which the token encoder tells of each beat by itself,
is not that of an N. It ends with the first beat that is slower, faster or narrow.

Training knows such runs of a dozen beats only, and no patient of the development data has a longer one that
is fast: what the rule was chosen on is made from their beats (``tools/stress.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from edgeecg.specs import BEAT_LABELS

__all__ = ["LEAST", "alike", "sustained"]

N, V = BEAT_LABELS.index("N"), BEAT_LABELS.index("V")

LEAST = 10
"""V in a row that make a run which goes on."""

LONGEST = 0.6
"""Seconds: a slower rhythm than 100 a minute is told by the network alone."""

ALIKE = 0.2
"""Most that an interval differs from the median of the run's last ``WINDOW``."""

WINDOW = 8

WIDE = 0.06
"""Least probability of a V's shape against an N's."""


def alike(intervals: NDArray[np.float64], shape: float) -> bool:
    """Whether a beat goes on the run before it.

    Parameters
    ----------
    intervals : (HISTORY + 1,) seconds
        The last one ends at the beat.
    shape : float
        Probability of a V's shape against an N's.
    """
    usual = float(np.median(intervals[-WINDOW - 1 : -1]))
    return bool(intervals[-1] < LONGEST and abs(intervals[-1] - usual) < ALIKE * usual and shape > WIDE)


def sustained(labels: Sequence[int], run: int, goes_on: Callable[[int], bool]) -> tuple[list[int], int]:
    """Which beats of a row are V because a run goes on.

    Parameters
    ----------
    labels : sequence of int
        Of the beats in order, as the network and the other rules have it.
    run : int
        V in a row before the first of them.
    goes_on : callable
        Asked of a beat's place in ``labels``: whether it is :func:`alike`.

    Returns
    -------
    Places of the beats, and V in a row at the end.
    """
    kept = []
    for place, label in enumerate(labels):
        if label == V:
            run += 1
        elif run >= LEAST and goes_on(place):
            kept.append(place)
            run += 1
        else:
            run = 0
    return kept, run
