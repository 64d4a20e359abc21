"""What the choices of decoding rest on: variants of the decision on the same held-out outputs.

    python tools/choices.py small --data DIR --work runs/release    # after train_release.py; minutes
    python tools/choices.py small --data DIR --work tools/release/folds    # networks that are kept here

In PyTorch, every patient by the network of the fold that never saw him, no beat withheld: the deployed
figures are in docs/models. Prints F1 of QRS, V and S for the tokens alone, the beat encoder after the first
stage (where it is kept) and the last, the rule that no beat is S in fibrillation at several limits, the other
rules about S, biases of the classes, and the first lead alone; what a bias does to P; and F1 of AF by
record. With --fitted the same of patients that were trained on.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import torch
import typer
from held_out import network_of  # beside this file
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table
from stages import hidden

from edgeecg.bundle import Thresholds
from edgeecg.data.augment import AugmentSettings
from edgeecg.data.dataset import Windows
from edgeecg.data.prepare import load_training_data
from edgeecg.data.recording import TrainingRecord
from edgeecg.data.settings import DataSettings
from edgeecg.decode.fibrillation import smoothed
from edgeecg.decode.premature import NO_RUN, late
from edgeecg.decode.rhythm import RhythmDecoder, RhythmSettings
from edgeecg.decode.rr import past_intervals
from edgeecg.decode.supraventricular import alternating, behind_interpolated, told
from edgeecg.metrics.beats import Confusion
from edgeecg.model.annotate import Found, found_in
from edgeecg.model.checkpoint import load_checkpoint
from edgeecg.model.transformer import BeatEncoder, Network
from edgeecg.model.validate import record_confusion
from edgeecg.specs import BEAT_LABELS, HEADS, MODEL_FS, SignalSpec

SIGNAL = SignalSpec()
QUALITY, SHAPE = HEADS.index("quality"), HEADS.index("shape_N")
NEVER = 2.0  # a limit that no probability reaches
FOLDS = 5


class Heard(NamedTuple):
    """What a network says of each beat of a recording that it never saw."""

    place: NDArray[np.float64]
    shape: NDArray[np.float32]
    classes: NDArray[np.float32]
    before: NDArray[np.float32]
    """``classes`` of the beat encoder after its first stage; of the last where the first is not kept."""
    afib: NDArray[np.float32]
    quality: NDArray[np.float32]


@torch.no_grad()
def hear(
    network: Network, before: BeatEncoder | None, windows: Windows, record: TrainingRecord, leads: int
) -> Heard:
    """The outputs at the beats, leads fused by how readable the network finds each."""
    patch = network.spec.patch
    length = record.signal.shape[1] // patch * patch
    signal = windows.front_end(record.signal[:leads, :length].astype(np.float64))
    heads, embedding = network.token(torch.from_numpy(signal))
    weight = torch.sigmoid(heads[..., QUALITY, None])
    weight = weight / weight.sum(0, keepdim=True)
    joined, known = ((values * weight).sum(0, keepdim=True).numpy() for values in (heads, embedding))
    found = found_in(network, joined, known, Thresholds().beat)[0]
    said = joined[0, (found.place // patch).astype(np.int64)]
    return Heard(
        place=np.maximum(found.place - windows.bandpass.latency, 0.0),
        shape=said[:, SHAPE : SHAPE + len(BEAT_LABELS)],
        classes=found.classes,
        before=before(torch.from_numpy(found.inputs[None]))[0][0].numpy() if before else found.classes,
        afib=torch.from_numpy(found.rhythm).softmax(-1)[:, 1].numpy(),
        quality=1 / (1 + np.exp(-said[:, QUALITY])),
    )


def labels(
    heard: Heard,
    limit: float = NEVER,
    bias: tuple[float, ...] = (0, 0, 0, 0, 0),
    behind: bool = False,
    turns: bool = False,
    early: bool = False,
) -> NDArray[np.intp]:
    """Classes with a bias, and of the rules about S those that are wanted."""
    chances = torch.softmax(torch.from_numpy(heard.classes + np.array(bias, np.float32)), -1).numpy()
    before = np.concatenate([[-1], chances.argmax(axis=1)])[: len(chances)]
    intervals = past_intervals(heard.place / MODEL_FS)
    never = (smoothed(heard.afib) >= limit) | (behind & behind_interpolated(before, intervals))
    bigeminal = turns & alternating(intervals)
    label = told(chances, never, bigeminal)[0]
    if early:
        label[late(label, intervals, bigeminal, NO_RUN)[0]] = BEAT_LABELS.index("N")
    return label


def scores(cases: list[tuple[TrainingRecord, Heard]], say: Callable[[Heard], NDArray[np.intp]]) -> list[str]:
    """F1 of QRS, V and S on mitdb (paced records apart) and on svdb."""
    cells = []
    for source in ("mitdb", "svdb"):
        total = Confusion.empty()
        for record, heard in cases:
            if record.source == source and not (record.labels == BEAT_LABELS.index("P")).any():
                told = np.eye(len(BEAT_LABELS), dtype=np.float32)[say(heard)]
                rest = np.empty(0, np.float32)
                total += record_confusion(record, Found(heard.place, told, rest, rest))
        cells += [f"{100 * (total.score(name).f1 or 0):.2f}" for name in ("QRS", "V", "S")]
    return cells


def paced(cases: list[tuple[TrainingRecord, Heard]], more: float) -> list[str]:
    """Paced beats told as P, N and V; and where nobody is paced, N and V that are told as P."""
    bias = tuple(more * (label == "P") for label in BEAT_LABELS)
    n, v, p = (BEAT_LABELS.index(label) for label in "NVP")
    told = {True: Confusion.empty(), False: Confusion.empty()}
    for record, heard in cases:
        said = np.eye(len(BEAT_LABELS), dtype=np.float32)[labels(heard, 0.4, bias, True, True, True)]
        rest = np.empty(0, np.float32)
        told[bool((record.labels == p).any())] += record_confusion(
            record, Found(heard.place, said, rest, rest)
        )
    beats, others = told[True].counts[p], told[False].counts[:, p]
    return [
        *(f"{100 * beats[label] / beats.sum():.1f}" for label in (p, n, v)),
        str(others[n]),
        str(others[v]),
    ]


def af_f1(cases: list[tuple[TrainingRecord, Heard]], settings: RhythmSettings, power: float) -> str:
    """F1 of AF by record: half of the beats in episodes; what people called too noisy is no AF."""
    hits = misses = false = 0
    for record, heard in cases:
        decoder, inside = RhythmDecoder(settings, MODEL_FS), np.zeros(len(heard.place), bool)
        state, events = decoder.initial(), []
        for place, chance in zip(heard.place, heard.afib * heard.quality**power, strict=True):
            told, state = decoder.beat(int(place), float(chance), state)
            events += told
        for event in [*events, *decoder.flush(state)[0]]:
            if event.end is not None:
                inside |= (heard.place >= event.start) & (heard.place.astype(int) < event.end)
        said, true = len(inside) > 0 and inside.mean() >= 0.5, record.weak_label == "A"
        hits, misses, false = (
            hits + (said and true),
            misses + (true and not said),
            false + (said and not true),
        )
    return f"{200 * hits / (2 * hits + misses + false):.1f}"


def choices(
    preset: Annotated[str, typer.Argument(help="nano, micro or small; or another folder of --work.")],
    data: Annotated[Path, typer.Option(help="Folder of the development recordings.")],
    work: Annotated[Path, typer.Option(help="Of tools/train_release.py.")] = Path("runs/release"),
    fitted: Annotated[
        bool,
        typer.Option(help="The shipped network on the patients that it was trained on: how well it fits."),
    ] = False,
    without: Annotated[
        list[str] | None, typer.Option(metavar="RECORD", help="Leave this one out; may repeat.")
    ] = None,
) -> None:
    """Print the variants."""
    torch.set_num_threads(1)
    sets = {"mitdb": 1.0, "svdb": 1.0, "cinc2017": 1.0}
    records = load_training_data(DataSettings(root=str(data), sets=sets), 0).training
    names = ["all" if fitted else f"fold{fold}" for fold in range(FOLDS)]
    runs = [work / preset / name for name in names]
    networks = [network_of(run, records) for run in runs]
    both = all((run / "checkpoint").exists() for run in runs)
    first_stage = [load_checkpoint(run / "checkpoint").network.beat.eval() if both else None for run in runs]
    windows = Windows(records, [], networks[0].spec, SIGNAL, AugmentSettings(), sets)
    fold_of = {n: fold for fold in range(FOLDS) for n in hidden(records, fold, FOLDS)}
    cases, first = [], []
    for number, record in enumerate(track(records, "listening")):
        network, before = networks[fold_of[number]], first_stage[fold_of[number]]
        cases.append((record, hear(network, before, windows, record, len(record.signal))))
        if record.complete:
            first.append((record, hear(network, before, windows, record, 1)))
    away = set(without or ())
    cases, first = ([case for case in some if case[0].name not in away] for some in (cases, first))
    beats = [case for case in cases if case[0].complete]
    table = Table(f"{preset}: F1 %", *(f"{s} {c}" for s in ("mitdb", "svdb") for c in ("QRS", "V", "S")))
    table.add_row("tokens alone", *scores(beats, lambda heard: heard.shape.argmax(1)))
    if both:
        table.add_row("beat encoder, first stage", *scores(beats, lambda heard: heard.before.argmax(1)))
    table.add_row("beat encoder", *scores(beats, labels))
    table.add_row("beat encoder, first lead", *scores(first, labels))
    for limit in (0.3, 0.4, 0.5):
        table.add_row(f"no S from {limit} on", *scores(beats, lambda heard, a=limit: labels(heard, a)))
    cells = scores(beats, lambda heard: labels(heard, 0.4, behind=True))
    table.add_row("and none behind an interpolated V", *cells)
    cells = scores(beats, lambda heard: labels(heard, 0.4, behind=True, turns=True))
    table.add_row("and S in bigeminy", *cells)
    cells = scores(beats, lambda heard: labels(heard, 0.4, behind=True, turns=True, early=True))
    table.add_row("and S only where it comes early", *cells)
    for name, more in (*(("S", more) for more in (-0.5, -0.15, 0.15, 0.3, 0.5)), ("V", 0.5)):
        bias = tuple(more * (label == name) for label in BEAT_LABELS)
        cells = scores(beats, lambda heard, b=bias: labels(heard, 0.4, b, True, True, True))
        table.add_row(f"all four, {more:+.2f} more for {name}", *cells)
    pacemakers = Table(f"{preset}: P", "paced: told as P, %", "as N", "as V", "not paced: N told as P", "V")
    for more in (-2.0, -1.0, 0.0, 1.0):
        pacemakers.add_row(f"{more:+.1f} more for P", *paced(beats, more))
    records_only = [case for case in cases if case[0].weak_label]
    rhythm = Table(f"{preset}: AF by record", "F1 %")
    for enter, leave, power in (
        (0.6, 0.4, 0.0),
        (0.6, 0.3, 0.0),
        (0.6, 0.3, 1.0),
        (0.5, 0.2, 1.0),
        (0.4, 0.2, 1.0),
    ):
        name = f"an episode from {enter} on, ends below {leave}" + (", times quality" if power else "")
        rhythm.add_row(name, af_f1(records_only, RhythmSettings(enter=enter, leave=leave), power))
    Console(width=110).print(table, pacemakers, rhythm)


if __name__ == "__main__":
    typer.run(choices)
