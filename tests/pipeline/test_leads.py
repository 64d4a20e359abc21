"""A lead that falls off is replaced from its first beat on, whatever it shows then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeecg.data.synthetic import SyntheticSettings, draw_patient, synthesize
from edgeecg.io import Record
from edgeecg.pipeline import annotate
from edgeecg.runtime.engine import Engine, open_engine
from edgeecg.specs import Beat

Line = Callable[[NDArray[np.float64], np.random.Generator], NDArray[np.float64]]

LINES: dict[str, Line] = {
    "nothing": lambda time, rng: np.full(len(time), np.nan),
    "constant": lambda time, rng: np.full(len(time), 0.1),
    "rail": lambda time, rng: np.full(len(time), 5.0),
    "microvolts": lambda time, rng: 0.004 * rng.standard_normal(len(time)),
    "noise": lambda time, rng: 2 * rng.standard_normal(len(time)),
    "hum": lambda time, rng: np.sin(2 * np.pi * 50 * time) + 0.02 * rng.standard_normal(len(time)),
}
FALLS = range(10, 110, 20)  # seconds at which the lead falls off, for ten
MATCH = 0.15


@pytest.fixture(scope="module")
def packaged() -> Engine:
    return open_engine("small", "onnxruntime")


@pytest.fixture(scope="module")
def patient() -> Record:
    settings = SyntheticSettings(draw_patient("normal", 4), seconds=120, snr_db=30)
    return replace(synthesize(settings, seed=2).record, annotations=None)


def beats_of(engine: Engine, record: Record, policy: str) -> NDArray[np.float64]:
    events = annotate(engine, record, lead_policy=policy)  # type: ignore[arg-type]
    return np.array([event.sample / record.fs for event in events if isinstance(event, Beat)])


@pytest.mark.parametrize("policy", ["best", "fused"])
@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("lead", [0, 1])
def test_no_beat_is_lost(packaged: Engine, patient: Record, lead: int, line: str, policy: str) -> None:
    rng, fs = np.random.default_rng(lead), patient.fs
    signal = patient.signal.copy()
    for second in FALLS:
        begin = round((second + rng.random()) * fs)
        time = np.arange(round(10 * fs)) / fs
        signal[begin : begin + len(time), lead] = LINES[line](time, rng)
    whole = beats_of(packaged, patient, policy)
    told = beats_of(packaged, replace(patient, signal=signal), policy)
    assert len(whole) > 100
    lost = [beat for beat in whole if np.abs(told - beat).min() > MATCH]
    assert lost == []


@pytest.mark.parametrize("policy", ["best", "fused"])
@pytest.mark.parametrize("lead", [0, 1])
@pytest.mark.parametrize("after", [0.1, 0.2])
def test_a_beat_just_before_strong_noise_is_kept(
    packaged: Engine, patient: Record, lead: int, policy: str, after: float
) -> None:
    """The network has looked ahead into the noise when it tells of the beat."""
    whole = beats_of(packaged, patient, policy)
    rng, fs = np.random.default_rng(lead), patient.fs
    signal = patient.signal.copy()
    for beat in whole[10:-10:10]:
        begin = round((beat + after) * fs)
        signal[begin : begin + round(4 * fs), lead] += rng.uniform(1, 3) * rng.standard_normal(round(4 * fs))
    told = beats_of(packaged, replace(patient, signal=signal), policy)
    assert [beat for beat in whole if np.abs(told - beat).min() > MATCH] == []
