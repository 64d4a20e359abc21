"""The line of stages: against the network itself, lead policies, and what a decision may look at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeecg.pipeline import Cohort, Intake, annotate
from edgeecg.runtime.engine import Engine, open_engine
from edgeecg.signal.frontend import FrontEnd
from edgeecg.specs import Beat, Event, Quality
from tests.contract.engines import beats, heart, make_bundle, recording


@pytest.mark.parametrize("preset", ["nano", "micro", "small"])
def test_the_line_is_the_network(tmp_path: Path, preset: str) -> None:
    """Front end, peaks, RR features and both graphs, step by step, give what PyTorch gives over the whole."""
    pytest.importorskip("torch")
    from edgeecg.model.annotate import annotate_rows
    from edgeecg.model.checkpoint import network_from_weights

    signal = heart(60, 250)
    path = make_bundle(tmp_path, preset)
    with open_engine(path, "onnxruntime") as engine:
        told = beats(annotate(engine, recording(signal, 250), withhold=False))
        network = network_from_weights(engine.bundle.spec, engine.bundle.weights()).eval()
        front = FrontEnd(engine.bundle.signal, 250)
        grid, _ = front.step(signal.T, front.initial(1))
        (found,) = annotate_rows(network, grid.astype(np.float32), engine.bundle.thresholds.beat)
    samples = [max(0, int((place - front.latency) * 250 / 128 + 0.5)) for place in found.place]
    exp = np.exp(found.classes - found.classes.max(axis=1, keepdims=True))
    probability = exp / exp.sum(axis=1, keepdims=True)
    count = sum(sample < 58 * 250 for sample in samples)  # at its end the whole form sees no more signal
    assert count > 20
    assert [beat.sample for beat in told][:count] == samples[:count]
    assert abs(len(told) - len(samples)) <= 5
    labels = ["NSVFP"[label] for label in probability[:count].argmax(axis=1)]
    assert [beat.label for beat in told][:count] == labels
    told_probability = [beat.probability for beat in told][:count]
    np.testing.assert_allclose(told_probability, probability[:count].max(axis=1), atol=1e-4)


def test_the_future_changes_no_decision(nano: Engine) -> None:
    """A beat is told from what was settled by its decision: the rest of the signal cannot change it."""
    signal = heart(20, 250)
    other = signal.copy()
    other[2500:] = heart(20, 250, seed=7)[2500:]
    latency = round(Cohort(nano).latency(250).most * 250)
    one, two = (
        [beat for beat in beats(annotate(nano, recording(x, 250))) if beat.sample < 2500 - latency]
        for x in (signal, other)
    )
    assert len(one) > 5
    assert one == two


def test_best_takes_the_lead_that_can_be_read(nano: Engine) -> None:
    """A lead that falls off is replaced; what the others told before and after stays the same."""
    fs = 250
    signal = heart(40, fs, leads=2)
    spoiled = signal.copy()
    spoiled[3000:7000, 0] = 0.1
    second = annotate(nano, recording(signal[:, 1:], fs), withhold=False)
    best = annotate(nano, recording(spoiled, fs), lead_policy="best")
    first = annotate(nano, recording(spoiled[:, :1], fs), lead_policy="best")
    assert any(isinstance(event, Quality) and event.label == "flat" for event in first)
    flat = {event.lead for event in best if isinstance(event, Quality) and event.label == "flat"}
    assert flat == {0}, "the lead is told, the patient's signal is good"
    within = range(3000 + 2 * fs, 7000 - fs)
    told = [beat.sample for beat in beats(best) if beat.sample in within]
    there = [beat.sample for beat in beats(second) if beat.sample in within]
    assert len(there) > 5
    assert told == there


def test_fused_leads_weigh_by_quality(nano: Engine) -> None:
    """Two equal leads fuse to the same as one; a lead that is off has no say."""
    signal = heart(30, 250)
    twice = np.repeat(signal, 2, axis=1)
    one = beats(annotate(nano, recording(signal, 250), lead_policy="fused"))
    fused = beats(annotate(nano, recording(twice, 250), lead_policy="fused"))
    assert [(b.sample, b.label) for b in fused] == [(b.sample, b.label) for b in one]
    off = twice.copy()
    off[:, 1] = np.nan
    alone = beats(annotate(nano, recording(off, 250), lead_policy="fused"))
    late = [beat.sample for beat in alone if beat.sample > 12 * 250]
    assert len(late) > 10
    assert late == [beat.sample for beat in one if beat.sample > 12 * 250]


def test_first_looks_at_one_lead_only(nano: Engine) -> None:
    signal = heart(20, 250, leads=3)
    alone = annotate(nano, recording(signal[:, :1], 250), lead_policy="first")
    signal[:, 1:] = np.nan
    assert annotate(nano, recording(signal, 250), lead_policy="first") == alone


def test_a_lead_that_comes_back_is_heard(nano: Engine) -> None:
    """A lead that was absent from the start, and one that was lost for long, are primed anew."""
    fs = 250
    signal = heart(40, fs, leads=2)
    signal[:4000, 0] = np.nan
    signal[6000:, 1] = np.nan
    told = beats(annotate(nano, recording(signal, fs), lead_policy="best"))
    later = [beat.sample for beat in told if beat.sample > 8000]
    whole = beats(annotate(nano, recording(heart(40, fs, leads=2)[:, :1], fs)))
    expected = [beat.sample for beat in whole if beat.sample > 8000]
    assert len(expected) > 2
    assert later == expected


@pytest.mark.parametrize("scale", [0.3, 3.0])
def test_gain_does_not_matter(scale: float) -> None:
    """The packaged model finds the same beats in a signal that is weaker or stronger."""
    signal = heart(40, 250)
    with open_engine("small", "onnxruntime") as engine:
        plain = beats(annotate(engine, recording(signal, 250)))
        scaled = beats(annotate(engine, recording(scale * signal, 250)))
    assert len(plain) > 30
    late = [beat.sample for beat in plain if beat.sample > 1250]
    assert [beat.sample for beat in scaled if beat.sample > 1250] == pytest.approx(late, abs=3)


def test_a_flat_line_has_no_beats() -> None:
    with open_engine("small", "onnxruntime") as engine:
        events = annotate(engine, recording(np.zeros((250 * 30, 1)), 250))
    assert not any(isinstance(event, Beat) for event in events)
    assert any(isinstance(event, Quality) and event.label == "flat" for event in events)


def test_slots_are_independent(nano: Engine) -> None:
    """Steps of some slots leave what the others remember as it is, to the bit."""
    cohort = Cohort(nano, 5)
    intake = Intake(250, 1, "best", cohort.hop, cohort.tail(250))
    states = [intake.initial() for _ in range(5)]
    for slot in range(5):
        cohort.open(slot, 250)
        assert list(cohort.run(slot, intake.push(heart(6, 250, seed=slot), states[slot])))
    before = {slot: cohort.snapshot(slot) for slot in (0, 2, 4)}
    pieces = {slot: intake.push(heart(3, 250, seed=9), states[slot]) for slot in (1, 3)}
    told: list[tuple[int, Event]] = []
    for turn in range(min(map(len, pieces.values()))):
        told += cohort.advance([(slot, its[turn]) for slot, its in pieces.items()])
    assert {slot for slot, _ in told} == {1, 3}
    for slot, (arrays, plain) in before.items():
        now, also = cohort.snapshot(slot)
        assert also == plain
        assert all(np.array_equal(now[name], arrays[name], equal_nan=True) for name in arrays)
