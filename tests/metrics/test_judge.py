"""References and annotation files as scores read them; on real records, against wfdb's own comparison."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from edgeecg.data.catalog import find_records, load_record
from edgeecg.errors import RecordError
from edgeecg.io import write_annotations, write_wfdb
from edgeecg.io.record import Annotations, Record
from edgeecg.metrics.beats import Score
from edgeecg.metrics.judge import MAPPINGS, said_of, truth_of
from edgeecg.metrics.match import match, window_samples
from edgeecg.metrics.references import labelled_records
from edgeecg.metrics.score import Said, score

FS = 100.0


def record(symbols, aux=None):
    """One mark a second on a flat line."""
    marks = Annotations(100 * np.arange(1, len(symbols) + 1), list(symbols), aux)
    return Record("r", np.zeros((100 * (len(symbols) + 2), 1)), FS, ("II",), marks)


def test_both_mappings_are_read_and_paced_is_q():
    true = truth_of(record("NLejA/fQVEF"))
    assert "".join(true.labels["dechazal"]) == "NNNNSQQQVVF"
    assert "".join(true.labels["bxb"]) == "NNSSSQQQVVF"
    assert true.paced
    assert not truth_of(record("NQV")).paced
    assert list(true.labels) == list(MAPPINGS)


def test_flutter_masks_and_rhythm_marks():
    aux = ["(AFIB", "", "", "", "", "(AFL", "", "(AFIB", "", "(N"]
    true = truth_of(record("+N[V]+N+N+", aux))
    assert true.masks == ((300, 500),)
    assert true.af == ((0, 600), (800, 1000))
    assert true.af_excluded == ((600, 800),)


def test_no_rhythm_marks_and_a_set_without_rhythms_say_nothing_of_af():
    assert truth_of(record("NNV")).af is None
    assert truth_of(record("+NN", ["(AFIB", "", ""]), "svdb").af is None


def test_beats_that_nobody_classed_are_q_and_forgive():
    true = truth_of(record("NNN"), "ludb")
    said = said_of(record("NVS").annotations, record("NVS"))
    found = score(true, said).beats["dechazal", "whole record"]
    assert found.score("QRS") == Score(3, 0, 0)
    assert found.score("V") == found.score("S") == Score(0, 0, 0)


def test_a_record_without_beats_keeps_its_label():
    bare = Record("r", np.zeros((500, 1)), FS, ("I",))
    true = truth_of(bare, "cinc2017", af_record=True)
    assert (true.labels, true.af_record, true.patient) == ({}, True, "r")


def test_a_reference_against_itself_is_perfect():
    own = record("+NVVAFN+NN/", ["(N", *[""] * 6, "(AFIB", "", "", ""])
    found = score(truth_of(own), said_of(own.annotations, own))
    for confusion in found.beats.values():
        assert np.count_nonzero(confusion.counts - np.diag(np.diag(confusion.counts))) == 0
    assert found.episodes.overlap == found.episodes.reference == found.episodes.test > 0


def test_an_episode_of_a_test_file_begins_at_its_mark():
    """A program that tells AF alone writes no mark before it."""
    own = record("N+NN+N", ["", "(AFIB", "", "", "(N", ""])
    assert said_of(own.annotations, own).af == ((200, 500),)


def test_a_beat_of_a_test_file_before_the_record_is_none():
    own = record("NN")
    marks = Annotations([-3, 100, 200], ["V", "N", "N"])
    found = score(truth_of(own), said_of(marks, own)).beats["dechazal", "whole record"]
    assert found.score("QRS") == Score(2, 0, 0)


def test_flutter_of_a_test_file_is_a_run_and_holds_no_beats():
    own = record("NVV[N]NV")
    said = said_of(own.annotations, own)
    assert said.sample.tolist() == [100, 200, 300, 700, 800]
    assert said.masks == ((400, 600),)
    runs = score(truth_of(own), said).runs["dechazal"].score("long run")
    assert (runs.found, runs.missed, runs.right, runs.wrong) == (1, 0, 1, 0)


def test_rhythm_marks_alone_say_nothing_of_beats():
    bare = record("++", ["(N", "(AFIB"])
    true = truth_of(bare)
    assert true.labels == {}
    assert true.af == ((200, 400),)
    beaten = record("NVN")
    found = score(true, said_of(beaten.annotations, beaten))
    assert not found.beats, "beats that nobody marked are not false"
    assert found.episodes.missed == 1
    silent = Record("r", bare.signal, FS, ("II",), Annotations([], []))
    assert truth_of(silent).labels, "but no mark at all says that there is no beat"


@pytest.mark.parametrize("name", ["qtdb", None])
def test_marks_of_waves_alone_say_nothing_of_beats(name):
    """Beats are there, and right detections of them would be false."""
    assert truth_of(record("(p)()t)"), name).labels == {}
    assert truth_of(record("(p)(N)t)"), name).labels


def test_a_record_with_selected_beats_only_cannot_be_scored(tmp_path):
    bare = Record("sel30", np.zeros((3000, 1)), 250.0, ("II",))
    stem = write_wfdb(bare, tmp_path / "qtdb").with_suffix("")
    write_annotations(stem, Annotations([500, 510, 530, 900], ["(", "p", "N", "N"]), 250.0, extension="q1c")
    (case,) = labelled_records(["qtdb"], tmp_path)
    with pytest.raises(RecordError, match=r"qtdb sel30 has no reference of all its beats \(\.atr\)"):
        case.load()
    write_annotations(stem, Annotations([250, 530, 900], ["N"] * 3), 250.0, extension="atr")
    assert case.load()[1].sample.tolist() == [250, 530, 900]


def test_a_reference_without_a_beat_is_scored_and_told(tmp_path, caplog):
    """Of a recording of noise it is right; of one whose beats somebody has yet to mark it is not."""
    write_wfdb(replace(record("NN"), annotations=None), tmp_path)
    write_annotations(tmp_path / "r", Annotations([10], ['"'], ["begin"]), FS, extension="atr")
    (case,) = labelled_records([str(tmp_path)])
    assert case.load()[1].labels["dechazal"].tolist() == []
    assert "r.atr marks no beat: every beat that is found counts as false" in caplog.text


def test_classes_that_nobody_checked_are_not_judged():
    """Beats of afdb and ludb: extra V are no false V, and neither runs nor probabilities have a truth."""
    true = truth_of(record("NNNN"), "ludb")
    label = np.array(["N", "V", "V", "V", "V"])
    said = Said(
        np.array([100, 200, 250, 300, 400]), dict.fromkeys(MAPPINGS, label), probability=np.full(5, 0.9)
    )
    found = score(true, said)
    assert found.beats["dechazal", "whole record"].score("V") == Score(0, 0, 0)
    assert found.beats["dechazal", "whole record"].score("QRS") == Score(4, 0, 1)
    assert found.runs == {}
    assert found.judged is None


@pytest.mark.data
def test_beats_of_ds1_are_those_that_de_chazal_counted(data_root):
    counted = Counter()
    for path in find_records(data_root, "mitdb", "DS1"):
        counted.update(truth_of(load_record(path, "mitdb"), "mitdb").labels["dechazal"].tolist())
    assert counted == {"N": 45866, "S": 944, "V": 3788, "F": 415, "Q": 8}  # de Chazal 2004, table of DS1


@pytest.mark.data
def test_flutter_of_207_is_masked(data_root):
    path = next(p for p in find_records(data_root, "mitdb") if p.name == "207")
    true = truth_of(load_record(path, "mitdb"), "mitdb")
    seconds = sum(end - start for start, end in true.masks) / true.fs
    assert len(true.masks) == 6
    assert 120 < seconds < 180  # mitdb's directory: 2:24 of flutter


@pytest.mark.data
@pytest.mark.parametrize(("name", "records"), [("mitdb", ("101", "208", "203")), ("svdb", ("801", "820"))])
def test_counts_agree_with_wfdb_where_beats_are_apart(data_root, name, records):
    """wfdb pairs by another rule, which gives the same counts where beats do not crowd."""
    processing = pytest.importorskip("wfdb.processing")
    source = np.random.default_rng(0)
    paths = [path for path in find_records(data_root, name) if path.name in records]
    assert len(paths) == len(records)
    for path in paths:
        true = truth_of(load_record(path, name), name)
        window = window_samples(true.fs)
        shifted = true.sample + source.integers(-window - 4, window + 5, len(true.sample))
        test = np.unique(shifted[(source.random(len(shifted)) > 0.05) & (shifted > 0)])
        ours = match(true.sample, test, true.fs)
        theirs = processing.compare_annotations(true.sample, test, window + 1)  # its window is exclusive
        assert (len(ours.pairs), len(ours.missed), len(ours.extra)) == (theirs.tp, theirs.fn, theirs.fp)


@pytest.mark.data
def test_a_relabelled_reference_scores_what_was_planted(data_root):
    path = next(p for p in find_records(data_root, "mitdb") if p.name == "208")
    true = truth_of(load_record(path, "mitdb"), "mitdb")
    ventricular = np.flatnonzero(true.labels["dechazal"] == "V")
    lost, renamed = ventricular[:100], ventricular[100:150]
    labels = true.labels["dechazal"].copy()
    labels[renamed] = "N"
    keep = np.delete(np.arange(len(labels)), lost)
    said = Said(true.sample[keep], dict.fromkeys(MAPPINGS, labels[keep]))
    found = score(true, said).beats["dechazal", "whole record"]
    assert found.score("V") == Score(len(ventricular) - 150, 150, 0)
    assert found.score("QRS") == Score(len(labels) - 100, 100, 0)
