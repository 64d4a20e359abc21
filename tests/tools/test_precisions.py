"""A fold's bundle in all precisions."""

from __future__ import annotations

from pathlib import Path

from precisions import PRECISIONS, quantized  # tools/

from edgeecg.bundle import Bundle
from edgeecg.io import Record, write_wfdb
from tests.contract.engines import heart, make_bundle

FS = 250.0


def test_what_a_killed_run_left_is_made_again(tmp_path: Path) -> None:
    write_wfdb(Record("r", heart(30, FS), FS, ("MLII",)), tmp_path)
    fold = tmp_path / "fold0"
    fold.mkdir()
    bundle = make_bundle(fold, "nano")
    for half in ("calibration", "graphs"):
        (fold / "precisions" / half).mkdir(parents=True)
        (fold / "precisions" / half / "half").touch()
    made = quantized(bundle, ["r"], tmp_path)
    assert set(PRECISIONS) <= set(Bundle.open(made).precisions)
    changed = made.stat().st_mtime_ns
    assert quantized(bundle, ["r"], tmp_path).stat().st_mtime_ns == changed
