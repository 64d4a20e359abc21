"""The packaged bundles: what they must reach on recordings, and what physics must not change.

The floors hold against regressions and are no figures of accuracy: most of these patients were trained on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import resample_poly

from edgeecg.bundle import Precision, packaged_names
from edgeecg.data.catalog import load_record
from edgeecg.data.synthetic import SyntheticSettings, draw_patient, synthesize
from edgeecg.io import Record
from edgeecg.metrics.beats import Confusion
from edgeecg.metrics.judge import truth_of
from edgeecg.metrics.match import match
from edgeecg.metrics.references import labelled_records
from edgeecg.metrics.score import Said, Truth, said_by_events, score
from edgeecg.pipeline import Recordings, annotate
from edgeecg.runtime.engine import Engine, open_engine
from edgeecg.specs import Beat

MINUTES = 5
RECORDS = (
    "mitdb/101", "mitdb/106", "mitdb/114", "mitdb/119", "mitdb/203", "mitdb/208", "mitdb/215", "svdb/804",
)  # fmt: skip
R_PEAK = 0.010  # seconds, within which all delays must be taken off

Case = tuple[Truth, Said]


@pytest.fixture(scope="module", params=packaged_names())
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    with open_engine(request.param, "onnxruntime") as opened:
        yield opened


def case_of(engine: Engine, record: Record, truth: Truth) -> Case:
    return truth, said_by_events(annotate(engine, record), tuple(truth.labels), len(record))


def pooled(cases: list[Case]) -> Confusion:
    tables = [score(truth, said).beats["dechazal", "whole record"] for truth, said in cases]
    return sum(tables[1:], tables[0])


def pairs(case: Case) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Reference beats that were found, and how many seconds after its mark each was told."""
    truth, said = case
    true, told = match(truth.sample, said.sample, truth.fs).pairs.T
    return true, (said.sample[told] - truth.sample[true]) / truth.fs


@pytest.fixture(scope="module")
def real(engine: Engine, data_root: Path) -> list[Case]:
    cases = []
    for name in RECORDS:
        source, _, stem = name.partition("/")
        whole = load_record(data_root / source / stem, source)
        record = whole.cut(0, round(60 * MINUTES * whole.fs))
        cases.append(case_of(engine, record, truth_of(record, source)))
    return cases


@pytest.mark.data
def test_beats_of_real_records_are_found_and_told_apart(real: list[Case]) -> None:
    found = pooled(real)
    qrs, ventricular = found.score("QRS"), found.score("V")
    assert min(qrs.sensitivity or 0, qrs.predictivity or 0) > 0.99
    assert (ventricular.f1 or 0) > 0.85


@pytest.mark.data
def test_real_beats_are_placed_at_their_r_peak(real: list[Case]) -> None:
    """Of mitdb; svdb's own marks lie 8 to 23 ms before the peak."""
    late = {truth.record: np.median(pairs((truth, said))[1]) for truth, said in real[:-1]}
    assert {name: seconds for name, seconds in late.items() if abs(seconds) > R_PEAK} == {}


def test_beats_of_synthetic_patients_are_found_from_the_first_on(engine: Engine) -> None:
    cases = [case_of(engine, *case.load()) for case in labelled_records(["synthetic"])]
    found = pooled(cases)
    assert (found.score("QRS").f1 or 0) > 0.98
    assert (found.score("V").f1 or 0) > 0.6
    assert [case[0].record for case in cases if 0 not in pairs(case)[0]] == []
    assert abs(np.median(np.concatenate([pairs(case)[1] for case in cases]))) <= R_PEAK


@pytest.fixture(scope="module")
def patient() -> Record:
    settings = SyntheticSettings(draw_patient("ventricular", 3), seconds=90, fs=1000, snr_db=30)
    return replace(synthesize(settings, seed=1).record, annotations=None)


def beats_of(engine: Engine, record: Record) -> list[tuple[float, str]]:
    """Second and label of each beat."""
    events = annotate(engine, record)
    return [(event.sample / record.fs, event.label) for event in events if isinstance(event, Beat)]


def agreement(one: list[tuple[float, str]], other: list[tuple[float, str]]) -> float:
    """Share of beats that both tell with the same label, at most 10 ms apart."""
    assert len(one) > 60
    assert len({label for _, label in one}) > 1
    same = [any(abs(at - there) <= R_PEAK and label == said for there, said in other) for at, label in one]
    return sum(same) / max(len(one), len(other))


@pytest.mark.parametrize(("up", "down"), [(1, 10), (1, 8), (257, 1000), (9, 25), (1, 2)])
def test_the_rate_does_not_matter(engine: Engine, patient: Record, up: int, down: int) -> None:
    resampled = resample_poly(patient.signal, up, down)
    there = beats_of(engine, replace(patient, signal=resampled, fs=patient.fs * up / down))
    assert agreement(beats_of(engine, patient), there) > 0.95


@pytest.mark.parametrize("scale", [0.2, 5.0])
def test_the_amplitude_does_not_matter(engine: Engine, patient: Record, scale: float) -> None:
    there = beats_of(engine, replace(patient, signal=scale * patient.signal))
    assert agreement(beats_of(engine, patient), there) > 0.95


def test_every_precision_tells_the_same(engine: Engine, patient: Record) -> None:
    whole, told = beats_of(engine, patient), {}
    for precision in engine.bundle.precisions:
        with open_engine(engine.bundle, "onnxruntime", precision) as other:
            told[precision] = agreement(whole, beats_of(other, patient))
    assert {"fp32", "fp16", "int8"} <= set(told)
    assert {precision: share for precision, share in told.items() if share <= 0.95} == {}


def beats_in(name: str, precision: Precision, records: Sequence[Record]) -> list[list[Beat]]:
    """What a bundle finds in each record."""
    found: list[list[Beat]] = [[] for _ in records]
    with open_engine(name, "onnxruntime", precision) as engine:
        crowd, waiting = Recordings[int](engine), deque(enumerate(records))
        while waiting or len(crowd):
            while waiting and not crowd.full:
                crowd.add(*waiting.popleft())
            for number, events in crowd.step():
                found[number] = [event for event in events if isinstance(event, Beat)]
    return found


def told_twice(name: str, records: Sequence[Record]) -> list[tuple[Beat | None, Beat | None]]:
    """Each beat as FP32 and INT8 tell it; ``None`` where one of them does not."""
    told: list[tuple[Beat | None, Beat | None]] = []
    plain, coarse = (beats_in(name, precision, records) for precision in ("fp32", "int8"))
    for record, *both in zip(records, plain, coarse, strict=True):
        samples = [np.array([beat.sample for beat in beats]) for beats in both]
        paired = match(samples[0], samples[1], record.fs).pairs
        told += [(both[0][i], both[1][j]) for i, j in paired]
        told += [(both[0][i], None) for i in set(range(len(both[0]))) - set(paired[:, 0])]
        told += [(None, both[1][j]) for j in set(range(len(both[1]))) - set(paired[:, 1])]
    assert len(told) > 5000
    return told


def same_labels(told: Sequence[tuple[Beat | None, Beat | None]]) -> float:
    """Share of beats that both tell, with one label."""
    return float(np.mean([bool(one and other and one.label == other.label) for one, other in told]))


def test_int8_labels_of_synthetic_patients_are_those_of_fp32() -> None:
    """Of the tenth of each label that FP32 is least sure of rounding may decide; it decides more here."""
    patients = [case.load()[0] for seed in range(3) for case in labelled_records(["synthetic"], seed=seed)]
    told = told_twice("small", patients)
    said: dict[str, list[float]] = {}
    for one, _ in told:
        if one:
            said.setdefault(one.label, []).append(one.probability)
    least = {label: np.quantile(probabilities, 0.1) for label, probabilities in said.items()}
    sure = [(one, other) for one, other in told if one and one.probability >= least[one.label]]
    assert same_labels(sure) >= 0.999
    assert same_labels(told) >= 0.995


@pytest.mark.data
@pytest.mark.parametrize("bundle", ["nano", "micro", "small"])
def test_int8_labels_of_real_records_are_those_of_fp32(bundle: str, data_root: Path) -> None:
    names = [name.partition("/")[2] for name in RECORDS if name.startswith("mitdb/")]
    records = [load_record(data_root / "mitdb" / name, "mitdb") for name in names]
    assert same_labels(told_twice(bundle, records)) >= 0.999
