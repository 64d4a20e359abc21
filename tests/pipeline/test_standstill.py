"""Ventricles that stand still while the atria go on: asystole, however many P waves are taken for beats."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgeecg.data.synthetic import SyntheticPatient, SyntheticSettings, draw_patient, synthesize
from edgeecg.decode.alarms import AlarmSettings
from edgeecg.io.record import Record
from edgeecg.pipeline import annotate
from edgeecg.runtime.engine import Engine, open_engine
from edgeecg.specs import Alarm, Beat, Event
from edgeecg.stream.session import Stream

FS = 250
PART = 40  # seconds of each part


@pytest.fixture(scope="module")
def nano() -> Engine:
    return open_engine("nano", "onnxruntime")


@pytest.fixture(scope="module")
def standstill() -> Record:
    """A sinus rhythm, P waves of 0.08 mV alone, and the rhythm again."""
    return stands_still(draw_patient("normal", 3))


def stands_still(patient: SyntheticPatient) -> Record:
    settings = SyntheticSettings(patient, seconds=PART, fs=FS, leads=("MLII",), snr_db=30)
    heart = synthesize(settings, 3).record.signal[:, 0]
    time, rng = np.arange(PART * FS) / FS, np.random.default_rng(3)
    waves = sum(0.08 * np.exp(-0.5 * ((time - peak) / 0.025) ** 2) for peak in np.arange(0.9, PART, 0.75))
    alone = heart[-1] + waves + 0.004 * rng.standard_normal(len(time))
    return Record("made", np.concatenate([heart, alone, heart])[:, None], float(FS), ("MLII",))


def silences(events: list[Event]) -> list[Alarm]:
    return [e for e in events if isinstance(e, Alarm) and e.label == "asystole"]


def test_asystole_is_told_and_lasts(nano: Engine, standstill: Record) -> None:
    events = annotate(nano, standstill)
    inside = [e for e in events if isinstance(e, Beat) and PART * FS < e.sample < 2 * PART * FS]
    assert len(inside) > PART / 2  # so P waves were told as beats
    (onset, end) = silences(events)
    assert (onset.end, onset.start) == (None, end.start)
    assert (PART - 2) * FS < onset.start < (PART + 4) * FS
    assert end.end is not None
    assert abs(end.end - 2 * PART * FS) < 2 * FS
    without = silences(annotate(nano, standstill, alarms=AlarmSettings(faint=0)))
    assert all(alarm.end - alarm.start < PART / 2 * FS for alarm in without if alarm.end is not None)


@pytest.mark.parametrize("rate", [40.0, 50.0, 65.0])
def test_it_is_told_of_a_slow_heart_too(nano: Engine, rate: float) -> None:
    """Half a second before its beats lies diastole, which is as faint as a standstill."""
    slow = replace(draw_patient("normal", 3), rate=rate, atrial=0.0, variability=0.02)
    told = silences(annotate(nano, stands_still(slow)))
    lasted = sum(
        min(a.end, 2 * PART * FS) - a.start for a in told if a.end is not None and a.start >= (PART - 3) * FS
    )
    assert lasted > 0.8 * PART * FS


@pytest.mark.parametrize("size", [97, 777])
def test_however_it_is_cut_and_saved(nano: Engine, standstill: Record, size: int) -> None:
    stream, told = Stream(nano, float(FS)), list[Event]()
    for start in range(0, len(standstill), size):
        told += stream.push(standstill.signal[start : start + size])
        saved, stream = stream.snapshot(), Stream(nano, float(FS))
        stream.restore(saved)
    told += stream.flush()
    alarms = [event for event in annotate(nano, standstill) if isinstance(event, Alarm)]
    assert [event for event in told if isinstance(event, Alarm)] == alarms
