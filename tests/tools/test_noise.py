"""The noise stress of `benchmarks/noise.py`: what is scored, and over whom."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.noise import clean_parts, over_patients
from edgeecg.data.noise import NoisyRecord
from edgeecg.io import Record
from edgeecg.metrics.beats import BeatList, Confusion, compare


def patient(found: int, missed: int, false: int) -> Confusion:
    """Counts of someone whose beats come every second, false ones between them."""
    beats = np.arange(found + missed) * 100 + 50
    told = np.sort(np.concatenate([beats[:found], beats[:false] + 50]))
    return compare(BeatList(beats, np.full(len(beats), "N")), BeatList(told, np.full(len(told), "N")), 100.0)


def test_only_the_noisy_parts_are_scored() -> None:
    record = Record("r", np.zeros((1000, 1)), 100.0, ("I",))
    assert clean_parts(NoisyRecord(record, ((300, 500), (700, 1000)), np.ones(1))) == [(0, 300), (500, 700)]


def test_the_interval_is_over_patients_and_the_figure_over_beats() -> None:
    figure = over_patients([patient(100, 0, 0), patient(10, 10, 10)])
    assert figure.value == pytest.approx(2 * 110 / (2 * 110 + 10 + 10))
    assert (figure.low, figure.high) == (pytest.approx(0.5), pytest.approx(1.0))  # one patient alone
    assert figure.patients == 2
