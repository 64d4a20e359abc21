"""``edgeecg evaluate``: how good are the annotations, and how sure is that?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from edgeecg.cli.common import (
    BackendName,
    DataOption,
    JsonOption,
    PrecisionName,
    SeedOption,
    check_data,
    data_console,
    human_console,
    show_table,
)
from edgeecg.cli.scored import score_bundle, score_files
from edgeecg.data.shown import was_left_out
from edgeecg.errors import ConfigError, RecordError
from edgeecg.io.annotation import check_extension
from edgeecg.io.atomic import atomic_path, check_file
from edgeecg.metrics.paired import changes
from edgeecg.metrics.references import SYNTHETIC, LabelledRecord, labelled_records
from edgeecg.metrics.report import Protocol, Report, read_report, write_report
from edgeecg.metrics.rhythm import RECORD_FRACTION
from edgeecg.metrics.score import RecordScores
from edgeecg.metrics.summary import group_report
from edgeecg.metrics.tables import Table, change_table, tables

__all__ = ["evaluate"]


def evaluate(
    references: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="REFERENCE",
            help="What to score against: a set (`mitdb`, `svdb`, ...), one of its splits (`mitdb:DS1`), a "
            "folder of recordings with all its folders, a record, or `synthetic` (the default).",
        ),
    ] = None,
    bundle: Annotated[
        str | None,
        typer.Option(
            "--bundle",
            "-b",
            metavar="NAME|FILE",
            help="Bundle to run; `small` unless --annotations is given.",
        ),
    ] = None,
    annotations: Annotated[
        Path | None,
        typer.Option(
            "--annotations",
            "-a",
            metavar="DIR",
            help="Score this folder of annotation files; nothing is run.",
        ),
    ] = None,
    extension: Annotated[
        str, typer.Option("--extension", metavar="NAME", help="Extension of the files in --annotations.")
    ] = "edg",
    annotator: Annotated[
        str,
        typer.Option(
            "--annotator", metavar="NAME", help="Extension of the reference annotations of your own records."
        ),
    ] = "atr",
    json: JsonOption = None,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write a page, pictures and every table, to this file."),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            "--against",
            metavar="FILE",
            help="Report of another system on the same records: show the paired difference of each gross "
            "figure of beats and of AF.",
        ),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(
            "--without", metavar="RECORD", help="Show the figures also without this record; may repeat."
        ),
    ] = None,
    held_out: Annotated[
        bool,
        typer.Option("--held-out", help="Only recordings that the bundle's training left for validation."),
    ] = False,
    records: Annotated[bool, typer.Option(help="A row for each record.")] = True,
    af_fraction: Annotated[
        float,
        typer.Option(min=0.01, max=1.0, help="Share of a record's beats in AFIB that makes the record AF."),
    ] = RECORD_FRACTION,
    draws: Annotated[
        int, typer.Option(min=100, max=100_000, help="Draws of the bootstrap over patients.")
    ] = 2000,
    backend: BackendName = "auto",
    precision: PrecisionName = None,
    data: DataOption = None,
    seed: SeedOption = 0,
) -> None:
    """Score beats, runs, rhythm and probabilities against reference annotations.

    Beats are matched within 150 ms as ANSI/AAMI EC57 and PhysioNet's bxb do; misses and extras count.
    Every figure is shown gross and as the mean over records, over whole records and without their first
    five minutes, by de Chazal's reading of the labels and by bxb's, with a 95 % bootstrap interval over
    patients. Records with paced beats are reported apart. docs/evaluation.md has the whole protocol.

    For example:

    - `edgeecg evaluate` runs the packaged model over built-in synthetic patients
    - `edgeecg evaluate mitdb:DS1 --data ~/ecg --bundle my.edgeecg --json scores.json`
    - `edgeecg evaluate mitdb:DS1 --html scores.html` makes a page of it
    - `edgeecg evaluate mitdb:DS2 --without 202 --against scores-before.json`
    - `edgeecg evaluate mitdb --annotations out` scores what `edgeecg annotate --out out` wrote
    - `edgeecg evaluate ~/my-records --annotations qrs --extension qrs` scores another program's files
    - `edgeecg evaluate ~/my-records --bundle mine.edgeecg --held-out` scores its validation patients
    - `edgeecg evaluate ~/my-records --annotator ecg` takes the references from `.ecg` files
    """
    if annotations is not None and (bundle is not None or held_out or precision or backend != "auto"):
        raise ConfigError(
            "--bundle (with --backend, --precision, --held-out) runs a model, --annotations scores files: "
            "give one of them"
        )
    if annotations is None and extension != "edg":
        raise ConfigError(f"--extension {extension} goes with --annotations DIR, the folder of those files")
    check_extension(annotator)
    for file in (json, html):
        if file is not None:
            check_file(file)
    check_data(data)
    before = read_report(against) if against is not None else None
    cases = labelled_records(references or [SYNTHETIC], data, seed, annotator)
    cases = _held_out(bundle or "small", cases) if held_out else cases
    _check_without(without or [], cases)
    protocol = Protocol(af_record_fraction=af_fraction, bootstrap_draws=draws, bootstrap_seed=seed)
    failed: dict[int, str] = {}
    if annotations is not None:
        system, found = score_files(annotations, extension, cases, protocol, failed)
    else:
        system, found = score_bundle(bundle or "small", backend, precision, cases, protocol, failed)
    _name(failed, left=len(found))
    there = [(cases[number], found[number]) for number in sorted(found)]
    left = [name for name in without or [] if name not in {cases[number].name for number in failed}]
    groups = tuple(group_report(title, members, protocol) for title, members in _groups(there, left))
    told = [*(references or [SYNTHETIC]), *(["held out"] if held_out else [])]
    report = Report(system, ", ".join(told), protocol, groups, unscored=tuple(failed.values()))
    console = data_console()
    for table in tables(report, records=records):
        show_table(console, table)
    differs = change_table(changes(before, report)) if before is not None and not failed else None
    _keep(report, differs, json, html)
    if failed:
        others = "" if before is None else ", so that there is nothing to hold against the earlier report"
        raise RecordError(f"{len(failed)} of {len(cases)} records could not be scored{others}")
    if differs is not None:
        show_table(console, differs)


def _keep(report: Report, differs: Table | None, json: Path | None, html: Path | None) -> None:
    """Write what files were asked for."""
    from edgeecg.metrics.page import render

    if json is not None:
        write_report(json, report)
        human_console().print(f"every figure is in {json}")
    if html is not None:
        with atomic_path(html) as partial:
            partial.write_text(render(report, differs), encoding="utf-8")
        human_console().print(f"the page is {html}")


def _check_without(without: Sequence[str], cases: Sequence[LabelledRecord]) -> None:
    """Refuse a name that is none before anything is scored; raises ``ConfigError``."""
    if unknown := sorted(set(without) - {case.name for case in cases}):
        raise ConfigError(f"--without {unknown[0]}: no such record among those to evaluate")


def _name(failed: Mapping[int, str], left: int) -> None:
    """Say what could not be scored; where nothing is left that is the end."""
    if not left:
        raise RecordError(next(iter(failed.values())))
    for reason in failed.values():
        human_console().print(Text("not scored: ", "red").append(reason, "default"))


def _held_out(name: str, cases: Sequence[LabelledRecord]) -> tuple[LabelledRecord, ...]:
    """Those that the training of a bundle left for validation."""
    from edgeecg.bundle import Bundle

    bundle = Bundle.open(name)
    training = bundle.manifest.provenance.get("training", {})
    left = tuple(case for case in cases if any(was_left_out(*place, training) for place in case.places))
    if not left:
        raise ConfigError(
            f"--held-out: the training of {bundle.name} left none of these recordings for validation; "
            "train with [data] folds or validation, or score all of them"
        )
    return left


def _groups(
    there: Sequence[tuple[LabelledRecord, RecordScores]], without: Sequence[str]
) -> Iterator[tuple[str, list[RecordScores]]]:
    """Records that are reported together: those of one name, paced ones apart, and again without some."""
    groups: dict[str, list[RecordScores]] = {}
    for case, found in there:
        apart = found.paced and not case.group.endswith("paced")
        groups.setdefault(f"{case.group}, paced" if apart else case.group, []).append(found)
    for title, members in groups.items():
        yield title, members
        left = [found for found in members if found.record not in without]
        if without and left and len(left) < len(members):
            gone = sorted({found.record for found in members} & set(without))
            yield f"{title} without {', '.join(gone)}", left
