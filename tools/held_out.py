"""What networks of the folds (`tools/train_release.py` makes them) say of patients that they never saw."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeecg import open_engine
from edgeecg.metrics.calibration import fit_confidence
from edgeecg.metrics.references import labelled_records
from edgeecg.metrics.score import said_by_events, score
from edgeecg.model.checkpoint import SETTINGS
from edgeecg.pipeline.annotate import annotate

REFINED = "refined"
"""Folder of a network's checkpoint after the second stage."""

SETS = ("mitdb:DS1", "mitdb:paced", "svdb")
Lines = dict[str, tuple[float, float]]


class Told(NamedTuple):
    """Beats of one recording that have a partner in the reference; a column each."""

    group: str
    fold: str
    probability: NDArray[np.float64]
    label: NDArray[np.str_]
    true: NDArray[np.str_]


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
                    columns = judged.probability, judged.said, judged.true
                    found.append(Told(case.group, path.parent.name, *columns))
    return found


def confidence(beats: Sequence[Told]) -> Lines:
    """The correction that fits these beats best."""
    columns = (np.concatenate(part) for part in zip(*(each[2:] for each in beats), strict=True))
    return fit_confidence(*columns)


def corrected(beats: Sequence[Told]) -> list[Told]:
    """The same beats, each fold corrected by what the other folds' patients taught."""
    lines = {fold: confidence([b for b in beats if b.fold != fold]) for fold in {b.fold for b in beats}}
    return [each._replace(probability=_apply(lines[each.fold], each)) for each in beats]


def _apply(lines: Lines, beats: Told) -> NDArray[np.float64]:
    slope, offset = np.array([lines.get(name, (1.0, 0.0)) for name in beats.label.tolist()]).reshape(-1, 2).T
    p = np.clip(beats.probability, 1e-6, 1 - 1e-6)
    odds = slope * (np.log(p) - np.log1p(-p)) + offset
    return np.asarray(1 / (1 + np.exp(-odds)))
