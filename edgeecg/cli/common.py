"""What the verbs share: options, consoles, progress. Words for people go to stderr, data to stdout."""

from __future__ import annotations

import logging
import shlex
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table as RichTable
from rich.text import Text as RichText

from edgeecg.cli.plain import plain_line
from edgeecg.errors import InputError
from edgeecg.io.atomic import atomic_path
from edgeecg.manifest import LeadPolicy, Precision
from edgeecg.metrics.tables import Table, text
from edgeecg.ranges import LARGEST_SEED

__all__ = [
    "READING",
    "RUNNING",
    "STOPS",
    "BackendName",
    "BackendOption",
    "BundleOption",
    "DataOption",
    "FsOption",
    "GainOption",
    "JsonOption",
    "LeadOption",
    "LeadPolicyOption",
    "PrecisionName",
    "PrecisionOption",
    "SeedOption",
    "UnitsOption",
    "WithholdOption",
    "check_data",
    "data_console",
    "human_console",
    "progress_bar",
    "quoted",
    "show_table",
    "show_whole",
    "warnings_on",
    "write_json",
]

STOPS = tuple(signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""What asks a stream to end and to write what it holds: Ctrl-C, a service manager, a terminal that closes."""

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
    int,
    typer.Option(
        "--seed",
        min=0,
        max=LARGEST_SEED,
        help="Seed of everything random; the same seed gives the same result.",
    ),
]

BundleOption = Annotated[
    str,
    typer.Option("--bundle", "-b", metavar="NAME|FILE", help="The packaged bundle (small) or a file."),
]

READING, RUNNING = "Reading the recordings", "Running"

EVERY = 30.0  # seconds between two lines of progress in a log
SETTLED = 1.0  # seconds of work before which nobody can tell how much is left

LeadOption = Annotated[
    list[str] | None,
    typer.Option("--lead", metavar="NAME", help="Use only this lead; may repeat.", rich_help_panel=READING),
]
FsOption = Annotated[
    float | None,
    typer.Option("--fs", metavar="HZ", help="Rate of tables without a time column.", rich_help_panel=READING),
]
UnitsOption = Annotated[
    str | None,
    typer.Option(
        "--units",
        metavar="UNIT",
        help="V, mV, uV or nV, where a file states no unit or a wrong one.",
        rich_help_panel=READING,
    ),
]
GainOption = Annotated[
    float | None,
    typer.Option(
        "--gain",
        metavar="N",
        help="Counts per unit, where a file has none or a wrong one.",
        rich_help_panel=READING,
    ),
]
LeadPolicyOption = Annotated[
    LeadPolicy | None,
    typer.Option(help="What is done with several leads; else as the bundle says.", rich_help_panel=READING),
]
WithholdOption = Annotated[
    bool, typer.Option(help="Leave out beats on unreadable signal.", rich_help_panel=RUNNING)
]
BackendOption = Annotated[
    Literal["auto", "onnxruntime", "native", "tensorrt"],
    typer.Option(help="What runs the graphs.", rich_help_panel=RUNNING),
]
PrecisionOption = Annotated[
    Precision | None, typer.Option(help="Of the graphs; else as the bundle says.", rich_help_panel=RUNNING)
]
BackendName = Annotated[str, typer.Option(metavar="NAME", help="auto, onnxruntime, native or tensorrt.")]
PrecisionName = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="fp32, fp16, int8 or mixed; the bundle's default if left out."),
]
JsonOption = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write every figure to this file.")
]


def quoted(path: object) -> str:
    """A path as a shell takes it for one word."""
    return shlex.quote(str(path))


class _Human(Console):
    """Stderr that nobody reads any more ends nothing, and leaves stdout alone; rich would do both."""

    def on_broken_pipe(self) -> None:
        """Say no more."""
        self.quiet = True


def human_console() -> Console:
    """Console for people: stderr, so that stdout stays clean for data. Brackets in names are no markup."""
    return _Human(stderr=True, highlight=False, soft_wrap=True, markup=False)


class _Warnings(logging.Handler):
    """A line each, as our own errors are."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.WARNING)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Show one."""
        self._console.print(
            RichText("warning: ", "yellow").append(plain_line(record.getMessage()), "default")
        )


@contextmanager
def warnings_on(console: Console) -> Iterator[None]:
    """Show what the library warns of as lines of ours, between those of a live view too."""
    handler = _Warnings(console)
    log = logging.getLogger("edgeecg")
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


def data_console() -> Console:
    """Console for results that may be piped on: stdout."""
    return Console(highlight=False, markup=False)


class _Told(Progress):
    """A bar on a terminal; elsewhere, in a log, a line now and then."""

    told: float = 0.0

    def start(self) -> None:
        """Begin: short work says nothing in a log."""
        self.told = self.get_time()
        super().start()

    def update(self, task_id: TaskID, **fields: Any) -> None:
        """Note how far a task is, and say it if nothing was said for a while.

        The field ``begun`` is what was done before, by an earlier run: it says nothing of the pace.
        """
        super().update(task_id, **fields)
        self._tell(task_id)

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        """The same, by steps."""
        super().advance(task_id, advance)
        self._tell(task_id)

    def _tell(self, task_id: TaskID) -> None:
        if self.console.is_terminal or self.get_time() - self.told < EVERY:
            return
        self.told = self.get_time()
        self.console.print(_progress_line(self._tasks[task_id]))


def _progress_line(task: Task) -> str:
    """How far a task is, since when, and about how long it will take yet."""
    whole = "" if task.total is None else f" of {task.total:,.0f}"
    elapsed = task.elapsed or 0.0
    line = f"{task.description}: {task.completed:,.0f}{whole}, {_span(elapsed)}"
    done = task.completed - task.fields.get("begun", 0)
    if task.total is None or task.completed >= task.total or done <= 0 or elapsed < SETTLED:
        return line
    return f"{line}, about {_span(elapsed * (task.total - task.completed) / done)} left"


def _span(seconds: float) -> str:
    """A time as a person says it: ``40 s``, ``12 min``, ``3 h 20 min``."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def progress_bar(console: Console | None = None) -> Progress:
    """A progress bar on stderr, the same in every verb; where stderr is no terminal, a line now and then."""
    console = console or human_console()
    return _Told(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        auto_refresh=console.is_terminal,  # its thread would end at once where there is no bar
        transient=True,
    )


LONGEST_LINE = 500


def show_table(console: Console, table: Table) -> None:
    """A table in colour on a terminal, as plain text that nothing wraps elsewhere."""
    if not console.is_terminal:
        console.print(text(table), soft_wrap=True)
        return
    shown = RichTable(title=table.title, title_justify="left", title_style="bold")
    shown.caption, shown.caption_justify = table.note or None, "left"
    for number, column in enumerate(table.columns):
        shown.add_column(column, justify="left" if number in table.words else "right", no_wrap=number == 0)
    for row in table.rows:
        shown.add_row(*row)
    room = console.options.update(width=LONGEST_LINE)
    if console.measure(shown, options=room).minimum > console.width:  # it would cut off digits
        console.print(text(table), soft_wrap=True)
    else:
        console.print(shown)


def show_whole(console: Console, table: RichTable) -> None:
    """A table without lines between its cells, on a narrow terminal too: no digit is cut off."""
    room = console.options.update(width=LONGEST_LINE)
    console.print(table, width=max(console.width, console.measure(table, options=room).maximum), crop=False)


def write_json(path: Path, value: object) -> None:
    """All of it for a program."""
    with atomic_path(path) as partial:
        partial.write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=1))


def check_data(root: Path | None) -> None:
    """Refuse a ``--data`` that is not there, even where what follows could do without."""
    if root is not None and not root.is_dir():
        raise InputError(
            f"--data {root} (or EDGEECG_DATA) is not a folder: name the one that holds mitdb, svdb, ..."
        )
