"""Noise stress: beats found in electrode-motion noise, each record by the network that never saw its patient.

    python tools/kept.py small-1-four --data DIR --work runs/kept    # bundles of the kept networks, once
    python benchmarks/noise.py --data DIR --work runs/kept/small-1-four

The protocol of WFDB's `nst`: five clean minutes, then two minutes of noise and two clean ones in turn, on
both leads; the ratio counts as `nst` counts it, and only the noisy parts are scored, within 150 ms, but for
the flutter of 207. The noise is `em118` of nstdb, 6.5 minutes: it is among the recorded noise that training
adds, as there is no other, so a device's own noise will be harder than this.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from edgeecg import Beat, open_engine
from edgeecg.data.catalog import data_set, load_record, load_reference
from edgeecg.data.noise import NoisyRecord, add_noise
from edgeecg.io.reading import read_record
from edgeecg.metrics.beats import BeatList, Confusion, compare
from edgeecg.pipeline.annotate import annotate
from edgeecg.runtime.engine import Engine
from edgeecg.specs import AAMI


def clean_parts(noisy: NoisyRecord) -> list[tuple[int, int]]:
    """What is left out of the scores."""
    edges = [0, *(edge for interval in noisy.noisy for edge in interval), len(noisy.record)]
    return [(start, end) for start, end in zip(edges[::2], edges[1::2], strict=True) if end > start]


def score(engine: Engine, noisy: NoisyRecord, withhold: bool) -> Confusion:
    """EC57 counts of the noisy parts."""
    reference = load_reference(noisy.record, "mitdb")
    beats = [e for e in annotate(engine, noisy.record, withhold=withhold) if isinstance(e, Beat)]
    labels = [AAMI.get(label, "Q") for label in reference.labels.tolist()]
    return compare(
        BeatList(reference.beats, np.array(labels)),
        BeatList(np.array([b.sample for b in beats], np.int64), np.array([AAMI[b.label] for b in beats])),
        noisy.record.fs,
        masks=[*clean_parts(noisy), *reference.masked],  # nor are beats judged in flutter
    )


def held_out(work: Path) -> Iterator[tuple[Path, str]]:
    """Bundles of the folds, and the DS1 records that each never saw."""
    for fold in sorted(work.glob("fold*")):
        meta = json.loads((fold / "refined" / "checkpoint.json").read_text(encoding="utf-8"))["meta"]
        for name in meta["validation"]:
            source, _, record = name.partition("/")
            if source == "mitdb" and record in data_set("mitdb").splits["DS1"]:
                yield next(fold.glob("*.edgeecg")), record


def noise(
    data: Annotated[Path, typer.Option(help="Folder of the recordings: mitdb and nstdb.")],
    work: Annotated[Path, typer.Option(help="Folder with the folds (tools/kept.py makes one).")],
    snr: Annotated[list[float] | None, typer.Option(help="Decibels; may repeat.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the figures as JSON.")] = Path("runs/bench"),
) -> None:
    """Score QRS, V and S at each ratio, all beats told and those on unreadable signal withheld."""
    tape = read_record(next((data / "nstdb").rglob("em118.hea")))
    ratios, jobs = snr or [24.0, 12.0, 6.0, 0.0], list(held_out(work))
    totals = {(ratio, withhold): Confusion.empty() for ratio in ratios for withhold in (False, True)}
    for path, name in track(jobs, "scoring"):
        record = load_record(data / "mitdb" / name, "mitdb")
        with open_engine(path, backend="onnxruntime") as engine:
            for ratio, withhold in totals:
                noisy = add_noise(record, tape, ratio)
                totals[ratio, withhold] += score(engine, noisy, withhold)
    table = Table(
        "SNR dB", "beats", *(f"{name} {part} %" for name in ("QRS", "V", "S") for part in ("Se", "+P", "F1"))
    )
    for (ratio, withhold), total in totals.items():
        scores = [total.score(name) for name in ("QRS", "V", "S")]
        cells = [f"{100 * (x or 0):.2f}" for s in scores for x in (s.sensitivity, s.predictivity, s.f1)]
        table.add_row(f"{ratio:g}", "withheld where unreadable" if withhold else "all", *cells)
    Console(width=130).print(table)
    out.mkdir(parents=True, exist_ok=True)
    rows = {f"{r:g} dB, {'withheld' if w else 'all'}": t.score("QRS").f1 for (r, w), t in totals.items()}
    (out / "noise.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    typer.run(noise)
