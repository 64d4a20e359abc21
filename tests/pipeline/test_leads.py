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
from edgeecg.specs import Beat, Quality

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


@pytest.mark.parametrize("policy", ["best", "fused"])
def test_a_lead_without_a_signal_is_told_by_itself(packaged: Engine, patient: Record, policy: str) -> None:
    fs = patient.fs
    signal = patient.signal[: round(40 * fs)].copy()
    signal[round(10 * fs) : round(20 * fs), 1] = np.nan
    signal[round(30 * fs) :, 0] = 0.2
    told = [
        event
        for event in annotate(packaged, replace(patient, signal=signal), lead_policy=policy)  # type: ignore[arg-type]
        if isinstance(event, Quality)
    ]
    assert all(event.start < fs for event in told if event.lead is None), "the other lead is good"
    off = [event for event in told if event.lead == 1]
    assert [(event.label, event.end is None) for event in off] == [("lead-off", True), ("lead-off", False)]
    assert np.abs(np.array([off[1].start, off[1].end]) / fs - (10, 20)).max() <= 1
    flat = [event for event in told if event.lead == 0]
    assert [event.label for event in flat] == ["flat", "flat"]
    assert abs(flat[1].start / fs - 30) <= 1
    assert flat[1].end == len(signal), "it ends with the signal"
