"""Two systems on the same patients."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgeecg.errors import InputError
from edgeecg.metrics.beats import Score
from edgeecg.metrics.paired import FIGURES, changes, f1_change
from edgeecg.metrics.report import Protocol, Report
from edgeecg.metrics.score import Truth, said_by_events, score
from edgeecg.metrics.summary import group_report
from edgeecg.metrics.tables import NOTE, change_table
from edgeecg.specs import Beat, Rhythm

QUICK = Protocol(bootstrap_draws=200)


def report(texts, title="all", truth="NVNSN", patients=None, af=None):
    """Each text a patient with one beat a second; ``af`` says which records are called AF (all are)."""
    scores = []
    for i, text in enumerate(texts):
        at = np.arange(1, len(truth) + 1) * 100
        labels = {"dechazal": np.array(list(truth))}
        who = patients[i] if patients else f"p{i}"
        true = Truth(f"r{i}", who, 100, 10000, at, labels, af_record=None if af is None else True)
        told = [Beat(100 * (k + 1), c, 0.9, 1.0, None) for k, c in enumerate(text) if c != "."]
        told += [Rhythm(0, None, "AFIB", 1.0)] if af and af[i] else []
        scores.append(score(true, said_by_events(told, ["dechazal"], 10000)))
    return Report({}, "", QUICK, (group_report(title, scores, QUICK),))


def test_a_loss_in_every_patient_is_a_loss_and_no_difference_is_none():
    found = {(c.label, c.figure): c.estimate for c in changes(report(["NVNSN"] * 4), report(["NVNN."] * 4))}
    assert set(found) == {(label, figure) for label in ("QRS", "V", "S", "F") for figure in FIGURES}
    assert found["QRS", "sensitivity"].value == pytest.approx(-0.2)
    assert found["QRS", "sensitivity"].high == pytest.approx(-0.2)
    assert found["S", "f1"].value == -1
    assert (found["V", "f1"].value, found["V", "f1"].low, found["V", "f1"].high) == (0, 0, 0)
    assert found["F", "f1"].value is None


def test_a_gain_in_one_patient_of_four_is_uncertain():
    found = changes(report(["NNNSN"] * 4), report(["NVNSN"] + ["NNNSN"] * 3))
    gain = next(c.estimate for c in found if (c.label, c.figure) == ("V", "sensitivity"))
    assert gain.value == pytest.approx(0.25)
    assert gain.low == 0


def test_a_class_of_one_patient_is_compared_without_an_interval():
    """The difference in one patient, however often he is drawn, is no interval."""
    before, after = report(["NNNNN"] * 3), report(["NSNNN", "NNNNN", "NNNNN"])
    found = {(c.label, c.figure): c.estimate for c in changes(before, after)}
    alone = found["S", "predictivity"]
    assert (alone.value, alone.low, alone.contributing) == (None, None, 0)  # nothing was told before
    gain = f1_change([Score(2, 3, 0), Score(0, 0, 1)], [Score(4, 1, 0), Score(0, 0, 0)], ["a", "b"], QUICK)
    assert gain.value > 0
    assert (gain.low, gain.high, gain.contributing) == (None, None, 1)


def test_the_table_marks_differences_of_few_patients():
    few = change_table(changes(report(["NNNSN"] * 4), report(["NVNSN"] * 4)))
    assert few.note == NOTE
    assert few.rows[1][4] == "100.00 [100.00, 100.00]*"
    more = change_table(changes(report(["NNNSN"] * 5), report(["NVNSN"] * 5)))
    assert more.note == ""
    assert more.rows[1][4] == "100.00 [100.00, 100.00]"


def test_records_of_one_patient_move_together():
    before = [Score(5, 5, 0), Score(5, 5, 0), Score(9, 1, 0)]
    after = [Score(6, 4, 0), Score(4, 6, 0), Score(9, 1, 0)]
    assert f1_change(before, after, ["a", "a", "b"], QUICK).low == 0
    assert f1_change(before, after, ["a", "c", "b"], QUICK).low < 0


def test_what_cannot_be_compared_is_refused():
    ours = report(["NVNSN"] * 2)
    with pytest.raises(InputError, match="share no table"):
        changes(report(["NVNSN"] * 2, title="others"), ours)
    with pytest.raises(InputError, match="other records in all"):
        changes(report(["NVNSN"] * 3), ours)
    with pytest.raises(InputError, match="record r0 has 3 reference beats in one report, 5 in the other"):
        changes(report(["NVN"] * 2, truth="NVN"), ours)
    with pytest.raises(InputError, match=r"to other patients \(has patients.csv changed\?\)"):
        changes(report(["NVNSN"] * 2, patients=["p0", "p0"]), ours)
    assert changes(ours, replace(ours, reference="again"))


def test_records_called_af_are_compared_too():
    before = report(["NVNSN"] * 4, af=[True] * 4)
    after = report(["NVNSN"] * 4, af=[True, False, False, True])
    found = {(c.label, c.figure): c for c in changes(before, after)}
    change = found["AF by record", "sensitivity"]
    assert (change.mapping, change.period) == ("", "")
    assert change.estimate.value == pytest.approx(-0.5)
    assert change.estimate.low == -1 < change.estimate.high
    assert found["V", "f1"].estimate.value == 0
