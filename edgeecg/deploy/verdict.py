"""One candidate beside FP32: how fast, how many equal labels, how many points of F1 lost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import Literal, Union

import numpy as np

from edgeecg.bundle import HALF, GraphName, Precision
from edgeecg.deploy.graphset import GraphSet
from edgeecg.deploy.quantize import headroom_of
from edgeecg.errors import AccuracyError, InputError
from edgeecg.io.reading import named
from edgeecg.metrics.beats import BeatList, Confusion, Score, compare
from edgeecg.metrics.bootstrap import Estimate
from edgeecg.metrics.judge import MAPPINGS
from edgeecg.metrics.paired import f1_change
from edgeecg.metrics.references import LabelledRecord
from edgeecg.metrics.report import Protocol
from edgeecg.metrics.rhythm import record_score
from edgeecg.metrics.score import RecordScores, Said, said_by_events, score
from edgeecg.pipeline import annotate
from edgeecg.profile.latency import sample, summarise
from edgeecg.runtime.engine import Backend, Engine, open_engine
from edgeecg.runtime.executor import Tensors
from edgeecg.runtime.trt import Options

__all__ = ["GATED", "ORDER", "Candidate", "Judge", "Say", "SelectSettings", "Verdict"]

GATED = ("QRS", "V", "S", "AF", "AF records")
"""What a candidate must not lose: AF by beat, and by record where records have one label each."""

ORDER: tuple[Precision, ...] = ("fp32", "fp16", "mixed", "int8")
"""From exact to coarse: of equal speed the earlier one is taken."""

POINTS = 100.0
WHOLE = "whole record"
ROUNDS = 10

Say = Callable[[str], None]
"""Told in a line what begins."""


@dataclass(frozen=True)
class SelectSettings:
    """What is tried, and what is allowed.

    Parameters
    ----------
    precisions : tuple of str
        Candidates; all that are there or can be made where left out.
    budget : float
        F1 points (of 100) that may be lost.
    agreement : float
        Least share of beats with the same label as in FP32.
    backend : str
        ``auto``, ``onnxruntime`` or ``tensorrt``.
    rows : int
        Patients in the hop that is timed.
    runs : int
        Timed hops a candidate.
    threads : int
        CPU threads inside one operator.
    tensorrt : Options, optional
        How TensorRT engines are opened.
    """

    precisions: tuple[Precision, ...] = ()
    budget: float = 0.5
    agreement: float = 0.99
    backend: Union[Backend, Literal["auto"]] = "auto"
    rows: int = 1
    runs: int = 300
    threads: int = 1
    tensorrt: Options | None = None


@dataclass(frozen=True)
class Candidate:
    """One set of graphs.

    Parameters
    ----------
    precision : str
        The slot in the bundle.
    title : str
        For people: ``mixed, 4 layers back``.
    graphs : GraphSet
        With the candidate in that slot.
    """

    precision: Precision
    title: str
    graphs: GraphSet


@dataclass(frozen=True)
class Verdict:
    """What was measured of a candidate.

    Parameters
    ----------
    candidate : Candidate
    milliseconds : float
        Median time of a hop; NaN before it was measured.
    agreement : float
        Share of beats, of either side, that both call the same.
    change : mapping of class to Estimate
        F1 in points against FP32; ``value`` is ``None`` where the records have none of the class.
    reason : str
        Why it is refused; empty where it passes.
    """

    candidate: Candidate
    milliseconds: float
    agreement: float
    change: Mapping[str, Estimate]
    reason: str


@dataclass(frozen=True)
class _Measured:
    """One run over all records."""

    said: list[Said]
    scores: list[RecordScores]
    rates: list[float]


class Judge:
    """Runs candidates over the records, beside FP32."""

    def __init__(
        self, graphs: GraphSet, cases: Sequence[LabelledRecord], settings: SelectSettings, say: Say
    ) -> None:
        if not cases:
            raise InputError("precision is chosen on labelled records: name some, e.g. synthetic")
        self.say = say
        self._cases = cases
        self._settings = settings
        plain = Candidate("fp32", "fp32", graphs)
        with self._open(plain) as engine:
            self.backend = engine.backend
        self.say("reference: fp32")
        with self._open(plain, "onnxruntime") as engine:
            self._reference = self._measure(engine)

    def verdict(self, candidate: Candidate) -> Verdict:
        """Score one candidate; its time is still to be measured."""
        self.say(candidate.title)
        with self._open(candidate) as engine:
            exact = candidate.precision == "fp32" and engine.backend == "onnxruntime"
            measured = self._reference if exact else self._measure(engine)
        agreement = self._agreement(measured)
        change = {name: self._change(measured, name) for name in GATED}
        reason = _overflow(candidate) or self._reason(agreement, change)
        return Verdict(candidate, np.nan, agreement, change, reason)

    def timed(self, verdicts: Sequence[Verdict]) -> list[Verdict]:
        """The verdicts with the median time of a hop; candidates take turns, to meet the same machine."""
        self.say("timing")
        times: list[list[float]] = [[] for _ in verdicts]
        with ExitStack() as stack:
            hops = [_hop(stack.enter_context(self._open(v.candidate)), self._settings.rows) for v in verdicts]
            for _ in range(ROUNDS):
                for spent, hop in zip(times, hops, strict=True):
                    spent += sample(hop, warmup=5, runs=-(-self._settings.runs // ROUNDS))
        return [replace(v, milliseconds=summarise(t).p50) for v, t in zip(verdicts, times, strict=True)]

    def _open(self, candidate: Candidate, backend: Backend | None = None) -> Engine:
        bundle = candidate.graphs.bundle(candidate.precision, created="", keep=(candidate.precision,))
        wanted = backend or self._settings.backend
        settings = self._settings
        return open_engine(bundle, wanted, candidate.precision, settings.threads, tensorrt=settings.tensorrt)

    def _measure(self, engine: Engine) -> _Measured:
        found = _Measured([], [], [])
        for case in self._cases:
            with named(case.title):
                record, truth = case.load()
                said = said_by_events(annotate(engine, record), list(MAPPINGS), len(record))
            found.said.append(said)
            found.scores.append(score(truth, said))
            found.rates.append(record.fs)
        return found

    def _agreement(self, measured: _Measured) -> float:
        mapping = next(iter(MAPPINGS))
        both = [
            compare(BeatList(a.sample, a.labels[mapping]), BeatList(b.sample, b.labels[mapping]), fs)
            for a, b, fs in zip(self._reference.said, measured.said, measured.rates, strict=True)
        ]
        counts = reduce(add, both, Confusion.empty()).counts
        return float(np.trace(counts) / counts.sum()) if counts.sum() else 1.0

    def _change(self, measured: _Measured, name: str) -> Estimate:
        pairs = [
            (before, after, scores.patient)
            for scores, before, after in zip(
                measured.scores,
                (_score_of(found, name) for found in self._reference.scores),
                (_score_of(found, name) for found in measured.scores),
                strict=True,
            )
            if before is not None and after is not None
        ]
        if not pairs:
            return Estimate(None, None, None, 0)
        before, after, patients = zip(*pairs, strict=True)
        change = f1_change(before, after, patients, Protocol())
        value, low, high = (
            None if v is None else POINTS * v for v in (change.value, change.low, change.high)
        )
        return Estimate(value, low, high, change.patients)

    def _reason(self, agreement: float, change: Mapping[str, Estimate]) -> str:
        for name, estimate in change.items():
            worst = estimate.low if estimate.low is not None else estimate.value
            if worst is not None and worst < -self._settings.budget:
                return f"loses up to {-worst:.2f} points of {name} F1 (--budget {self._settings.budget:g})"
        if agreement < self._settings.agreement:
            least = self._settings.agreement
            return f"labels only {agreement:.2%} of the beats as fp32 does (--agreement {least:g})"
        return ""


def _overflow(candidate: Candidate) -> str:
    """What overflows in FP16; nothing where all is well, or no FP16 is in it."""
    if candidate.precision not in HALF:
        return ""
    try:
        headroom_of(candidate.graphs, candidate.precision)
    except AccuracyError as error:
        return str(error)
    return ""


def _score_of(scores: RecordScores, name: str) -> Score | None:
    """Counts of one record; ``None`` where its reference does not have them, or EC57 reports it apart."""
    if name == "AF":
        return scores.af_beats
    if name == "AF records":
        return record_score(*scores.af_record) if scores.af_record is not None else None
    found = scores.beats.get((next(iter(MAPPINGS)), WHOLE))
    return None if found is None or scores.paced else found.score(name)


def _hop(engine: Engine, patients: int) -> Callable[[], object]:
    """Both graphs once, on the golden rows repeated."""
    golden = engine.bundle.golden()

    def feed(name: GraphName) -> Tensors:
        executor = engine.token if name == "token" else engine.beat
        arrays = {spec.name: golden[f"{name}.{spec.name}"] for spec in executor.inputs}
        return {key: array[np.arange(patients) % len(array)] for key, array in arrays.items()}

    token, beat = feed("token"), feed("beat")
    return lambda: (engine.token.run(token), engine.beat.run(beat))
