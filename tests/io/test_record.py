"""Record and Annotations: values that cannot be wrong in shape."""

from __future__ import annotations

import dataclasses
from datetime import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeecg.errors import RecordError
from edgeecg.io import Annotations, Record


def record(n: int = 100, leads: tuple[str, ...] = ("II", "V1"), **more: object) -> Record:
    signal = np.arange(n * len(leads), dtype=float).reshape(n, len(leads))
    return Record("r", signal, 100.0, leads, **more)  # type: ignore[arg-type]


def test_a_record_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        record().fs = 5.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("signal", "fs", "message"),
    [
        (np.zeros(5), 100.0, "samples, leads"),
        (np.zeros((5, 3)), 100.0, "2 leads"),
        (np.zeros((0, 2)), 100.0, "empty"),
        (np.zeros((5, 2)), 0.0, "rate"),
        (np.zeros((5, 2)), float("nan"), "rate"),
    ],
)
def test_what_is_no_record_is_refused(signal: np.ndarray, fs: float, message: str) -> None:
    with pytest.raises(RecordError, match=message):
        Record("r", signal, fs, ("a", "b"))


def test_leads_by_name_and_number() -> None:
    r = record()
    assert np.array_equal(r.lead("V1"), r.signal[:, 1])
    assert np.array_equal(r.lead(-1), r.signal[:, 1])
    assert r.pick("V1").leads == ("V1",)
    assert r.pick(1, "II").leads == ("V1", "II")
    for unknown in ("V9", 2, -3):
        with pytest.raises(RecordError, match="r "):
            r.lead(unknown)


def test_cut_moves_annotations_and_clock() -> None:
    marks = Annotations([0, 10, 50, 99], ["N", "V", "N", "N"])
    r = record(annotations=marks, start=datetime(2020, 1, 1, 12, 0, 0)).cut(10, 99)
    assert len(r) == 89
    assert r.annotations is not None
    assert r.annotations.sample.tolist() == [0, 40]
    assert r.start == datetime(2020, 1, 1, 12, 0, 0, 100_000)


def test_annotations_must_fit_together_and_ascend() -> None:
    with pytest.raises(RecordError, match="one symbol"):
        Annotations([1, 2], ["N"])
    with pytest.raises(RecordError, match="ascend"):
        Annotations([2, 1], ["N", "N"])


def test_beats_are_told_from_other_marks() -> None:
    marks = Annotations([1, 2, 3, 4, 5], ["+", "N", "~", "/", "|"], ["(N", "", "", "", ""])
    assert marks.beats().symbol.tolist() == ["N", "/"]
    assert marks.is_beat.tolist() == [False, True, False, True, False]


@given(
    samples=st.lists(st.integers(0, 10**9), max_size=30),
    start=st.integers(0, 10**9),
    length=st.integers(0, 10**9),
)
def test_within_keeps_exactly_what_lies_inside(samples: list[int], start: int, length: int) -> None:
    marks = Annotations(sorted(samples), ["N"] * len(samples))
    inside = marks.within(start, start + length)
    assert (inside.sample + start).tolist() == [s for s in sorted(samples) if start <= s < start + length]
