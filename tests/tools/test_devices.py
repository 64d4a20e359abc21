"""What `tools/devices.py` does to recordings."""

from __future__ import annotations

import numpy as np
import pytest

from edgeecg.io.record import Annotations, Record

pytest.importorskip("torch")

import devices  # tools/


def heart(fs: float = 360.0) -> Record:
    """Ten seconds of nothing, with a beat every second and a change of rhythm."""
    place = np.arange(1, 10) * int(fs)
    marks = Annotations(place, np.array(["N"] * 8 + ["+"]), np.array([""] * 9))
    return Record("r", np.zeros((10 * int(fs), 2), np.float32), fs, ("II", "V1"), marks)


@pytest.mark.parametrize("fs", [250.0, 500.0])
def test_a_spike_stands_before_each_beat(fs: float) -> None:
    made = devices.paced(heart(), 20.0, fs)
    assert made.fs == fs
    assert made.signal.shape == (10 * fs, 2)
    step = 1000.0 / fs
    peaks = np.flatnonzero(made.signal[:, 1] > 10.0 / step)
    seconds = np.unique(np.round(peaks / fs, 1))
    assert seconds.tolist() == [n + 0.8 for n in range(8)], "160 ms before the beats, none before the rhythm"
    total = made.signal.sum() / fs
    assert total == pytest.approx(2 * 8 * 20.0 * 0.001, rel=0.01), "what the spike carries stays"
    assert made.annotations is not None
    np.testing.assert_allclose(made.annotations.sample / fs, np.arange(1, 10), atol=1 / fs)


@pytest.mark.parametrize("name", devices.DEVICES)
def test_every_device_gives_a_record_with_its_beats(name: str) -> None:
    made = devices.DEVICES[name](heart())
    assert made.annotations is not None
    assert len(made) == pytest.approx(10 * made.fs, abs=2)
    assert np.isfinite(made.signal).all()
    np.testing.assert_allclose(made.annotations.sample / made.fs, np.arange(1, 10), atol=2 / made.fs)
