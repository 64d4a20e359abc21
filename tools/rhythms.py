"""Held-out patients in rhythms that few of them have: what their networks tell then.

    python tools/rhythms.py micro --data DIR --work tools/release/folds    # networks that are kept here
    python tools/rhythms.py small --data DIR --work runs/release    # after train_release.py; minutes

Three minutes of every patient of mitdb and svdb, whose sinus beats are laid into another rhythm
(`edgeecg.data.replan`) and heard in PyTorch by the network of the fold that never saw him, all rules about S
included. Printed for each rhythm are how many of its S are told as S, how many of its N are told as S, and at
how many of its beats fibrillation is so likely that no beat may be S. Fibrillation is never laid into another
rhythm, and few of these patients have it: nearly all of that is false.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import torch
import typer
from choices import FOLDS, SIGNAL, Heard, hear, labels  # beside this file
from held_out import network_of
from rich.console import Console
from rich.progress import track
from rich.table import Table
from stages import hidden

from edgeecg.bundle import Thresholds
from edgeecg.data.augment import AugmentSettings
from edgeecg.data.dataset import Windows
from edgeecg.data.prepare import load_training_data
from edgeecg.data.recording import TrainingRecord
from edgeecg.data.retime import retimed
from edgeecg.data.settings import DataSettings
from edgeecg.decode.fibrillation import smoothed
from edgeecg.metrics.match import match
from edgeecg.specs import BEAT_LABELS, MODEL_FS

RHYTHMS = {
    "as it is": "as recorded",
    "often": "S as every second to fourth beat",
    "groups": "groups of S",
    "sick sinus": "sick sinus, most beats S",
    "run": "a run of S",
    "breath": "sinus arrhythmia",
    "exercise": "exercise",
    "pauses": "pauses",
    "ragged": "a sinus without order",
}
SETS = {"mitdb": 1.0, "svdb": 1.0}
SECONDS, SETTLED = 180, 20  # of a piece; at its begin, before anything is counted
N, S, PACED = (BEAT_LABELS.index(label) for label in "NSP")


class Counts(NamedTuple):
    """Of one patient or several: S and N, how many of each are told as S; beats, those in fibrillation."""

    s: int
    s_told: int
    n: int
    n_told: int
    beats: int
    afib: int


def counts(piece: TrainingRecord, heard: Heard) -> Counts:
    """What is told of a piece, beside what it holds."""
    told = labels(heard, Thresholds().afib, behind=True, turns=True, early=True)
    end = piece.signal.shape[1] - MODEL_FS
    places = np.rint(heard.place).astype(np.int64)
    pairs = match(
        np.rint(piece.beats).astype(np.int64), places, MODEL_FS, start=SETTLED * MODEL_FS, end=end
    ).pairs
    truth, said = piece.labels[pairs[:, 0]], told[pairs[:, 1]]
    afib = smoothed(heard.afib)[pairs[:, 1]] >= Thresholds().afib
    s, n = truth == S, truth == N
    return Counts(*(int(x.sum()) for x in (s, s & (said == S), n, n & (said == S), afib | ~afib, afib)))


def row(name: str, patients: Sequence[Counts]) -> list[str]:
    """Sums over patients, as cells."""
    total = Counts(*np.sum(patients, axis=0))
    shares = ((total.s_told, total.s), (total.n_told, total.n), (total.afib, total.beats))
    return [name, str(total.s), *(f"{100 * part / max(whole, 1):.1f}" for part, whole in shares)]


def rhythms(
    preset: Annotated[str, typer.Argument(help="nano, micro or small; or another folder of --work.")],
    data: Annotated[Path, typer.Option(help="Folder of the development recordings.")],
    work: Annotated[Path, typer.Option(help="Of tools/train_release.py.")] = Path("runs/release"),
) -> None:
    """Print a row for each rhythm."""
    torch.set_num_threads(1)
    records = load_training_data(DataSettings(root=str(data), sets=SETS), 0).training
    networks = [network_of(work / preset / f"fold{fold}", records) for fold in range(FOLDS)]
    fold_of = {n: fold for fold in range(FOLDS) for n in hidden(records, fold, FOLDS)}
    windows = Windows(records, [], networks[0].spec, SIGNAL, AugmentSettings(), SETS)
    chosen = [n for n, record in enumerate(records) if not (record.labels == PACED).any()]
    table = Table(f"{preset}: rhythm", "S", "told as S %", "N told as S %", "in fibrillation %")
    for kind, name in RHYTHMS.items():
        told = []
        for number in track(chosen, name):
            record, rng = records[number], np.random.default_rng(number)
            begin = int(0.3 * record.signal.shape[1])
            piece = retimed(record, begin, SECONDS * MODEL_FS, rng, only=kind)
            heard = hear(networks[fold_of[number]], None, windows, piece, len(piece.signal))
            told.append(counts(piece, heard))
        table.add_row(*row(name, told))
    Console(width=110).print(table)


if __name__ == "__main__":
    typer.run(rhythms)
