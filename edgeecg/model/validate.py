"""Scores of a network in training on patients that it has not seen: EC57 counts through `annotate_records`.

The figures of a finished bundle come from `edgeecg evaluate`, through the exported graphs; these are
for watching a run, and never choose a checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgeecg.data.dataset import Windows
from edgeecg.data.recording import UNKNOWN, TrainingRecord
from edgeecg.metrics.beats import BeatList, Confusion, Score, compare
from edgeecg.metrics.match import Interval
from edgeecg.model.annotate import Found, annotate_records
from edgeecg.model.transformer import Network
from edgeecg.specs import AAMI, BEAT_LABELS, MODEL_FS

__all__ = ["record_confusion", "validate"]

P = BEAT_LABELS.index("P")
AF_SHARE = 0.5  # of a record's beats, above which the record is called AF


def _labels(indices: NDArray[np.int64]) -> NDArray[np.str_]:
    """AAMI classes; a beat of unknown class is Q, as in EC57."""
    table = np.array([*(AAMI[label] for label in BEAT_LABELS), "Q"])
    named: NDArray[np.str_] = table[np.where(indices == UNKNOWN, len(BEAT_LABELS), indices)]
    return named


def record_confusion(record: TrainingRecord, found: Found) -> Confusion:
    """EC57 counts of one record, the whole of it."""
    masks: list[Interval] = [(int(start), int(end)) for start, end in record.masked]
    return compare(
        BeatList(np.rint(record.beats).astype(np.int64), _labels(record.labels)),
        BeatList(np.rint(found.place).astype(np.int64), _labels(found.classes.argmax(axis=1))),
        MODEL_FS,
        masks=masks,
    )


def _beats_count(record: TrainingRecord) -> bool:
    """Whether all beats are labelled and none is paced."""
    return record.complete and not bool((record.labels == P).any())


def _rhythm_score(records: Sequence[TrainingRecord], found: Sequence[Found]) -> Score:
    """AF by record: hits, misses and false alarms among records with a rhythm label."""
    pairs = [
        (record.weak_rhythm == 1, float(np.mean(beats.rhythm[:, 1] > beats.rhythm[:, 0])) > AF_SHARE)
        for record, beats in zip(records, found, strict=True)
        if record.weak_rhythm != UNKNOWN and len(beats.place)
    ]
    return Score(
        sum(true and said for true, said in pairs),
        sum(true and not said for true, said in pairs),
        sum(said and not true for true, said in pairs),
    )


def validate(network: Network, windows: Windows, records: Sequence[TrainingRecord]) -> dict[str, float]:
    """Figures by set, such as ``mitdb/V F1``, 0 to 1.

    Recordings without labels do not count; of QRS, V and S neither do those with paced beats, which EC57
    reports apart.
    """
    found = annotate_records(network, windows, records)
    figures: dict[str, float] = {}
    for source in sorted({record.source for record in records}):
        chosen = [
            (record, beats) for record, beats in zip(records, found, strict=True) if record.source == source
        ]
        total = sum((record_confusion(r, f) for r, f in chosen if _beats_count(r)), Confusion.empty())
        for name in ("QRS", "V", "S"):
            score = total.score(name)
            if score.sensitivity is not None:
                figures[f"{source}/{name} F1"] = score.f1 or 0.0
        rhythm = _rhythm_score(*zip(*chosen, strict=True))
        if rhythm.hits + rhythm.misses:
            figures[f"{source}/AF F1"] = rhythm.f1 or 0.0
    return figures
