"""Differences between two sets of networks, from the figures that are kept of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from paired import compare, patients

MODELS = Path(__file__).parents[2] / "docs" / "models"


def test_nothing_differs_from_itself(capsys: pytest.CaptureFixture[str]) -> None:
    compare(MODELS / "nano.json", MODELS / "nano.json")
    assert capsys.readouterr().out.count("+0.00 [+0.00, +0.00]") == 6


def test_counts_are_those_of_the_table() -> None:
    found = patients(MODELS / "nano.json", "mitdb DS1")
    assert len(found) == 22
    assert sum(own["V"]["hits"] + own["V"]["misses"] for own in found.values()) == 3788


def test_other_patients_are_refused(tmp_path: Path) -> None:
    told = json.loads((MODELS / "nano.json").read_text(encoding="utf-8"))
    for beats in told["groups"][0]["beats"]:
        beats["records"].pop()
    (tmp_path / "fewer.json").write_text(json.dumps(told), encoding="utf-8")
    with pytest.raises(typer.BadParameter, match="not of the same patients"):
        compare(MODELS / "nano.json", tmp_path / "fewer.json")
