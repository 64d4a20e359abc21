"""``edgeecg data``: listing and making recordings (fetching is tested with the fetching)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgeecg.cli.main import main
from edgeecg.data.labels import reference_of
from edgeecg.io import Record, read_annotations, read_record, write_wfdb


def test_list_shows_sets_and_what_is_here(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_wfdb(Record("100", np.zeros((99, 1)), 360.0, ("MLII",)), tmp_path / "mitdb")
    assert main(["data", "list", "--json", "--data", str(tmp_path)]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["mitdb"]["here"] == 1
    assert rows["svdb"]["here"] == 0
    assert rows["cinc2017"]["licence"] == "ODC-BY 1.0"
    assert "Clifford" in rows["cinc2017"]["attribution"]
    assert main(["data", "list", "--data", str(tmp_path)]) == 0
    names = {line.split()[0] for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert set(rows) <= names, "whole, as `data fetch` takes them"


def test_synth_writes_records_that_read_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "made"
    command = ["data", "synth", "--out", str(out), "--patients", "5", "--seconds", "20", "--fs", "250"]
    assert main([*command, "--leads", "I,V5", "--snr", "6", "20", "--seed", "4"]) == 0
    listing = json.loads((out / "cohort.json").read_text())
    assert [row["split"] for row in listing["records"]] == ["train"] * 3 + ["validation", "test"]
    for row in listing["records"]:
        stem = out / row["split"] / row["record"]
        record = read_record(stem)
        assert record.signal.shape == (5000, 2)
        assert record.leads == ("I", "V5")
        assert 10 <= len(reference_of(record).beats) <= 60
        assert set(read_annotations(stem, "pwave").symbol.tolist()) <= {"p"}
    capsys.readouterr()
    assert main(command) == 2  # never over what is there
    assert "there already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--leads", "V12"], "choose among"), (["--patients", "2"], "patients"), (["--fs", "50"], "fs")],
)
def test_synth_with_wrong_settings_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    out = tmp_path / "made"
    assert main(["data", "synth", "--out", str(out), "--seconds", "20", *options]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("error:") == 1
    assert list(tmp_path.iterdir()) == []
