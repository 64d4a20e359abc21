"""What FP16 and INT8 cost patients that neither the network nor its scales have seen.

    python tools/precisions.py small-1-five --data DIR --work runs/kept    # after kept.py; 20 minutes

The network of each fold is calibrated on the recordings that it was trained on, quantized and built, and
annotates its held-out patients in every precision, through the deployed path. Prints the paired differences
to FP32 over all folds with their intervals over patients, and writes them to
`docs/models/PRESET-precisions.json`. The work lies in `precisions` of each preset and fold: kill it and
start it again. After a change of the code that annotates, delete these folders.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from held_out import folds, short  # beside this file
from recipes import int8_recipe  # beside this file
from rich.console import Console
from rich.table import Table
from train_release import CALIBRATION, SETS, TABLES, verb

from edgeecg.errors import EdgeECGError
from edgeecg.io import read_annotations
from edgeecg.metrics.beats import BeatList, Confusion, compare
from edgeecg.metrics.paired import Change, changes
from edgeecg.metrics.references import labelled_records
from edgeecg.metrics.report import read_report

PRECISIONS = ("fp32", "fp16", "int8")
WHOLE = "dechazal", "whole record"


def quantized(bundle: Path, seen: Sequence[str], data: Path) -> Path:
    """The bundle of a fold with all precisions; scales from the recordings that the fold was trained on."""
    work = bundle.parent / "precisions"
    made = work / bundle.name
    if not made.exists():
        for half in ("calibration", "graphs"):  # of a run that was killed
            shutil.rmtree(work / half, ignore_errors=True)
        references = [word for name in seen for word in ("--reference", data / name)]
        recipe = int8_recipe(bundle.stem)
        verb("calibrate", bundle, "--out", work / "calibration", *recipe, *references)
        verb("quantize", bundle, "--calibration", work / "calibration", "--out", work / "graphs")
        verb("build", work / "graphs", "--out", made, "--no-engine")
    return made


def annotate(preset: str, work: Path, data: Path) -> None:
    """Every development recording in every precision, by the network that never saw its patient."""
    known = [f"{case.group.split()[0]}/{case.name}" for case in labelled_records(CALIBRATION, data)]
    for bundle, unseen in folds(work / preset):
        made = quantized(bundle, [name for name in known if name not in unseen], data)
        for precision in PRECISIONS:
            done = made.parent / f"{precision}.annotated"
            if not done.exists():
                paths = [data / name for name in sorted(unseen)]
                out = work / preset / "precisions" / precision
                verb("annotate", *paths, "--bundle", made, "--precision", precision, "--out", out)
                done.touch()


def differences(preset: str, work: Path, data: Path) -> dict[str, list[Change]]:
    """Paired differences of F1 to FP32 by precision: whole records, classes as de Chazal reads them."""
    folder = work / preset / "precisions"
    reports = {precision: folder / f"{precision}.json" for precision in PRECISIONS}
    for precision, report in reports.items():
        verb("evaluate", *SETS, "--annotations", folder / precision, "--json", report, "--no-records",
             "--data", data)  # fmt: skip
    before = read_report(reports["fp32"])
    return {
        precision: [
            change
            for change in changes(before, read_report(reports[precision]))
            if change.figure == "f1" and (change.mapping, change.period) in (WHOLE, ("", ""))
        ]
        for precision in PRECISIONS[1:]
    }


def same_labels(preset: str, work: Path, data: Path) -> dict[str, float]:
    """Share of the beats of mitdb (DS1) and svdb, of either side, that a precision labels as FP32 does."""
    folder = work / preset / "precisions"
    total = {precision: Confusion.empty() for precision in PRECISIONS[1:]}
    for case in labelled_records(CALIBRATION, data):
        fs = case.load()[0].fs
        before, *others = (
            read_annotations(folder / precision / Path(case.name).name, "edg").beats()
            for precision in PRECISIONS
        )
        reference = BeatList(before.sample, before.symbol)
        for precision, after in zip(total, others, strict=True):
            total[precision] += compare(reference, BeatList(after.sample, after.symbol), fs)
    return {precision: float(np.trace(c.counts) / c.counts.sum()) for precision, c in total.items()}


def cell(change: Change) -> str:
    """Points of F1 with their interval."""
    value, low, high = (
        "-" if part is None else f"{100 * part:+.2f}"
        for part in (change.estimate.value, change.estimate.low, change.estimate.high)
    )
    return value if change.estimate.low is None else f"{value} ({low} to {high})"


def show(preset: str, found: Mapping[str, Sequence[Change]], same: Mapping[str, float]) -> None:
    """A row for each figure, a column for each precision."""
    table = Table(f"{preset}: points of F1 more than FP32", *found)
    table.add_row("same labels, %", *(f"{100 * same[precision]:.3f}" for precision in found))
    for row in zip(*found.values(), strict=True):
        table.add_row(f"{short(row[0].group)}, {row[0].label}", *(cell(change) for change in row))
    Console(width=110).print(table)


def precisions(
    presets: Annotated[list[str], typer.Argument(metavar="NAME...", help="Folders of --work.")],
    data: Annotated[Path, typer.Option(help="Folder of the development recordings.")],
    work: Annotated[Path, typer.Option(help="Of tools/kept.py.")] = Path("runs/kept"),
    tables: Annotated[Path, typer.Option(help="Where the differences go.")] = TABLES,
) -> None:
    """Quantize the networks of the folds and compare."""
    try:
        for preset in presets:
            annotate(preset, work, data)
            found = differences(preset, work, data)
            same = same_labels(preset, work, data)
            show(preset, found, same)
            rows = {
                precision: {
                    "same_labels": same[precision],
                    "f1": [{**asdict(change), "group": short(change.group)} for change in some],
                }
                for precision, some in found.items()
            }
            bundle = next(iter(folds(work / preset)))[0]  # of `small-1-five` it is called small
            table = tables / f"{bundle.stem}-precisions.json"
            table.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    except EdgeECGError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error


if __name__ == "__main__":
    typer.run(precisions)
