"""What looks like ventricular fibrillation is told as no beat, though some waves are taken for beats."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import butter, sosfiltfilt

from edgeecg.data.synthetic import SyntheticSettings, draw_patient, synthesize
from edgeecg.io import Record
from edgeecg.pipeline import annotate
from edgeecg.runtime.engine import Engine, open_engine
from edgeecg.specs import Alarm, Beat, Quality

FS, MINUTE = 360, 60


def heart(seconds: float, **about: float) -> NDArray[np.float64]:
    patient = replace(draw_patient("normal", 3), atrial=0.0, **about)  # type: ignore[arg-type]
    settings = SyntheticSettings(patient, seconds=seconds, fs=float(FS), snr_db=24.0)
    return np.array(synthesize(settings, seed=3).record.signal, np.float64)


@pytest.fixture(scope="module")
def packaged() -> Engine:
    return open_engine("small", "onnxruntime")


@pytest.mark.parametrize("millivolts", [0.15, 1.0])
def test_fibrillation_is_no_rhythm(packaged: Engine, millivolts: float) -> None:
    rng = np.random.default_rng(3)
    band = butter(2, [3.5, 7], "bandpass", fs=FS, output="sos")
    wave = sosfiltfilt(band, rng.standard_normal(MINUTE * FS))
    lead = millivolts / 2 / wave.std() * wave + 0.005 * rng.standard_normal(len(wave))
    signal = np.concatenate([heart(40.0), lead[:, None] * np.array([1.0, 0.6])])
    events = annotate(packaged, Record("made", signal, float(FS), ("MLII", "V1")))
    silent = np.zeros(len(signal), bool)
    for event in events:
        if isinstance(event, Alarm) and event.label in ("no-beat", "asystole") and event.end is not None:
            silent[event.start : event.end] = True
    assert any(isinstance(event, Beat) and event.sample > 45 * FS for event in events), "else it is easy"
    assert silent[44 * FS :].mean() > 0.75
    assert not silent[: 40 * FS].any()


def test_a_slow_heart_that_moves_is_heard(packaged: Engine) -> None:
    """It was slow before the noise came: its beats are no waves of a fibrillation."""
    signal, rng = heart(120.0, rate=44.0, variability=0.02), np.random.default_rng(3)
    band = butter(2, [8, 60], "bandpass", fs=FS, output="sos")
    muscle = sosfiltfilt(band, rng.standard_normal(signal.shape), axis=0)
    signal[40 * FS :] += 0.08 / muscle.std() * muscle[40 * FS :]
    events = annotate(packaged, Record("made", signal, float(FS), ("MLII", "V1")))
    assert sum(isinstance(event, Beat) and event.sample > 40 * FS for event in events) > 50
    assert any(isinstance(event, Quality) and event.label == "noisy" for event in events)
    told = {event.label for event in events if isinstance(event, Alarm) and event.start > 40 * FS}
    assert not told & {"no-beat", "asystole", "pause"}


def test_a_slow_heart_in_hum_is_heard(packaged: Engine) -> None:
    signal = heart(90.0, rate=40.0, variability=0.02)
    signal += 0.5 * np.sin(2 * np.pi * 50 / FS * np.arange(len(signal)))[:, None]
    alarms = [
        event.label
        for event in annotate(packaged, Record("made", signal, float(FS), ("MLII", "V1")))
        if isinstance(event, Alarm)
    ]
    assert "bradycardia" in alarms
    assert "no-beat" not in alarms
    assert "asystole" not in alarms
