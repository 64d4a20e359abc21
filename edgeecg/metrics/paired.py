"""Two systems on the same records: by how much do they differ, patient by patient?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeecg.errors import InputError
from edgeecg.metrics import bootstrap
from edgeecg.metrics.beats import SCORED, Score
from edgeecg.metrics.bootstrap import Estimate, Statistic
from edgeecg.metrics.report import BeatTable, Protocol, Report

__all__ = ["FIGURES", "Change", "changes", "f1_change"]

FIGURES = ("sensitivity", "predictivity", "f1")


@dataclass(frozen=True)
class Change:
    """``after - before`` of one gross figure, paired over patients."""

    group: str
    mapping: str
    period: str
    label: str
    figure: str
    estimate: Estimate


def changes(before: Report, after: Report) -> list[Change]:
    """Differences of all gross beat figures of two reports.

    Raises
    ------
    InputError
        If the reports have no table in common, or a common table holds other records or other counts of
        reference beats.
    """
    known = {(g.title, t.mapping, t.period): t for g in before.groups for t in g.beats}
    found: list[Change] = []
    for group in after.groups:
        for table in group.beats:
            other = known.get((group.title, table.mapping, table.period))
            if other is None:
                continue
            _same_records(group.title, other, table)
            for label in SCORED:
                for figure in FIGURES:
                    first, second = _statistic(other, label, figure), _statistic(table, label, figure)
                    people = len({row.patient for row in table.records})
                    estimate = _difference(first, second, people, after.protocol)
                    found.append(Change(group.title, table.mapping, table.period, label, figure, estimate))
    if not found:
        raise InputError("the two reports share no table: evaluate both on the same records")
    return found


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


def _same_records(title: str, before: BeatTable, after: BeatTable) -> None:
    if [row.record for row in before.records] != [row.record for row in after.records]:
        raise InputError(f"the reports hold other records in {title}: evaluate both on the same ones")
    for one, two in zip(before.records, after.records, strict=True):
        beats = [row.scores["QRS"].hits + row.scores["QRS"].misses for row in (one, two)]
        if beats[0] != beats[1]:
            raise InputError(
                f"record {one.record} has {beats[0]} reference beats in one report, {beats[1]} in the other"
            )


def _statistic(table: BeatTable, label: str, figure: str) -> Statistic:
    names = list(dict.fromkeys(row.patient for row in table.records))
    place = [names.index(row.patient) for row in table.records]
    scores = [row.scores[label] for row in table.records]
    plain = [Score(rates.hits, rates.misses, rates.false) for rates in scores]
    hits, misses, false = _counts(plain, place, len(names))
    if figure == "f1":
        return bootstrap.f1(hits, misses, false)
    return bootstrap.ratio(hits, hits + (misses if figure == "sensitivity" else false))
