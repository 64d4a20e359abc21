"""A tachycardia that lasts for longer than the network looks back stays V, alike in every form."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeecg.data.synthetic import SyntheticSettings, draw_patient, synthesize
from edgeecg.decode.confidence import Confidence
from edgeecg.explain.trace import load_network, trace
from edgeecg.io.record import Record
from edgeecg.pipeline import annotate
from edgeecg.runtime.engine import Engine, open_engine
from edgeecg.specs import BEAT_LABELS, Alarm, Beat, Event
from edgeecg.stream.session import Stream

FS = 360
BEGIN, END = 40, 100  # seconds


@pytest.fixture(scope="module")
def engine() -> Engine:
    return open_engine("small", "onnxruntime")


def lasting(seed: int, pace: float) -> Record:
    """A patient's own V again and again, so many seconds apart, then his heart as it was."""
    patient = draw_patient("ventricular", seed)
    made = synthesize(SyntheticSettings(patient, seconds=70, fs=FS, snr_db=25), seed=seed)
    signal, truth = made.record.signal[:, 0], made.record.annotations
    assert truth is not None
    peaks = truth.sample[(truth.symbol == "V") & (truth.sample > FS) & (truth.sample < len(signal) - FS)]
    pieces: list[NDArray[np.float64]] = []
    size = round(pace * FS)
    for n in range(round((END - BEGIN) / pace)):
        start = peaks[n % len(peaks)] - round(0.13 * FS)
        piece, ramp = signal[start : start + size], np.linspace(0, 1, size)
        pieces.append(piece - piece[0] * (1 - ramp) - piece[-1] * ramp)  # so that the ends meet
    whole = np.concatenate([signal[: BEGIN * FS], *pieces, signal[: 30 * FS]])
    return Record("made", whole[:, None], float(FS), ("MLII",))


@pytest.fixture(scope="module")
def tachycardia() -> Record:
    return lasting(5, pace=0.42)


def labels(events: list[Event], begin: float, end: float) -> list[str]:
    return [e.label for e in events if isinstance(e, Beat) and begin * FS < e.sample < end * FS]


def test_a_lasting_tachycardia_stays_v(engine: Engine, tachycardia: Record) -> None:
    events = annotate(engine, tachycardia)
    fast = labels(events, BEGIN + 20, END - 1)  # past the thirty beats that the network remembers
    assert fast.count("V") >= 0.95 * len(fast) > 80
    assert labels(events, END + 2, END + 29).count("V") < 10  # it ends where it ends
    runs = [e for e in events if isinstance(e, Alarm) and e.label == "v-run" and e.end is not None]
    longest = max((run.end or 0) - run.start for run in runs)
    assert longest > 50 * FS


def test_in_a_stream_and_over_a_snapshot_as_in_a_recording(engine: Engine, tachycardia: Record) -> None:
    expected = annotate(engine, tachycardia)
    stream, told = Stream(engine, float(FS)), []
    for start in range(0, len(tachycardia), 777):
        told += stream.push(tachycardia.signal[start : start + 777])
        saved, stream = stream.snapshot(), Stream(engine, float(FS))
        stream.restore(saved)
    told += stream.flush()
    assert labels(told, 0, 200) == labels(expected, 0, 200)


def test_an_explanation_names_the_rule(engine: Engine) -> None:
    """Of a patient whose V the network by itself gives up."""
    tachycardia = lasting(0, pace=0.5)
    found = trace(engine.bundle, load_network(engine.bundle), tachycardia, (END - 2) * FS)
    expected = labels(annotate(engine, tachycardia, withhold=False), 0, END)
    assert found.labels[: len(expected)] == expected
    by_rule = [label for label, rule in zip(found.labels, found.verdict.rule, strict=True) if rule == "run"]
    told = [e for e in annotate(engine, tachycardia, withhold=False) if isinstance(e, Beat)]
    surely = Confidence(engine.bundle.thresholds.confidence)
    labels_ = np.array([BEAT_LABELS.index(label) for label in found.labels])
    corrected = surely(labels_, found.verdict.probability)
    count = len(expected)
    np.testing.assert_allclose([e.probability for e in told[:count]], corrected[:count], atol=1e-3)
    assert len(by_rule) > 50
    assert set(by_rule) == {"V"}
