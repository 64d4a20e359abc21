"""What each part is worth: variants of `nano` trained on the same batches, scored on patients held out.

    python tools/ablations.py contexts --data DIR      # an hour on one core; resumable
    python tools/ablations.py latency --data DIR
    python tools/ablations.py pretraining --data DIR

Positions and contexts differ, or how far a decision looks ahead, or what the weights begin from; everything
else is the same: mitdb (without DS2) and svdb, groups of patients held out in turn, EC57 counts of the first
lead, in pieces of a minute, which every kind of positions can read. Prints a row for each variant, with the
spread over the groups.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from many import Group, Member  # beside this file
from pretraining import pretrain  # beside this file
from rich.console import Console
from rich.progress import track
from rich.table import Table
from stages import hidden
from together import train_groups  # beside this file
from torch import Tensor

from edgeecg.data.augment import AugmentSettings
from edgeecg.data.dataset import Windows
from edgeecg.data.prepare import TrainingData, load_training_data
from edgeecg.data.recording import TrainingRecord
from edgeecg.data.settings import DataSettings
from edgeecg.metrics.beats import Confusion
from edgeecg.model.annotate import annotate_records
from edgeecg.model.config import OptimSettings, TrainConfig
from edgeecg.model.presets import preset
from edgeecg.model.train import build_network
from edgeecg.model.transformer import Network
from edgeecg.model.validate import record_confusion
from edgeecg.specs import BEAT_LABELS, MODEL_FS, ModelSpec

CLASSES = ("QRS", "V", "S")
PACED = BEAT_LABELS.index("P")


class What(str, Enum):
    """What differs."""

    contexts = "contexts"
    latency = "latency"
    pretraining = "pretraining"


def contexts() -> dict[str, ModelSpec]:
    """`nano` as it is, with other positions, and with other contexts (in tokens of 62.5 ms)."""
    plain = preset("nano")
    return {
        "rotary, 48 back (as shipped)": plain,
        "sinusoidal": replace(plain, positions="sinusoidal"),
        "learned": replace(plain, positions="learned"),
        "none": replace(plain, positions="none"),
        "12 back": replace(plain, token=replace(plain.token, left=12)),
        "96 back": replace(plain, token=replace(plain.token, left=96)),
        "4 beats back": replace(plain, beat=replace(plain.beat, left=4)),
    }


def latencies() -> dict[str, ModelSpec]:
    """`nano` with other look-ahead of its tokens and other delay of its decisions."""
    plain, found = preset("nano"), {}
    for right, delay in ((2, 2), (8, 2), (8, 5), (8, 13)):
        spec = replace(plain, token=replace(plain.token, right=right), delay=delay)
        seconds = spec.latency_tokens * spec.patch / MODEL_FS
        found[f"{seconds:.2f} s (tokens see {spec.token.lag} ahead, decided {delay} later)"] = spec
    return found


def minutes(record: TrainingRecord) -> Iterator[TrainingRecord]:
    """A recording in pieces of a minute, each a stream of its own."""
    length = 60 * MODEL_FS
    for begin in range(0, record.signal.shape[1] - length + 1, length):
        inside = (record.beats >= begin) & (record.beats < begin + length)
        yield replace(
            record,
            signal=record.signal[:, begin : begin + length],
            beats=record.beats[inside] - begin,
            labels=record.labels[inside],
            masked=record.masked - begin,
        )


def scored(network: Network, windows: Windows, held: list[TrainingRecord]) -> Confusion:
    """Counts over held-out recordings whose every beat is labelled; paced ones apart, as everywhere."""
    wanted = (r for r in held if r.complete and r.source != "synthetic" and not (r.labels == PACED).any())
    chosen = [piece for record in wanted for piece in minutes(record)]
    counts = (
        record_confusion(r, f)
        for r, f in zip(chosen, annotate_records(network, windows, chosen), strict=True)
    )
    return sum(counts, start=Confusion.empty())


def figures(counts: list[Confusion]) -> Iterator[str]:
    """F1 of all groups together, and its spread over the groups, for each class."""
    total = sum(counts, start=Confusion.empty())
    for name in CLASSES:
        spread = np.std([100 * (one.score(name).f1 or 0.0) for one in counts])
        yield f"{100 * (total.score(name).f1 or 0.0):.1f} ± {spread:.1f}"


def trained(
    specs: Sequence[ModelSpec],
    config: TrainConfig,
    made: TrainingData,
    away: Sequence[frozenset[int]],
    out: Path,
    initial: Mapping[str, Tensor] | None = None,
) -> Iterator[list[Confusion]]:
    """Counts of each group of held-out patients for each of some networks that can share batches.

    All begin from ``initial`` weights, where these are given.
    """
    members = [Member(f"fold{fold}", 0, hidden) for fold, hidden in enumerate(away)]
    groups = [Group(config, members, len(made.training), torch.device("cpu"), spec) for spec in specs]
    for group in groups:
        for number in range(len(members)):
            group.begin(number, initial or {})
    windows = Windows(
        made.training,
        made.noise,
        specs[0],
        config.signal,
        config.augment,
        config.data.sets,
        seconds=config.optim.seconds,
        batch=config.optim.batch,
        rare=config.optim.rare,
    )
    todo = train_groups(groups, windows, workers=0, out=out)
    for _ in track(todo, f"training {out}", total=config.optim.steps - groups[0].step):
        pass
    for group in groups:
        held = [[made.training[n] for n in sorted(hidden)] for hidden in away]
        yield [scored(n, windows, h) for n, h in zip(group.networks().values(), held, strict=True)]


def beginnings(
    config: TrainConfig, made: TrainingData, away: Sequence[frozenset[int]], out: Path
) -> Iterator[list[Confusion]]:
    """Weights drawn at random, for as many steps and for twice as many; and weights that cinc2017 taught."""
    steps = config.optim.steps
    twice = replace(config, optim=replace(config.optim, steps=2 * steps))
    spec = preset("nano")
    yield from trained([spec], config, made, away, out / "random")
    yield from trained([spec], twice, made, away, out / "random_twice")
    unlabelled = load_training_data(replace(config.data, sets={"cinc2017": 1.0}), config.seed)
    windows = Windows(
        unlabelled.training, made.noise, spec, config.signal, config.augment, {"cinc2017": 1.0}, seconds=30
    )
    weights, _ = pretrain(build_network(config, spec), replace(windows, batch=32, rare=0.0), 4 * steps)
    yield from trained([spec], config, made, away, out / "pretrained", weights)


def ablations(
    what: Annotated[What, typer.Argument(help="What differs.")],
    data: Annotated[Path, typer.Option(help="Folder of the development recordings.")],
    out: Annotated[Path, typer.Option(help="Where the work lies.")] = Path("runs/ablations"),
    steps: Annotated[int, typer.Option(help="Batches of 16 windows of 60 s.")] = 700,
    folds: Annotated[int, typer.Option(help="Groups of patients.")] = 3,
) -> None:
    """Train and score every variant."""
    torch.set_num_threads(1)
    config = TrainConfig(
        preset="nano",
        data=DataSettings(root=str(data), sets={"mitdb": 0.45, "svdb": 0.45, "synthetic": 0.1}),
        optim=OptimSettings(steps=steps, rate=4e-3, decay=0.05, rare=0.4, checkpoint_every=50),
        augment=AugmentSettings(mix=0.4, invert=0.25, noise=0.55, warp=0.2, pair=0.0),
    )
    made = load_training_data(config.data, config.seed)
    away = [hidden(made.training, fold, folds) for fold in range(folds)]
    table = Table("nano with", *(f"{name} F1 %" for name in CLASSES), title="all groups ± spread over them")
    if what is What.pretraining:
        names = ["random weights", "random weights, twice the steps", "weights pre-trained on cinc2017"]
        rows = beginnings(config, made, away, out)
    elif what is What.contexts:
        names = list(contexts())
        rows = trained(list(contexts().values()), config, made, away, out)
    else:  # what is decided when changes the batches: each by itself
        names = list(latencies())
        each = enumerate(latencies().values())
        rows = (row for n, spec in each for row in trained([spec], config, made, away, out / f"latency{n}"))
    for name, counts in zip(names, rows, strict=True):
        table.add_row(name, *figures(counts))
    Console(width=110).print(table)


if __name__ == "__main__":
    typer.run(ablations)
