"""Variants of one network: the same batches for all, and every held-out beat is counted once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
import ablations  # tools/
from ablations import What, contexts, figures, latencies, minutes, trained
from stages import hidden  # tools/

from edgeecg.data.prepare import TrainingData, load_training_data
from edgeecg.data.settings import DataSettings
from edgeecg.metrics.beats import Confusion
from edgeecg.model.config import OptimSettings, TrainConfig
from edgeecg.model.presets import preset
from edgeecg.specs import BEAT_LABELS, MODEL_FS

MINUTE = 60 * MODEL_FS
SETS = {"mitdb": 0.8, "synthetic": 0.2}
CONFIG = TrainConfig(
    preset="nano", data=DataSettings(sets=SETS), optim=OptimSettings(steps=1, batch=2, seconds=10)
)


@pytest.fixture(scope="module")
def made() -> TrainingData:
    """Four patients as if of mitdb, the last one paced, and two synthetic ones."""
    made = load_training_data(DataSettings(synthetic_patients=6, synthetic_seconds=150), seed=0)
    patients = [replace(record, source="mitdb") for record in made.training[:4]]
    patients[3] = replace(patients[3], labels=np.full_like(patients[3].labels, BEAT_LABELS.index("P")))
    return replace(made, training=[*patients, *made.training[4:]])


def test_a_recording_falls_into_its_whole_minutes(made: TrainingData) -> None:
    record = replace(made.training[0], masked=np.array([[MINUTE + 10.0, MINUTE + 20.0]]))
    first, second = minutes(record)
    assert first.signal.shape[1] == second.signal.shape[1] == MINUTE
    np.testing.assert_array_equal(second.signal, record.signal[:, MINUTE : 2 * MINUTE])
    together = np.concatenate([first.beats, second.beats + MINUTE])
    np.testing.assert_array_equal(together, record.beats[record.beats < 2 * MINUTE])
    np.testing.assert_array_equal(
        np.concatenate([first.labels, second.labels]), record.labels[: len(together)]
    )
    np.testing.assert_array_equal(second.masked, [[10, 20]])


def test_variants_see_the_same_batches_and_every_held_out_beat_is_counted(
    made: TrainingData, tmp_path: Path
) -> None:
    away = [hidden(made.training, fold, 2) for fold in range(2)]
    assert sorted(number for fold in away for number in fold) == [
        0,
        1,
        2,
        3,
    ]  # synthetic ones are everybody's
    plain = preset("nano")
    one, other, same = trained([plain, replace(plain, positions="none"), plain], CONFIG, made, away, tmp_path)
    for a, b, c, fold in zip(one, other, same, away, strict=True):
        np.testing.assert_array_equal(a.counts, c.counts)
        assert (a.counts != b.counts).any()
        beats = sum(len(m.beats) for number in fold - {3} for m in minutes(made.training[number]))
        for counts in (a, b):
            assert (
                counts.score("QRS").hits + counts.score("QRS").misses == beats
            )  # but for those of the pacer


def test_figures_are_of_all_groups_with_the_spread_over_them() -> None:
    groups = []
    for hits, misses in ((9, 1), (5, 5)):
        counts = np.zeros((6, 6), np.int64)
        counts[0, 0], counts[0, -1] = hits, misses
        groups.append(Confusion(counts))
    qrs, v, s = figures(groups)
    f1 = [100 * 2 * hits / (2 * hits + misses) for hits, misses in ((9, 1), (5, 5))]
    assert qrs == f"{100 * 28 / 34:.1f} ± {np.std(f1):.1f}"
    assert v == s == "0.0 ± 0.0"


def test_a_variant_differs_in_what_it_is_called_after() -> None:
    plain = preset("nano")
    assert contexts()["rotary, 48 back (as shipped)"] == plain
    assert contexts()["12 back"] == replace(plain, token=replace(plain.token, left=12))
    for name, spec in latencies().items():
        assert name.startswith(f"{spec.latency_tokens / 16:.2f} s")
        assert spec == replace(plain, token=spec.token, delay=spec.delay)


def test_a_row_for_each_variant(
    made: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The latencies, each trained by itself: their batches differ in what is decided when."""
    monkeypatch.setattr(ablations, "load_training_data", lambda *_: made)
    ablations.ablations(What.latency, tmp_path, out=tmp_path / "out", steps=1, folds=2)
    shown = capsys.readouterr().out
    for name in latencies():
        assert f"{name.partition(' s')[0]} s" in shown
    assert shown.count("±") == 3 * len(latencies()) + 1  # the title's too
