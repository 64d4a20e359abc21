"""``edgeecg data``: what recordings there are, fetching public ones, making synthetic ones."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from edgeecg.cli.common import (
    DataOption,
    SeedOption,
    check_data,
    data_console,
    human_console,
    progress_bar,
    show_table,
)
from edgeecg.errors import ConfigError
from edgeecg.io.atomic import atomic_folder
from edgeecg.metrics.tables import Table

__all__ = ["app"]

app = typer.Typer(
    add_completion=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Recordings: public sets and their terms, fetching them, and synthetic patients.",
)


@app.command("list")
def list_sets(
    data: DataOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON with licences and citations.")] = False,
) -> None:
    """Show the public sets that EdgeECG knows, and what of them is here.

    For example:

    - `edgeecg data list --data ~/ecg`
    - `edgeecg data list --json` also prints licences and how to cite
    """
    from edgeecg.data.sets import SETS

    check_data(data)
    here = {name: _count(data, name) for name in SETS}
    if as_json:
        told = [
            {**asdict(entry), "address": entry.address, "here": here[entry.name]} for entry in SETS.values()
        ]
        data_console().print_json(json.dumps(told))
        return
    heads = ("set", "what", "records", "here", "Hz", "leads", "labels", "download", "licence")
    rows = []
    for entry in SETS.values():
        labels = [
            word
            for word, there in (
                ("beats", entry.beats is not None and entry.classed),
                ("unchecked beats", entry.beats is not None and not entry.classed),
                ("rhythm", entry.rhythm is not None),
                ("P waves", entry.waves is not None),
                ("one a record", entry.beats is None),
            )
            if there
        ]
        rows.append((
            entry.name, entry.title, str(entry.records), str(here[entry.name] or "-"), f"{entry.fs:g}",
            entry.leads, ", ".join(labels), entry.size, entry.licence,
        ))  # fmt: skip
    show_table(data_console(), Table("public sets", heads, tuple(rows), words=(0, 1, 5, 6, 7, 8)))


def _count(root: Path | None, name: str) -> int:
    """Records of a set under a root, 0 where the set is not there."""
    from edgeecg.data.catalog import find_records

    if root is None:
        return 0
    try:
        return len(find_records(root, name))
    except ConfigError:
        return 0


@app.command("fetch")
def fetch_set(
    name: Annotated[str, typer.Argument(help="Set to fetch; `edgeecg data list` shows them.")],
    data: DataOption = None,
    records: Annotated[
        str | None, typer.Option("--records", metavar="A,B", help="Only these records, by name.")
    ] = None,
    base: Annotated[
        str | None, typer.Option("--base", metavar="URL", help="A mirror laid out as physionet.org/files is.")
    ] = None,
) -> None:
    """Download a public set from PhysioNet: resumed where it stopped, every file checked by SHA-256.

    For example:

    - `edgeecg data fetch mitdb --data ~/ecg`
    - `edgeecg data fetch mitdb --records 100,101 --data ~/ecg` fetches two records
    """
    from edgeecg.data.fetch import fetch
    from edgeecg.data.sets import data_set

    entry = data_set(name)
    if data is None:
        raise ConfigError("where to? name the folder of recordings by --data DIR or EDGEECG_DATA")
    chosen = [record.strip() for record in records.split(",") if record.strip()] if records else None
    console = human_console()
    with progress_bar(console) as bars:
        task, came = bars.add_task(f"files of {name}", total=None), 0

        def report(done: int, total: int, received: int) -> None:
            nonlocal came
            came += received
            begun = bars.tasks[0].fields.get("begun", done)  # files that were here: the first report tells
            text = f"files of {name}, {came / 1e6:.1f} MB"
            bars.update(task, completed=done, total=total, begun=begun, description=text)

        summary = fetch(name, data, base=base, records=chosen, report=report)
    console.print(
        f"{summary.folder}: {summary.fetched} files fetched ({summary.received / 1e6:.1f} MB), "
        f"{summary.present} were here"
    )
    console.print(f"{entry.licence}; cite: {entry.attribution}")


@app.command("synth")
def make_synthetic(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder to make.")],
    patients: Annotated[
        int, typer.Option("--patients", min=3, help="How many patients, all kinds in turn.")
    ] = 12,
    seconds: Annotated[float, typer.Option("--seconds", min=5, help="Length of each recording.")] = 300.0,
    fs: Annotated[float, typer.Option("--fs", min=100, max=1000, help="Samples a second.")] = 360.0,
    leads: Annotated[str, typer.Option("--leads", metavar="A,B", help="Leads, by name.")] = "MLII,V1",
    snr: Annotated[
        tuple[float, float], typer.Option("--snr", metavar="LOW HIGH", help="Range of signal-to-noise, dB.")
    ] = (12.0, 30.0),
    seed: SeedOption = 0,
) -> None:
    """Make recordings of synthetic patients with exact labels, as WFDB files split patient-wise.

    Beats are in `.atr` (WFDB's symbols, rhythm changes as `+`), P waves in `.pwave`.

    For example:

    - `edgeecg data synth --out synthetic --patients 24 --seconds 600`
    - `edgeecg data synth --out noisy --snr 0 6 --leads I,V5`
    """
    import numpy as np

    from edgeecg.data.synthetic import plan_cohort
    from edgeecg.io import Annotations, write_annotations, write_wfdb

    names = tuple(lead.strip() for lead in leads.split(",") if lead.strip())
    if len(set(names)) < len(names):
        raise ConfigError(f"--leads {leads}: a lead is named twice")
    if not -60 <= snr[0] <= snr[1] <= 100:
        raise ConfigError(f"--snr {snr[0]:g} {snr[1]:g}: give the lower one first, both from -60 to 100 dB")
    plan = plan_cohort(patients, seed, seconds=seconds, fs=fs, leads=names, snr_db=snr)
    table = []
    with atomic_folder(out) as folder:
        for split, cases in plan.items():
            for case in cases:
                one = case.make()
                write_wfdb(one.record, folder / split)
                marks = Annotations(one.p_waves, np.full(len(one.p_waves), "p"))
                write_annotations(folder / split / one.record.name, marks, fs, extension="pwave")
                table.append(
                    {"split": split, "record": one.record.name, "seed": one.seed, **asdict(one.settings)}
                )
        (folder / "cohort.json").write_text(json.dumps({"seed": seed, "records": table}, indent=1) + "\n")
    human_console().print(f"{out}: {len(table)} records of {seconds:g} s at {fs:g} Hz")
