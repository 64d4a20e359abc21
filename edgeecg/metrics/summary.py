"""Scores of records to the figures of a group of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import Any, TypeVar

import numpy as np

from edgeecg.errors import InputError
from edgeecg.metrics import bootstrap
from edgeecg.metrics.beats import SCORED, Confusion, Score
from edgeecg.metrics.bootstrap import Estimate
from edgeecg.metrics.calibration import Reliability, by_label
from edgeecg.metrics.report import (
    AfLabel,
    AfReport,
    AfRow,
    Average,
    BeatTable,
    Figures,
    GroupReport,
    Protocol,
    RecordRow,
    RunRates,
    rates_of,
)
from edgeecg.metrics.rhythm import record_score
from edgeecg.metrics.runs import KINDS, Runs
from edgeecg.metrics.score import PERIODS, RecordScores

__all__ = ["figures", "group_report"]

T = TypeVar("T")


def group_report(title: str, scores: Sequence[RecordScores], protocol: Protocol) -> GroupReport:
    """Figures over a group of records.

    Parameters
    ----------
    title : str
    scores : sequence of RecordScores
        At least one.
    protocol : Protocol

    Raises
    ------
    InputError
        If the group is empty.
    """
    if not scores:
        raise InputError(f"no records to report on in {title}: name others")
    mappings = list(dict.fromkeys(name for score in scores for name, _ in score.beats))
    tables = [_beats(scores, name, period, protocol) for name in mappings for period in PERIODS]
    return GroupReport(
        title=title,
        records=tuple(score.record for score in scores),
        patients=len({score.patient for score in scores}),
        beats=tuple(table for table in tables if table is not None),
        runs=_runs(scores, mappings[0]) if mappings else {},
        af=_af(scores, protocol),
        calibration=_calibration(scores),
    )


def figures(scores: Sequence[Score], patients: Sequence[str], protocol: Protocol) -> Figures:
    """Gross and average figures of one class over records.

    Parameters
    ----------
    scores : sequence of Score
        One a record.
    patients : sequence of str
        Whose record each is.
    protocol : Protocol
    """
    people = _by_patient(patients, scores)
    hits, misses, false = (_sums(people, part) for part in ("hits", "misses", "false"))
    n = len(people)
    return Figures(
        gross=rates_of(Score(sum(hits), sum(misses), sum(false))),
        sensitivity=_estimate(bootstrap.ratio(hits, np.add(hits, misses)), n, protocol),
        predictivity=_estimate(bootstrap.ratio(hits, np.add(hits, false)), n, protocol),
        f1=_estimate(bootstrap.f1(hits, misses, false), n, protocol),
        average=Average(
            sensitivity=_estimate(_mean_over_records(people, "sensitivity"), n, protocol),
            predictivity=_estimate(_mean_over_records(people, "predictivity"), n, protocol),
            f1=_estimate(_mean_over_records(people, "f1"), n, protocol),
            records=sum(score.sensitivity is not None for score in scores),
            told=sum(score.predictivity is not None for score in scores),
        ),
    )


def _estimate(statistic: bootstrap.Statistic, patients: int, protocol: Protocol) -> Estimate:
    return bootstrap.estimate(
        statistic,
        patients,
        draws=protocol.bootstrap_draws,
        seed=protocol.bootstrap_seed,
        level=protocol.bootstrap_level,
    )


def _beats(scores: Sequence[RecordScores], mapping: str, period: str, protocol: Protocol) -> BeatTable | None:
    """The table of one mapping and period; ``None`` if no record is long enough."""
    there = [(score, score.beats[mapping, period]) for score in scores if (mapping, period) in score.beats]
    if not there:
        return None
    patients = [score.patient for score, _ in there]
    matrices = [matrix for _, matrix in there]
    classes = {name: [matrix.score(name) for matrix in matrices] for name in SCORED}
    return BeatTable(
        mapping=mapping,
        period=period,
        classes={name: figures(theirs, patients, protocol) for name, theirs in classes.items()},
        confusion=_rows(reduce(add, matrices)),
        records=tuple(_record_row(score, matrix) for score, matrix in there),
    )


def _record_row(score: RecordScores, matrix: Confusion) -> RecordRow:
    found = {name: matrix.score(name) for name in SCORED}
    rates = {name: rates_of(s) for name, s in found.items()}
    return RecordRow(score.record, score.patient, rates, _rows(matrix))


def _rows(matrix: Confusion) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(row) for row in matrix.counts.tolist())


def _runs(scores: Sequence[RecordScores], mapping: str) -> dict[str, RunRates]:
    total = sum((score.runs[mapping] for score in scores if score.runs), Runs.empty())
    found = {kind: total.score(kind) for kind in KINDS}
    return {
        kind: RunRates(s.found, s.missed, s.right, s.wrong, s.sensitivity, s.predictivity)
        for kind, s in found.items()
    }


def _af(scores: Sequence[RecordScores], protocol: Protocol) -> AfReport | None:
    """Atrial fibrillation, if any reference says something of it."""
    rhythms = [(s.patient, s.episodes, s.af_beats) for s in scores if s.episodes and s.af_beats]
    labelled = [(s.patient, record_score(*s.af_record)) for s in scores if s.af_record]
    rows = tuple(_af_row(s) for s in scores if (s.episodes and s.af_beats) or s.af_record)
    records = figures([s for _, s in labelled], [p for p, _ in labelled], protocol) if labelled else None
    if not rhythms:
        return AfReport(None, None, None, None, None, None, records, rows) if records else None
    patients = [patient for patient, _, _ in rhythms]
    people = _by_patient(patients, [episodes for _, episodes, _ in rhythms])
    overlap, reference, test = (_sums(people, part) for part in ("overlap", "reference", "test"))
    total = reduce(add, [episodes for _, episodes, _ in rhythms])
    return AfReport(
        episodes=total,
        duration_sensitivity=_estimate(bootstrap.ratio(overlap, reference), len(people), protocol),
        duration_predictivity=_estimate(bootstrap.ratio(overlap, test), len(people), protocol),
        episode_sensitivity=total.episode_sensitivity,
        episode_predictivity=total.episode_predictivity,
        beats=figures([score for _, _, score in rhythms], patients, protocol),
        records=records,
        rows=rows,
    )


def _af_row(score: RecordScores) -> AfRow:
    beats, label = score.af_beats, score.af_record
    return AfRow(
        score.record,
        score.patient,
        beats=rates_of(beats) if beats else None,
        label=AfLabel(*label) if label else None,
    )


def _by_patient(patients: Sequence[str], values: Sequence[T]) -> list[list[T]]:
    """Values of each patient's records, patients in the order of their first record."""
    people: dict[str, list[T]] = {}
    for patient, value in zip(patients, values, strict=True):
        people.setdefault(patient, []).append(value)
    return list(people.values())


def _sums(people: Sequence[Sequence[Any]], part: str) -> list[Any]:
    """Sum of one count over each patient's records."""
    return [sum(getattr(score, part) for score in theirs) for theirs in people]


def _mean_over_records(people: Sequence[Sequence[Score]], part: str) -> bootstrap.Statistic:
    """Mean of a ratio over the records in which it is defined, drawn by patient."""
    known = [[v for score in theirs if (v := getattr(score, part)) is not None] for theirs in people]
    return bootstrap.ratio([sum(values) for values in known], [len(values) for values in known])


def _calibration(scores: Sequence[RecordScores]) -> dict[str, Reliability]:
    judged = [score.judged for score in scores if score.judged is not None]
    if not judged:
        return {}
    return by_label(
        np.concatenate([part.probability for part in judged]),
        np.concatenate([part.said for part in judged]),
        np.concatenate([part.true for part in judged]),
    )
