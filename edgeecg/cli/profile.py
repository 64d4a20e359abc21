"""``edgeecg profile``: where the time, memory and energy go on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer
from rich.console import Console
from rich.table import Table

from edgeecg.bundle import Bundle, Precision
from edgeecg.cli.builder import builder_options
from edgeecg.cli.common import (
    BackendName,
    BundleOption,
    FsOption,
    GainOption,
    JsonOption,
    LeadOption,
    PrecisionName,
    UnitsOption,
    data_console,
    human_console,
    progress_bar,
    show_whole,
)
from edgeecg.cli.profile_tables import show
from edgeecg.errors import BackendError, ConfigError
from edgeecg.io import Record, read_record
from edgeecg.io.atomic import atomic_path, check_file
from edgeecg.pipeline import Mode, step_tokens
from edgeecg.profile.collect import ProfileSettings, collect
from edgeecg.profile.pace import Wait
from edgeecg.profile.page import render
from edgeecg.profile.report import Report, compare, load, parse_share, same_way
from edgeecg.profile.sensors import memory_used
from edgeecg.runtime.engine import Backend, Engine, open_engine
from edgeecg.runtime.trt import why_not

__all__ = ["profile"]

REGRESSED = 1
"""Exit code where --max-regression was passed."""

LARGEST = 4096
"""Rows of a batch, at most."""


def profile(
    record: Annotated[
        Path | None,
        typer.Argument(metavar="RECORD", help="What to stream; a synthetic patient if left out."),
    ] = None,
    bundle: BundleOption = "small",
    leads: LeadOption = None,
    fs: FsOption = None,
    units: UnitsOption = None,
    gain: GainOption = None,
    backend: BackendName = "auto",
    precision: PrecisionName = None,
    threads: Annotated[
        int,
        typer.Option(min=1, max=256, help="CPU threads inside one operator; of native, that share a step."),
    ] = 1,
    dla: Annotated[
        int | None,
        typer.Option(min=0, metavar="CORE", help="TensorRT: prefer this DLA core; tells what it cannot run."),
    ] = None,
    hop: Annotated[float, typer.Option(metavar="SECONDS", help="Signal that is computed together.")] = 0.5,
    mode: Annotated[
        str, typer.Option(metavar="NAME", help="incremental, or window: ten seconds anew at each hop.")
    ] = "incremental",
    runs: Annotated[int, typer.Option(min=1, help="Hops and calls that count.")] = 400,
    warmup: Annotated[int, typer.Option(min=0, help="Hops and calls before, that do not.")] = 40,
    batches: Annotated[
        str, typer.Option(metavar="LIST", help="Batch sizes of the throughput table.")
    ] = "1,2,4,8,16,32,64",
    pace_seconds: Annotated[
        float,
        typer.Option(min=0, metavar="SECONDS", help="Keep the hop's pace for so long; 0 leaves it out."),
    ] = 10.0,
    speed: Annotated[float, typer.Option(metavar="TIMES", help="Pace against the live one.")] = 1.0,
    wait: Annotated[
        str, typer.Option(metavar="NAME", help="Between hops: block (sleep) or spin (a busy core).")
    ] = "block",
    energy_seconds: Annotated[
        float,
        typer.Option(min=0, metavar="SECONDS", help="Measure energy for so long, idle and busy; 0: not."),
    ] = 3.0,
    json: JsonOption = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page with charts to this file.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option("--against", metavar="FILE", help="Hold against this earlier --json file.")
    ] = None,
    max_regression: Annotated[
        str | None,
        typer.Option(metavar="SHARE", help="How much slower than --against may be; 10% if left out."),
    ] = None,
) -> None:
    """Measure latency by stage, deadlines, throughput, layers, memory and energy.

    A hop's time goes from its last sample at hand to its events told. The algorithm's own latency, which
    no machine shortens, is shown beside it. docs/profile.md explains every figure.

    For example:

    - `edgeecg profile` on a synthetic patient with the packaged model
    - `edgeecg profile 100.hea --bundle my.edgeecg --json now.json --html now.html`
    - `edgeecg profile --against before.json --max-regression 10%` in your CI: exit code 1 if it got slower
    - `edgeecg profile --backend tensorrt --precision fp16` on a Jetson; first set its power mode
    """
    settings = ProfileSettings(
        hop=hop,
        mode=cast("Mode", choice(mode, ("incremental", "window"), "--mode")),
        runs=runs,
        warmup=warmup,
        batches=parse_batches(batches),
        pace_seconds=pace_seconds,
        speed=speed,
        wait=cast("Wait", choice(wait, ("block", "spin"), "--wait")),
        energy_seconds=energy_seconds,
        threads=threads,
    )
    for output in (json, html):
        if output is not None:
            check_file(output)
    previous = load(against) if against is not None else None
    share = _allowed(max_regression, against)
    signal = None
    if record is not None:
        signal = read_record(record, leads=leads or None, fs=fs, units=units, gain=gain)
    elif leads or fs or units or gain:
        raise ConfigError("--lead, --fs, --units and --gain say how a recording is read: name a RECORD")
    if dla is not None:
        check_dla(dla, backend)
    opened, before = Bundle.open(bundle), memory_used()[0]
    with progress_bar() as bars:
        task = bars.add_task("opening", total=None)
        chosen = cast("Backend", backend), cast("Precision | None", precision)
        options = builder_options(bars, step_tokens(hop, settings.mode), dla)
        with open_engine(opened, *chosen, threads, tensorrt=options) as engine:
            if previous is not None:  # now, not after minutes
                same_way(previous, early_facts(engine, settings, signal))
            report = collect(
                engine, settings, signal, before, lambda text: bars.update(task, description=text)
            )
    for path, data in ((json, report.to_json()), (html, render(report).encode())):
        if path is not None:
            with atomic_path(path) as partial:
                partial.write_bytes(data)
            human_console().print(f"written: {path}")
    console = data_console()
    show(console, report)
    if previous is not None and not hold(console, previous, report, share):
        raise typer.Exit(REGRESSED)


def check_dla(core: int, backend: str) -> None:
    """Refuse a DLA core where nothing runs on TensorRT; raises ``BackendError``."""
    on_cpu = f"--backend {backend} runs on the CPU: leave --dla out"
    if reason := on_cpu if backend in ("onnxruntime", "native") else why_not():
        raise BackendError(f"--dla {core} asks TensorRT for a DLA core: {reason}")


def early_facts(engine: Engine, settings: ProfileSettings, record: Record | None) -> dict[str, object]:
    """What is known before anything was measured."""
    signal = {} if record is None else {"rate": record.fs, "number of leads": len(record.leads)}
    return {
        **signal,
        "backend": engine.backend,
        "precision": engine.precision,
        "threads": settings.threads,
        "mode": settings.mode,
        "hop": settings.hop,
    }


def choice(text: str, choices: tuple[str, ...], option: str) -> str:
    """One of some words, or ``ConfigError``."""
    if text not in choices:
        raise ConfigError(f"{option} {text!r}: choose {' or '.join(choices)}")
    return text


def parse_batches(text: str) -> tuple[int, ...]:
    """``1,2,4`` to numbers."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or any(not part.isdigit() or not 1 <= int(part) <= LARGEST for part in parts):
        raise ConfigError(f"--batches {text!r}: give numbers from 1 to {LARGEST}, e.g. 1,8,64")
    return tuple(int(part) for part in parts)


def _allowed(share: str | None, against: Path | None) -> float:
    """How much slower it may be; refused where there is nothing to hold it against."""
    if share is not None and against is None:
        raise ConfigError("--max-regression says how much slower than --against FILE: give that too")
    return parse_share("10%" if share is None else share)


def hold(console: Console, previous: Report, now: Report, share: float) -> bool:
    """Show what changed; false where something got slower by more than ``share``."""
    changes = compare(previous, now)
    before, after = (f"{r.subject.bundle} ({r.subject.digest[:12]})" for r in (previous, now))
    if before != after:
        human_console().print(
            f"note: the earlier profile is of another bundle, {before}, this one of {after}: what "
            "changed may be the model's doing"
        )
    table = Table(title=f"\nAgainst {previous.created}", title_justify="left", box=None, pad_edge=False)
    for head in ("", "before", "now", "change"):
        table.add_column(head, justify="left" if not head else "right")
    for item in changes:
        worse = item.growth > share
        mark = " too slow" if worse else ""
        cells = f"{item.before:.3f} {item.unit}", f"{item.now:.3f} {item.unit}", f"{item.growth:+.1%}{mark}"
        table.add_row(item.what, *cells, style="red" if worse else "")
    show_whole(console, table)
    slower = [item.what for item in changes if item.growth > share]
    if slower:
        human_console().print(f"slower by more than {share:.0%}: {', '.join(slower)}", style="red")
    return not slower
