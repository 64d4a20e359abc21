"""The benchmark of explanations asks about development recordings alone."""

from __future__ import annotations

from pathlib import Path

from benchmarks.explaining.beats import SHORT, recordings
from edgeecg.data.sets import SETS


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
