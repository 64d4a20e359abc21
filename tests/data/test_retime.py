"""Rhythms made from a recording's own beats: labels follow places, QRS stay, nothing else is moved."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeecg.data.prepare import load_training_data, prepare_record
from edgeecg.data.recording import UNKNOWN, TrainingRecord
from edgeecg.data.replan import replan
from edgeecg.data.retime import retimed, time_map
from edgeecg.data.settings import DataSettings
from edgeecg.io.record import Annotations, Record
from edgeecg.specs import BEAT_LABELS, MODEL_FS

N, S, V = (BEAT_LABELS.index(label) for label in "NSV")


@pytest.fixture(scope="module")
def record() -> TrainingRecord:
    """A synthetic patient in sinus rhythm, 100 beats or more."""
    data = load_training_data(DataSettings(synthetic_patients=12, synthetic_seconds=120), seed=0)
    return max(data.training, key=lambda r: int((r.labels == N).sum()))


def seeds(count: int = 20) -> list[np.random.Generator]:
    return [np.random.default_rng(seed) for seed in range(count)]


def usual(record: TrainingRecord) -> float:
    """The median interval, model samples."""
    return float(np.median(np.diff(record.beats)))


def test_early_beats_are_early_and_labelled_s(record: TrainingRecord) -> None:
    made = early = 0
    for rng in seeds():
        plan = replan(record.beats, record.labels, record.labels == N, rng)
        assert (plan.labels[plan.made] == S).all()
        assert (np.diff(plan.places) > 0).all()
        for beat in np.flatnonzero(plan.made):
            around = np.median(np.diff(record.beats)[max(0, beat - 8) : beat + 8])
            made += 1
            early += plan.places[beat] - plan.places[beat - 1] < 0.95 * around
    assert made > 50
    assert early > 0.97 * made


def test_in_a_sick_sinus_most_beats_are_s_and_pauses_end_their_runs(record: TrainingRecord) -> None:
    count = early = made = 0
    for rng in seeds():
        plan = replan(record.beats, record.labels, record.labels == N, rng, "sick sinus")
        made += plan.made.mean()
        intervals = np.diff(plan.places)
        runs, sinus = plan.made[1:], (plan.labels[1:] == N) & plan.made[:-1]
        if runs.sum() > 10 and sinus.sum() > 3:
            count += 1
            early += np.median(intervals[runs]) < np.median(intervals[sinus])
            assert np.median(intervals[runs]) < 0.95 * usual(record)
    assert count > 10
    assert early > 0.9 * count
    assert made > 0.5 * len(seeds())


def test_in_bigeminy_and_its_like_a_sinus_beat_follows_every_early_one_or_two(record: TrainingRecord) -> None:
    for rng in seeds(60):
        made = replan(record.beats, record.labels, record.labels == N, rng, "often").made
        runs = np.diff(np.flatnonzero(np.diff(np.r_[0, made, 0])))[::2]
        assert runs.max(initial=0) <= 4  # two couplets, where one stretch ends and another begins


def test_beats_that_are_no_sinus_beats_keep_their_label_and_come_no_later(record: TrainingRecord) -> None:
    labels = record.labels.copy()
    labels[10:60:7] = V
    intervals = np.diff(record.beats)
    as_it_was = interpolated = 0
    for rng in seeds():
        plan = replan(record.beats, labels, labels == N, rng)
        assert (plan.labels[labels == V] == V).all()
        into_v = np.flatnonzero(labels == V) - 1
        change = np.diff(plan.places)[into_v] - intervals[into_v]
        assert (change < 1e-6).all()  # earlier where it is interpolated
        as_it_was += bool((np.abs(change) < 1e-6).all())
        sinus = plan.labels[into_v + 2] == N
        gaps = np.diff(plan.places)
        both = (gaps[into_v] + gaps[into_v + 1])[sinus]
        interpolated += int(((change[sinus] < -1) & (both < 1.3 * usual(record))).sum())
    assert 5 < as_it_was < 20
    assert interpolated > 5


def test_where_there_is_no_sinus_beat_nothing_changes(record: TrainingRecord) -> None:
    everywhere = np.array([[0.0, record.signal.shape[1]]])
    fibrillating = replace(record, atrial_fibrillation=everywhere, ectopic=everywhere)
    span = 40 * MODEL_FS
    for rng in seeds(5):
        piece = retimed(fibrillating, 1000, span, rng)
        np.testing.assert_allclose(piece.signal, record.signal[:, 1000 : 1000 + span], atol=1e-5)
        inside = (record.beats >= 1000) & (record.beats < 1000 + span)
        np.testing.assert_allclose(piece.beats[: inside.sum()], record.beats[inside] - 1000, atol=1e-3)
        np.testing.assert_allclose(piece.atrial_fibrillation[0, 0], -1000, atol=1e-2)


def test_the_qrs_is_moved_as_it_is(record: TrainingRecord) -> None:
    reach = round(0.06 * MODEL_FS)
    for rng in seeds(8):
        piece = retimed(record, 0, 60 * MODEL_FS, rng)
        for place, old in list(zip(piece.beats, record.beats, strict=False))[2:40]:
            if place + reach + 1 > piece.signal.shape[1]:
                break
            around = np.arange(-reach, reach + 1)
            then = np.interp(old + around, np.arange(record.signal.shape[1]), record.signal[0])
            now = np.interp(place + around, np.arange(piece.signal.shape[1]), piece.signal[0])
            assert np.abs(now - then).max() < 0.3 * np.ptp(then)
            assert np.corrcoef(now, then)[0, 1] > 0.95


def test_only_records_of_normal_rhythm_lend_beats_without_labels(record: TrainingRecord) -> None:
    open_ = replace(record, labels=np.full(len(record.beats), UNKNOWN), complete=False)
    span = 60 * MODEL_FS
    made = sum(
        int((retimed(replace(open_, weak_label="N"), 0, span, rng).labels == S).sum()) for rng in seeds()
    )
    assert made > 20
    for weak in ("A", "O", "~", ""):
        for rng in seeds(5):
            assert (retimed(replace(open_, weak_label=weak), 0, span, rng).labels == UNKNOWN).all()


def test_the_same_seed_gives_the_same_piece(record: TrainingRecord) -> None:
    one, two = (retimed(record, 500, 5000, np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(one.signal, two.signal)
    np.testing.assert_array_equal(one.labels, two.labels)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.2, 3.0), st.floats(0.2, 3.0)), min_size=1, max_size=30),
)
def test_the_map_of_time_ascends_and_meets_every_beat(intervals: list[tuple[float, float]]) -> None:
    old, new = (np.cumsum(np.r_[1.0, np.array(column)]) * MODEL_FS for column in zip(*intervals, strict=True))
    knots_old, knots_new = time_map(old, new)
    assert (np.diff(knots_old) > 0).all()
    assert (np.diff(knots_new) > 0).all()
    np.testing.assert_allclose(np.interp(old, knots_old, knots_new), new, atol=0.01)
    there_and_back = np.interp(np.interp(old + 1, knots_old, knots_new), knots_new, knots_old)
    np.testing.assert_allclose(there_and_back, old + 1, atol=0.5)


def test_an_early_beat_has_another_p_wave(record: TrainingRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = beats = 0
    for seed in range(10):
        with monkeypatch.context() as patch:
            patch.setattr("edgeecg.data.retime.SAME_P", 2.0)  # never another one
            plain = retimed(record, 0, 60 * MODEL_FS, np.random.default_rng(seed))
        piece = retimed(record, 0, 60 * MODEL_FS, np.random.default_rng(seed))
        np.testing.assert_array_equal(piece.labels, plain.labels)
        difference = np.abs(piece.signal - plain.signal).max(axis=0)
        allowed = np.zeros(len(difference), bool)
        for place in piece.beats[piece.labels == S]:
            span = slice(max(0, round(place) - round(0.22 * MODEL_FS)), round(place) - round(0.07 * MODEL_FS))
            if span.stop < len(difference):
                beats += 1
                changed += bool(difference[span].max() > 0.005)
                allowed[span] = True
        assert difference[~allowed].max() == 0
    assert beats > 30
    assert changed > 0.4 * beats


def test_flutter_is_no_sinus_rhythm() -> None:
    """Of WFDB's rhythm marks only those that the sinus leads lend beats."""
    beats = np.arange(300, 30_000, 250)
    marks = Annotations(
        np.r_[0, beats[:60], beats[60], beats[60:]],
        np.r_[["+"], ["N"] * 60, ["+"], ["N"] * (len(beats) - 60)],
        aux=np.r_[["(N"], [""] * 60, ["(AFL"], [""] * (len(beats) - 60)],
    )
    made = prepare_record(Record("x", np.zeros((30_000, 1)), 250.0, ("II",), annotations=marks), "mine")
    flutter = made.beats[60]
    assert made.ectopic[:, 0] == pytest.approx([flutter])
    for rng in seeds(10):
        piece = retimed(made, 0, made.signal.shape[1], rng)
        assert (piece.labels[61:] == N).all()
