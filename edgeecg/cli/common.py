"""What the verbs share: options, consoles, progress. Words for people go to stderr, data to stdout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from edgeecg.errors import InputError
from edgeecg.io.atomic import atomic_folder, atomic_path

__all__ = [
    "BundleOption",
    "DataOption",
    "SeedOption",
    "atomic_folder",
    "atomic_path",
    "data_console",
    "data_folder",
    "human_console",
    "progress_bar",
]

DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        envvar="EDGEECG_DATA",
        metavar="DIR",
        help="Folder of recordings, one sub-folder a set (mitdb, svdb, ...).",
    ),
]

SeedOption = Annotated[
    int, typer.Option("--seed", min=0, help="Seed of everything random; the same seed gives the same result.")
]

BundleOption = Annotated[
    str,
    typer.Option(
        "--bundle", "-b", metavar="NAME|FILE", help="A packaged bundle (nano, micro, small, base) or a file."
    ),
]


def human_console() -> Console:
    """Console for people: stderr, so that stdout stays clean for data."""
    return Console(stderr=True, highlight=False)


def data_console() -> Console:
    """Console for results that may be piped on: stdout."""
    return Console(highlight=False)


def progress_bar(console: Console | None = None) -> Progress:
    """A progress bar on stderr, the same in every verb; silent where stderr is no terminal."""
    console = console or human_console()
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )


def data_folder(root: Path | None, name: str) -> Path:
    """Folder of one data set under the root that ``--data`` or ``EDGEECG_DATA`` names.

    Raises
    ------
    InputError
        No root is named, it is not there, or it lacks the set.
    """
    if root is None:
        raise InputError(f"{name} is not at hand: name the recordings' folder by --data DIR or EDGEECG_DATA")
    if not root.is_dir():
        raise InputError(f"--data {root} is not a folder")
    if not (root / name).is_dir():
        raise InputError(f"{root} has no {name}: fetch it with 'edgeecg data fetch {name} --data {root}'")
    return root / name
