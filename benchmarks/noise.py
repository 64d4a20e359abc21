"""Noise stress: beats found in electrode-motion noise, each record by the network that never saw its patient.

    python tools/kept.py small-1-five --data DIR --work runs/kept    # bundles of the kept networks, once
    python benchmarks/noise.py --data DIR --work runs/kept/small-1-five

The protocol of WFDB's `nst`: five clean minutes, then two minutes of noise and two clean ones in turn, on
both leads; the ratio counts as `nst` counts it, and only the noisy parts are scored, within 150 ms, but for
the flutter of 207. The noise is `em118` of nstdb, 6.5 minutes: it is among the recorded noise that training
adds, as there is no other, so a device's own noise will be harder than this.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
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
from edgeecg.metrics.bootstrap import Estimate, estimate, f1
from edgeecg.pipeline.annotate import annotate
from edgeecg.runtime.engine import Engine
from edgeecg.specs import AAMI

CLASSES = ("QRS", "V", "S")


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


def over_patients(counts: Sequence[Confusion]) -> Estimate:
    """F1 of QRS over the records, each of a patient of his own, with its interval."""
    scores = [each.score("QRS") for each in counts]
    columns = ([getattr(s, part) for s in scores] for part in ("hits", "misses", "false"))
    return estimate(f1(*columns), len(scores))


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
    counts: dict[tuple[float, bool], list[Confusion]] = {
        (ratio, withhold): [] for ratio in ratios for withhold in (False, True)
    }
    for path, name in track(jobs, "scoring"):
        record = load_record(data / "mitdb" / name, "mitdb")
        with open_engine(path, backend="onnxruntime") as engine:
            for (ratio, withhold), each in counts.items():
                each.append(score(engine, add_noise(record, tape, ratio), withhold))
    table = Table(
        "SNR dB",
        "beats",
        *(f"{name} {part} %" for name in CLASSES for part in ("Se", "+P", "F1")),
        "95 % of QRS",
    )
    rows = {}
    for (ratio, withhold), each in counts.items():
        scores = [sum(each, Confusion.empty()).score(name) for name in CLASSES]
        cells = [f"{100 * (x or 0):.2f}" for s in scores for x in (s.sensitivity, s.predictivity, s.f1)]
        span = over_patients(each)
        told = "withheld where unreadable" if withhold else "all"
        table.add_row(
            f"{ratio:g}", told, *cells, f"{100 * (span.low or 0):.1f} to {100 * (span.high or 0):.1f}"
        )
        rows[f"{ratio:g} dB, {told}"] = asdict(span)
    Console(width=145).print(table)
    out.mkdir(parents=True, exist_ok=True)
    (out / f"noise-{work.name}.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    typer.run(noise)
