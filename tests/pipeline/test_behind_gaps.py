"""A link that loses packets: it makes up no beats, and it hides no heart that stops."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeecg.data.synthetic import SyntheticSettings, draw_patient, synthesize
from edgeecg.io.record import Record
from edgeecg.pipeline import annotate
from edgeecg.runtime.engine import Engine, open_engine
from edgeecg.specs import Alarm, Beat, Event
from edgeecg.stream.session import Stream

FS, PACKET = 360, 36  # a tenth of a second, which is more than what is held


@pytest.fixture(scope="module")
def engine() -> Engine:
    return open_engine("small", "onnxruntime")


def heart(kind: str, seconds: int, seed: int) -> NDArray[np.float64]:
    made = synthesize(
        SyntheticSettings(draw_patient(kind, seed), seconds=seconds, fs=FS, snr_db=25), seed=seed
    )
    return np.array(made.record.signal[:, 0])


def told(engine: Engine, signal: NDArray[np.float64]) -> list[Event]:
    return annotate(engine, Record("made", signal[:, None], float(FS), ("MLII",)))


def beats(events: list[Event]) -> NDArray[np.int64]:
    return np.array([event.sample for event in events if isinstance(event, Beat)], np.int64)


def without(signal: NDArray[np.float64], starts: NDArray[np.int64]) -> NDArray[np.float64]:
    left = signal.copy()
    for start in starts:
        left[start : start + PACKET] = np.nan
    return left


def test_lost_packets_make_up_no_beats(engine: Engine) -> None:
    """What is held before a segment's first sample is no signal: its step is no QRS."""
    made_up = losses = 0
    for seed in range(4, 9):
        signal = heart("ventricular", 120, seed)
        starts = np.arange(5 * FS, len(signal) - 5 * FS, 4 * FS + 97)
        whole, found = beats(told(engine, signal)), beats(told(engine, without(signal, starts)))
        behind = found[(np.abs(found[:, None] - starts) < 2 * FS).any(axis=1)]
        made_up += int((np.abs(behind[:, None] - whole).min(axis=1) > 0.15 * FS).sum())
        losses += len(starts)
    assert losses > 100
    assert made_up <= 0.1 * losses, f"{made_up} beats made up behind {losses} lost packets"


@pytest.mark.parametrize("lost", [0.05, 0.3])
def test_a_heart_that_stops_is_heard_through_lost_packets(engine: Engine, lost: float) -> None:
    """Packets are lost more often than asystole takes to be told: no beat is told, once and to the end."""
    signal = np.concatenate([heart("normal", 60, 1), np.zeros(60 * FS)])
    rng = np.random.default_rng(0)
    starts = np.arange(60 * FS, len(signal) - PACKET, PACKET)
    events = told(engine, without(signal, starts[rng.random(len(starts)) < lost]))
    silent = [e for e in events if isinstance(e, Alarm) and e.label in ("asystole", "no-beat")]
    onsets = [alarm.label for alarm in silent if alarm.end is None]
    assert len(onsets) == len(set(onsets))  # asystole beside it, where a stretch is long enough to say so
    assert any(alarm.start < 64 * FS and (alarm.end or 0) > 119 * FS for alarm in silent)


def test_a_beating_heart_is_no_asystole_however_many_packets_are_lost(engine: Engine) -> None:
    signal = heart("normal", 120, 1)
    rng = np.random.default_rng(0)
    starts = np.arange(5 * FS, len(signal) - PACKET, PACKET)
    for lost, none_found in ((0.05, False), (0.4, True)):
        events = told(engine, without(signal, starts[rng.random(len(starts)) < lost]))
        alarms = {event.label for event in events if isinstance(event, Alarm)}
        assert not alarms & {"asystole", "pause"}
        assert ("no-beat" in alarms) is none_found  # fragments of a third of a second tell no beats


def test_an_asystole_is_told_once(engine: Engine) -> None:
    """A ventilator moves the baseline: what cannot be read for a moment does not begin it anew."""
    time = np.arange(60 * FS) / FS
    rng = np.random.default_rng(0)
    wander = 0.2 * np.sin(2 * np.pi * 0.3 * time) + 0.005 * rng.standard_normal(len(time))
    events = told(engine, np.concatenate([heart("normal", 60, 1), wander]))
    onsets = [e for e in events if isinstance(e, Alarm) and e.end is None and e.label == "asystole"]
    assert len(onsets) == 1


def test_a_long_gap_ends_what_was_told(engine: Engine) -> None:
    signal = np.concatenate([heart("normal", 60, 1), np.zeros(30 * FS), heart("normal", 30, 2)])
    signal[80 * FS : 85 * FS] = np.nan
    ends = [e.end for e in told(engine, signal) if isinstance(e, Alarm) and e.label == "asystole" and e.end]
    assert round(ends[0] / FS) == 80


def test_no_beat_is_told_of_too_short_a_signal(engine: Engine) -> None:
    """A fragment of less than half a second holds no more than half a QRS with what belongs to it."""
    signal = heart("normal", 20, 1)
    peak = int(beats(told(engine, signal))[5])
    for length in (2, 60, 170):
        stream = Stream(engine, float(FS))
        events = stream.push(signal[peak - length // 2 : peak + length // 2]) + stream.flush()
        assert not len(beats(events))
