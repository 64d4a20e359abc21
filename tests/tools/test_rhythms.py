"""What `tools/rhythms.py` counts."""

from __future__ import annotations

import numpy as np
import pytest
from choices import Heard
from rhythms import RHYTHMS, Counts, counts, row  # tools/

from edgeecg.data.replan import KINDS
from edgeecg.data.retime import retimed
from edgeecg.specs import BEAT_LABELS, MODEL_FS
from tests.tools.batches import some_records


def heard(places: np.ndarray, labels: np.ndarray, afib: float) -> Heard:
    """A network that is sure of these labels, and of so much fibrillation."""
    classes = 9 * np.eye(len(BEAT_LABELS), dtype=np.float32)[labels]
    level = np.full(len(places), afib, np.float32)
    return Heard(places, classes, classes, classes, level, np.ones_like(level))


def test_it_asks_for_rhythms_that_can_be_made() -> None:
    assert set(RHYTHMS) <= set(KINDS)


@pytest.mark.parametrize(("afib", "share"), [(0.1, 0.0), (0.9, 1.0)])
def test_what_is_told_is_counted_and_in_fibrillation_no_beat_is_s(afib: float, share: float) -> None:
    record = max(some_records(), key=lambda one: int((one.labels == 0).sum()))
    piece = retimed(record, 0, record.signal.shape[1], np.random.default_rng(1), only="sick sinus")
    true = counts(piece, heard(piece.beats, piece.labels, afib))
    inside = piece.labels[(piece.beats >= 20 * MODEL_FS) & (piece.beats <= piece.signal.shape[1] - MODEL_FS)]
    assert true.s == (inside == 1).sum() > 0
    assert true.n == (inside == 0).sum() > 0
    assert true.afib == share * true.beats
    assert true.n_told == 0
    assert (true.s_told > 0.8 * true.s) if share == 0 else (true.s_told == 0)


def test_a_row_sums_over_patients() -> None:
    told = [Counts(10, 5, 100, 1, 120, 0), Counts(30, 5, 0, 0, 80, 50)]
    assert row("x", told) == ["x", "40", "25.0", "1.0", "25.0"]
