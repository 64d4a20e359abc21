"""Alarms of held-out patients against those that the same rules raise on the reference's own beats.

    python tools/alarms.py small --data DIR --work runs/release    # after train_release.py; two minutes

Every record of mitdb (DS1) and svdb by the network of the fold that never saw its patient, through the
deployed path. The reference of an alarm is what `edgeecg.decode.alarms` makes of the annotated beats: so this
scores beats and silence, not the thresholds. Counted are episodes that overlap, as for AF: reference episodes
that were found, told ones that are right, and false ones an hour. Silence is asystole and no-beat as one,
since annotations know no level; in ventricular flutter the reference has no beats and is silent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from held_out import folds  # beside this file
from rich.console import Console
from rich.progress import track
from rich.table import Table

from edgeecg import open_engine
from edgeecg.data.catalog import load_record, load_reference
from edgeecg.decode.alarms import AlarmFinder, AlarmSettings
from edgeecg.io.record import Record
from edgeecg.metrics.rhythm import EpisodeScore, Stretch, compare
from edgeecg.pipeline.annotate import annotate
from edgeecg.specs import Alarm, Event

SETS = ("mitdb", "svdb")
SILENCE = "silence"
KINDS = {"asystole": SILENCE, "no-beat": SILENCE}
LABELS = ("pause", SILENCE, "bradycardia", "tachycardia", "couplet", "v-run", "bigeminy")


def episodes(events: Iterable[Event]) -> Mapping[str, list[Stretch]]:
    """Alarms that have ended, by label, apart; one of an instant lasts a sample."""
    found: dict[str, list[Stretch]] = {label: [] for label in LABELS}
    ended = (e for e in events if isinstance(e, Alarm) and e.end is not None)
    for alarm in sorted(ended, key=lambda alarm: alarm.start):
        mine = found[KINDS.get(alarm.label, alarm.label)]
        start, end = alarm.start, max(alarm.end or 0, alarm.start + 1)
        if mine and start <= mine[-1][1]:
            start, end = mine[-1][0], max(end, mine.pop()[1])
        mine.append((start, end))
    return found


def expected(record: Record, name: str) -> list[Alarm]:
    """What the rules say of the annotated beats."""
    finder, reference = AlarmFinder(AlarmSettings(), record.fs), load_reference(record, name)
    state, told = finder.initial(), []
    for sample, label in zip(reference.beats.tolist(), reference.labels.tolist(), strict=True):
        events, state = finder.beat(sample, label, state)
        told += events
    events, state = finder.advance(len(record), True, None, state)
    return [*told, *events, *finder.flush(state)[0]]


def alarms(
    preset: Annotated[str, typer.Argument(help="nano, micro or small.")],
    data: Annotated[Path, typer.Option(help="Folder of the development recordings.")],
    work: Annotated[Path, typer.Option(help="Of tools/train_release.py.")] = Path("runs/release"),
) -> None:
    """Print what was found of each kind, and what was false."""
    scores = {(source, label): EpisodeScore() for source in SETS for label in LABELS}
    hours = dict.fromkeys(SETS, 0.0)
    jobs = [(path, name) for path, unseen in folds(work / preset) for name in sorted(unseen)]
    for path, name in track([job for job in jobs if job[1].startswith(SETS)], "listening"):
        source, record = name.split("/")[0], load_record(data / name, name.split("/")[0])
        if np.any(load_reference(record, source).labels == "P"):
            continue  # paced ones apart, as everywhere
        with open_engine(path, backend="onnxruntime") as engine:
            told = episodes(annotate(engine, record))
        wanted = episodes(expected(record, source))
        hours[source] += record.seconds / 3600
        for label in LABELS:
            scores[source, label] += compare(wanted[label], told[label], record.fs, end=len(record))
    table = Table(preset, *(f"{s} {w}" for s in SETS for w in ("found", "right", "false an hour")))
    for label in LABELS:
        cells = []
        for source in SETS:
            s = scores[source, label]
            false = f"{s.wrong / hours[source]:.2f}"
            cells += [f"{s.found} of {s.found + s.missed}", f"{s.right} of {s.right + s.wrong}", false]
        table.add_row(label, *cells)
    Console(width=120).print(table)


if __name__ == "__main__":
    typer.run(alarms)
