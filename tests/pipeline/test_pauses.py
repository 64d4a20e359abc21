"""A heart that pauses is no noise: its next beat is told, and nothing but a pause."""

from __future__ import annotations

import numpy as np
import pytest

from edgeecg import open_engine
from edgeecg.bundle import packaged_names
from edgeecg.data.catalog import load_record
from edgeecg.data.synthetic import SyntheticSettings, draw_patient, synthesize
from edgeecg.io.record import Record
from edgeecg.pipeline import annotate
from edgeecg.specs import Alarm, Beat

FS = 250  # hertz
packaged = pytest.mark.skipif("small" not in packaged_names(), reason="no packaged model here")


def paused(seconds: float, noise: float) -> tuple[np.ndarray, int]:
    """A made heart at rest with nothing but noise put in before a beat, and the sample of that beat."""
    made = synthesize(SyntheticSettings(draw_patient("normal", 1), seconds=60, fs=FS, snr_db=30), seed=1)
    signal, beats = np.array(made.record.signal[:, 0]), made.record.annotations.beats().sample
    beat = int(beats[np.searchsorted(beats, 30 * FS)])
    cut = beat - round(0.3 * FS)  # before its P wave
    line = np.random.default_rng(2).normal(signal[cut], noise, round(seconds * FS))
    return np.concatenate([signal[:cut], line, signal[cut:]]), beat + len(line)


def told(signal: np.ndarray) -> tuple[np.ndarray, list[Alarm]]:
    """Samples of the beats, and the alarms that have ended."""
    with open_engine("small", "onnxruntime") as engine:
        events = annotate(engine, Record("made", signal[:, None], float(FS), ("MLII",)))
    alarms = [e for e in events if isinstance(e, Alarm) and e.end is not None]
    return np.array([e.sample for e in events if isinstance(e, Beat)]), alarms


@packaged
@pytest.mark.parametrize("seconds", [1.8, 2.1, 2.4, 2.7])  # to which the interval that was adds a second
@pytest.mark.parametrize("noise", [0.001, 0.01])
def test_the_beat_behind_a_pause_is_told_and_ends_it(seconds: float, noise: float) -> None:
    signal, beat = paused(seconds, noise)
    beats, alarms = told(signal)
    assert np.abs(beats - beat).min() <= 0.15 * FS
    silence = [alarm for alarm in alarms if alarm.label in ("pause", "asystole", "no-beat")]
    assert [alarm.label for alarm in silence] == ["pause"]
    assert abs(silence[0].end - beat) <= 0.15 * FS


@packaged
def test_a_burst_of_noise_is_still_unreadable_beside_a_pause() -> None:
    signal, beat = paused(2.4, 0.01)
    loud = slice(beat + 5 * FS, beat + 8 * FS)
    signal[loud] += np.random.default_rng(3).normal(0, 3, 3 * FS)
    beats, _ = told(signal)
    assert np.abs(beats - beat).min() <= 0.15 * FS
    assert not ((beats > loud.start + 2 * FS) & (beats < loud.stop)).any()


@packaged
@pytest.mark.data
def test_the_pause_of_201_hides_no_beat(data_root) -> None:
    """Its longest, 3.77 s, ends with the beat at 644594."""
    record = load_record(data_root / "mitdb" / "201", "mitdb")
    begin = 630_000
    piece = Record("201", record.signal[begin : begin + 60 * 360], record.fs, record.leads)
    with open_engine("small", "onnxruntime") as engine:
        events = annotate(engine, piece)
    beats = np.array([e.sample for e in events if isinstance(e, Beat)]) + begin
    assert np.abs(beats - 644_594).min() <= 0.15 * 360
    assert not any(isinstance(e, Alarm) and e.label == "no-beat" for e in events)
