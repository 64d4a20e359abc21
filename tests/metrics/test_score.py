"""From events to a report, on records small enough to score in the head."""

from __future__ import annotations

import re

import msgspec
import numpy as np
import pytest

from edgeecg.errors import InputError
from edgeecg.metrics.beats import CLASSES, Score
from edgeecg.metrics.paired import changes
from edgeecg.metrics.report import Protocol, Report, read_report, write_report
from edgeecg.metrics.rhythm import EpisodeScore
from edgeecg.metrics.runs import RunScore
from edgeecg.metrics.score import PERIODS, Truth, said_by_events, score
from edgeecg.metrics.summary import group_report
from edgeecg.metrics.tables import NOTE, tables, text
from edgeecg.specs import Alarm, Beat, Gap, Rhythm

FS = 100
MAPPINGS = ("dechazal", "bxb")
QUICK = Protocol(bootstrap_draws=200)


def reference(text, name="r1", patient="p1", length=None, **options):
    """One beat a second; ``e`` is an escape beat, which the mappings read differently."""
    places = [(100 * (i + 1), letter) for i, letter in enumerate(text) if letter != "."]
    sample = np.array([at for at, _ in places], np.int64)
    labels = {
        mapping: np.array([letter.replace("e", own) for _, letter in places], np.str_)
        for mapping, own in (("dechazal", "N"), ("bxb", "S"))
    }
    return Truth(name, patient, FS, length or 100 * (len(text) + 1), sample, labels, **options)


def events(text, probability=0.9):
    """What a stream tells of one beat a second."""
    return [
        Beat(100 * (i + 1), symbol, probability, 1.0, None) for i, symbol in enumerate(text) if symbol != "."
    ]


def test_events_are_scored_under_both_mappings():
    true = reference("NeSVQN")
    said = said_by_events(
        [*events("NNSVPV"), Gap(5, 5), Alarm(0, None, "pause")], list(MAPPINGS), true.length
    )
    found = score(true, said)
    assert found.beats["dechazal", "whole record"].score("S") == Score(1, 0, 0)
    assert found.beats["bxb", "whole record"].score("S") == Score(1, 1, 0)
    assert found.beats["dechazal", "whole record"].score("V") == Score(1, 0, 1)
    assert found.beats["dechazal", "whole record"].counts[4, 4] == 1


def test_short_records_have_no_figure_without_the_first_five_minutes():
    found = score(reference("NNN"), said_by_events(events("NNN"), list(MAPPINGS), 400))
    assert {period for _, period in found.beats} == {"whole record"}
    long = score(reference("N" * 400), said_by_events(events("N" * 400), list(MAPPINGS), 40100))
    assert long.beats["bxb", "from 5 min"].score("QRS") == Score(101, 0, 0)


def test_an_episode_is_scored_by_time_and_by_beat():
    true = reference("NVVNNS", af=((350, 700),))
    told = [Rhythm(450, None, "AFIB", 0.9), Rhythm(450, 550, "AFIB", 0.9)]
    found = score(true, said_by_events([*events("NVVNNS"), *told], list(MAPPINGS), true.length))
    assert found.af_beats == Score(hits=1, misses=2, false=0)
    assert found.episodes == EpisodeScore(found=1, right=1, overlap=1.0, reference=3.5, test=1.0)


def test_an_episode_told_over_atrial_flutter_is_not_judged_there():
    true = reference("NNNNNNN", af=((50, 250),), af_excluded=((250, 550),))
    said = said_by_events([*events("NNNNNNN"), Rhythm(50, 650, "AFIB", 0.9)], list(MAPPINGS), true.length)
    found = score(true, said)
    assert found.episodes == EpisodeScore(found=1, right=1, overlap=2.0, reference=2.0, test=3.0)
    assert found.af_beats == Score(hits=2, misses=0, false=1)


def test_an_episode_that_was_never_closed_lasts_to_the_end_of_the_record():
    said = said_by_events([Rhythm(200, None, "AFIB", 0.8)], ["dechazal"], 900)
    assert said.af == ((200, 900),)


def test_a_set_without_rhythm_marks_says_nothing_of_af():
    found = score(reference("NNN"), said_by_events(events("NNN"), list(MAPPINGS), 400))
    assert found.episodes is found.af_beats is found.af_record is None
    assert group_report("g", [found], QUICK).af is None


def test_a_record_label_alone():
    bare = Truth("a", "a", FS, 900, np.empty(0, np.int64), {}, af_record=True)
    half = [*events("NNNN"), Rhythm(250, 900, "AFIB", 1.0)]
    said = said_by_events(half, list(MAPPINGS), 900)
    assert score(bare, said).af_record == (True, True)
    assert score(bare, said, af_fraction=0.6).af_record == (True, False)
    group = group_report("g", [score(bare, said)], QUICK)
    assert group.beats == ()
    assert group.af.records.gross.f1 == 1
    assert [table.title for table in tables(Report({}, "", QUICK, (group,)))] == [
        "g, 1 record of 1 patient: atrial fibrillation"
    ]


def test_flutter_in_the_reference_is_masked():
    true = reference("NN.VV.NN", masks=((300, 600),))
    found = score(true, said_by_events(events("NNVVVVNN"), list(MAPPINGS), 900))
    assert found.beats["dechazal", "whole record"].score("QRS") == Score(4, 0, 0)
    assert found.runs["dechazal"].score("long run") == RunScore(0, 1, 0, 0)  # four V are no run of six


@pytest.fixture(scope="module")
def report():
    truths = [
        reference("NNVNS" * 70, "r1", "p1", af=(), length=35050),
        reference("NVVVN" * 70, "r2", "p1", af=((0, 35100),), length=35100),
        reference("NNNNN" * 70, "r3", "p2", af=(), length=35100),
    ]
    texts = ["NNVNN" * 70, "NVVVN" * 70, "NNNN." * 70]
    said = [said_by_events(events(t), list(MAPPINGS), 35100) for t in texts]
    scores = [score(true, one) for true, one in zip(truths, said, strict=True)]
    return Report({"name": "test"}, "synthetic", QUICK, (group_report("all", scores, QUICK),))


def test_gross_sums_beats_and_average_means_records(report):
    table = report.groups[0].beats[0]
    qrs = table.classes["QRS"]
    assert qrs.gross.hits == 350 + 350 + 280
    assert qrs.sensitivity.value == pytest.approx(980 / 1050)
    assert qrs.average.sensitivity.value == pytest.approx((1 + 1 + 0.8) / 3)
    assert table.classes["S"].average.records == 1
    assert table.classes["S"].f1.value == 0
    assert table.classes["F"].f1.value is None


def test_the_bootstrap_draws_patients_not_records(report):
    qrs = report.groups[0].beats[0].classes["QRS"].sensitivity
    assert qrs.patients == 2
    assert (qrs.low, qrs.high) == (pytest.approx(0.8), 1.0)  # two of p2, two of p1


def test_periods_and_mappings_each_have_a_table(report):
    group = report.groups[0]
    assert [(t.mapping, t.period) for t in group.beats] == [(m, p) for m in MAPPINGS for p in PERIODS]
    assert group.patients == 2
    assert sum(map(sum, group.beats[0].confusion)) == 1050
    assert group.beats[1].classes["QRS"].gross.hits < group.beats[0].classes["QRS"].gross.hits
    assert group.runs["short run"].found == 70
    assert group.af.duration_sensitivity.value == 0
    assert group.calibration["all"].ece == pytest.approx(abs(910 / 980 - 0.9))


def test_the_report_survives_its_json(report, tmp_path):
    write_report(tmp_path / "report.json", report)
    assert read_report(tmp_path / "report.json") == report
    raw = msgspec.json.decode((tmp_path / "report.json").read_bytes())
    assert raw["groups"][0]["beats"][0]["classes"]["F"]["f1"]["value"] is None


def test_files_that_are_no_report_are_refused(report, tmp_path):
    with pytest.raises(InputError, match="no report"):
        read_report(tmp_path / "none.json")
    (tmp_path / "odd.json").write_text('{"system": 3}')
    with pytest.raises(InputError, match="is not a report"):
        read_report(tmp_path / "odd.json")
    text_of = msgspec.json.encode(report).replace(b'"schema":1', b'"schema":99')
    (tmp_path / "newer.json").write_bytes(text_of)
    with pytest.raises(InputError, match="report schema 99"):
        read_report(tmp_path / "newer.json")
    with pytest.raises(InputError, match="no records to report on"):
        group_report("nobody", [], QUICK)


def test_tables_line_up_and_show_what_is_undefined_as_a_dash(report):
    shown = [text(table) for table in tables(report)]
    assert len(shown) == 4 + 2 + 3  # scores; confusion and records; runs, AF, calibration
    first = shown[0].splitlines()
    assert first[0] == "all, 3 records of 2 patients: beats, AAMI by de Chazal, whole record"
    assert first[1].split() == ["class", "hits", "misses", "false", "Se", "%", "+P", "%", "F1", "%"]
    gross = next(line for line in first if line.startswith("V gross")).split()
    assert gross[:6] == ["V", "gross", "280", "0", "0", "100.00"]
    assert next(line for line in first if line.startswith("F gross")).split()[-1] == "-"
    confusion = next(one for one in shown if "confusion" in one).splitlines()
    assert confusion[1].split() == ["reference", *(c.lower() for c in CLASSES), "missed"]
    assert confusion[3].split() == ["N", "630", "0", "0", "0", "0", "70"]
    assert len(next(one for one in shown if "each record" in one).splitlines()) == 3 + 3
    assert not any("each record" in text(table) for table in tables(report, records=False))


def test_intervals_of_few_patients_are_marked_and_those_of_one_left_out(report):
    scores, *_ = tables(report)
    shown = text(scores).splitlines()
    assert shown[-1] == NOTE
    assert "93.33 [80.00, 100.00]*" in next(line for line in shown if line.startswith("QRS gross"))
    assert next(line for line in shown if line.startswith("V gross")).split()[5:] == ["100.00"] * 3
    v = report.groups[0].beats[0].classes["V"]
    assert (v.f1.low, v.f1.contributing, v.average.f1.contributing) == (None, 1, 1)
    af = next(table for table in tables(report) if table.title.endswith("atrial fibrillation"))
    assert af.note == ""  # one patient has it: nothing is marked
    assert af.rows[0][2] == "0.00"


def test_five_patients_are_enough_for_no_mark():
    true = [reference("NNVNS" * 4, f"r{i}", f"p{i}", length=2100) for i in range(5)]
    said = said_by_events(events("NNVNN" * 4), list(MAPPINGS), 2100)
    group = group_report("all", [score(one, said) for one in true], QUICK)
    scores, *_ = tables(Report({}, "", QUICK, (group,)))
    assert "100.00 [100.00, 100.00]" in text(scores)
    assert "*" not in text(scores)


def test_older_reports_do_not_know_who_contributes(report, tmp_path):
    """They are read, and nothing in them is marked."""
    old = re.sub(rb',"contributing":\d+', b"", msgspec.json.encode(report))
    assert b"contributing" not in old
    (tmp_path / "old.json").write_bytes(old)
    before = read_report(tmp_path / "old.json")
    assert before.groups[0].beats[0].classes["QRS"].f1.contributing is None
    assert "*" not in "".join(map(text, tables(before)))
    assert {change.estimate.value for change in changes(before, report)} == {0, None}


def test_probabilities_of_matched_beats_are_judged():
    found = score(reference("NNV."), said_by_events(events("NVVN", 0.7), list(MAPPINGS), 500))
    assert found.judged.said.tolist() == ["N", "V", "V"]
    assert found.judged.true.tolist() == ["N", "N", "V"]
    assert np.allclose(found.judged.probability, 0.7)
