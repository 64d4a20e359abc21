"""``edgeecg annotate``: recordings, or folders of them, to annotation files."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from edgeecg.bundle import Bundle
from edgeecg.cli.builder import DeviceErrorOption
from edgeecg.cli.common import (
    RUNNING,
    BackendOption,
    BundleOption,
    FsOption,
    GainOption,
    LeadOption,
    LeadPolicyOption,
    PrecisionOption,
    UnitsOption,
    WithholdOption,
    data_console,
    human_console,
    progress_bar,
    quoted,
    show_table,
)
from edgeecg.cli.plain import plain_line
from edgeecg.errors import RecordError
from edgeecg.io.annotation import check_extension
from edgeecg.io.atomic import check_folder
from edgeecg.io.reading import TABLES
from edgeecg.metrics.tables import Table
from edgeecg.stream.archive import FULL, ArchiveSettings, Outcome, annotate_archive
from edgeecg.stream.jobs import Job, find_jobs, may_be_record

__all__ = ["annotate"]

CLASSES = ("N", "S", "V", "F", "Q")
OWN = "edg"  # the annotator name that is nobody else's
ROWS = 50  # records that the table shows one by one
SHORTEST = 10.0  # seconds of a recording in which a beat may be expected


def annotate(
    records: Annotated[
        list[Path],
        typer.Argument(
            metavar="RECORD...",
            help="Recordings (WFDB, EDF, CSV, Parquet), or folders to be searched for them.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="DIR", help="Where the annotation files go.", show_default=False),
    ],
    bundle: BundleOption = "small",
    workers: Annotated[
        int,
        typer.Option("--workers", "-j", min=1, help="Processes on this machine.", rich_help_panel=RUNNING),
    ] = 1,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Dask scheduler whose workers do the work, tcp://HOST:8786; all must see the same paths.",
            rich_help_panel=RUNNING,
        ),
    ] = None,
    backend: BackendOption = "auto",
    precision: PrecisionOption = None,
    on_device_error: DeviceErrorOption = "rebuild",
    lead_policy: LeadPolicyOption = None,
    leads: LeadOption = None,
    fs: FsOption = None,
    units: UnitsOption = None,
    gain: GainOption = None,
    withhold: WithholdOption = True,
    extension: Annotated[
        str,
        typer.Option(metavar="NAME", help="Annotator name: extension of the files, letters and digits."),
    ] = OWN,
) -> None:
    """Find and classify every beat of recordings, and write standard WFDB annotation files.

    Beats carry their AAMI class (N S V F Q) at the source's sample numbers, rhythm changes are `+` with
    `(AFIB` and `(N`, signal quality is `~`, and `"` is a note: an alarm that begins or ends (`pause begins`),
    or samples that are missing (`gap of 360 samples`). PhysioNet's rdann, bxb and epicmp read the files.

    Beside each lies a JSON file with its counts. Finished records are skipped when the command is run again;
    one that cannot be read is reported and stops nothing. In a folder with WFDB headers tables (.csv, .tsv,
    .parquet) are taken for lists of these, and beside an EDF or BDF file of the same name for a part of it:
    name such a recording by itself; the summary says how many were left out.

    For example:

    - `edgeecg annotate ~/ecg/mitdb/106 --out found`
    - `edgeecg annotate ~/holter --out found --workers 8 --bundle mine.edgeecg`
    - `edgeecg annotate chest.csv --fs 250 --units uV --out found`
    - `edgeecg annotate /archive --out /found --cluster tcp://head:8786`
    """
    check_extension(extension)
    check_folder(out)
    settings = ArchiveSettings(
        Bundle.open(bundle),
        backend,
        precision,
        lead_policy,
        tuple(leads or ()),
        fs,
        gain,
        units,
        withhold,
        extension,
        on_device_error,
    )
    jobs = find_jobs(records, out)
    _spare_others(jobs, extension)
    left = _left_out(records, jobs)
    known = {
        str(job.path) for job in jobs if job.stem.with_name(f"{job.stem.name}.{extension}.json").exists()
    }
    outcomes = _follow(jobs, settings, workers, cluster)
    failed = [outcome for outcome in outcomes if outcome.error]
    if failed and len(jobs) == 1:
        raise RecordError(_told(failed[0]))
    show_table(data_console(), _table(outcomes, len(jobs)))
    _note_silent(outcomes)
    _note_anew([outcome for outcome in outcomes if outcome.record in known and not outcome.before])
    _note_left_out(left)
    for outcome in failed:
        human_console().print(Text("not annotated: ", "red").append(_told(outcome), "default"))
    if failed:
        raise RecordError(_sum(outcomes, len(jobs), out))


def _sum(outcomes: list[Outcome], asked: int, out: Path) -> str:
    """How much was done where not all was; a full disk ends the run before all is begun."""
    failed = sum(1 for outcome in outcomes if outcome.error)
    if any(outcome.error == FULL for outcome in outcomes):
        done, left = len(outcomes) - failed, asked - len(outcomes)
        told = f"{done} of {asked} records are annotated in {out}, {failed} failed, {left} were not begun"
        return f"{told}: {FULL}"
    rest = f"the others are in {out}" if failed < asked else "none is left"
    return f"{failed} of {asked} records could not be annotated; {rest}"


def _note_silent(outcomes: list[Outcome]) -> None:
    """Say where not one beat was found: an engineer who looks at a table of noughts cannot know why."""
    long = (outcome for outcome in outcomes if not outcome.error and outcome.seconds >= SHORTEST)
    silent = [outcome.record for outcome in long if not sum(outcome.beats.values())]
    if silent:
        more = f" and {len(silent) - 3} more" if len(silent) > 3 else ""
        human_console().print(
            f"note: no beat was found in {', '.join(silent[:3])}{more}: flat, no ECG, or of another unit "
            "than the file says (--units, --gain)"
        )


def _note_anew(outcomes: list[Outcome]) -> None:
    """Say what took the place of an earlier run's files: whoever compares two bundles may want both."""
    count = sum(not outcome.error for outcome in outcomes)
    if count:
        what = "1 record was" if count == 1 else f"{count} records were"
        human_console().print(
            f"note: {what} annotated anew, in place of what an earlier run with another bundle, settings or "
            "signal found; another --out keeps both"
        )


def _left_out(asked: list[Path], jobs: list[Job]) -> list[Path]:
    """Tables in the folders that were asked for which are taken for part of a record beside them."""
    roots = [path for path in asked if path.is_dir()]
    folders = {job.path.parent for job in jobs if any(root in job.path.parents for root in roots)}
    taken = {job.path.resolve() for job in jobs}
    files = (file for folder in sorted(folders) for file in sorted(folder.iterdir()) if may_be_record(file))
    return [file for file in files if file.suffix.lower() in TABLES and file.resolve() not in taken]


def _note_left_out(files: list[Path]) -> None:
    """Say which tables were not taken for recordings, and how they are taken: nobody misses them else."""
    if not files:
        return
    what, records = f"1 table, {files[0]}, was", "the record beside it"
    if len(files) > 1:
        what, records = f"{len(files)} tables, {files[0]} the first, were", "records beside them"
    note = (
        f"note: {what} left out, as part of {records}; what is a recording of its own is taken "
        f"by its name: edgeecg annotate {quoted(files[0])} --out DIR"
    )
    human_console().print(plain_line(note))


def _spare_others(jobs: list[Job], extension: str) -> None:
    """Refuse to write over another annotator's files, such as the reference beside the recordings."""
    for job in jobs if extension != OWN else ():
        target = job.stem.with_name(f"{job.stem.name}.{extension}")
        if target.exists() and not target.with_name(f"{target.name}.json").exists():
            raise RecordError(f"{target} is another annotator's: name another --extension or --out")


def _follow(jobs: list[Job], settings: ArchiveSettings, workers: int, cluster: str | None) -> list[Outcome]:
    """Annotate behind a progress bar."""
    outcomes = []
    with progress_bar() as bar:
        task = bar.add_task("annotating", total=len(jobs))
        for outcome in annotate_archive(jobs, settings, workers, cluster):
            outcomes.append(outcome)
            bar.advance(task)
            if outcome.error == FULL:  # whatever came next would be computed for nothing
                break
    return sorted(outcomes, key=lambda outcome: outcome.record)


def _told(outcome: Outcome) -> str:
    """What is wrong with a record, its path in front where the reason does not give it."""
    record, reason = outcome.record, str(outcome.error)
    path = Path(record)
    given = record in reason and record != path.stem  # a bare name may be any word or number of the reason
    if given or reason.startswith(f"record {path.with_suffix('')}: "):
        return reason
    return f"record {record}: {reason}"


def _table(outcomes: list[Outcome], asked: int) -> Table:
    """The summary: a row a record, unless there are too many, and the sums."""
    done = [outcome for outcome in outcomes if not outcome.error]
    rows = []
    for outcome in done if len(done) <= ROWS else []:
        pace = "before" if outcome.before else f"{outcome.seconds / max(outcome.elapsed, 1e-9):,.0f}"
        rows.append((plain_line(outcome.record), *_cells(outcome), pace))
    work = sum(outcome.elapsed for outcome in done if not outcome.before)
    signal = sum(outcome.seconds for outcome in done if not outcome.before)
    beats: Counter[str] = sum((Counter(outcome.beats) for outcome in done), Counter())
    total = Outcome(
        "all",
        "",
        sum(outcome.seconds for outcome in done),
        dict(beats),
        sum(outcome.afib for outcome in done),
        sum(outcome.missing for outcome in done),
    )
    pace = f"{signal / work:,.0f}" if work else "before" if done else "-"
    rows.append(("all", *_cells(total), pace))
    heads = ("record", "length", *CLASSES, "AFIB", "missing", "times real time")
    return Table(f"{len(done)} of {asked} records annotated", heads, tuple(rows))


def _cells(outcome: Outcome) -> tuple[str, ...]:
    counts = [str(outcome.beats.get(name, 0)) for name in CLASSES]
    return (_clock(outcome.seconds), *counts, _clock(outcome.afib), _clock(outcome.missing))


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"
