"""How much of what is counted as error may lie in the labels: where two networks contradict them surely.

    python tools/disagreements.py small micro --data DIR --work runs/release    # after train_release.py

In PyTorch, every patient by the networks of the fold that never saw him, with the rules about S; takes some
minutes. An error of the first preset is *shared* where the second tells the same wrong label, and *sure*
where both give it at least nine tenths, or seven. Prints F1 as it is, F1 if every sure one were an error of
the labels, and the records with most of them. That is no bound on what the labels cost: networks that were
trained on the same patients also err together, and labels also err where networks hesitate. As EC57 has it,
a fusion beat that is told as V is no false one.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import torch
import typer
from choices import FOLDS, SIGNAL, Heard, hear, labels  # beside this file
from held_out import network_of
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table
from stages import hidden

from edgeecg.data.augment import AugmentSettings
from edgeecg.data.dataset import Windows
from edgeecg.data.prepare import load_training_data
from edgeecg.data.recording import TrainingRecord
from edgeecg.data.settings import DataSettings
from edgeecg.metrics.match import match
from edgeecg.specs import BEAT_LABELS, MODEL_FS

SETS = {"mitdb": 1.0, "svdb": 1.0}
CLASSES = ("V", "S")
SURE = (0.9, 0.7)
NONE = -1  # no beat there
V, F = BEAT_LABELS.index("V"), BEAT_LABELS.index("F")


class Said(NamedTuple):
    """What a preset tells of a recording: a label and its probability for each beat."""

    place: NDArray[np.float64]
    label: NDArray[np.intp]
    chances: NDArray[np.float32]


def said(heard: Heard) -> Said:
    """As the stream tells it, rules included."""
    chances = torch.softmax(torch.from_numpy(heard.classes), -1).numpy()
    return Said(heard.place, labels(heard, 0.4, behind=True, turns=True, early=True), chances)


def partners(place: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.intp]:
    """Which of the others belongs to each beat as EC57 pairs them, else ``NONE``."""
    pairs = match(np.rint(others).astype(np.int64), np.rint(place).astype(np.int64), MODEL_FS).pairs
    index = np.full(len(place), NONE)
    index[pairs[:, 1]] = pairs[:, 0]
    return index


def count(record: TrainingRecord, first: Said, second: Said, label: int) -> Counter[str]:
    """Hits and errors of one class among the beats of the first that the reference and the second have."""
    true, other = partners(first.place, record.beats), partners(first.place, second.place)
    there = (true != NONE) & (other != NONE)
    truth, mine, its = record.labels[true[there]], first.label[there], second.label[other[there]]
    at = np.arange(len(mine))
    both = np.minimum(first.chances[there][at, mine], second.chances[other[there]][at, mine])
    false, miss = (mine == label) & (truth != label), (mine != label) & (truth == label)
    if label == V:
        false &= truth != F
    shared = (false | miss) & (mine == its)
    counts = Counter(
        hits=int(((mine == label) & (truth == label)).sum()),
        errors=int((false | miss).sum()),
        shared=int(shared.sum()),
    )
    for least in SURE:
        sure = shared & (both >= least)
        counts[f"sure {least}"] = int(sure.sum())
        counts[f"sure {least} false"] = int((sure & false).sum())
    return counts


def show(found: dict[tuple[str, str], dict[str, Counter[str]]]) -> None:
    """A row for each set and class."""
    columns = [name for least in SURE for name in (f"sure ({least})", "if labels")]
    table = Table("set, class", "errors", "shared", "F1 %", *columns, "most of the sure ones")
    for (source, label), records in found.items():
        total = sum(records.values(), Counter[str]())
        cells = [str(total["errors"]), str(total["shared"]), rate(total["hits"], total["errors"])]
        for least in SURE:  # a sure false beat becomes a hit, a sure miss becomes none
            sure, false = total[f"sure {least}"], total[f"sure {least} false"]
            cells += [str(sure), rate(total["hits"] + false, total["errors"] - sure)]
        key = f"sure {SURE[0]}"
        most = sorted(records, key=lambda name: -records[name][key])[:4]
        named = ", ".join(f"{name.split('/')[1]} {records[name][key]}" for name in most)
        table.add_row(f"{source}, {label}", *cells, named)
    Console(width=120).print(table)


def rate(hits: int, errors: int) -> str:
    """F1, per cent; ``errors`` are false beats and misses together."""
    return f"{200 * hits / (2 * hits + errors):.1f}"


def disagreements(
    first: Annotated[str, typer.Argument(help="Preset whose errors are looked at.")],
    second: Annotated[str, typer.Argument(help="Preset that is asked as well.")],
    data: Annotated[Path, typer.Option(help="Folder of the development recordings.")],
    work: Annotated[Path, typer.Option(help="Of tools/train_release.py.")] = Path("runs/release"),
) -> None:
    """Count the labels that two networks contradict."""
    torch.set_num_threads(1)
    every = load_training_data(DataSettings(root=str(data), sets=SETS), 0).training
    found: dict[tuple[str, str], dict[str, Counter[str]]] = {
        (source, label): {} for source in SETS for label in CLASSES
    }
    for fold in range(FOLDS):
        networks = [network_of(work / preset / f"fold{fold}", every) for preset in (first, second)]
        windows = Windows(every, [], networks[0].spec, SIGNAL, AugmentSettings(), SETS)
        unseen = [every[number] for number in sorted(hidden(every, fold, FOLDS))]
        for record in track(unseen, f"fold {fold}"):
            if (record.labels == BEAT_LABELS.index("P")).any():
                continue  # paced records are apart, as everywhere
            one, two = (said(hear(net, net.beat, windows, record, len(record.signal))) for net in networks)
            for label in CLASSES:
                counts = count(record, one, two, BEAT_LABELS.index(label))
                found[record.source, label][record.name] = counts
    show(found)


if __name__ == "__main__":
    typer.run(disagreements)
