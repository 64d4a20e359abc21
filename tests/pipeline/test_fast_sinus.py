"""A sinus that is fast is no run of S, alike in every form."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgeecg.data.synthetic import SyntheticSettings, draw_patient, synthesize
from edgeecg.decode import premature
from edgeecg.explain.trace import load_network, trace
from edgeecg.io.record import Record
from edgeecg.pipeline import annotate
from edgeecg.runtime.engine import Engine, open_engine
from edgeecg.specs import Beat
from edgeecg.stream.session import Stream

FS = 360


@pytest.fixture(scope="module")
def engine() -> Engine:
    return open_engine("small", "onnxruntime")


@pytest.fixture(scope="module", params=[0, 1, 4])
def exercise(request: pytest.FixtureRequest) -> Record:
    """A steady sinus rhythm of 140 a minute."""
    patient = replace(draw_patient("normal", request.param), rate=140.0, atrial=0.0)
    return synthesize(SyntheticSettings(patient, seconds=90, fs=FS, snr_db=24), request.param).record


def labels(events: list) -> list[str]:  # type: ignore[type-arg]
    return [event.label for event in events if isinstance(event, Beat)]


def test_exercise_is_mostly_n(engine: Engine, exercise: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    told = labels(annotate(engine, exercise))
    monkeypatch.setattr(premature, "EARLY", 9.0)
    without = labels(annotate(engine, exercise))
    assert told.count("S") < without.count("S")
    assert told.count("S") < 0.25 * len(told)


def test_a_stream_tells_the_same_over_snapshots(engine: Engine, exercise: Record) -> None:
    stream, told = Stream(engine, float(FS), leads=len(exercise.leads)), []
    for start in range(0, len(exercise), 777):
        told += stream.push(exercise.signal[start : start + 777])
        saved, stream = stream.snapshot(), Stream(engine, float(FS), leads=len(exercise.leads))
        stream.restore(saved)
    told += stream.flush()
    assert labels(told) == labels(annotate(engine, exercise))


def test_an_explanation_names_the_rule(engine: Engine, exercise: Record) -> None:
    record = Record("made", exercise.signal[:, :1], float(FS), exercise.leads[:1])
    found = trace(engine.bundle, load_network(engine.bundle), record, 88 * FS)
    expected = labels(annotate(engine, record, withhold=False))
    assert found.labels[: len(expected)] == expected[: len(found.labels)]
    changed = [n for n, rule in enumerate(found.verdict.rule) if rule == "late"]
    assert changed
    assert all(found.labels[n] == "N" and found.verdict.network[n] == "S" for n in changed)
