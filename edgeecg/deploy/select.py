"""Precision by measurement: build candidates, measure them here, keep the fastest that loses too little.

Speed is the time of one hop (token and beat graph) on this machine and backend. Accuracy is the F1 of QRS,
V, S and AF on labelled records through the streaming path, against the FP32 graphs on the same records:
the difference is bootstrapped over patients, and its *lower* end must not lie below the budget.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edgeecg.bundle import HALF, Precision
from edgeecg.deploy.calibrate import Calibration
from edgeecg.deploy.costs import layer_rows
from edgeecg.deploy.graphset import GraphSet
from edgeecg.deploy.quantize import plan_of, provenance_with, quantize
from edgeecg.deploy.sensitivity import sensitivity
from edgeecg.deploy.verdict import GATED, ORDER, Candidate, Judge, Say, SelectSettings, Verdict
from edgeecg.errors import AccuracyError, ConfigError
from edgeecg.io.record import Record
from edgeecg.metrics.bootstrap import Estimate
from edgeecg.metrics.references import LabelledRecord
from edgeecg.metrics.tables import Table
from edgeecg.runtime.engine import Backend

__all__ = ["Evidence", "Selection", "agreement", "select", "selection_table"]

MARGIN = 0.02  # share by which a candidate must be faster than a more exact one to be preferred
_UNCALIBRATED = "{} needs a calibration: run `edgeecg calibrate` first, and name its folder (--calibration)"


@dataclass(frozen=True)
class Evidence:
    """What candidates are made from and judged on.

    Parameters
    ----------
    cases : sequence of LabelledRecord
        Records that accuracy is measured on; each is read once a candidate.
    calibration : Calibration, optional
        For INT8 and mixed candidates that the graph set does not hold yet.
    windows : sequence of Record
        Calibration windows, for the sensitivity of each layer.
    """

    cases: Sequence[LabelledRecord]
    calibration: Calibration | None = None
    windows: Sequence[Record] = ()


@dataclass(frozen=True)
class Selection:
    """All verdicts, and the one that was chosen."""

    backend: Backend
    verdicts: tuple[Verdict, ...]
    chosen: Verdict


def select(
    graphs: GraphSet, evidence: Evidence, settings: SelectSettings | None = None, say: Say = lambda line: None
) -> Selection:
    """Measure the candidates and choose.

    Raises
    ------
    AccuracyError
        No candidate passes; the message says why the best one does not.
    ConfigError
        A candidate is asked for that can neither be found nor made.
    """
    settings = settings or SelectSettings()
    for precision in settings.precisions or ():  # before the reference is measured, which takes long
        if precision not in graphs.precisions and precision != "fp16" and evidence.calibration is None:
            raise ConfigError(_UNCALIBRATED.format(precision))
    judge = Judge(graphs, evidence.cases, settings, say)
    verdicts: list[Verdict] = []
    for precision in settings.precisions or possible(graphs, evidence):
        for candidate in candidates(graphs, evidence, precision, say):
            verdicts.append(judge.verdict(candidate))
            if not verdicts[-1].reason:
                break
    for line in unsure(verdicts, judge.backend):
        say(line)
    verdicts = judge.timed(verdicts)
    passing = sorted((v for v in verdicts if not v.reason), key=lambda v: ORDER.index(v.candidate.precision))
    if not passing:
        best = max(verdicts, key=lambda verdict: verdict.agreement)
        raise AccuracyError(
            f"no candidate passes: {best.candidate.title} {best.reason}; take fp32 or fp16, put layers back "
            "(--precision mixed with --calibration), or allow for more"
        )
    chosen = passing[0]
    for verdict in passing[1:]:
        tells = judge.backend != "onnxruntime" or verdict.candidate.precision != "fp16"
        if tells and verdict.milliseconds < chosen.milliseconds * (1 - MARGIN):
            chosen = verdict
    return Selection(judge.backend, tuple(verdicts), chosen)


def unsure(verdicts: Sequence[Verdict], backend: Backend) -> Iterator[str]:
    """What these records and this backend cannot tell."""
    change = verdicts[0].change
    known = {name for name, estimate in change.items() if estimate.value is not None}
    if "AF records" in known:
        known.add("AF")  # by beats or by records: one of them tells
    if missing := [name for name in GATED if name not in known and name != "AF records"]:
        yield f"no record has {' or '.join(missing)}: what is lost of it is not known"
    if single := [n for n, e in change.items() if e.value is not None and e.low is None]:
        yield f"{', '.join(single)}: of one patient only, without an interval"
    if backend == "onnxruntime" and any(v.candidate.precision in HALF for v in verdicts):
        yield "ONNX Runtime's CPU computes FP16 in FP32: its time says nothing, and FP16 is not chosen by it"


def agreement(
    graphs: GraphSet,
    cases: Sequence[LabelledRecord],
    precisions: Sequence[Precision],
    say: Say = lambda line: None,
) -> Table:
    """How many beats of these records keep their label in each precision, and what F1 changes."""
    judge = Judge(graphs, cases, SelectSettings(backend="onnxruntime"), say)
    verdicts = [judge.verdict(Candidate(precision, precision, graphs)) for precision in precisions]
    names = _known(verdicts)
    rows = tuple(
        (v.candidate.title, f"{v.agreement:.2%}", *(_points(v.change[name]) for name in names))
        for v in verdicts
    )
    figures = [f"{name} F1 points" for name in names]
    return Table("against fp32, paired over patients", ("precision", "same labels", *figures), rows)


def possible(graphs: GraphSet, evidence: Evidence) -> tuple[Precision, ...]:
    """Precisions that are there or can be made."""
    made: set[Precision] = {"fp32", "fp16", *graphs.precisions}
    return tuple(p for p in ORDER if p in made or evidence.calibration is not None)


def candidates(graphs: GraphSet, evidence: Evidence, precision: Precision, say: Say) -> Iterator[Candidate]:
    """Graphs of one precision, each slower and more exact than the one before.

    For ``mixed`` the layers that suffer most from INT8 go back to FP16, more and more of them.
    """
    calibration, there = evidence.calibration, precision in graphs.precisions
    if there:
        yield Candidate(precision, precision, graphs)
        if precision == "mixed" and calibration is None:
            say("mixed: layers that suffer most can go back to FP16 where there is a --calibration")
        if precision != "mixed" or calibration is None:
            return
    if precision != "fp16" and calibration is None:
        raise ConfigError(_UNCALIBRATED.format(precision))
    left_out = calibration.recipe.float_layers if calibration is not None else ()
    for back, title in _more_and_more(graphs, evidence, precision, say):
        plans = plan_of(graphs, precision, (*left_out, *back))
        made = quantize(graphs, plans, calibration, precision)
        if any(graphs.graphs.get(part) != data for part, data in made.items()):  # else it was tried already
            told = provenance_with(
                graphs, precision, list(layer_rows(graphs, plans, calibration)), calibration
            )
            yield Candidate(precision, title, graphs.adding(made, quantization=told))


def _more_and_more(
    graphs: GraphSet, evidence: Evidence, precision: Precision, say: Say
) -> Iterator[tuple[Sequence[str], str]]:
    """Layers that go back to FP16, and what to call the graphs; measured only if more than none is wanted."""
    yield (), f"{precision}, made anew" if precision in graphs.precisions else precision
    if precision != "mixed" or evidence.calibration is None:
        return
    say("sensitivity of each layer")
    worst = list(sensitivity(graphs, evidence.calibration, evidence.windows))
    for back in dict.fromkeys(len(worst) * quarters // 4 for quarters in (1, 2, 3)):
        if back:
            yield worst[:back], f"mixed, {back} of {len(worst)} layers back"


def selection_table(selection: Selection) -> Table:
    """The verdicts for people; how fast beside FP32, where that was a candidate too."""
    times = {verdict.candidate.precision: verdict.milliseconds for verdict in selection.verdicts}
    whole, names = times.get("fp32"), _known(selection.verdicts)
    rows = []
    for verdict in selection.verdicts:
        mark = "chosen" if verdict is selection.chosen else verdict.reason or "passes"
        speed = f"{verdict.milliseconds:.3f}", f"{whole / verdict.milliseconds:.2f}" if whole else "-"
        changes = [_points(verdict.change[name]) for name in names]
        rows.append((verdict.candidate.title, *speed, f"{verdict.agreement:.2%}", *changes, mark))
    figures = [f"{name} F1 points" for name in names]
    heads = ("candidate", "ms a hop", "speed to fp32", "same labels", *figures, "verdict")
    return Table(f"precision by measurement on {selection.backend}", heads, tuple(rows), (0, len(heads) - 1))


def _known(verdicts: Sequence[Verdict]) -> list[str]:
    """Figures that the references allow."""
    return [name for name in GATED if any(v.change[name].value is not None for v in verdicts)]


def _points(estimate: Estimate) -> str:
    if estimate.value is None:
        return "-"
    ends = (estimate.value, estimate.low, estimate.high)
    value, low, high = (None if v is None else round(v, 2) + 0.0 for v in ends)  # no "-0.00"
    return f"{value:+.2f}" if low is None else f"{value:+.2f} ({low:+.2f} to {high:+.2f})"
