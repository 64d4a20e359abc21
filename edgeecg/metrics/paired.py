"""Two systems on the same records: by how much do they differ, patient by patient?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeecg.errors import InputError
from edgeecg.metrics import bootstrap
from edgeecg.metrics.beats import SCORED, Score
from edgeecg.metrics.bootstrap import Estimate, Statistic
from edgeecg.metrics.report import GroupReport, Protocol, Rates, Report, rates_of
from edgeecg.metrics.rhythm import record_score

__all__ = ["FIGURES", "Change", "changes", "f1_change"]

FIGURES = ("sensitivity", "predictivity", "f1")
BY_BEAT, BY_RECORD = "AF by beat", "AF by record"


@dataclass(frozen=True)
class Change:
    """``after - before`` of one gross figure, paired over patients.

    ``label`` is a class of beats, or ``AF by beat`` or ``AF by record``, which know no mapping.
    """

    group: str
    mapping: str
    period: str
    label: str
    figure: str
    estimate: Estimate


def changes(before: Report, after: Report) -> list[Change]:
    """Differences of all gross figures of beats and of AF of two reports.

    Raises
    ------
    InputError
        If the reports have no table in common, or a common table holds other records, other patients
        or other counts of the reference.
    """
    known = {group.title: group for group in before.groups}
    found = [
        change
        for group in after.groups
        if group.title in known
        for pair in _columns(known[group.title], group)
        for change in _changes(group.title, *pair, after.protocol)
    ]
    if not found:
        raise InputError("the two reports share no table: evaluate both on the same records")
    return found


class _Row(NamedTuple):
    """One figure's counts in one record."""

    record: str
    patient: str
    rates: Rates


class _Column(NamedTuple):
    """The counts of one figure, record by record."""

    mapping: str
    period: str
    label: str
    rows: Sequence[_Row]


def _columns(before: GroupReport, after: GroupReport) -> Iterator[tuple[_Column, _Column]]:
    """The figures that both reports have of a group."""
    known = {column[:3]: column for column in _of_group(before)}
    for column in _of_group(after):
        if column[:3] in known:
            yield known[column[:3]], column


def _of_group(group: GroupReport) -> Iterator[_Column]:
    for table in group.beats:
        for label in SCORED:
            rows = [_Row(row.record, row.patient, row.scores[label]) for row in table.records]
            yield _Column(table.mapping, table.period, label, rows)
    told = group.af.rows if group.af else ()
    beats = [_Row(row.record, row.patient, row.beats) for row in told if row.beats]
    calls = [(row, record_score(row.label.true, row.label.called)) for row in told if row.label]
    labels = [_Row(row.record, row.patient, rates_of(score)) for row, score in calls]
    yield from (_Column("", "", what, some) for what, some in ((BY_BEAT, beats), (BY_RECORD, labels)) if some)


def _changes(title: str, before: _Column, after: _Column, protocol: Protocol) -> Iterator[Change]:
    _same_records(title, before, after)
    people = len({row.patient for row in after.rows})
    for figure in FIGURES:
        first, second = _statistic(before.rows, figure), _statistic(after.rows, figure)
        estimate = _difference(first, second, people, protocol)
        yield Change(title, after.mapping, after.period, after.label, figure, estimate)


def f1_change(
    before: Sequence[Score], after: Sequence[Score], patients: Sequence[str], protocol: Protocol
) -> Estimate:
    """``after - before`` of a gross F1 over records, paired over their patients.

    Parameters
    ----------
    before, after : sequence of Score
        One a record, in the same order.
    patients : sequence of str
        Whose record each is.
    protocol : Protocol
    """
    names = list(dict.fromkeys(patients))
    place = [names.index(patient) for patient in patients]
    first, second = (bootstrap.f1(*_counts(scores, place, len(names))) for scores in (before, after))
    return _difference(first, second, len(names), protocol)


def _difference(first: Statistic, second: Statistic, people: int, protocol: Protocol) -> Estimate:
    return bootstrap.difference(
        first,
        second,
        people,
        draws=protocol.bootstrap_draws,
        seed=protocol.bootstrap_seed,
        level=protocol.bootstrap_level,
    )


def _counts(scores: Sequence[Score], place: Sequence[int], people: int) -> list[NDArray[np.float64]]:
    """Hits, misses and false alarms by patient, ``(people,)`` each."""
    sums = np.zeros((3, people))
    columns = [[s.hits for s in scores], [s.misses for s in scores], [s.false for s in scores]]
    np.add.at(sums.T, place, np.array(columns, np.float64).T)
    return list(sums)


def _same_records(title: str, before: _Column, after: _Column) -> None:
    if [row.record for row in before.rows] != [row.record for row in after.rows]:
        raise InputError(f"the reports hold other records in {title}: evaluate both on the same ones")
    if [row.patient for row in before.rows] != [row.patient for row in after.rows]:
        raise InputError(
            f"the reports give records of {title} to other patients (has patients.csv changed?): "
            "evaluate the earlier system again"
        )
    for one, two in zip(before.rows, after.rows, strict=True):
        there = [row.rates.hits + row.rates.misses for row in (one, two)]
        if there[0] != there[1]:
            raise InputError(
                f"record {one.record} has {there[0]} reference beats in one report, {there[1]} in the other "
                f"({title}, {after.label}): evaluate both against the same reference"
            )


def _statistic(rows: Sequence[_Row], figure: str) -> Statistic:
    names = list(dict.fromkeys(row.patient for row in rows))
    place = [names.index(row.patient) for row in rows]
    scores = [Score(row.rates.hits, row.rates.misses, row.rates.false) for row in rows]
    hits, misses, false = _counts(scores, place, len(names))
    if figure == "f1":
        return bootstrap.f1(hits, misses, false)
    return bootstrap.ratio(hits, hits + (misses if figure == "sensitivity" else false))
