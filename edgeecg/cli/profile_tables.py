"""What ``edgeecg profile`` shows of a report: its tables, and what is said in a line each."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from edgeecg.cli.common import show_whole
from edgeecg.profile.latency import Percentiles
from edgeecg.profile.layers import by_kind
from edgeecg.profile.report import Report, call_ways

__all__ = ["layer_table", "percentile_table", "show", "summary", "throughput_table"]


def percentile_table(title: str, named: dict[str, Percentiles]) -> Table:
    """Distributions, a row each."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("ms", min_width=18)
    for head in ("p50", "p90", "p99", "p99.9", "max", "jitter"):
        table.add_column(head, justify="right", min_width=7)
    for name, p in named.items():
        cells = (f"{value:.3f}" for value in (p.p50, p.p90, p.p99, p.p999, p.maximum, p.jitter))
        table.add_row(name, *cells, style="bold" if name in ("hop", "sample to event") else "")
    return table


def show(console: Console, report: Report) -> None:
    """The report as tables."""
    subject, machine = report.subject, report.machine
    mode = f", {report.before.power_mode}" if report.before.power_mode else ""
    console.print(
        f"{subject.bundle} ({subject.backend}, {subject.precision}, {subject.mode}, hop {subject.hop:g} s at "
        f"{subject.fs:g} Hz) on {machine.model}, {machine.cores} cores{mode}"
    )
    show_whole(console, percentile_table("\nTime of a hop", dict(report.stages)))
    if report.device:
        show_whole(
            console, percentile_table("\nOn the device, one step of the token graph", dict(report.device))
        )
    if report.pace is not None:
        pace = report.pace
        named = {"begun late by": pace.wake, "busy": pace.busy}
        title = f"\nAt the pace of {1e3 * pace.period:g} ms, {pace.hops} hops: {pace.misses} deadlines missed"
        show_whole(console, percentile_table(title, named))
    show_whole(console, throughput_table(report))
    if ways := call_ways(report):
        show_whole(console, percentile_table("\nA call of the token graph, each way", ways))
    if report.layers:
        show_whole(console, layer_table(report))
    console.print(f"\n{summary(report)}", soft_wrap=True)


def throughput_table(report: Report) -> Table:
    """Batch sizes of the token graph."""
    table = Table(title="\nThroughput of the token graph", title_justify="left", box=None, pad_edge=False)
    for head in ("batch", "p50 ms", "p99 ms", "patients, graph alone"):
        table.add_column(head, justify="right", min_width=9)
    for item in report.throughput:
        table.add_row(
            str(item.batch), f"{item.call.p50:.3f}", f"{item.call.p99:.3f}", f"{item.patients:,.0f}"
        )
    return table


def layer_table(report: Report) -> Table:
    """The slowest layers and kinds of layer of each graph."""
    table = Table(title="\nSlowest layers", title_justify="left", box=None, pad_edge=False)
    for head, justify in (
        ("graph", "left"),
        ("layer", "left"),
        ("kind", "left"),
        ("us", "right"),
        ("share", "right"),
    ):
        table.add_column(head, justify=justify)  # type: ignore[arg-type]
    for name, layers in report.layers.items():
        shown = [*layers[:5], *(by_kind(layers)[:3] if any(layer.kind for layer in layers) else ())]
        for layer in shown:
            table.add_row(
                name, layer.name, layer.kind, f"{1e3 * layer.milliseconds:.1f}", f"{layer.share:.1%}"
            )
    return table


def summary(report: Report) -> str:
    """Latency of the algorithm, memory, energy and notes, a line each."""
    declared = ", ".join(f"{stage} {1e3 * value:.0f}" for stage, value in report.declared.items())
    memory = report.memory
    lines = [
        f"Declared latency: {1e3 * sum(report.declared.values()):.0f} ms ({declared})",
        (
            f"Memory: {memory.after / 2**20:.0f} MiB, at most {memory.peak / 2**20:.0f} MiB, "
            f"{memory.before / 2**20:.0f} MiB before the engine was opened"
        ),
    ]
    if not report.layers:
        lines.append(
            f"Layers: a step of the backend {report.subject.backend} is one function, seen as a whole"
        )
    if memory.device:
        lines.append(f"Memory of the device: {memory.device / 2**20:.0f} MiB in use")
    for what, unit, before, after in (
        ("Clocks", "MHz", report.before.clocks, report.after.clocks),
        ("Temperatures", "degrees", report.before.temperatures, report.after.temperatures),
    ):
        if told := [f"{name} {before[name]:.0f} to {after[name]:.0f}" for name in before if name in after]:
            lines.append(f"{what}, before to after, {unit}: {', '.join(told)}")
    lines += [
        f"DLA: of the {name} graph {len(layers)} layers fall back to the GPU: {', '.join(layers[:5])}"
        f"{', ...' if len(layers) > 5 else ''}"
        for name, layers in report.fallback.items()
    ]
    lines += [
        f"Energy ({use.busy.source}): {use.millijoules:.3f} mJ a hop above idle, {use.busy.watts:.2f} W "
        f"busy, {use.idle.watts:.2f} W idle"
        for use in report.energy
    ]
    return "\n".join([*lines, *(f"Energy: {note}" for note in report.notes)])
