"""A signal without beats must speak, not fall silent: flutter, a heart that stops, a line."""

from __future__ import annotations

import numpy as np
import pytest

from edgeecg import open_engine
from edgeecg.bundle import packaged_names
from edgeecg.data.catalog import find_records, load_record
from edgeecg.data.synthetic import SyntheticSettings, draw_patient, synthesize
from edgeecg.io.record import Record
from edgeecg.metrics.judge import truth_of
from edgeecg.pipeline import annotate
from edgeecg.specs import Alarm

SPEAKS = {"pause", "asystole", "no-beat", "bradycardia", "tachycardia", "v-run"}


packaged = pytest.mark.skipif("small" not in packaged_names(), reason="no packaged model here")


@pytest.mark.data
@packaged
def test_each_stretch_of_flutter_raises_an_alarm(data_root):
    path = next(path for path in find_records(data_root, "mitdb") if path.name == "207")
    record = load_record(path, "mitdb")
    with open_engine("small", "onnxruntime") as engine:
        events = annotate(engine, record)
    ended = [event for event in events if isinstance(event, Alarm) and event.end is not None]
    alarms = [alarm for alarm in ended if alarm.label in SPEAKS]
    flutter = truth_of(record, "mitdb").masks
    assert len(flutter) == 6
    for start, stop in flutter:
        seconds = start / record.fs
        assert any(a.start < stop and a.end > start for a in alarms), (
            f"silent in the flutter at {seconds:.0f} s"
        )


FS, STOP = 250, 30  # hertz; seconds of a beating heart


def alarms_of(signal: np.ndarray) -> dict[str, tuple[int, int | None]]:
    """Label, start and end of each alarm of silence, seconds."""
    record = Record("made", signal[:, None], float(FS), ("MLII",))
    with open_engine("small", "onnxruntime") as engine:
        events = annotate(engine, record)
    told = [e for e in events if isinstance(e, Alarm) and e.end is not None and e.label in SPEAKS]
    return {e.label: (round(e.start / FS), round(e.end / FS)) for e in told}


def beating() -> np.ndarray:
    made = synthesize(SyntheticSettings(draw_patient("normal", 1), seconds=60, fs=FS, snr_db=30), seed=1)
    return np.array(made.record.signal[:, 0])


@packaged
@pytest.mark.parametrize("left", ["noise", "line", "its own baseline"])
def test_a_heart_that_stops_is_heard(left: str) -> None:
    """What is left cannot be read any more, or is flat: silence counts on."""
    signal, rng = beating(), np.random.default_rng(0)
    time = np.arange(len(signal) - STOP * FS) / FS
    tails = {
        "noise": 0.005 * rng.standard_normal(len(time)) + 0.1 * np.sin(2 * np.pi * 0.3 * time),
        "line": np.zeros(len(time)),
        "its own baseline": np.resize(signal[STOP * FS - 60 : STOP * FS], len(time)) * 0.1,
    }
    signal[STOP * FS :] = signal[STOP * FS - 1] + tails[left] - tails[left][0]
    told = alarms_of(signal)
    assert {"pause", "asystole"} <= set(told)
    assert abs(told["asystole"][0] - STOP) <= 2
    assert told["asystole"][1] >= 55


@packaged
@pytest.mark.parametrize("hertz", [3.0, 4.0, 6.0])
def test_a_wave_that_is_no_beat_speaks(hertz: float) -> None:
    """Whatever the network makes of it, the quality verdict calls most of it unreadable."""
    assert alarms_of(np.sin(2 * np.pi * hertz * np.arange(60 * FS) / FS))


@packaged
def test_a_line_without_any_beat_speaks() -> None:
    assert "no-beat" in alarms_of(np.zeros(30 * FS))
