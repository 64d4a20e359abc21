"""``edgeecg explain``: why did it say V?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from edgeecg.bundle import Bundle
from edgeecg.cli.common import (
    BundleOption,
    FsOption,
    GainOption,
    LeadOption,
    LeadPolicyOption,
    SeedOption,
    UnitsOption,
    data_console,
    human_console,
    progress_bar,
)
from edgeecg.errors import ConfigError, InputError
from edgeecg.io import read_record
from edgeecg.io.atomic import atomic_folder
from edgeecg.runtime.cache import default_folder

if TYPE_CHECKING:
    from edgeecg.explain import ConceptSets, Explanation

__all__ = ["explain"]


def explain(
    record: Annotated[Path, typer.Argument(metavar="RECORD", help="A recording: WFDB, EDF, CSV or Parquet.")],
    at: Annotated[
        int, typer.Option("--at", min=0, metavar="SAMPLE", help="Sample of the beat, within 150 ms.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="New folder for the page and the pictures.")
    ],
    bundle: BundleOption = "small",
    label: Annotated[
        Literal["N", "S", "V", "F", "P", "AFIB"] | None,
        typer.Option(help="Why this label? What the model says of the beat where left out."),
    ] = None,
    method: Annotated[
        str, typer.Option(metavar="NAME", help="Method of attribution; docs/explain.md compares them.")
    ] = "path",
    against: Annotated[
        Literal["usual", "flat"] | None,
        typer.Option(help="What it is held against: the patient's usual beats, on time, or a flat line."),
    ] = None,
    lead_policy: LeadPolicyOption = None,
    leads: LeadOption = None,
    fs: FsOption = None,
    units: UnitsOption = None,
    gain: GainOption = None,
    change: Annotated[bool, typer.Option(help="Look for the smallest change that turns the label.")] = True,
    concepts: Annotated[
        bool,
        typer.Option(help="Place the beat among concepts; their examples are made once a bundle and kept."),
    ] = True,
    seed: SeedOption = 0,
) -> None:
    """Explain one beat, or with `--label AFIB` the rhythm around it: a page, pictures and numbers.

    Every sample and every RR interval gets its relevance in log-odds of the label, on one scale; they are
    summed over P, PR, QRS, ST and T. The patient's own usual beats, in a regular rhythm, are what the beat is
    held against. The bundle must hold its torch weights; detections stay as the deployed path made them.

    For example:

    - `edgeecg explain 119.hea --at 173035 --out why`
    - `edgeecg explain 119.hea --at 173035 --label N --out why-not-normal`
    - `edgeecg explain 203.hea --at 540000 --label AFIB --out why-af`
    - `edgeecg explain 119.hea --at 173035 --method shapley --no-concepts --out shapley`
    """
    from edgeecg import explain as room

    room.method_of(method)
    people, opened = human_console(), Bundle.open(bundle)
    signal = read_record(record, leads=leads, fs=fs, units=units, gain=gain)
    with atomic_folder(out) as folder, people.status("explaining") as status:

        def sets() -> ConceptSets:
            status.stop()  # two displays cannot be live at once
            made = _concept_sets(opened, seed)
            status.start()
            return made

        why = room.explain(
            signal,
            at,
            bundle=opened,
            label=label,
            method=method,
            against=against,
            lead_policy=lead_policy,
            change=change,
            concepts=sets if concepts else None,
            seed=seed,
        )
        room.write(why, folder)
    _show(data_console(), why)
    people.print(f"written: {out / 'index.html'}")


def _concept_sets(bundle: Bundle, seed: int) -> ConceptSets:
    """Examples of the concepts for this bundle: kept in the cache folder, or made now.

    The cache saves time and no more: what is damaged there is made again, what cannot be kept is used once.
    """
    from edgeecg import explain as room

    kept = default_folder() / "concepts" / f"{bundle.digest[:16]}-{seed}-2.npz"  # the form of the sets
    if os.path.isfile(kept):  # no error where the folder may not be read
        try:
            return room.ConceptSets.load(kept)
        except ConfigError:
            human_console().print(f"note: {kept} is damaged: the examples of concepts are made again")
    with progress_bar() as bar:
        task = bar.add_task("examples of concepts", total=None)
        sets = room.synthetic_sets(
            bundle,
            room.load_network(bundle),
            seed=seed,
            report=lambda done, total: bar.update(task, completed=done, total=total),
        )
    try:
        sets.save(kept)
    except (InputError, OSError) as error:
        human_console().print(
            f"note: the examples of concepts are not kept ({error}): name a folder of yours by "
            "EDGEECG_CACHE, or XDG_CACHE_HOME, to have them made once only"
        )
    return sets


def _show(console: Console, why: Explanation) -> None:
    """Words, parts and cost."""
    for line in why.sentences():
        console.print(line, soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    table.add_column("\npart")
    table.add_column(f"\n{why.unit}", justify="right")
    for name, value in why.relevance.items():
        table.add_row(name, f"{value:+.2f}")
    console.print(table)
    console.print(why.balance(), soft_wrap=True)
    shown = sorted(why.concepts, key=lambda c: -abs(c.pull))[:3]
    if shown:
        words = ", ".join(f"{c.concept} {c.pull:+.1f} in {c.layer.replace('_', ' ')}" for c in shown)
        console.print(f"\nConcepts that moved it most: {words}.", soft_wrap=True)
    cost = why.attribution
    console.print(
        f"\n{cost.method}: {cost.forward} forward and {cost.backward} backward passes, "
        f"{1e3 * cost.seconds:.0f} ms",
        soft_wrap=True,
    )
