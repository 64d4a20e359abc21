"""``edgeecg doctor``: what machine this is, which backends work on it, and what to do about the others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer
from rich.table import Table
from rich.text import Text

from edgeecg.bundle import Bundle, packaged_names
from edgeecg.cli.builder import builder_options
from edgeecg.cli.common import data_console, progress_bar, write_json
from edgeecg.errors import ConfigError
from edgeecg.io.atomic import check_file
from edgeecg.profile.health import Finding, advise
from edgeecg.profile.machine import Machine, identify
from edgeecg.runtime.engine import BACKENDS, Backend

__all__ = ["doctor"]

ILL = 1
"""Exit code where something does not work."""

STYLES = {"well": "green", "note": "yellow", "ill": "red"}


def doctor(
    bundle: Annotated[
        str | None,
        typer.Option(
            "--bundle", "-b", metavar="NAME|FILE", help="Bundle to run; a packaged one if left out."
        ),
    ] = None,
    need: Annotated[
        list[str] | None,
        typer.Option(
            metavar="BACKEND",
            help="Backend that must work, or the exit code is 1: native, tensorrt. Repeatable.",
        ),
    ] = None,
    json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write all findings to this file.")
    ] = None,
) -> None:
    """Tell what this machine is and which backends work on it, with what to do about each that does not.

    Every backend is opened and has to reproduce the bundle's golden vectors. The first time, TensorRT
    builds its engines, which takes minutes on a Jetson, and the native backend compiles its kernels, which
    takes seconds. The exit code is 1 where something is ill.

    For example:

    - `edgeecg doctor`
    - `edgeecg doctor --bundle my.edgeecg --json health.json`
    - `edgeecg doctor --need native` while an image is built
    """
    if json is not None:
        check_file(json)
    for backend in need or ():
        if backend not in BACKENDS:
            raise ConfigError(f"--need {backend}: there is no such backend, choose {', '.join(BACKENDS)}")
    machine = identify()
    names = packaged_names()
    source = bundle or (("small" if "small" in names else names[0]) if names else None)
    if need and source is None:
        raise ConfigError("--need: there is no packaged bundle to try a backend on, name one with --bundle")
    opened = Bundle.open(source) if source is not None else None
    with progress_bar() as bars:
        looking = bars.add_task("looking", total=None)
        options = builder_options(bars)
        findings = advise(
            machine,
            opened,
            lambda text: bars.update(looking, description=f"looking at the {text}"),
            options,
            cast("list[Backend]", need or []),
        )
    console = data_console()
    console.print(machine_table(machine))
    console.print(findings_table(findings))
    if opened is None:
        console.print("Backends were not tried: there is no packaged bundle, name one with --bundle.")
    if json is not None:
        write_json(json, {"machine": machine, "findings": findings})
    if any(finding.state == "ill" for finding in findings):
        raise typer.Exit(ILL)


def machine_table(machine: Machine) -> Table:
    """What the machine is; rows that have nothing to say are left out."""
    table = Table(show_header=False, box=None, pad_edge=False)
    jetson = f"{machine.jetpack} ({machine.release})" if machine.jetpack else machine.release
    for name, value in (
        ("machine", machine.model),
        ("JetPack", jetson),
        ("power mode", machine.power_mode),
        ("system", f"{machine.system}, kernel {machine.kernel}"),
        ("cores and memory", f"{machine.cores}, {machine.memory / 2**30:.1f} GiB"),
        ("CUDA", machine.cuda),
        ("TensorRT", machine.tensorrt),
        ("driver", machine.driver),
        ("Python", machine.python),
    ):
        if value:
            table.add_row(f"{name}  ", value)
    return table


def findings_table(findings: list[Finding]) -> Table:
    """What was looked at."""
    table = Table(show_header=False, box=None, pad_edge=False, title="\n", title_justify="left")
    for finding in findings:
        style = STYLES[finding.state]
        text = Text(finding.says)
        if finding.advice:
            text.append(f"\n{finding.advice}", style="bold")
        table.add_row(Text(f"{finding.state}  ", style), f"{finding.what}  ", text)
    return table
