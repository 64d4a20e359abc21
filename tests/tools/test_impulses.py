"""How `tools/impulses.py` counts."""

from __future__ import annotations

import numpy as np
import pytest

from edgeecg.io.record import Record

pytest.importorskip("torch")

import impulses  # tools/

from tests.signal.test_frontend import beats


def test_a_beat_with_a_held_sample_near_is_counted_once() -> None:
    marks = np.array([100, 500, 900, 1300])
    places = np.array([0, 95, 96, 500, 921, 1340])
    assert impulses.touched(marks, places, 250.0) == 2, "80 ms are twenty samples"
    assert impulses.touched(marks, places[:0], 250.0) == 0


def test_what_is_held_is_found_on_any_lead() -> None:
    x = np.concatenate([beats(250), beats(250, seed=1)]).T.copy()
    x[3000, 1] += 20.0
    assert impulses.held(x, 250.0).tolist() == [3000]


def test_a_recording_is_played_faster_with_its_beats() -> None:
    signal = np.zeros((360 * 60 * 6, 2), np.float32)
    signal[36_000, 0] = 1.0
    record = Record("r", signal, 360.0, ("II", "V1"))
    made, marks = impulses.faster(record, np.array([36_000, 360 * 60 * 5 + 1]), 2.0, 250.0)
    assert made.signal.shape == (250 * 150, 1)
    assert marks.tolist() == [12_500]
    assert int(np.abs(made.signal[:, 0]).argmax()) == pytest.approx(12_500, abs=1)
