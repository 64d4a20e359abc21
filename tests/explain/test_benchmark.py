"""The benchmark of explanations: what it asks about, and that it says what its figures depend on."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.explaining import measures
from benchmarks.explaining.beats import SHORT, recordings
from edgeecg.data.sets import SETS
from edgeecg.explain.question import Question


def test_recordings_that_are_kept_for_judging_are_not_read(tmp_path: Path) -> None:
    read = {"mitdb": ("DS1",), "svdb": ("development",), SHORT: ("development",)}
    kept = {"mitdb": "DS2", "svdb": "test", SHORT: "test"}
    for name, splits in read.items():
        (tmp_path / name).mkdir()
        for split in (*splits, kept[name]):
            for record in SETS[name].splits[split][:3]:
                (tmp_path / name / f"{record}.hea").touch()
    labels = [f"{record},A\n" for split in SETS[SHORT].splits.values() for record in split[:3]]
    (tmp_path / SHORT / "REFERENCE.csv").write_text("".join(labels))
    found, source = recordings(tmp_path, 0)
    assert source == "mitdb DS1, svdb, cinc2017 (AF)"
    for records in found.values():
        assert {record.name for record in records} == {
            name
            for home in {r.home for r in records}
            for split in read[home]
            for name in SETS[home].splits[split][:3]
        }
    assert {record.home for record in found["AFIB"]} == {"mitdb", SHORT}


def test_without_recordings_synthetic_patients_are_asked_about(tmp_path: Path) -> None:
    assert recordings(tmp_path, 0)[1] == "synthetic patients"


def test_areas_by_both_removals_are_of_every_beat(why_s: Question, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of beats that are not measured closely: a comparison by one removal alone says the half."""
    monkeypatch.setattr(measures, "NAMES", ("path", "gradient"))
    figures = measures.measured([why_s], dear=0)
    for name in ("path", "gradient"):
        assert len(figures[name]["deletion"]) == len(figures[name]["flat"]) == 1
    assert figures["path"]["deletion"] != figures["path"]["flat"]


def test_each_goal_of_the_deletion_area_says_what_units_are_replaced_by() -> None:
    """The default is the better one where the usual beats come in, and the worse one by a flat line."""
    questions: list[Any] = [
        SimpleNamespace(trace=SimpleNamespace(record=SimpleNamespace(name=name))) for name in "aabc"
    ]
    own = {"deletion": [0.01, 0.02, 0.01, 0.02], "flat": [0.06, 0.09, 0.06, 0.09]}
    other = {"deletion": [0.1, 0.2, 0.1, 0.2], "flat": [0.04, 0.06, 0.04, 0.06]}
    figures = {"path": own, "integrated": other, measures.FLAT: other}
    goals = measures.deletion_goals({"V": questions, "S": questions}, {"V": figures, "S": figures})
    assert len({goal for goal, _, _ in goals}) == 8
    for goal, found, met in goals:
        assert met == ("by the usual beats" in goal)
        assert ("by a flat line" in goal) == (not met)
        assert found == ("-90 % [-90, -90]" if met else "+50 % [+50, +50]")
