"""What networks of the folds (`tools/train_release.py` makes them) say of patients that they never saw."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from edgeecg import open_engine
from edgeecg.bundle import Thresholds
from edgeecg.data.recording import TrainingRecord
from edgeecg.data.settings import SYNTHETIC
from edgeecg.decode.confidence import Confidence
from edgeecg.errors import ConfigError
from edgeecg.metrics.calibration import fit_confidence
from edgeecg.metrics.references import labelled_records
from edgeecg.metrics.score import said_by_events, score
from edgeecg.model.checkpoint import SETTINGS, load_checkpoint
from edgeecg.model.transformer import Network
from edgeecg.pipeline.annotate import annotate
from edgeecg.specs import AAMI, BEAT_LABELS

REFINED = "refined"
"""Folder of a network's checkpoint after its last stage."""

SETS = ("mitdb:DS1", "mitdb:paced", "svdb:development")
Lines = Mapping[str, tuple[float, float]]


class Told(NamedTuple):
    """Beats of one recording that have a partner in the reference, by `BEAT_LABELS`; a column each."""

    group: str
    fold: str
    probability: NDArray[np.float64]
    label: NDArray[np.str_]
    true: NDArray[np.str_]


def same_recordings(run: Path, meta: Mapping[str, Any], records: Sequence[TrainingRecord]) -> None:
    """Refuse other recordings than a network's folds were dealt from: one that is missing moves patients to
    other folds, and what the network was trained on would be called unseen.

    Only counts are compared, of the sets that are here; a checkpoint that names none is taken as it is.

    Raises
    ------
    ConfigError
        A set has more or fewer recordings here than when the network was trained.
    """
    here = Counter(record.source for record in records)
    for name, then in meta.get("sets", {}).items():
        if name != SYNTHETIC and name in here and here[name] != then:
            raise ConfigError(
                f"{run} was trained with {then} recordings of {name}, here are {here[name]}, so that its "
                f"folds hold other patients: make them the same ('edgeecg data fetch {name}' gets what is "
                "missing)"
            )


def network_of(run: Path, records: Sequence[TrainingRecord] = ()) -> Network:
    """The network of a fold after its last stage, in PyTorch; a bias that belongs to it is in its logits.

    ``records`` are those among which its unseen patients will be looked for (`same_recordings`).
    """
    checkpoint = load_checkpoint(run / REFINED)
    same_recordings(run, checkpoint.meta, records)
    bias = checkpoint.meta.get("thresholds", {}).get("bias", {})
    network = checkpoint.network.eval()
    with torch.no_grad():
        network.beat.classes.bias += torch.tensor([bias.get(label, 0.0) for label in BEAT_LABELS])
    return network


def folds(work: Path) -> Iterator[tuple[Path, set[str]]]:
    """The bundle of each fold, and the recordings that it never saw."""
    for run in sorted(work.glob("fold*")):
        meta = json.loads((run / REFINED / SETTINGS).read_text(encoding="utf-8"))["meta"]
        yield next(run.glob("*.edgeecg")), set(meta["validation"])


def told(work: Path, data: Path, sets: Sequence[str] = SETS) -> list[Told]:
    """Every beat told of a held-out patient, as the deployed path tells it, before any correction."""
    found = []
    cases = labelled_records(sets, data)
    for path, unseen in folds(work):
        with open_engine(path, backend="onnxruntime") as engine:
            for case in cases:
                if f"{case.group.split()[0]}/{case.name}" not in unseen:
                    continue
                record, truth = case.load()
                said = said_by_events(annotate(engine, record), tuple(truth.labels), len(record))
                judged = score(truth, said).judged
                if judged is not None:
                    columns = judged.probability, by_beat_label(judged.said), by_beat_label(judged.true)
                    found.append(Told(short(case.group), path.parent.name, *columns))
    return found


def short(group: str) -> str:
    """A group's name in the tables: of what is kept for judging nothing is ever in them."""
    return group.removesuffix(" development")


def by_beat_label(aami: NDArray[np.str_]) -> NDArray[np.str_]:
    """Labels of beats from AAMI classes: Q is a paced beat."""
    names = {AAMI[label]: label for label in BEAT_LABELS}
    return np.array([names[name] for name in aami.tolist()], dtype=np.str_)


def confidence(beats: Sequence[Told]) -> Lines:
    """The correction that fits these beats best, as a bundle carries it.

    Raises
    ------
    ConfigError
        There is nothing to fit it to.
    """
    if not beats:
        raise ConfigError("no beat of a held-out patient to fit to: give the labelled recordings")
    columns = (np.concatenate(part) for part in zip(*(each[2:] for each in beats), strict=True))
    return Thresholds(confidence=fit_confidence(*columns)).confidence


def corrected(beats: Sequence[Told]) -> list[Told]:
    """The same beats, each fold corrected by what the other folds' patients taught."""
    found = []
    for fold in sorted({each.fold for each in beats}):
        correct = Confidence(confidence([each for each in beats if each.fold != fold]))
        for each in beats:
            if each.fold == fold:
                label = np.array([BEAT_LABELS.index(name) for name in each.label.tolist()], np.intp)
                sure = correct(label, each.probability.astype(np.float32))
                found.append(each._replace(probability=sure.astype(np.float64)))
    return found
