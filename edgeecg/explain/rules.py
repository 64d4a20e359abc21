"""What is told of each beat of a trace: the network's label, or another one by a rule, which is named.

The rules are the stream's own (`edgeecg.decode`: `supraventricular`, `premature`, `ventricular`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeecg.decode.fibrillation import smoothed
from edgeecg.decode.premature import NO_RUN, late
from edgeecg.decode.rr import past_intervals
from edgeecg.decode.supraventricular import alternating, behind_interpolated, told
from edgeecg.decode.ventricular import alike, sustained
from edgeecg.specs import BEAT_LABELS, MODEL_FS

__all__ = ["RULES", "Verdict", "judge"]

N, S, V = (BEAT_LABELS.index(label) for label in "NSV")

RULES = {
    "fibrillation": "no beat is S in atrial fibrillation",
    "interpolated": "it follows an interpolated V, no earlier than it was due",
    "late": "it does not come early, nor follows a beat that did in a rhythm that is still faster",
    "bigeminy": "short and long intervals in turn, again and again, are bigeminy",
    "run": "a run of V goes on while its beats go on alike",
}
"""The rules about S and V, in words."""


@dataclass(frozen=True, eq=False)
class Verdict:
    """What is told of each beat of a trace, and why where the network by itself said something else.

    Parameters
    ----------
    labels : list of str
        As the stream tells them.
    probability : (b,) float32
        Of that label, before the correction of ``thresholds.confidence``.
    network : list of str
        The label that the network gave.
    rule : list of str
        The one of ``RULES`` that told another label; empty where none did.
    """

    labels: list[str]
    probability: NDArray[np.float32]
    network: list[str]
    rule: list[str]


def judge(
    classes: NDArray[np.float32],
    fibrillation: NDArray[np.float64],
    place: NDArray[np.float64],
    shape: NDArray[np.float32],
    limit: float,
) -> Verdict:
    """Labels of the beats of a trace; the arguments are its own, a row or value each."""
    exp = np.exp(classes - classes.max(axis=1, keepdims=True))
    before = np.concatenate([[-1], classes.argmax(axis=1)])[: len(classes)]
    intervals = past_intervals(place / MODEL_FS)
    fibrillates = smoothed(fibrillation.astype(np.float32)) >= limit
    interpolated = behind_interpolated(before, intervals)
    chances = exp / exp.sum(axis=1, keepdims=True)
    bigeminal = alternating(intervals)
    label, chance = told(chances, fibrillates | interpolated, bigeminal)
    own = classes.argmax(axis=1)
    to_n = np.where(fibrillates, "fibrillation", "interpolated")
    rule = np.where(label == own, "", np.where(own == S, to_n, "bigeminy"))
    normal, _ = late(label, intervals, bigeminal, NO_RUN)
    chance[normal] += chances[normal, N]
    label[normal], rule[normal] = N, "late"
    kept, _ = sustained(label.tolist(), 0, lambda beat: alike(intervals[beat], float(shape[beat])))
    chance[kept] += chances[kept, V]
    label[kept], rule[kept] = V, "run"
    return Verdict(
        labels=[BEAT_LABELS[i] for i in label],
        probability=chance,
        network=[BEAT_LABELS[i] for i in own],
        rule=rule.tolist(),
    )
