"""Which errors two networks share, and which of them surely."""

from __future__ import annotations

import numpy as np
from disagreements import Said, count, rate  # tools/

from edgeecg.data.recording import TrainingRecord
from edgeecg.specs import BEAT_LABELS, MODEL_FS

N, S, V, F = (BEAT_LABELS.index(label) for label in "NSVF")


def record(labels: list[int]) -> TrainingRecord:
    """A beat a second."""
    beats = MODEL_FS * (1.0 + np.arange(len(labels)))
    signal = np.zeros((1, MODEL_FS * (len(labels) + 2)), np.float32)
    return TrainingRecord("r", "p", "svdb", signal, beats, np.array(labels))


def said(labels: list[int], sure: list[float], late: float = 0.0) -> Said:
    """What a network tells of these beats."""
    chances = np.zeros((len(labels), len(BEAT_LABELS)), np.float32)
    chances[np.arange(len(labels)), labels] = sure
    return Said(MODEL_FS * (1.0 + late + np.arange(len(labels))), np.array(labels), chances)


def test_an_error_is_as_sure_as_the_less_sure_of_both() -> None:
    truth = record([N, N, S, S, S])
    first = said([S, S, N, N, S], [0.95, 0.95, 0.8, 0.99, 0.9])
    second = said([S, N, N, N, S], [0.92, 0.95, 0.9, 0.75, 0.9])
    found = count(truth, first, second, S)
    assert (found["hits"], found["errors"], found["shared"]) == (1, 4, 3)
    assert (found["sure 0.9"], found["sure 0.9 false"]) == (1, 1)
    assert (found["sure 0.7"], found["sure 0.7 false"]) == (3, 1)
    assert rate(1, 4) == "33.3"


def test_a_fusion_beat_that_is_told_as_v_is_no_false_one() -> None:
    both = said([V, V], [0.95, 0.95])
    found = count(record([F, N]), both, both, V)
    assert (found["errors"], found["sure 0.9"]) == (1, 1)


def test_beats_that_one_side_has_not_are_left_out() -> None:
    truth, first = record([N, S]), said([S, S], [0.95, 0.95])
    assert count(truth, first, said([S, S], [0.95, 0.95], late=0.3), S)["errors"] == 0
    assert count(truth, first, said([S, S], [0.95, 0.95], late=0.1), S)["errors"] == 1
