"""A profile as one HTML page that needs nothing beside itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

import numpy as np

from edgeecg.page.html import cards_of, document, sections_of, table
from edgeecg.page.svg import bars, curve, histogram, stacks
from edgeecg.profile.latency import Percentiles
from edgeecg.profile.layers import LayerTime
from edgeecg.profile.report import Report, call_ways
from edgeecg.profile.stages import STAGES

__all__ = ["render"]


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
    return cards_of(shown)


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
    lead = f"EdgeECG {report.version}, {report.created}: {subject.backend}, {subject.precision}"
    return document(f"EdgeECG profile: {title}", title, lead, cards(report) + sections_of(sections(report)))
