"""Where the beats of a recording would be in another rhythm: few patients have each of them.

Early beats (S), bigeminy, groups and runs of them, and what must not be taken for them: sinus arrhythmia, an
accelerating sinus, pauses, a sinus without order, the normal beat after an interpolated V.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeecg.specs import BEAT_LABELS, MODEL_FS

__all__ = ["Replan", "replan"]

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

N, S, V = (BEAT_LABELS.index(label) for label in "NSV")
SHORTEST = 0.26  # seconds; no interval becomes shorter
EARLY = (0.42, 0.92)  # how early a beat is that is made S, as a share of the usual interval
NEAR = 8  # beats on each side whose intervals say what is usual
INTERPOLATED = 0.4  # chance that a piece gets beats after a V that come as if there had been none


@dataclass(frozen=True)
class Replan:
    """Beats at their new places, model samples, with their labels, and which of them were made early."""

    places: Floats
    labels: NDArray[np.int64]
    made: Flags


@dataclass(frozen=True)
class _Stretch:
    """Some beats of a recording, changed in place.

    Parameters
    ----------
    rr : (beats,) seconds
        Interval that ends at each beat.
    usual : (beats,) seconds
        The median of the plain intervals around.
    free : (beats,) bool
        Between two sinus beats: may be changed.
    """

    rr: Floats
    usual: Floats
    free: Flags

    def __len__(self) -> int:
        return len(self.rr)

    def early(self, wanted: Flags, ratio: Floats, pause: Floats) -> Flags:
        """Let beats come at a ratio of the usual interval, and the beats after them after a pause."""
        made = wanted & self.free
        after = np.r_[False, made[:-1]] & self.free & ~made
        self.rr[made] = (self.usual * np.clip(ratio, *EARLY))[made]
        self.rr[after] = (self.usual * pause)[after]
        return made


def _nothing(piece: _Stretch, rng: np.random.Generator) -> Flags:
    return np.zeros(len(piece), bool)


def _single(piece: _Stretch, rng: np.random.Generator) -> Flags:
    """Early beats here and there."""
    count = len(piece)
    wanted = rng.random(count) < rng.uniform(0.02, 0.2)
    return piece.early(wanted, *_prematurity(count, rng))


def _often(piece: _Stretch, rng: np.random.Generator) -> Flags:
    """Bigeminy, or trigeminy and quadrigeminy with or without couplets: a sinus beat follows all of them."""
    count, every = len(piece), int(rng.integers(2, 5))
    wanted = np.arange(count) % every == 0
    if rng.random() < 0.2 and every > 2:
        wanted |= np.r_[False, wanted[:-1]]
    return piece.early(wanted, *_prematurity(count, rng))


def _groups(piece: _Stretch, rng: np.random.Generator) -> Flags:
    """Several early beats after each sinus beat, which comes late: most beats are S, as in a sick sinus."""
    count = len(piece)
    wanted = np.arange(count) % int(rng.integers(2, 8)) != 0
    ratio, pause = _prematurity(count, rng)
    return piece.early(wanted, ratio + rng.normal(0, 0.05, count), pause * rng.uniform(1.0, 1.7))


def _sick(piece: _Stretch, rng: np.random.Generator) -> Flags:
    """Runs of any length at one rate, each ended by a pause and a sinus beat: a sick sinus again."""
    count = len(piece)
    lengths = 1 + np.exp(rng.uniform(0, np.log(rng.uniform(3, 50)), count)).astype(np.int64)
    ends = np.cumsum(lengths)
    wanted = ~np.isin(np.arange(count), ends)
    steady = rng.uniform(0.5, 0.92) * (1 + rng.normal(0, rng.uniform(0.005, 0.08), count))
    pause = rng.uniform(0.9, 1.9) * np.exp(rng.normal(0, 0.12, count))
    return piece.early(wanted, steady * np.median(piece.usual) / piece.usual, pause)


def _prematurity(count: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """How early beats come, and how long the pause after each is: as shares of the usual interval."""
    ratio = rng.uniform(0.5, 0.9) + rng.normal(0, 0.025, count)
    return ratio, rng.uniform(0.97, 1.35) + rng.normal(0, 0.025, count)


def _run(piece: _Stretch, rng: np.random.Generator) -> Flags:
    """A run of early beats at a rate of its own."""
    count = len(piece)
    length, start = int(np.exp(rng.uniform(np.log(3), np.log(120)))), int(rng.integers(count))
    wanted = np.zeros(count, bool)
    wanted[start : start + length] = True
    steady = rng.uniform(0.45, 0.82) * (1 + rng.normal(0, rng.uniform(0.005, 0.05), count))
    return piece.early(
        wanted, steady * np.median(piece.usual) / piece.usual, np.full(count, rng.uniform(0.95, 1.7))
    )


def _breath(piece: _Stretch, rng: np.random.Generator) -> Flags:
    """Sinus arrhythmia."""
    phase = 2 * np.pi * np.cumsum(piece.rr) / rng.uniform(2.5, 8.0) + rng.uniform(0, 2 * np.pi)
    return _scaled(piece, 1 + rng.uniform(0.05, 0.35) * np.sin(phase))


def _faster(piece: _Stretch, rng: np.random.Generator) -> Flags:
    """A sinus that turns faster or slower within some beats."""
    beat = np.arange(len(piece))
    turn = 1 / (1 + np.exp(-(beat - rng.uniform(0, len(piece))) / rng.uniform(3, 15)))
    return _scaled(piece, 1 + (rng.uniform(0.55, 1.5) - 1) * turn)


def _exercise(piece: _Stretch, rng: np.random.Generator) -> Flags:
    """A sinus that quickens over 12 to 60 beats to 100 to 170 a minute, stays there, and calms down again."""
    beat, count = np.arange(len(piece)), len(piece)
    up, down = rng.uniform(12, 60, 2)
    risen = np.minimum(np.minimum(beat / up, (count - 1 - beat) / down), 1)
    share = rng.uniform(0.35, 0.6) / np.median(piece.usual)
    jitter = np.exp(rng.normal(0, rng.uniform(0.002, 0.02), count))
    return _scaled(piece, (1 + (min(share, 1.0) - 1) * risen) * jitter)


def _pauses(piece: _Stretch, rng: np.random.Generator) -> Flags:
    """Beats that come late."""
    paused = rng.random(len(piece)) < rng.uniform(0.02, 0.3)
    return _scaled(piece, np.where(paused, rng.uniform(1.4, 2.6, len(piece)), 1.0))


def _ragged(piece: _Stretch, rng: np.random.Generator) -> Flags:
    """A sinus without order."""
    return _scaled(piece, np.exp(rng.normal(0, rng.uniform(0.05, 0.16), len(piece))))


def _scaled(piece: _Stretch, factor: Floats) -> Flags:
    piece.rr[piece.free] *= factor[piece.free]
    return np.zeros(len(piece), bool)


KINDS: dict[str, tuple[Callable[[_Stretch, np.random.Generator], Flags], float]] = {
    "as it is": (_nothing, 0.12),
    "single": (_single, 0.17),
    "often": (_often, 0.10),
    "groups": (_groups, 0.05),
    "sick sinus": (_sick, 0.12),
    "run": (_run, 0.12),
    "breath": (_breath, 0.10),
    "faster": (_faster, 0.05),
    "exercise": (_exercise, 0.08),
    "pauses": (_pauses, 0.04),
    "ragged": (_ragged, 0.05),
}
"""What may become of a stretch of 8 to 160 beats, and the chance of each."""


def replan(
    places: Floats, labels: NDArray[np.int64], plain: Flags, rng: np.random.Generator, only: str | None = None
) -> Replan:
    """New places for the beats of a piece of a recording.

    Parameters
    ----------
    places : (beats,) model samples, ascending; two at least
    labels : (beats,)
        Index into ``BEAT_LABELS`` or ``UNKNOWN``.
    plain : (beats,) bool
        Sinus beats, known or believed to be: only these are moved and become S.
    only : str, optional
        Name of ``KINDS``: this rhythm all through in place of stretches of any, and nothing else is moved.
    """
    intervals = np.diff(places, prepend=places[0] - MODEL_FS) / MODEL_FS
    free = plain & np.r_[False, plain[:-1]]
    whole = _Stretch(intervals.copy(), _usual(intervals, free), free)
    labels, made = labels.copy(), np.zeros(len(places), bool)
    kinds, chances = zip(*KINDS.values(), strict=True) if only is None else ([KINDS[only][0]], [1.0])
    begin = 1
    while begin < len(places):
        part = slice(begin, begin + int(np.exp(rng.uniform(np.log(8), np.log(160)))))
        bend = kinds[int(rng.choice(len(kinds), p=chances))]
        made[part] = bend(_Stretch(whole.rr[part], whole.usual[part], free[part]), rng)
        begin = part.stop
    labels[made] = S
    if only is None and rng.random() < INTERPOLATED:
        _interpolate(whole, labels, plain, rng)
    least = np.where(whole.rr != intervals, np.minimum(SHORTEST, intervals), 0)
    rr = np.maximum(whole.rr, least)
    return Replan(places[0] + MODEL_FS * (np.cumsum(rr) - rr[0]), labels, made)


def _usual(intervals: Floats, free: Flags) -> Floats:
    """The median of the free intervals around each beat, seconds; of all where there are none near."""
    usual: Floats = np.array(intervals, dtype=np.float64)
    if not free.any():
        return usual
    known = np.pad(np.where(free, intervals, np.nan), NEAR, constant_values=np.nan)
    around = np.lib.stride_tricks.sliding_window_view(known, 2 * NEAR + 1)
    some = np.isfinite(around).any(axis=1)
    usual[:] = np.median(intervals[free])
    usual[some] = np.nanmedian(around[some], axis=1)
    return usual


def _interpolate(piece: _Stretch, labels: NDArray[np.int64], plain: Flags, rng: np.random.Generator) -> None:
    """Let sinus beats after a V come when they would have come without it, in place."""
    after_v = np.flatnonzero(plain[2:] & (labels[2:] == N) & (labels[1:-1] == V) & plain[:-2]) + 2
    after_v = after_v[rng.random(len(after_v)) < rng.uniform(0.2, 1)]
    usual = piece.usual[after_v]
    piece.rr[after_v - 1] = np.minimum(piece.rr[after_v - 1], rng.uniform(0.42, 0.6) * usual)
    piece.rr[after_v] = np.maximum(rng.uniform(1.0, 1.15) * usual - piece.rr[after_v - 1], 0.45 * usual)
