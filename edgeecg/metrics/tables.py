"""A report as tables that a person reads: plain text here, colours are the command line's affair."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edgeecg.metrics.beats import CLASSES
from edgeecg.metrics.bootstrap import FEW, Estimate
from edgeecg.metrics.calibration import Reliability
from edgeecg.metrics.paired import FIGURES, Change
from edgeecg.metrics.report import (
    AfReport,
    AfRow,
    BeatTable,
    Figures,
    GroupReport,
    Rates,
    RecordRow,
    Report,
    RunRates,
)
from edgeecg.words import counted

__all__ = ["Table", "change_table", "percent", "tables", "text"]

UNDEFINED = "-"
NARROW = "]*"
NOTE = (
    f"* fewer than {FEW} patients contribute: such an interval holds the truth in 50 to 85 % of cases, not 95"
)
MAPPINGS = {"dechazal": "AAMI by de Chazal", "bxb": "AAMI by bxb (e, j, n are S)"}


@dataclass(frozen=True)
class Table:
    """A title, the head of each column, and rows of cells.

    ``words`` are the columns of text, set from the left; the others are figures. ``note`` goes below.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: tuple[int, ...] = (0,)
    note: str = ""


def tables(report: Report, *, records: bool = True) -> Iterator[Table]:
    """All tables of a report in reading order; ``records`` adds those with a row for each record."""
    primary = report.protocol.primary_mapping
    for group in report.groups:
        for table in group.beats:
            yield _scores(group, table)
            if table.mapping == primary and table.period == group.beats[0].period:
                yield _confusion(group, table)
                if records:
                    yield _records(group, table)
        if group.runs:
            yield _runs(group)
        if group.af:
            yield _af(group, group.af)
        if group.calibration:
            yield _calibration(group, group.calibration)


def change_table(changes: Sequence[Change]) -> Table:
    """Paired differences of two reports, in points of a hundred."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for change in changes:
        row = rows.setdefault((change.group, change.mapping, change.period, change.label), [UNDEFINED] * 3)
        row[FIGURES.index(change.figure)] = _interval(change.estimate)
    heads = ("class", "records", "mapping", "period", "Se points", "+P points", "F1 points")
    lines = (
        (label, group, mapping, period, *cells) for (group, mapping, period, label), cells in rows.items()
    )
    return _noted("difference to the earlier report, paired over patients", heads, tuple(lines))


def text(table: Table) -> str:
    """A table in plain text: title, head, rule, rows, columns two spaces apart, note."""
    lines = (table.columns, *table.rows)
    widths = [max(len(line[k]) for line in lines) for k in range(len(table.columns))]

    def spread(cells: tuple[str, ...]) -> str:
        padded = [
            cell.ljust(width) if k in table.words else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "  ".join(padded).rstrip()

    rule = "  ".join("-" * width for width in widths)
    note = [table.note] if table.note else []
    rows = [spread(row) for row in table.rows]
    return "\n".join([table.title, spread(table.columns), rule, *rows, *note, ""])


def _noted(title: str, columns: tuple[str, ...], rows: tuple[tuple[str, ...], ...]) -> Table:
    """A table that says below what its marked intervals are worth."""
    marked = any(cell.endswith(NARROW) for row in rows for cell in row[1:])
    return Table(title, columns, rows, note=NOTE if marked else "")


def percent(value: float | None) -> str:
    """A share in per cent, or what stands where there is none."""
    return UNDEFINED if value is None else f"{100 * value:.2f}"


def _interval(estimate: Estimate | None) -> str:
    """Per cent, with the interval behind it where there is one; marked where few patients contribute."""
    if estimate is None or estimate.value is None:
        return UNDEFINED
    if estimate.low is None or estimate.high is None:
        return percent(estimate.value)
    few = estimate.contributing is not None and estimate.contributing < FEW
    end = NARROW if few else "]"
    return f"{percent(estimate.value)} [{percent(estimate.low)}, {percent(estimate.high)}{end}"


def _who(group: GroupReport, rows: Sequence[RecordRow | AfRow]) -> str:
    patients = len({row.patient for row in rows})
    return f"{group.title}, {counted(len(rows), 'record')} of {counted(patients, 'patient')}"


def _scores(group: GroupReport, table: BeatTable) -> Table:
    title = f"{_who(group, table.records)}: beats, {MAPPINGS.get(table.mapping, table.mapping)}"
    rows = []
    for name, found in table.classes.items():
        rows.append((f"{name} gross", *_counts(found.gross), *_three(found)))
        average = found.average
        rows.append(
            (
                f"{name} average",
                f"{average.records} rec.",
                "",
                "" if average.told in (None, average.records) else f"{average.told} rec.",
                _interval(average.sensitivity),
                _interval(average.predictivity),
                _interval(average.f1),
            )
        )
    heads = ("class", "hits", "misses", "false", "Se %", "+P %", "F1 %")
    return _noted(f"{title}, {table.period}", heads, tuple(rows))


def _counts(rates: Rates) -> tuple[str, str, str]:
    return str(rates.hits), str(rates.misses), str(rates.false)


def _three(found: Figures) -> tuple[str, str, str]:
    return _interval(found.sensitivity), _interval(found.predictivity), _interval(found.f1)


def _confusion(group: GroupReport, table: BeatTable) -> Table:
    names = [*CLASSES, "extra"]
    rows = [(name, *map(str, row)) for name, row in zip(names, table.confusion, strict=True)]
    rows[-1] = (*rows[-1][:-1], "")
    heads = ("reference", *(name.lower() for name in CLASSES), "missed")
    return Table(f"{group.title}: confusion, {table.period}", heads, tuple(rows))


def _records(group: GroupReport, table: BeatTable) -> Table:
    heads = (
        "record",
        "beats",
        "QRS Se",
        "QRS +P",
        "V",
        "V Se",
        "V +P",
        "S",
        "S Se",
        "S +P",
        "F",
        "F Se",
        "F +P",
    )
    rows = []
    for row in table.records:
        cells = [row.record]
        for name in ("QRS", "V", "S", "F"):
            rates = row.scores[name]
            cells += [
                str(rates.hits + rates.misses),
                percent(rates.sensitivity),
                percent(rates.predictivity),
            ]
        rows.append(tuple(cells))
    return Table(f"{group.title}: each record, {table.period}", heads, tuple(rows))


def _runs(group: GroupReport) -> Table:
    def row(kind: str, rates: RunRates) -> tuple[str, ...]:
        counts = (rates.found, rates.missed, rates.right, rates.wrong)
        return (kind, *map(str, counts), percent(rates.sensitivity), percent(rates.predictivity))

    heads = ("V in a row", "found", "missed", "right", "wrong", "Se %", "+P %")
    return Table(f"{group.title}: runs", heads, tuple(row(*item) for item in group.runs.items()))


def _af(group: GroupReport, af: AfReport) -> Table:
    rows = []
    if af.episodes is not None:
        hours = f"{af.episodes.reference / 3600:.2f} h"
        duration = (_interval(af.duration_sensitivity), _interval(af.duration_predictivity), UNDEFINED)
        rows.append(("duration", hours, *duration))
        count = str(af.episodes.found + af.episodes.missed)
        ratios = (percent(af.episode_sensitivity), percent(af.episode_predictivity), UNDEFINED)
        rows.append(("episodes", count, *ratios))
    for what, found in (("beats", af.beats), ("records", af.records)):
        if found is not None:
            rows.append((what, str(found.gross.hits + found.gross.misses), *_three(found)))
    heads = ("AF by", "in reference", "Se %", "+P %", "F1 %")
    return _noted(f"{_who(group, af.rows)}: atrial fibrillation", heads, tuple(rows))


def _calibration(group: GroupReport, curves: dict[str, Reliability]) -> Table:
    rows = [
        (name, str(c.count), f"{c.ece:.4f}", f"{c.worst:.3f}", f"{c.brier:.4f}") for name, c in curves.items()
    ]
    heads = ("label said", "beats", "ECE", "worst bin", "Brier")
    return Table(f"{group.title}: calibration of matched beats", heads, tuple(rows))
