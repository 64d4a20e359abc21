"""`tools/tune_quality.py` reads nothing that is kept for judging."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import tune_quality as tool  # tools/

from edgeecg.data.sets import SETS


class Recording(NamedTuple):
    signal: np.ndarray
    fs: float


def test_recordings_that_are_kept_for_judging_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "cinc2017"
    folder.mkdir()
    known, kept = (SETS["cinc2017"].splits[name][:4] for name in ("development", "test"))
    for name in (*known, *kept):
        (folder / f"{name}.hea").touch()
    rows = zip((*known, *kept), "NN~~NN~~", strict=True)
    (folder / "REFERENCE.csv").write_text("".join(f"{name},{label}\n" for name, label in rows))
    read: list[str] = []

    def load(stem: Path, name: str) -> Recording:
        read.append(stem.name)
        return Recording(np.zeros((9, 1)), 300.0)

    monkeypatch.setattr(tool, "load_record", load)
    monkeypatch.setattr(tool, "judged", lambda x, fs: (None, np.array([6.0]), np.array([0, 1])))
    tool.hand_held(tmp_path, 9)
    assert sorted(read) == sorted(known)
    assert "| N | 2 |" in capsys.readouterr().out
