"""Figures for watching a run: which recordings count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from edgeecg.data.recording import TrainingRecord
from edgeecg.model import validate as validating
from edgeecg.model.annotate import Found
from edgeecg.specs import BEAT_LABELS


def record(name: str, labels: str, source: str = "mitdb") -> TrainingRecord:
    beats = 100.0 + 100 * np.arange(len(labels))
    classes = np.array([BEAT_LABELS.index(label) for label in labels])
    return TrainingRecord(name, name, source, np.zeros((1, 2000), np.float32), beats, classes)


def all_v(record: TrainingRecord) -> Found:
    """Every beat is found, and called V."""
    classes = np.eye(len(BEAT_LABELS), dtype=np.float32)[[BEAT_LABELS.index("V")] * len(record.beats)]
    rest = np.empty(0, np.float32)
    return Found(record.beats, classes, np.zeros((len(record.beats), 2), np.float32), rest)


def figures(records: Sequence[TrainingRecord], monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    monkeypatch.setattr(validating, "annotate_records", lambda network, windows, some: [*map(all_v, some)])
    return validating.validate(None, None, records)  # type: ignore[arg-type]


def test_recordings_with_paced_beats_count_for_no_figure_of_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    usual, paced = record("mitdb/100", "NVVS"), record("mitdb/217", "PPNVVVSSSS")
    alone = figures([usual], monkeypatch)
    assert alone == {"mitdb/QRS F1": 1.0, "mitdb/V F1": pytest.approx(4 / 6), "mitdb/S F1": 0.0}
    assert figures([usual, paced], monkeypatch) == alone
    assert figures([paced], monkeypatch) == {}


def test_a_rhythm_counts_whoever_is_paced(monkeypatch: pytest.MonkeyPatch) -> None:
    paced = replace(record("mine/1", "PPVV", "mine"), weak_rhythm=1)
    assert figures([paced], monkeypatch) == {"mine/AF F1": 0.0}
