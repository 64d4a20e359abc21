"""Stretches put into recordings: labels stand where the waves do, and nothing else is changed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgeecg.data.augment import AugmentSettings, clipped, glitches
from edgeecg.data.dataset import Windows
from edgeecg.data.insert import N, V, inserted
from edgeecg.data.prepare import load_training_data
from edgeecg.data.recording import UNKNOWN, TrainingRecord
from edgeecg.data.settings import DataSettings
from edgeecg.model.presets import preset
from edgeecg.specs import MODEL_FS, SignalSpec

SPAN = 60 * MODEL_FS


@pytest.fixture(scope="module")
def records() -> list[TrainingRecord]:
    return load_training_data(DataSettings(synthetic_patients=12, synthetic_seconds=120), seed=0).training


def with_v(records: list[TrainingRecord]) -> TrainingRecord:
    """Some of its beats are V, and the sinus leads."""
    return max(records, key=lambda r: int((r.labels == V).sum()) if not len(r.ectopic) else -1)


def longest_run(labels: np.ndarray) -> int:
    best = run = 0
    for label in labels.tolist():
        run = run + 1 if label == V else 0
        best = max(best, run)
    return best


def test_a_patients_own_v_last(records: list[TrainingRecord]) -> None:
    record = with_v(records)
    longest, peaks = 0, []
    for seed in range(30):
        piece = inserted(record, 0, SPAN, np.random.default_rng(seed))
        assert piece.signal.shape == (len(record.signal), SPAN)
        assert (np.diff(piece.beats) > 0).all()
        assert len(piece.beats) == len(piece.labels)
        assert piece.beats.max() < SPAN
        longest = max(longest, longest_run(piece.labels))
        at = np.flatnonzero(piece.labels == V)
        places = np.rint(piece.beats[at]).astype(int)
        for place in places[(places > 10) & (places < SPAN - 10)]:
            window = np.abs(piece.signal[0, place - 10 : place + 11] - np.median(piece.signal[0]))
            peaks.append(window.max())
    assert longest > 40
    real = record.signal[0, np.rint(record.beats[record.labels == V]).astype(int)]
    assert np.median(peaks) > 0.5 * np.median(np.abs(real - np.median(record.signal[0])))


def test_a_heart_stands_still(records: list[TrainingRecord]) -> None:
    plain = next(r for r in records if (r.labels == N).all() and not len(r.ectopic))
    pauses = []
    for seed in range(30):
        piece = inserted(plain, 0, SPAN, np.random.default_rng(seed))
        gap = int(np.argmax(np.diff(piece.beats)))
        pauses.append(np.diff(piece.beats)[gap] / MODEL_FS)
        if pauses[-1] > 4:
            start, end = (int(place) for place in piece.beats[gap : gap + 2])
            quiet = piece.signal[0, start + MODEL_FS : end - MODEL_FS]
            assert np.ptp(quiet) < 0.7 * np.ptp(plain.signal[0])
    assert max(pauses) > 8


def test_what_stood_behind_comes_later_unchanged(records: list[TrainingRecord]) -> None:
    record = with_v(records)
    for seed in range(10):
        piece = inserted(record, 0, record.signal.shape[1] + 90 * MODEL_FS, np.random.default_rng(seed))
        extra = piece.signal.shape[1] - record.signal.shape[1]
        assert extra > 0
        assert np.array_equal(piece.signal[:, -5 * MODEL_FS :], record.signal[:, -5 * MODEL_FS :])
        assert np.array_equal(piece.beats[-3:], record.beats[-3:] + extra)
        assert np.array_equal(piece.labels[-3:], record.labels[-3:])


def test_nothing_is_put_where_nobody_knows(records: list[TrainingRecord]) -> None:
    record = with_v(records)
    unlabelled = replace(record, complete=False, labels=np.full(len(record.beats), UNKNOWN))
    ill = replace(record, ectopic=np.array([[0.0, record.signal.shape[1]]]))
    for each in (unlabelled, ill):
        piece = inserted(each, 256, SPAN, np.random.default_rng(0))
        assert np.array_equal(piece.signal, record.signal[:, 256 : 256 + SPAN])
        assert np.array_equal(
            piece.beats, record.beats[(record.beats >= 256) & (record.beats < 256 + SPAN)] - 256
        )


def test_single_samples_are_wrong_and_no_others() -> None:
    wrong = glitches(SPAN, np.random.default_rng(0))
    places = np.flatnonzero(wrong)
    assert 1 <= len(places) < SPAN / MODEL_FS
    assert ((np.abs(wrong[places]) >= 0.1) & (np.abs(wrong[places]) <= 3)).all()


def test_a_recorder_cuts_peaks_off(records: list[TrainingRecord]) -> None:
    lead = records[0].signal[0].astype(np.float64)
    for seed in range(6):
        cut = clipped(lead, np.ptp(lead), np.random.default_rng(seed))
        changed = cut != lead
        assert np.ptp(cut) <= np.ptp(lead)
        assert np.abs(cut - np.median(lead)).max() <= np.abs(lead - np.median(lead)).max()
        assert len(np.unique(cut[changed])) <= 2


def test_windows_hold_what_is_put_in_as_their_settings_say(records: list[TrainingRecord]) -> None:
    record = with_v(records)

    def runs(settings: AugmentSettings) -> list[int]:
        windows = Windows(
            [record], [], preset("nano"), SignalSpec(), settings, {"synthetic": 1.0}, seconds=30, batch=4
        )
        return [longest_run(row) for step in range(6) for row in windows(step)["beat_class"]]

    plain = replace(AugmentSettings(), noise=0.0, warp=0.0, drop=0.0, extra=0.0)
    assert max(runs(plain)) <= longest_run(record.labels)
    assert max(runs(replace(plain, insert=1.0))) > 15
    assert runs(replace(plain, insert=0.5)) == runs(replace(plain, insert=0.5))
