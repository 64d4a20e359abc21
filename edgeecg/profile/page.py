"""A profile as one HTML page that needs nothing beside itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

import numpy as np

from edgeecg.profile.latency import Percentiles
from edgeecg.profile.layers import LayerTime
from edgeecg.profile.report import Report, call_ways
from edgeecg.profile.stages import STAGES
from edgeecg.profile.svg import bars, curve, histogram, stacks

__all__ = ["render"]

STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #667085; --line: #d9dee7; --paper: #ffffff;
  --a: #2563a8; --b: #2f9e8f; --c: #e0a030; --d: #b4536f; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --soft: #9aa4b5; --line: #323b4a;
  --paper: #12161d; --a: #6ea8e8; --b: #5cc9b8; --c: #f0be62; --d: #de8aa3; } }
body { margin: 2rem auto; max-width: 60rem; padding: 0 1.2rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .2rem; } h2 { font-size: 1.05rem; margin: 2.2rem 0 .5rem; }
p, .note { color: var(--soft); margin: .3rem 0; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: 14px; }
th, td { padding: .28rem .6rem; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child, td:first-child { text-align: left; } th { color: var(--soft); font-weight: 500; }
tr.sum td { font-weight: 600; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 0 2.5rem; }
@media (max-width: 46rem) { .pair { grid-template-columns: 1fr; } }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .8rem;
  margin: 1.2rem 0; }
.card { border: 1px solid var(--line); border-radius: .5rem; padding: .6rem .8rem; }
.card b { display: block; font-size: 1.25rem; } .card span { color: var(--soft); font-size: 13px; }
svg { width: 100%; height: auto; } svg text { fill: var(--soft); font-size: 11.5px; }
.a { fill: var(--a); } .b { fill: var(--b); } .c { fill: var(--c); } .d { fill: var(--d); }
.grid { stroke: var(--line); } .mark { stroke: var(--d); fill: none; stroke-dasharray: 4 3; }
.trace { stroke: var(--a); stroke-width: 2; fill: none; }
.key { color: var(--soft); font-size: 13px; }
.key i { display: inline-block; width: .8em; height: .8em;
  border-radius: 2px; margin: 0 .35em 0 1em; background: var(--x); }
"""


def table(head: Sequence[str], rows: Iterable[Sequence[str]], strong: Sequence[str] = ()) -> str:
    """An HTML table; rows whose first cell is in ``strong`` are set off."""
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    lines = []
    for row in rows:
        kind = " class=sum" if row[0] in strong else ""
        lines.append(f"<tr{kind}>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>")
    return f"<table><thead><tr>{top}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def milliseconds(value: float) -> str:
    """Three digits that matter."""
    return f"{value:.3f}" if value < 10 else f"{value:.1f}"


def percentile_table(named: Mapping[str, Percentiles], strong: Sequence[str] = ()) -> str:
    """Distributions, a row each."""
    rows = [
        [name, *(milliseconds(v) for v in (p.p50, p.p90, p.p99, p.p999, p.maximum, p.jitter)), str(p.runs)]
        for name, p in named.items()
    ]
    return table(["ms", "p50", "p90", "p99", "p99.9", "max", "jitter", "runs"], rows, strong)


def cards(report: Report) -> str:
    """The few figures that one looks for first."""
    hop = report.stages["hop"]
    best = max(report.throughput, key=lambda item: item.patients)
    shown = [
        (f"{milliseconds(hop.p50)} ms", f"a hop of {report.subject.hop:g} s, p50"),
        (f"{milliseconds(hop.p99)} ms", "p99"),
        (f"{best.patients:,.0f}", f"patients, token graph alone, batch {best.batch}"),
        (f"{report.memory.peak / 2**20:.0f} MiB", "memory at most"),
    ]
    if report.pace is not None:
        shown.insert(2, (f"{report.pace.misses} of {report.pace.hops}", "deadlines missed"))
    if report.energy:
        shown.append(
            (f"{report.energy[0].millijoules:.2f} mJ", f"a hop above idle ({report.energy[0].busy.source})")
        )
    return "".join(
        f"<div class=card><b>{escape(value)}</b><span>{escape(what)}</span></div>" for value, what in shown
    )


def facts(report: Report) -> str:
    """Machine, subject and conditions, as two columns."""
    machine, subject = report.machine, report.subject
    left = [
        ("machine", machine.model), ("Jetson Linux", machine.release), ("JetPack", machine.jetpack),
        ("system", machine.system), ("kernel", machine.kernel), ("TensorRT", machine.tensorrt),
        ("CUDA", machine.cuda), ("driver", machine.driver), ("Python", machine.python),
        ("cores", str(machine.cores)), ("memory", f"{machine.memory / 2**30:.1f} GiB"),
        ("power mode", report.before.power_mode),
    ]  # fmt: skip
    right = [
        ("bundle", f"{subject.bundle} ({subject.digest[:12]})"), ("backend", subject.backend),
        ("precision", subject.precision), ("threads", str(subject.threads)), ("mode", subject.mode),
        ("rate", f"{subject.fs:g} Hz"), ("hop", f"{subject.hop:g} s"), ("leads", str(subject.leads)),
    ]  # fmt: skip
    columns = [table(["", ""], [pair for pair in side if pair[1]]) for side in (left, right)]
    return f"<div class=pair><div>{columns[0]}</div><div>{columns[1]}</div></div>"


def drift(report: Report) -> str:
    """Clocks and temperatures before and after."""
    rows = []
    for unit, before, after in (
        ("MHz", report.before.clocks, report.after.clocks),
        ("°C", report.before.temperatures, report.after.temperatures),
    ):
        rows += [
            [f"{name}, {unit}", f"{value:.0f}", f"{after[name]:.0f}"]
            for name, value in before.items()
            if name in after
        ]
    return (
        table(["", "before", "after"], rows)
        if rows
        else "<p>This machine tells neither clocks nor temperatures.</p>"
    )


def declared_latency(report: Report) -> str:
    """What each stage waits for, and the sum."""
    rows = [[stage, f"{1e3 * seconds:.1f}"] for stage, seconds in report.declared.items()]
    rows.append(["in all", f"{1e3 * sum(report.declared.values()):.1f}"])
    return (
        "<p>What the stages declare; no machine shortens it, and the time of a hop comes on top.</p>"
        + table(["stage", "ms"], rows, ("in all",))
    )


def sections(report: Report) -> Iterable[tuple[str, str]]:
    """Headings and what stands under them."""
    hop = report.stages["hop"]
    totals = np.asarray(report.hops).sum(axis=1)
    marks = {"p50": hop.p50, "p99": hop.p99}
    yield (
        "Time of a hop",
        percentile_table(report.stages, ("hop", "sample to event"))
        + histogram(totals, marks, "ms", "histogram of the hops' times"),
    )
    key = "".join(f'<i style="--x: var(--{c})"></i>{escape(n)}' for c, n in zip("abcd", STAGES, strict=True))
    yield (
        "Timeline",
        stacks(report.hops, STAGES, "ms", "stages of every hop in order") + f"<div class=key>{key}</div>",
    )
    if report.device:
        yield "On the device", percentile_table(report.device)
    if report.pace is not None:
        pace = report.pace
        yield (
            "At the hop's pace",
            (
                f"<p>{pace.hops} hops every {1e3 * pace.period:g} ms, waiting by {pace.wait}: "
                f"{pace.misses} deadlines missed.</p>"
                + percentile_table({"begun late by": pace.wake, "busy": pace.busy})
            ),
        )
    yield "Latency of the algorithm", declared_latency(report)
    yield (
        "Throughput of the token graph",
        curve(
            [(t.batch, t.patients) for t in report.throughput],
            ("batch", "patients, graph alone"),
            "patients by batch",
        )
        + percentile_table({f"batch {t.batch}": t.call for t in report.throughput} | call_ways(report)),
    )
    for name, layers in report.layers.items():
        yield f"Slowest layers, {name} graph", layer_bars(layers[:15], f"slowest layers of the {name} graph")
    yield "Energy", energy(report)
    yield "Clocks and temperatures", drift(report)
    yield "What was profiled", facts(report)


def layer_bars(layers: Sequence[LayerTime], title: str) -> str:
    """Bars of layers, with microseconds and share."""
    items = [
        (layer.name, layer.milliseconds, f"{1e3 * layer.milliseconds:.1f} µs, {layer.share:.1%} {layer.kind}")
        for layer in layers
    ]
    return bars(items, title)


def energy(report: Report) -> str:
    """Energy by reader, and what could not be read."""
    rows = [
        [
            use.busy.source,
            f"{use.idle.watts:.2f}",
            f"{use.busy.watts:.2f}",
            f"{use.millijoules:.3f}",
            str(use.hops),
        ]
        for use in report.energy
    ]
    notes = "".join(f"<p>{escape(note)}</p>" for note in report.notes)
    shown = table(["", "idle W", "busy W", "mJ a hop above idle", "hops"], rows) if rows else ""
    rails = {name: watts for use in report.energy for name, watts in use.busy.rails.items()}
    detail = table(["rail", "W"], [[name, f"{watts:.2f}"] for name, watts in rails.items()]) if rails else ""
    return shown + detail + notes


def render(report: Report) -> str:
    """The page."""
    subject = report.subject
    title = f"{subject.bundle} on {report.machine.model}"
    body = "".join(
        f"<section><h2>{escape(head)}</h2>{content}</section>" for head, content in sections(report)
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>EdgeECG profile: {escape(title)}</title><style>{STYLE}</style></head><body>"
        f"<h1>{escape(title)}</h1><p>EdgeECG {escape(report.version)}, {escape(report.created)}: "
        f"{escape(subject.backend)}, {escape(subject.precision)}</p>"
        f"<div class=cards>{cards(report)}</div>{body}</body></html>\n"
    )
