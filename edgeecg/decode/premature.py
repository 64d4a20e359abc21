"""S by its time: a beat that does not come early is none.

An S is *premature*: it comes before the sinus would have sent the next beat. When the sinus itself is fast,
in exercise say, P lies on the T before and looks like the P of an S; but no beat comes early against those
before. So an S must come ``EARLY`` against the beat before it, and either ``EARLY`` against what was usual or
far sooner than after the *pauses* of this rhythm: where most beats are S, as in a sick sinus, they are what
is usual. Or it follows an S that did while the rhythm stays ``FASTER`` than before that one, or it comes in
little more than half a pause, whatever was before: the first S of a run may not have been heard. Bigeminy,
which has a rule of its own (`edgeecg.decode.supraventricular`), is left alone, and so are beats behind which
too little is known; a stream that begins within a run of S hears it until it knows nothing else.

What it takes and gives: docs/models/decisions.md, docs/ablations.md.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgeecg.decode.rr import median
from edgeecg.specs import BEAT_LABELS

__all__ = ["NO_RUN", "late"]

N, S = BEAT_LABELS.index("N"), BEAT_LABELS.index("S")

EARLY = 0.92
"""Longest interval of an S that follows no other, in usual ones, and in that of the beat before."""

BEHIND_PAUSE = 0.7
"""Longest interval of an S that comes early against pauses only, in pauses."""

DEEP = 0.55
"""Longest interval of an S that is early against pauses alone, in pauses."""

PAUSES = 2
"""Which of the intervals known is the pause, from the longest on: one alone may be a beat that was missed."""

FASTER = 0.95
"""Longest interval of an S that follows another, in those that were usual before the first of them."""

USUAL = 8
"""Intervals whose median is the usual one."""

NO_RUN = np.nan
"""In place of what was usual before a run of S: there is none."""


def late(
    labels: NDArray[np.intp], intervals: NDArray[np.float64], bigeminal: NDArray[np.bool_], before: float
) -> tuple[list[int], float]:
    """Which S of a row come too late to be S.

    Parameters
    ----------
    labels : (beats,) int
        Of the beats in order, as the network and the other rules about S have it.
    intervals : (beats, HISTORY + 1) seconds
        As :func:`edgeecg.decode.rr.past_intervals` gives them.
    bigeminal : (beats,) bool
        As :func:`edgeecg.decode.supraventricular.alternating` gives it.
    before : float
        Seconds that were usual before the run of S in which the beat before the first of these stands;
        ``NO_RUN`` where it stands in none.

    Returns
    -------
    Places of the beats, and ``before`` for the beat that follows.
    """
    recent = intervals[:, -USUAL - 1 :]
    known = np.isfinite(recent.sum(axis=1)).tolist()
    usual: list[float] = median(recent[:, :-1]).tolist()
    longest = np.partition(np.nan_to_num(intervals[:, :-1]), -PAUSES, axis=1)[:, -PAUSES]
    paused: list[float] = (BEHIND_PAUSE * longest).tolist()
    deep = (recent[:, -1] < DEEP * longest).tolist()
    places = []
    for place, (label, last, interval) in enumerate(
        zip(labels.tolist(), recent[:, -2].tolist(), recent[:, -1].tolist(), strict=True)
    ):
        if label == N:
            before = before if interval < FASTER * before else NO_RUN  # one N ends no run that goes on
        elif label != S or not known[place]:
            continue
        elif bigeminal[place]:
            before = usual[place] if np.isnan(before) else before
        elif interval < FASTER * before:
            continue
        elif interval < EARLY * min(last, usual[place]):
            before = usual[place]
        elif interval < min(EARLY * last, paused[place]):
            before = min(last, paused[place] / FASTER)
        elif not deep[place]:
            places.append(place)
            before = NO_RUN
    return places, before
