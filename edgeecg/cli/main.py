"""The command line: a table of verbs, loaded when called, and the one place where errors become one line."""

from __future__ import annotations

import errno
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from io import TextIOWrapper
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperCommand, TyperGroup

import edgeecg
from edgeecg.cli.plain import plain_line
from edgeecg.errors import EdgeECGError, MissingExtra

__all__ = ["EXTRA_OF", "VERBS", "Verb", "app", "load", "main", "run"]

INPUT_ERROR = 2
INTERRUPTED = 130

MODEL, SIGNAL, DEVICE, MORE = "Make a model", "Use a model", "Put it on a device", "See for yourself"


@dataclass(frozen=True)
class Verb:
    """One verb: where it lives and what the overview says of it."""

    module: str
    function: str
    panel: str
    help: str


VERBS: dict[str, Verb] = {
    "data": Verb(
        "edgeecg.cli.data", "app", MODEL, "Public recordings and synthetic patients: list, fetch, synth."
    ),
    "train": Verb("edgeecg.cli.train", "train", MODEL, "Recordings to a checkpoint; or fine-tune a bundle."),
    "evaluate": Verb(
        "edgeecg.cli.evaluate", "evaluate", MODEL, "Score a model as EC57 does, by class and record."
    ),
    "export": Verb(
        "edgeecg.cli.export", "export", MODEL, "A checkpoint to ONNX graphs, checked against torch."
    ),
    "calibrate": Verb("edgeecg.cli.calibrate", "calibrate", DEVICE, "How far activations reach, for INT8."),
    "quantize": Verb(
        "edgeecg.cli.quantize", "quantize", DEVICE, "FP16, INT8 and mixed graphs, with their cost."
    ),
    "build": Verb(
        "edgeecg.cli.build", "build", DEVICE, "Graphs to a verified bundle; precision by measurement."
    ),
    "explain": Verb(
        "edgeecg.cli.explain", "explain", MORE, "Why did it say V? Samples, intervals, concepts, a page."
    ),
    "compare": Verb(
        "edgeecg.cli.compare",
        "compare",
        DEVICE,
        "Two graphs or backends: labels, errors, first layer that departs.",
    ),
    "profile": Verb(
        "edgeecg.cli.profile", "profile", DEVICE, "Latency, deadlines, throughput, layers, memory and energy."
    ),
    "inspect": Verb("edgeecg.cli.inspect", "inspect", DEVICE, "What a bundle is, and whether it is right."),
    "doctor": Verb(
        "edgeecg.cli.doctor", "doctor", DEVICE, "What this machine is, and which backends work on it."
    ),
    "annotate": Verb(
        "edgeecg.cli.annotate", "annotate", SIGNAL, "Recordings, or folders of them, to annotation files."
    ),
    "stream": Verb("edgeecg.cli.stream", "stream", SIGNAL, "Live beats from a recording, device or network."),
    "serve": Verb("edgeecg.cli.serve", "serve", SIGNAL, "A gateway: several patients, sinks, a health page."),
    "demo": Verb("edgeecg.cli.demo", "demo", MORE, "The whole way on synthetic patients, in minutes."),
}
"""Verbs in the order of the typical path; ``function`` is a command, or a ``Typer`` for verbs of verbs."""

EXTRA_OF = {
    "captum": "explain",
    "lightning_fabric": "train",
    "matplotlib": "plot",
    "onnx": "train",
    "safetensors": "train",
    "sklearn": "explain",
    "tensorboard": "train",
    "torch": "train",
}
"""Optional packages that whole rooms are built on, and the extra that brings each."""


def load(name: str) -> Any:
    """The command of a verb, its module imported now."""
    verb = VERBS[name]
    target = getattr(import_module(verb.module), verb.function)
    if isinstance(target, typer.Typer):
        return typer.main.get_command(target)
    single = typer.Typer(add_completion=False, rich_markup_mode="markdown")
    single.command(name, context_settings={"help_option_names": ["-h", "--help"]})(target)
    return typer.main.get_command(single)


class LazyVerbs(TyperGroup):
    """A group whose overview comes from the table; only the verb that is called gets imported."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, verb in VERBS.items():
            self.add_command(TyperCommand(name, help=verb.help, rich_help_panel=verb.panel))

    def resolve_command(self, ctx: typer.Context, args: list[str]) -> Any:  # type: ignore[override]
        """The real command that ``args`` begins with."""
        name, stub, rest = super().resolve_command(ctx, args)
        return name, load(name) if name in VERBS else stub, rest


app = typer.Typer(cls=LazyVerbs, rich_markup_mode="markdown", add_completion=True)


def _version(asked: bool) -> None:
    if asked:
        Console().print(f"edgeecg {edgeecg.__version__}", highlight=False)
        raise typer.Exit


@app.callback(context_settings={"help_option_names": ["-h", "--help"]})
def overview(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; may stand anywhere in the line.")
    ] = False,
) -> None:
    """Beats and rhythms from a live ECG, with compact Transformers, from training to the edge device.

    The shortest way: `edgeecg stream record.hea` annotates a recording with the packaged model.

    The whole way, each verb's output being the next one's input:

    - `edgeecg train --out runs/mine` on synthetic patients, or on yours with `--config`
    - `edgeecg export`: the network as ONNX graphs, checked against torch
    - `edgeecg calibrate`: how far their values reach, which INT8 needs
    - `edgeecg quantize`: INT8 and FP16 graphs, with what they cost in accuracy
    - `edgeecg build`: one verified `.edgeecg` bundle, and on a GPU its TensorRT engine
    - `edgeecg evaluate --bundle`: EC57 tables per class and record
    - `edgeecg stream --bundle`: live beats from a record, standard input or a device

    `edgeecg demo` walks it all in minutes. `edgeecg VERB --help` explains each step with examples.
    Not a medical device.
    """


def _complain(message: str) -> None:
    """One red line on stderr, whatever the message holds."""
    line = Text("error: ", style="bold red").append(plain_line(message), style="red")
    Console(stderr=True, highlight=False).print(line, soft_wrap=True)


def _refuse(message: str, debug: bool) -> int:
    """Tell of an error that is being handled, where it came from if somebody asked; the exit code."""
    if debug:
        Console(stderr=True).print(Text(traceback.format_exc()), soft_wrap=True)
    _complain(message)
    return INPUT_ERROR


def _os_message(error: OSError) -> str:
    """What the operating system said, with the way out where it is known."""
    where = f": {error.filename}" if error.filename else ""
    if error.errno == errno.ENOSPC:
        return f"the disk is full{where}; free some space and run the same command again"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"permission denied{where}"
    return f"{error.strerror or error}{where}"


def main(argv: Sequence[str]) -> int:
    """Run one command line.

    Parameters
    ----------
    argv : sequence of str
        Arguments without the program's name; none shows the overview.

    Returns
    -------
    int
        0, or 2 for input that cannot be used, 130 when interrupted.
    """
    debug = "--debug" in argv
    args = [argument for argument in argv if argument != "--debug"] or ["--help"]
    try:
        code = typer.main.get_command(app).main(args, prog_name="edgeecg", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except typer.TyperException as error:  # an option or argument that does not fit
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "edgeecg"
        _complain(f"{error.format_message().rstrip('.')} (see '{path} --help')")
        code = INPUT_ERROR
    except EdgeECGError as error:
        code = _refuse(str(error), debug)
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package not in EXTRA_OF:
            raise
        code = _refuse(str(MissingExtra(package, EXTRA_OF[package], f"edgeecg {args[0]}")), debug)
    except OSError as error:
        code = _refuse(_os_message(error), debug)
    if code == INTERRUPTED:
        _complain("interrupted")
    return code if isinstance(code, int) else 0


def run() -> None:
    """Entry point of the ``edgeecg`` program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # an encoding that lacks a letter is no reason to end
            stream.reconfigure(errors="backslashreplace")
    sys.exit(main(sys.argv[1:]))
