"""What is odd in recordings of one's own, and would teach something false, is refused or told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeecg.cli.main import main
from edgeecg.data.prepare import TrainingData, load_training_data
from edgeecg.data.settings import DataSettings
from edgeecg.data.synthetic import SyntheticSettings, draw_patient, synthesize
from edgeecg.errors import RecordError
from edgeecg.io.record import Record
from edgeecg.io.wfdb import write_wfdb


def made(seed: int = 1, seconds: float = 20.0) -> Record:
    return synthesize(SyntheticSettings(draw_patient("ventricular", seed), seconds=seconds), seed=seed).record


def load(root: Path, *names: str, **settings: object) -> TrainingData:
    return load_training_data(DataSettings(root=str(root), sets=dict.fromkeys(names, 1.0), **settings), 0)  # type: ignore[arg-type]


def word(code: int, interval: int) -> bytes:
    """A mark of an annotation file: WFDB's code, samples since the one before."""
    return ((code << 10) | interval).to_bytes(2, "little")


@pytest.fixture
def strange(tmp_path: Path) -> Path:
    """A record whose annotation file has two marks of a code that WFDB has no symbol for."""
    header = write_wfdb(made(), tmp_path / "mine")
    header.with_suffix(".atr").write_bytes(word(1, 200) + 2 * word(42, 200) + word(5, 200) + b"\0\0")
    return header.with_suffix("")


def test_marks_that_nobody_knows_are_not_taught_as_no_beat(strange: Path) -> None:
    with pytest.raises(RecordError, match=f"{strange} has 2 marks of a code without symbol"):
        load(strange.parents[1], "mine")


@pytest.mark.parametrize("side", ["reference", "test"])
def test_marks_that_nobody_knows_are_not_scored_as_no_beat(
    strange: Path, side: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = strange.parent
    if side == "test":
        folder = tmp_path / "out"
        folder.mkdir()
        strange.with_suffix(".atr").rename(folder / f"{strange.name}.atr")
        write_wfdb(made(), strange.parent)
    assert main(["evaluate", str(strange.parent), "-a", str(folder), "--extension", "atr"]) == 2
    assert f"{strange.name}.atr has 2 marks of a code without symbol" in " ".join(capsys.readouterr().err.split())
