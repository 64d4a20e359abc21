"""An evaluation as one HTML page: the figures one looks for first, where a model fails, and every table."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from edgeecg import __version__
from edgeecg.metrics.calibration import Reliability
from edgeecg.metrics.report import BeatTable, GroupReport, Report
from edgeecg.metrics.tables import Table, percent, tables
from edgeecg.page.html import cards_of, document, sections_of, table
from edgeecg.page.svg import Chart, bars
from edgeecg.words import counted

__all__ = ["render"]

CLASSES = ("QRS", "V", "S")
WORST = 15  # records in a chart of errors


def render(report: Report, changes: Table | None = None) -> str:
    """The page.

    Parameters
    ----------
    report : Report
    changes : Table, optional
        The paired difference to another system, shown before all else.
    """
    system = ", ".join(f"{name} {value}" for name, value in report.system.items())
    first = [(changes.title, _shown(changes))] if changes is not None else []
    body = [*first, *(part for group in report.groups for part in _group(group))]
    body += [(each.title, _shown(each)) for each in tables(report)]
    return document(
        f"EdgeECG evaluation: {report.reference}",
        f"Against {report.reference}",
        f"EdgeECG {__version__}: {system}",
        "".join(f"<p>not scored: {escape(reason)}</p>" for reason in report.unscored)
        + "".join(f"<p>{escape(group.title)}</p>{_cards(group)}" for group in report.groups)
        + sections_of(body),
    )


def _cards(group: GroupReport) -> str:
    """F1 of each class, and of AF where it was asked for."""
    scores = group.beats[0].classes if group.beats else {}
    gross = {name: scores[name].gross for name in CLASSES if name in scores}
    shown = [
        (percent(rates.f1), f"{name} F1 %, {counted(rates.hits + rates.misses, 'beat')}")
        for name, rates in gross.items()
        if rates.f1 is not None
    ]
    if group.af is not None and group.af.records is not None and group.af.records.gross.f1 is not None:
        shown.append((percent(group.af.records.gross.f1), "AF F1 %, by record"))
    return cards_of([*shown, (str(group.patients), "patients" if group.patients != 1 else "patient")])


def _group(group: GroupReport) -> Iterator[tuple[str, str]]:
    """Charts of a group."""
    if group.beats:
        for name in CLASSES:
            items = _errors(group.beats[0], name)
            if items:
                yield f"{group.title}: where {name} are wrong", bars(items, f"errors of {name} by record")
    if "all" in group.calibration:
        chart = _reliability(group.calibration["all"])
        yield f"{group.title}: what a probability is worth", chart


def _errors(found: BeatTable, name: str) -> list[tuple[str, float, str]]:
    """Records with the most misses and false beats of a class."""
    rows = [(row.record, row.scores[name]) for row in found.records if name in row.scores]
    wrong = sorted(rows, key=lambda item: -(item[1].misses + item[1].false))
    return [
        (record, float(rates.misses + rates.false), f"{rates.misses} missed, {rates.false} false")
        for record, rates in wrong[:WORST]
        if rates.misses + rates.false
    ]


def _reliability(found: Reliability) -> str:
    """The reliability diagram: how often the label was right, by the probability that was told."""
    chart = Chart((0.0, 1.0), (0.0, 1.0), ("probability told", "share that was right"), "reliability diagram")
    marks = [(tenth / 5, f"{tenth / 5:.1f}") for tenth in range(6)]
    chart.ticks(marks, marks)
    for each in found.bins:
        tip = f"{each.low:.2f} to {each.high:.2f}: {counted(each.count, 'beat')}, {each.accuracy:.3f} right"
        chart.box((each.low, each.high), (0.0, each.accuracy), "a", tip)
    chart.line([(0.0, 0.0), (1.0, 1.0)], "mark")
    note = f"ECE {found.ece:.4f}, worst bin {found.worst:.3f}, Brier {found.brier:.4f}; dashed: as told."
    return f"{chart.render()}<p class=note>{escape(note)}</p>"


def _shown(each: Table) -> str:
    note = f"<p class=note>{escape(each.note)}</p>" if each.note else ""
    return table(each.columns, each.rows) + note
