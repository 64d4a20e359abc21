"""``edgeecg inspect``: what a bundle is, where it comes from, and whether all of it is right."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from edgeecg.bundle import GRAPHS, Bundle, Precision, graph_part
from edgeecg.cli.common import data_console, write_json
from edgeecg.cli.plain import plain_line
from edgeecg.data.shown import trainings
from edgeecg.errors import BackendError, BundleError
from edgeecg.io.atomic import check_file
from edgeecg.pipeline.latency import Latency
from edgeecg.runtime.engine import check_golden, open_engine
from edgeecg.specs import SignalSpec, StackSpec

__all__ = ["inspect"]

FS = 250.0  # hertz of the source whose latency is told
ILL = 1
"""Exit code where a precision does not give its golden vectors."""


def inspect(
    bundle: Annotated[str, typer.Argument(metavar="NAME|FILE", help="Bundle to look at.")] = "small",
    json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write all of it to this file, too.")
    ] = None,
) -> None:
    """Say what a bundle is, and hold every precision of it against its golden vectors.

    All its hashes are checked when it is opened; each precision is then run with ONNX Runtime. The exit
    code is 1 where one of them gives something else (`edgeecg doctor --bundle` tries the other backends).

    For example:

    - `edgeecg inspect`
    - `edgeecg inspect ward3.edgeecg --json ward3.json`
    """
    if json is not None:
        check_file(json)
    opened = Bundle.open(bundle)
    told = {**_identity(opened), **_origin(opened)}
    checks = {precision: _check(opened, precision) for precision in opened.precisions}
    console = data_console()
    console.print(_table({name: value for name, value in told.items() if value}))
    console.print(_precisions(checks, opened.manifest.default_precision))
    if json is not None:
        write_json(json, {**told, "precisions": checks})
    if any("wrong" in check for check in checks.values()):
        raise typer.Exit(ILL)


def _identity(bundle: Bundle) -> dict[str, Any]:
    """What it is."""
    spec, points, manifest = bundle.spec, bundle.thresholds, bundle.manifest
    latency = Latency.of(bundle.signal, FS, spec, hop=0)
    return {
        "name": bundle.name,
        "digest": bundle.digest,
        "created": manifest.created,
        "schema": manifest.schema,
        "token encoder": _stack(spec.token),
        "beat encoder": _stack(spec.beat),
        "front end": _front(bundle.signal),
        "latency": f"{latency.seconds:.2f} s at {FS:g} Hz, and the hop",
        "lead policy": bundle.lead_policy,
        "beat": f"from {points.beat:g} of the probability mass on"
        + (f", {points.noise:g} more where nothing can be read" if points.noise else ""),
        "bias": ", ".join(f"{label} {value:+g}" for label, value in points.bias.items()),
        "no S": f"from a P(AFIB) of {points.afib:g} on" if points.afib <= 1 else "",
        "rhythm": ", ".join(f"{name} {value:g}" for name, value in points.rhythm.items()),
        "probabilities": f"corrected of {', '.join(points.confidence)}" if points.confidence else "",
    }


def _origin(bundle: Bundle) -> dict[str, Any]:
    """Where it comes from, as far as it says."""
    facts: list[str] = []
    known = list(trainings(bundle.manifest.provenance.get("training", {})))
    for number, training in enumerate(known):
        counts = training.get("sets", {})  # whoever builds a bundle by hand may say it otherwise
        named = counts.items() if isinstance(counts, Mapping) else ()
        sets = ", ".join(f"{count} of {name}" for name, count in named) or str(counts or "")
        left = len(training.get("validation", ()))
        what = "trained on" if number == 0 else "and before that on"
        facts.append(f"{what} {sets or 'what it does not say'}" + (f"; {left} held out" if left else ""))
    newest = known[0] if known else {}
    credit = newest.get("attribution", ())
    return {
        "parameters": newest.get("parameters", ""),
        "training": "\n".join(facts),
        "attribution": credit if isinstance(credit, str) else "\n".join(map(str, credit)),
    }


def _stack(spec: StackSpec) -> str:
    return f"{spec.layers} layers of {spec.dim}, {spec.heads} heads, {spec.left} back and {spec.right} ahead"


def _front(signal: SignalSpec) -> str:
    low, high = signal.band
    notch = f", notch at {signal.notch:g} Hz" if signal.notch else ""
    return f"{low:g} to {high:g} Hz{notch}, gain over {signal.gain_seconds:g} s"


def _check(bundle: Bundle, precision: Precision) -> dict[str, Any]:
    """Size of the graphs, and how far they are from what the bundle expects, or what is wrong."""
    size = sum(len(bundle.parts[graph_part(name, precision)]) for name in GRAPHS)
    try:
        with open_engine(bundle, "onnxruntime", precision) as engine:
            off = max(check_golden(bundle, name, getattr(engine, name), precision) for name in GRAPHS)
    except (BackendError, BundleError) as error:
        return {"bytes": size, "wrong": str(error)}
    return {"bytes": size, "off": off}


def _table(told: Mapping[str, Any]) -> Table:
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column()
    table.add_column(overflow="fold")  # a digest that is cut off is none
    for name, value in told.items():
        table.add_row(f"{name}  ", "\n".join(map(plain_line, str(value).splitlines())))
    return table


def _precisions(checks: Mapping[Precision, Mapping[str, Any]], default: str) -> Table:
    table = Table(show_header=False, box=None, pad_edge=False, title="\n", title_justify="left")
    for precision, check in checks.items():
        off = check.get("off", 0.0)
        style, says = "green", f"golden vectors within {off:.0e} of their range" if off else "golden vectors"
        if "wrong" in check:
            style, says = "red", check["wrong"]
        mark = ", the default" if precision == default else ""
        size = f"{check['bytes'] / 1024:.0f} kB{mark}  "
        table.add_row(Text(f"{precision}  ", style), size, says)
    return table
