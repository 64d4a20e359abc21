"""``edgeecg demo``: the whole way on synthetic patients, each step an ordinary command."""

from __future__ import annotations

import shlex
import shutil
import time
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from edgeecg.cli.common import SeedOption, human_console
from edgeecg.cli.strip import busiest, draw_strip
from edgeecg.errors import ConfigError, MissingExtra
from edgeecg.io import read_record
from edgeecg.io.atomic import atomic_path
from edgeecg.specs import Beat, Rhythm

__all__ = ["demo"]

CONFIG = """\
# Written by `edgeecg demo`; docs/training.md explains every key.
preset = "{preset}"
seed = {seed}

[data]
root = {root}
sets = {{ train = 1.0 }} # the folder of that name under the root

[optim]
steps = {steps}
batch = 16
seconds = 30
pseudo_every = 0
"""


@dataclass(frozen=True)
class Plan:
    """Where everything of the demonstration lies.

    Parameters
    ----------
    out : Path
        The folder; every other path is in it.
    """

    out: Path

    @property
    def patients(self) -> Path:
        """Recordings, split patient-wise into ``train``, ``validation`` and ``test``."""
        return self.out / "patients"

    @property
    def bundle(self) -> Path:
        """What is deployed."""
        return self.out / "demo.edgeecg"

    @property
    def events(self) -> Path:
        """What the stream told."""
        return self.out / "events.jsonl"

    def scores(self, precision: str) -> Path:
        """Figures of the held-out patients."""
        return self.out / f"scores-{precision}.json"

    @property
    def held_out(self) -> Path:
        """The test patient that is streamed: one with ventricular beats."""
        found = sorted((self.patients / "test").glob("*ventricular*.hea"))
        return found[0].with_suffix("")


def demo(
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for all that is made.")
    ] = Path("runs/demo"),
    preset: Annotated[str, typer.Option(help="Size of the network: nano, micro, small or base.")] = "micro",
    steps: Annotated[int, typer.Option(min=1, help="Training steps; more is better and slower.")] = 1000,
    patients: Annotated[int, typer.Option(min=20, help="Synthetic patients; a fifth is held out.")] = 75,
    seed: SeedOption = 1,
) -> None:
    """Train, evaluate, quantize, build and stream on synthetic patients, in minutes.

    Each step is an ordinary command, shown before it runs; its files stay in the folder to look into. The
    last one is a picture of a patient that the network has never seen, with the beats it found. Given again,
    it goes on with the patients and the training that are there.

    For example:

    - `edgeecg demo`
    - `edgeecg demo --out runs/longer --preset small --steps 4000`
    """
    if out.exists() and any(out.iterdir()) and not (out / "demo.toml").exists():
        raise ConfigError(f"{out} holds other things: name a new folder by --out")
    for package in ("torch", "onnx", "wfdb", "matplotlib"):  # told now, not after minutes of training
        if find_spec(package) is None:
            raise MissingExtra(package, "train,plot", "edgeecg demo")
    plan, console, begin = Plan(out), human_console(), time.monotonic()
    _make_patients(console, plan, patients, seed)
    settings = CONFIG.format(
        preset=preset, seed=seed, steps=steps, root=msgspec.json.encode(str(plan.patients.resolve())).decode()
    )
    with atomic_path(out / "demo.toml") as path:
        path.write_text(settings, encoding="utf-8")
    _make_bundle(console, plan)
    _measure(console, plan)
    _picture(plan)
    _summary(console, plan, time.monotonic() - begin)


def _run(console: Console, title: str, *words: str | Path, tables: bool = True) -> None:
    """Show a command and run it, with its tables or without; the first that fails ends the demonstration."""
    from edgeecg.cli.main import main

    argv = [str(word) for word in words]
    console.print()
    console.rule(Text(title, "bold"), align="left")
    console.print(Text("$", "dim").append(f" edgeecg {shlex.join(argv)}", "not dim"), soft_wrap=True)
    begin = time.monotonic()
    with nullcontext() if tables else redirect_stdout(StringIO()):
        code = main(argv)
    if code:
        raise typer.Exit(code)
    console.print(f"{time.monotonic() - begin:.1f} s", style="dim")


def _make_patients(console: Console, plan: Plan, patients: int, seed: int) -> None:
    if plan.patients.exists():
        console.print(f"patients of an earlier run in {plan.patients} are used again")
        return
    _run(
        console, "Synthetic patients, split by patient",
        "data", "synth", "--out", plan.patients, "--patients", str(patients), "--seconds", "120",
        "--seed", str(seed),
    )  # fmt: skip


def _make_bundle(console: Console, plan: Plan) -> None:
    """Recordings to one deployable file."""
    out = plan.out
    _run(console, "Train", "train", "--config", out / "demo.toml", "--out", out / "run")
    for made in ("graphs", "calibration", "quantized"):  # by an earlier run: verbs replace nothing
        shutil.rmtree(out / made, ignore_errors=True)
    plan.bundle.unlink(missing_ok=True)
    _run(
        console,
        "Export to ONNX",
        "export",
        out / "run" / "checkpoint",
        "--out",
        out / "graphs",
        "--name",
        "demo",
    )
    training = plan.patients / "train"
    _run(
        console, "Calibrate on training patients",
        "calibrate", out / "graphs", "--out", out / "calibration", "--reference", training, "--windows", "32",
    )  # fmt: skip
    _run(
        console, "Quantize to FP16 and INT8",
        "quantize", out / "graphs", "--calibration", out / "calibration", "--out", out / "quantized",
        "--reference", plan.patients / "validation",
    )  # fmt: skip
    _run(console, "Build one bundle", "build", out / "quantized", "--out", plan.bundle)


def _measure(console: Console, plan: Plan) -> None:
    """How good, how fast."""
    test = plan.patients / "test"
    for precision in ("fp32", "int8"):
        _run(
            console, f"Evaluate {precision} on patients that were held out",
            "evaluate", test, "--bundle", plan.bundle, "--precision", precision,
            "--json", plan.scores(precision), "--no-records", "--draws", "500",
            tables=precision == "fp32",
        )  # fmt: skip
    plan.events.unlink(missing_ok=True)  # the sink continues a file
    _run(
        console, "Stream one of them as if it were live",
        "stream", plan.held_out, "--bundle", plan.bundle, "--speed", "0", "--quiet",
        "--sink", f"jsonl:{plan.events}",
    )  # fmt: skip
    _run(
        console, "Latency on this machine",
        "profile", plan.held_out, "--bundle", plan.bundle, "--runs", "200", "--batches", "1,16,64",
        "--pace-seconds", "3", "--energy-seconds", "0",
        "--json", plan.out / "latency.json", "--html", plan.out / "latency.html",
    )  # fmt: skip


def _events(path: Path) -> list[Beat | Rhythm]:
    """Beats and rhythms of a file of JSON lines."""
    kinds: dict[str, type[Beat] | type[Rhythm]] = {"beat": Beat, "rhythm": Rhythm}
    lines = [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]
    return [
        msgspec.convert(
            {key: value for key, value in line.items() if key not in ("event", "patient", "time")}, kind
        )
        for line in lines
        if (kind := kinds.get(line.get("event"))) is not None
    ]


def _picture(plan: Plan) -> None:
    record = read_record(plan.held_out)
    events = _events(plan.events)
    span = round(10 * record.fs)
    start = busiest([event for event in events if isinstance(event, Beat)], len(record.signal), span)
    title = f"{record.name}: found above with probability in %, reference below"
    draw_strip(record, events, plan.out / "strip.png", start=start, title=title)


def _figure(report: dict[str, Any], name: str, figure: str) -> str:
    """A figure of the whole records, in percent."""
    whole = next(
        beats
        for beats in report["groups"][0]["beats"]
        if beats["mapping"] == "dechazal" and beats["period"] == "whole record"
    )
    value = whole["classes"][name]["gross"][figure]
    return "-" if value is None else f"{100 * value:.1f}"


def _summary(console: Console, plan: Plan, seconds: float) -> None:
    """What was reached, and where to look."""
    table = Table("held-out patients, %", "QRS Se", "QRS +P", "V F1", "S F1")
    for precision in ("fp32", "int8"):
        report = msgspec.json.decode(plan.scores(precision).read_bytes())
        table.add_row(
            precision,
            _figure(report, "QRS", "sensitivity"),
            _figure(report, "QRS", "predictivity"),
            _figure(report, "V", "f1"),
            _figure(report, "S", "f1"),
        )
    console.print()
    console.rule(Text("Done", "bold"), align="left")
    console.print(table)
    then = f"edgeecg stream synthetic:5 --bundle {shlex.quote(str(plan.bundle))}"
    console.print(Text(f"the bundle: {plan.bundle}; try ").append(then, "bold"))
    console.print(f"the picture: {plan.out / 'strip.png'}; latencies: {plan.out / 'latency.html'}")
    console.print(f"{seconds:.0f} s in all; for real recordings see docs/training.md")
