"""Annotation files: what is written is what wfdb, and so PhysioNet's tools, read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import wfdb
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeecg.errors import RecordError
from edgeecg.io import Annotations, read_annotations, write_annotations

SYMBOLS = ["N", "S", "V", "F", "Q"]


def test_rdann_reads_beats_and_rhythm_changes(tmp_path: Path) -> None:
    marks = Annotations(
        [5, 10, 300, 700, 1200, 4000], ["+", "N", "S", "+", "V", "F"], ["(N", "", "", "(AFIB", "", ""]
    )
    path = write_annotations(tmp_path / "rec", marks, 360.0)
    assert path == tmp_path / "rec.edg"
    raw = wfdb.rdann(str(tmp_path / "rec"), "edg")
    assert raw.sample.tolist() == marks.sample.tolist()
    assert raw.symbol == ["+", "N", "S", "+", "V", "F"]
    assert [note.rstrip("\0") for note in raw.aux_note] == ["(N", "", "", "(AFIB", "", ""]
    assert raw.fs == 360


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    gaps=st.lists(st.integers(0, 3 * 10**6), max_size=20),  # beyond 1023 samples a skip is written
    seed=st.integers(0, 2**32 - 1),
)
def test_any_marks_come_back(tmp_path: Path, gaps: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    symbols = rng.choice([*SYMBOLS, "+"], len(gaps))
    aux = np.where(symbols == "+", "(AFIB", "")
    marks = Annotations(np.cumsum(np.array(gaps, dtype=np.int64)), symbols, aux)
    write_annotations(tmp_path / "r", marks, 257.0)
    back = read_annotations(tmp_path / "r", "edg")
    assert back.sample.tolist() == marks.sample.tolist()
    assert back.symbol.tolist() == marks.symbol.tolist()
    assert back.aux.tolist() == marks.aux.tolist()


def test_months_of_recording_have_sample_numbers_that_fit(tmp_path: Path) -> None:
    far = 90 * 86400 * 250
    write_annotations(tmp_path / "r", Annotations([3, far], ["N", "V"]), 250.0)
    assert read_annotations(tmp_path / "r", "edg").sample.tolist() == [3, far]


def test_a_record_without_beats_gets_a_file_all_the_same(tmp_path: Path) -> None:
    write_annotations(tmp_path / "r", Annotations([], []), 250.0)
    assert len(read_annotations(tmp_path / "r", "edg")) == 0
    assert wfdb.rdann(str(tmp_path / "r"), "edg").sample.tolist() == []


def test_any_record_name_can_be_annotated(tmp_path: Path) -> None:
    write_annotations(tmp_path / "Müller, 24 h.v2", Annotations([3], ["N"]), 250.0)
    assert [p.name for p in tmp_path.iterdir()] == ["Müller, 24 h.v2.edg"]
    assert read_annotations(tmp_path / "Müller, 24 h.v2", "edg").sample.tolist() == [3]


@pytest.mark.parametrize(
    ("marks", "extension", "message"),
    [
        (Annotations([3], ["Z"]), "edg", "symbols"),
        (Annotations([-3], ["N"]), "edg", "negative"),
        (Annotations([3], ["N"]), "e/dg", "extension"),
        (Annotations([3], ["N"]), "", "extension"),
    ],
)
def test_what_wfdb_cannot_hold_is_refused_and_leaves_nothing(
    tmp_path: Path, marks: Annotations, extension: str, message: str
) -> None:
    with pytest.raises(RecordError, match=message):
        write_annotations(tmp_path / "r", marks, 250.0, extension=extension)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_annotations(tmp_path / "r", Annotations([3], ["N"]), 250.0)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(wfdb, "wrann", full)
    with pytest.raises(OSError, match="No space"):
        write_annotations(tmp_path / "r", Annotations([9], ["V"]), 250.0)
    monkeypatch.undo()
    assert read_annotations(tmp_path / "r", "edg").sample.tolist() == [3]
    assert [p.name for p in tmp_path.iterdir()] == ["r.edg"]


def test_the_name_of_a_file_in_place_of_a_record_says_how_to_call_it(tmp_path: Path) -> None:
    file = write_annotations(tmp_path / "a", Annotations([1], ["N"]), 250.0, extension="edg")
    with pytest.raises(RecordError, match=r"without extension, .*/a, and the annotator apart"):
        read_annotations(file)


def test_a_missing_file_names_those_that_are_there(tmp_path: Path) -> None:
    write_annotations(tmp_path / "r", Annotations([3], ["N"]), 250.0, extension="qrs")
    with pytest.raises(RecordError, match="qrs"):
        read_annotations(tmp_path / "r", "atr")
    with pytest.raises(RecordError, match="folder"):
        write_annotations(tmp_path / "nowhere" / "r", Annotations([3], ["N"]), 250.0)


def test_a_damaged_file_is_one_error(tmp_path: Path) -> None:
    write_annotations(tmp_path / "r", Annotations([3, 9], ["N", "V"]), 250.0)
    whole = (tmp_path / "r.edg").read_bytes()
    (tmp_path / "r.edg").write_bytes(whole[:-2])
    with pytest.raises(RecordError, match="truncated"):
        read_annotations(tmp_path / "r", "edg")
    (tmp_path / "r.atr").write_bytes(b"garbage!!")
    with pytest.raises(RecordError, match="damaged"):
        read_annotations(tmp_path / "r", "atr")
