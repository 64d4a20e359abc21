"""Scores of atrial fibrillation: by episode and duration (as ``epicmp``), by beat, and by record.

Test episodes that lie in reference atrial flutter (``(AFL``) are cut there and do not count as
wrong, as in ``epicmp``. Where a record has only one label, a record is called AF if at least
``RECORD_FRACTION`` of the beats found lie in AFIB episodes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeecg.errors import SignalError
from edgeecg.metrics.beats import Score, ratio

__all__ = [
    "RECORD_FRACTION",
    "EpisodeScore",
    "Stretch",
    "at_beats",
    "beat_score",
    "called_af",
    "compare",
    "record_score",
]

RECORD_FRACTION = 0.5
"""Share of a record's beats in AFIB episodes from which on the record is called AF."""

Stretch = tuple[int, int]
"""First sample of an episode, and the first sample after it."""


@dataclass(frozen=True)
class EpisodeScore:
    """Episodes and seconds of a rhythm; scores of several records add up.

    Parameters
    ----------
    found, missed : int
        Reference episodes that some test episode overlaps, and those that none does.
    right, wrong : int
        Test episodes that overlap some reference episode, and those that overlap none.
    overlap, reference, test : float
        Seconds in both, in the reference, and in the test (excluded rhythms cut out).
    """

    found: int = 0
    missed: int = 0
    right: int = 0
    wrong: int = 0
    overlap: float = 0.0
    reference: float = 0.0
    test: float = 0.0

    def __add__(self, other: EpisodeScore) -> EpisodeScore:
        return EpisodeScore(
            self.found + other.found,
            self.missed + other.missed,
            self.right + other.right,
            self.wrong + other.wrong,
            self.overlap + other.overlap,
            self.reference + other.reference,
            self.test + other.test,
        )

    @property
    def episode_sensitivity(self) -> float | None:
        """Found over all reference episodes."""
        return ratio(self.found, self.found + self.missed)

    @property
    def episode_predictivity(self) -> float | None:
        """Right over all test episodes."""
        return ratio(self.right, self.right + self.wrong)


def compare(
    reference: Sequence[Stretch],
    test: Sequence[Stretch],
    fs: float,
    *,
    start: int = 0,
    end: int,
    exclude: Sequence[Stretch] = (),
) -> EpisodeScore:
    """Score test episodes against reference episodes, ascending and apart in both lists.

    Parameters
    ----------
    reference, test : sequence of (int, int)
    fs : float
        Hertz.
    start, end : int
        The stretch that is compared; episodes are cut to it.
    exclude : sequence of (int, int)
        Reference stretches that test episodes are not judged in (atrial flutter).
    """
    ours = _clip(reference, start, end)
    theirs = _clip(test, start, end)
    judged = [parts for parts in (_cut(episode, exclude) for episode in theirs) if parts]
    found = sum(_overlap([episode], theirs) > 0 for episode in ours)
    right = sum(_overlap(parts, ours) > 0 for parts in judged)
    return EpisodeScore(
        found=found,
        missed=len(ours) - found,
        right=right,
        wrong=len(judged) - right,
        overlap=_overlap(ours, [part for parts in judged for part in parts]) / fs,
        reference=_length(ours) / fs,
        test=sum(_length(parts) for parts in judged) / fs,
    )


def _clip(stretches: Sequence[Stretch], start: int, end: int) -> list[Stretch]:
    cut = [(max(first, start), min(last, end)) for first, last in stretches]
    return [(first, last) for first, last in cut if last > first]


def _cut(episode: Stretch, exclude: Sequence[Stretch]) -> list[Stretch]:
    """The parts of an episode that lie outside the excluded stretches."""
    parts, (first, last) = [], episode
    for begin, stop in exclude:
        if stop <= first or begin >= last:
            continue
        if begin > first:
            parts.append((first, begin))
        first = max(first, stop)
    return [*parts, (first, last)] if last > first else parts


def _overlap(some: Sequence[Stretch], others: Sequence[Stretch]) -> int:
    """Samples that two lists have in common; each list's stretches lie apart."""
    return sum(max(0, min(a[1], b[1]) - max(a[0], b[0])) for a in some for b in others)


def _length(stretches: Iterable[Stretch]) -> int:
    return sum(last - first for first, last in stretches)


def at_beats(beats: NDArray[np.int64], stretches: Sequence[Stretch]) -> NDArray[np.bool_]:
    """Which beats lie in any of the stretches, ``(n,)`` bool."""
    covered = np.zeros(len(beats), dtype=bool)
    for first, last in stretches:
        covered |= (beats >= first) & (beats < last)
    return covered


def beat_score(
    beats: NDArray[np.int64],
    reference: Sequence[Stretch],
    test: Sequence[Stretch],
    exclude: Sequence[Stretch] = (),
) -> Score:
    """AF by beat: at each reference beat, does the test say AFIB? Beats in excluded rhythms are not asked."""
    asked = beats[~at_beats(beats, exclude)]
    true, said = at_beats(asked, reference), at_beats(asked, test)
    return Score(int((true & said).sum()), int((true & ~said).sum()), int((~true & said).sum()))


def called_af(beats: NDArray[np.int64], test: Sequence[Stretch], fraction: float = RECORD_FRACTION) -> bool:
    """The fixed rule: is a record called AF? One without beats is not."""
    if not 0 < fraction <= 1:
        raise SignalError(f"the share of beats that makes a record AF must be in (0, 1], not {fraction}")
    return len(beats) > 0 and float(at_beats(beats, test).mean()) >= fraction


def record_score(true: bool, called: bool) -> Score:
    """The hit, miss or false alarm of one record: is it labelled AF, and is it called AF?"""
    return Score(int(true and called), int(true and not called), int(called and not true))
