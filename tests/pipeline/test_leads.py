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
from edgeecg.pipeline.usual import compared
from edgeecg.runtime.engine import Engine, open_engine
from edgeecg.signal.quality import BAD
from edgeecg.specs import Alarm, Beat, Quality

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


def test_few_beats_are_lost_where_an_open_input_is_as_loud_as_a_heart_at_rest(
    packaged: Engine, patient: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten microvolts tell an open input from an ECG only beside a beat that another lead shows."""
    rng, fs = np.random.default_rng(0), patient.fs
    lost = {1.0: 0, np.inf: 0}
    for lead in (0, 1):
        signal = patient.signal.copy()
        for second in FALLS:
            begin, count = round((second + rng.random()) * fs), round(10 * fs)
            signal[begin : begin + count, lead] = 0.01 * rng.standard_normal(count)
        for policy in ("best", "fused"):
            whole = beats_of(packaged, patient, policy)
            for factor in lost:
                monkeypatch.setattr("edgeecg.pipeline.leads.SURE", 2.0 * factor)
                told = beats_of(packaged, replace(patient, signal=signal), policy)
                lost[factor] += sum(np.abs(told - beat).min() > MATCH for beat in whole)
    assert lost[1.0] <= 6 < lost[np.inf]


@pytest.mark.parametrize("policy", ["best", "fused"])
def test_a_small_lead_in_place_of_a_large_one_is_no_standstill(
    packaged: Engine, patient: Record, policy: str
) -> None:
    """The large lead turns noisy for a minute; the other, a seventh of its size, stays clean."""
    rng, fs = np.random.default_rng(0), patient.fs
    signal, half = patient.signal.copy(), len(patient.signal) // 2
    signal[:, 1] *= 0.15
    signal[half:, 0] += 0.4 * np.convolve(rng.standard_normal(half + 7), np.ones(8) / 8, "valid")
    whole = beats_of(packaged, patient, policy)
    record = replace(patient, signal=signal)
    events = annotate(packaged, record, lead_policy=policy)  # type: ignore[arg-type]
    told = np.array([event.sample / fs for event in events if isinstance(event, Beat)])
    assert np.mean([np.abs(told - beat).min() <= MATCH for beat in whole]) > 0.95
    assert [event.label for event in events if isinstance(event, Alarm) and event.label == "asystole"] == []


def test_levels_are_as_the_first_lead_would_have_them() -> None:
    level = np.tile(np.array([0.1, 0.02])[None, :, None], (1, 1, 40))
    label = np.zeros((1, 2, 40), np.int64)
    label[:, 0, 20:] = BAD
    level[:, 0, 20:] = 5.0  # what cannot be read says nothing
    found, usual = compared(level, label, np.full((1, 2), np.nan))
    np.testing.assert_allclose(found[0, 1], 0.1)
    other, _ = compared(level[:, ::-1], label[:, ::-1], np.full((1, 2), np.nan))
    np.testing.assert_allclose(other[0, 1, :20], 0.02)
    alone, _ = compared(level, np.array([[[BAD] * 40, [0] * 40]]), np.full((1, 2), np.nan))
    np.testing.assert_allclose(alone[0, 1], 0.02, err_msg="a lead that was never readable is no measure")
    assert np.isnan(usual[..., 0]).all()
    np.testing.assert_allclose(usual[..., 1:], np.array([[[0.1], [0.02]]]).repeat(40, axis=2))
    quiet, still = compared(level[..., 20:] / 20, label[..., 20:], usual[..., -1])  # the heart stops
    assert (quiet[0, 1] < 0.2 * 0.1).all()
    assert still[0] == pytest.approx([0.1, 0.02], rel=0.06), "and what is usual hardly follows"
    apart = compared(level[..., :7], label[..., :7], np.full((1, 2), np.nan))
    again = compared(level[..., 7:], label[..., 7:], apart[1][..., -1])
    np.testing.assert_array_equal(np.concatenate([apart[0], again[0]], axis=2), found)


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
