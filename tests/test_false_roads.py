"""Roads that lead to false figures, each closed by a test: leaks across patients, classes and time."""

from __future__ import annotations

import numpy as np
import pytest
import wfdb
from hypothesis import given
from hypothesis import strategies as st

from edgeecg.data.catalog import find_records, patient_folds, patient_of
from edgeecg.data.development import DEVELOPMENT
from edgeecg.data.prepare import load_training_data
from edgeecg.data.sets import SETS
from edgeecg.data.settings import DataSettings
from edgeecg.decode.alarms import AlarmFinder, AlarmSettings
from edgeecg.decode.peaks import REACH
from edgeecg.decode.peaks import initial as no_peaks
from edgeecg.decode.peaks import step as find_peaks
from edgeecg.decode.rhythm import RhythmDecoder, RhythmSettings
from edgeecg.decode.rr import past_intervals, rr_features
from edgeecg.errors import SignalError
from edgeecg.metrics.beats import BeatList, compare

SPLITS = [(name, one, two) for name, s in SETS.items() for one in s.splits for two in s.splits if one < two]

intervals = st.lists(st.floats(0.2, 3.0), min_size=3, max_size=60)


def people(name, split):
    return {patient_of(name, record) for record in SETS[name].splits[split]}


@pytest.mark.parametrize(("name", "one", "two"), SPLITS)
def test_splits_share_no_record_and_no_patient_but_the_known_one(name, one, two):
    assert not set(SETS[name].splits[one]) & set(SETS[name].splits[two])
    shared = people(name, one) & people(name, two)
    known = {"mitdb/201"} if (name, one, two) == ("mitdb", "DS1", "DS2") else set()
    assert shared == known, "de Chazal's split holds one patient twice (201, 202), and no other split does"


def test_folds_keep_both_records_of_a_patient_together():
    records = [*SETS["mitdb"].splits["DS1"], *SETS["mitdb"].splits["DS2"]]
    for seed in range(20):
        folds = patient_folds((patient_of("mitdb", record) for record in records), 5, seed)
        assert folds[patient_of("mitdb", "201")] == folds[patient_of("mitdb", "202")]
        assert len(folds) == len(records) - 1


def test_noise_stress_records_go_with_the_patient_they_were_made_from():
    assert {patient_of("nstdb", record) for record in ("118e06", "118e_6", "em118")} == {"mitdb/118"}


@given(intervals, st.integers(1, 59), st.floats(0.2, 3.0))
def test_rr_features_do_not_know_the_future(rr, cut, other):
    cut = min(cut, len(rr) - 1)
    times = np.cumsum(rr)
    changed = np.concatenate([times[:cut], times[cut - 1] + np.cumsum([other] * (len(rr) - cut))])
    waited = np.full(len(rr), 0.3125)
    none = np.zeros(len(rr), bool)
    one, two = (rr_features(past_intervals(t), waited, none) for t in (times, changed))
    np.testing.assert_array_equal(one[:cut], two[:cut])


def test_rr_features_do_know_the_past():
    times = np.cumsum(np.full(20, 0.8))
    moved = times.copy()
    moved[10] += 0.2
    waited, none = np.full(20, 0.3125), np.zeros(20, bool)
    one, two = (rr_features(past_intervals(t), waited, none) for t in (times, moved))
    assert np.any(one[10] != two[10])


@given(st.lists(st.floats(0, 1, width=32), min_size=8, max_size=120), st.integers(5, 100))
def test_peaks_know_no_more_than_their_reach(scores, cut):
    cut = min(cut, len(scores) - 1)
    whole = np.array([scores], np.float32)
    other = whole.copy()
    other[:, cut:] = 1 - other[:, cut:]
    first, second = (find_peaks(row, no_peaks(1), 0.5)[0].column.tolist() for row in (whole, other))
    settled = cut - REACH
    assert [c for c in first if c < settled] == [c for c in second if c < settled]


@given(
    st.lists(st.tuples(st.integers(60, 900), st.sampled_from("NSVFP"), st.floats(0, 1)), max_size=80),
    st.integers(0, 80),
)
def test_what_was_told_is_never_taken_back(beats, cut):
    """Events of the first part of a stream are the first part of its events."""
    finder, decoder = AlarmFinder(AlarmSettings(), 250), RhythmDecoder(RhythmSettings(beats=3), 250)

    def told(part):
        alarms, rhythm, sample, events = finder.initial(), decoder.initial(), 0, []
        for step, label, probability in part:
            sample += step
            found, alarms = finder.beat(sample, label, alarms)
            episodes, rhythm = decoder.beat(sample, probability, rhythm)
            events += [*found, *episodes]
        return events

    early, whole = told(beats[:cut]), told(beats)
    assert whole[: len(early)] == early


def test_beats_grouped_by_class_are_refused():
    samples, labels = np.array([100, 300, 500, 700]), np.array(["N", "V", "N", "V"])
    order = np.argsort(labels, kind="stable")
    grouped = BeatList(samples[order], labels[order])
    with pytest.raises(SignalError, match="must be ascending"):
        compare(grouped, BeatList(samples, labels), 250)
    with pytest.raises(SignalError, match="must be ascending"):
        compare(BeatList(samples, labels), grouped, 250)


def test_given_peaks_do_not_help():
    """Perfect labels on half of the beats are half the sensitivity, not a perfect score."""
    samples = np.arange(1, 101) * 200
    labels = np.array(["N", "V"] * 50)
    half = BeatList(samples[:50], labels[:50])
    assert compare(BeatList(samples, labels), half, 250).score("V").sensitivity == 0.5


def labelled(folder, name, fs):
    """A short recording with ten beats, as WFDB keeps it."""
    folder.mkdir(parents=True, exist_ok=True)
    signal = np.random.default_rng(0).normal(0, 0.1, (30 * fs, 2))
    beats = np.arange(1, 11) * 2 * fs
    signal[beats] = 1.0
    wfdb.wrsamp(name, fs, ["mV"] * 2, ["ECG1", "ECG2"], signal, fmt=["16"] * 2, write_dir=str(folder))
    wfdb.wrann(name, "atr", beats, ["N"] * len(beats), write_dir=str(folder))


def test_training_reads_nobody_who_is_kept_for_judging(tmp_path):
    for name in ("800", "880"):
        labelled(tmp_path / "svdb", name, 128)
    for name in ("101", "100"):
        labelled(tmp_path / "mitdb", name, 360)
    for name in ("A00001", "A00002"):
        labelled(tmp_path / "cinc2017", name, 300)
    (tmp_path / "cinc2017" / "REFERENCE.csv").write_text("A00001,N\nA00002,N\n")
    sets = {"svdb": 1.0, "mitdb": 1.0, "cinc2017": 1.0}
    made = load_training_data(DataSettings(root=str(tmp_path), sets=sets), seed=0)
    assert {record.name for record in made.training} == {"svdb/800", "mitdb/101", "cinc2017/A00001"}


@pytest.mark.data
@pytest.mark.parametrize("name", ["mitdb", "svdb", "cinc2017"])
def test_what_lies_here_is_the_development_part(name, data_root):
    there = {path.name for path in find_records(data_root, name)}
    assert there == {record for split in DEVELOPMENT[name] for record in SETS[name].splits[split]}
