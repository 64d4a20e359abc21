"""What was true of a record, what was said of it, and all scores of the one against the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgeecg.metrics import rhythm, runs
from edgeecg.metrics.beats import BeatList, Confusion, Score, confusion
from edgeecg.metrics.match import LEARNING, Interval, match
from edgeecg.metrics.rhythm import EpisodeScore, Stretch
from edgeecg.specs import AAMI, Beat, Event, Rhythm

__all__ = [
    "PERIODS",
    "Judged",
    "RecordScores",
    "Said",
    "Truth",
    "said_by_events",
    "score",
]

PERIODS = {"whole record": 0.0, "from 5 min": LEARNING}
"""What is compared: the name of the figure, and the seconds it leaves out at the start."""


@dataclass(frozen=True, eq=False)
class Truth:
    """Reference of one record.

    Parameters
    ----------
    record, patient : str
    fs : float
        Hertz.
    length : int
        Samples of the record.
    sample : (n,) int64
        Its beats.
    labels : mapping of str to (n,) str
        AAMI class of each beat, under each mapping's name, the primary one first. Empty where beats
        are not annotated.
    masks : tuple of (int, int)
        Ventricular flutter or fibrillation.
    af, af_excluded : tuple of (int, int), or None
        Atrial fibrillation, and atrial flutter; ``None`` where rhythm is not annotated.
    af_record : bool or None
        Whether the record as a whole is labelled AF; ``None`` without such a label.
    paced : bool
        Whether any beat is paced: EC57 reports such records apart.
    classed : bool
        Whether its beats were checked for their class; if not, only QRS and rhythm are scored.
    """

    record: str
    patient: str
    fs: float
    length: int
    sample: NDArray[np.int64]
    labels: Mapping[str, NDArray[np.str_]]
    masks: tuple[Interval, ...] = ()
    af: tuple[Stretch, ...] | None = None
    af_excluded: tuple[Stretch, ...] = ()
    af_record: bool | None = None
    paced: bool = False
    classed: bool = True


@dataclass(frozen=True, eq=False)
class Said:
    """What an annotator says of one record.

    Parameters
    ----------
    sample : (m,) int64
    labels : mapping of str to (m,) str
        As in :class:`Truth`.
    probability : (m,) float or None
        Of each beat's label, where it is told.
    af : tuple of (int, int)
        Atrial fibrillation.
    masks : tuple of (int, int)
        Ventricular flutter or fibrillation, if it tells any; no beat lies in it.
    """

    sample: NDArray[np.int64]
    labels: Mapping[str, NDArray[np.str_]]
    probability: NDArray[np.float64] | None = None
    af: tuple[Stretch, ...] = ()
    masks: tuple[Interval, ...] = ()


@dataclass(frozen=True, eq=False)
class Judged:
    """Matched beats with their probability: ``(n,)`` probability, label said, label true."""

    probability: NDArray[np.float64]
    said: NDArray[np.str_]
    true: NDArray[np.str_]


@dataclass(frozen=True, eq=False)
class RecordScores:
    """All scores of one record; ``None`` where the reference does not allow one.

    ``beats`` is keyed by mapping and period, ``runs`` by mapping (whole record).
    """

    record: str
    patient: str
    beats: Mapping[tuple[str, str], Confusion]
    runs: Mapping[str, runs.Runs]
    judged: Judged | None
    episodes: EpisodeScore | None
    af_beats: Score | None
    af_record: tuple[bool, bool] | None
    paced: bool = False


def said_by_events(events: Sequence[Event], mappings: Sequence[str], length: int) -> Said:
    """What a stream of events says; their labels are AAMI's already, whatever the mapping."""
    beats = sorted((e for e in events if isinstance(e, Beat)), key=lambda beat: beat.sample)
    label = np.array([AAMI[beat.label] for beat in beats], np.str_)
    rhythms = {
        e.start: e for e in events if isinstance(e, Rhythm) and e.label == "AFIB"
    }  # the end is told last
    return Said(
        np.array([beat.sample for beat in beats], np.int64),
        dict.fromkeys(mappings, label),
        np.array([beat.probability for beat in beats], np.float64),
        tuple((start, length if e.end is None else e.end) for start, e in sorted(rhythms.items())),
    )


def score(true: Truth, said: Said, *, af_fraction: float = rhythm.RECORD_FRACTION) -> RecordScores:
    """Every score of one record that its reference allows.

    Parameters
    ----------
    true : Truth
    said : Said
        With labels under the names of the reference's mappings.
    af_fraction : float
        Share of beats in AFIB episodes from which on the record counts as called AF.
    """
    beats: dict[tuple[str, str], Confusion] = {}
    judged = None
    if not true.classed:  # no class of the test can be right or wrong
        said = replace(said, labels={name: np.full(len(said.sample), "Q") for name in said.labels})
    for period, skipped in PERIODS.items() if true.labels else ():
        start = round(skipped * true.fs)
        if start >= true.length:
            continue
        found = match(true.sample, said.sample, true.fs, start=start, end=true.length - 1, masks=true.masks)
        for name in true.labels:
            beats[name, period] = confusion(true.labels[name], said.labels[name], found)
        if start == 0 and said.probability is not None and true.classed:
            primary = next(iter(true.labels))
            ours, theirs = found.pairs.T
            judged = Judged(
                said.probability[theirs], said.labels[primary][theirs], true.labels[primary][ours]
            )
    episodes = af_beats = None
    if true.af is not None:
        episodes = rhythm.compare(true.af, said.af, true.fs, end=true.length, exclude=true.af_excluded)
        af_beats = rhythm.beat_score(true.sample, true.af, said.af, true.af_excluded)
    called = None
    if true.af_record is not None:
        called = (true.af_record, rhythm.called_af(said.sample, said.af, af_fraction))
    return RecordScores(
        record=true.record,
        patient=true.patient,
        beats=beats,
        runs={name: _runs(true, said, name) for name in true.labels if true.classed},
        judged=judged,
        episodes=episodes,
        af_beats=af_beats,
        af_record=called,
        paced=true.paced,
    )


def _runs(true: Truth, said: Said, name: str) -> runs.Runs:
    reference = BeatList(true.sample, true.labels[name])
    test = BeatList(said.sample, said.labels[name])
    return runs.compare(
        reference, test, true.fs, end=true.length - 1, masks=true.masks, test_masks=said.masks
    )
