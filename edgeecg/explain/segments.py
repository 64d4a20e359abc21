"""The parts of a beat that a cardiologist names: P, PR, QRS, ST, T, and the intervals before and after.

Boundaries are found on the network's input (128 Hz, band-passed): good to a sample or two (8 to 16 ms),
enough to say which part of a beat mattered, not to measure a PR interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeecg.explain.question import AFIB, Question
from edgeecg.explain.trace import Trace
from edgeecg.specs import MODEL_FS

__all__ = ["WAVES", "Landmarks", "Segment", "delineate", "landmarks", "segments"]

WAVES = ("P", "PR", "QRS", "ST", "T")
"""Parts of a beat in the order of time."""

Signal = NDArray[np.float64]
QUIET = 0.12  # share of the steepest slope below which the QRS has not begun or is over
SEARCH = 0.08  # s around the model's R peak in which the steepest slope lies
QRS_BEFORE, QRS_AFTER = 0.11, 0.16  # s, the longest reach of a QRS around its steepest slope
P_BEFORE = 0.24  # s before the QRS in which a P wave is looked for
P_HALF = 0.055  # s, half a P wave
P_USUAL = 0.13  # s from a P wave's peak to the QRS, where no peak is to be seen
ST_LEAST = 0.04  # s from the end of the QRS to a T wave's start, at least
T_SPAN = 0.55  # s after the QRS in which a T wave ends, at an RR interval of one second
T_HALF = 0.11  # s, half a T wave, likewise


@dataclass(frozen=True)
class Landmarks:
    """Boundaries of one beat, samples of the trace: each wave ends where the next part begins."""

    p: int
    pr: int
    qrs: int
    st: int
    t: int
    end: int

    def span(self, wave: str) -> tuple[int, int]:
        """Start and stop of one of ``WAVES``."""
        bounds = (self.p, self.pr, self.qrs, self.st, self.t, self.end)
        place = WAVES.index(wave)
        return bounds[place], bounds[place + 1]


@dataclass(frozen=True)
class Segment:
    """One part of the input.

    Parameters
    ----------
    name : str
        ``P``, ``QRS``, ``RR before`` and so on.
    spans : tuple of (int, int)
        Samples of the question's live stretch, over all leads.
    intervals : tuple of int
        Indices of the question's intervals.
    """

    name: str
    spans: tuple[tuple[int, int], ...] = ()
    intervals: tuple[int, ...] = ()


def _seconds(value: float) -> int:
    return round(value * MODEL_FS)


def delineate(signal: Signal, place: float, earliest: float, latest: float) -> Landmarks:
    """Boundaries of the beat at ``place``.

    Parameters
    ----------
    signal : (n,)
        One lead of the network's input.
    place : float
        R peak as the model has it.
    earliest, latest : float
        R peaks of the beats before and after, or the ends of the signal.
    """
    qrs, st = _qrs(signal, place)
    back, ahead = qrs - earliest, latest - st
    p_from = max(int(earliest + 0.5 * back), qrs - _seconds(P_BEFORE), 0)
    peak = _peak(signal, p_from, qrs - 2, default=qrs - _seconds(P_USUAL))
    p = max(p_from, peak - _seconds(P_HALF))
    pr = min(max(p + 1, peak + _seconds(P_HALF)), qrs)
    pace = np.sqrt(np.clip(min(back, ahead) / MODEL_FS, 0.3, 1.2))
    t_from, t_to = st + _seconds(ST_LEAST), int(min(st + _seconds(T_SPAN * pace), latest - 0.12 * ahead))
    top = _peak(signal, t_from, min(t_to, len(signal)), default=st + _seconds(0.2 * pace))
    half = _seconds(T_HALF * pace)
    t = max(t_from, top - half)
    end = min(max(t + 1, top + half), len(signal), int(latest))
    return Landmarks(p, pr, qrs, st, min(t, end), max(end, t))


def _qrs(signal: Signal, place: float) -> tuple[int, int]:
    """Start and end of the QRS: where the slope is steep around its steepest place."""
    steep = np.convolve(np.abs(np.diff(signal, prepend=signal[0])), np.ones(3) / 3, mode="same")
    reach = _seconds(SEARCH)
    low, high = max(0, int(place) - reach), min(len(signal), int(place) + reach + 1)
    centre = low + int(np.argmax(steep[low:high]))
    limit = QUIET * steep[centre]
    first, last = max(0, centre - _seconds(QRS_BEFORE)), min(len(signal) - 1, centre + _seconds(QRS_AFTER))
    active = np.flatnonzero(steep[first : last + 1] >= limit) + first
    before, after = active[active <= centre][::-1], active[active >= centre]
    return int(_run_end(before)), int(_run_end(after)) + 1


def _run_end(places: NDArray[np.int64]) -> int:
    """Last of the places that follow each other without a pause of more than two samples."""
    breaks = np.flatnonzero(np.abs(np.diff(places)) > 3)
    return int(places[breaks[0]] if len(breaks) else places[-1])


def _peak(signal: Signal, start: int, stop: int, default: int) -> int:
    """Sample that departs most from the line between the ends, if it departs from them at all."""
    if stop - start < 5:
        return default
    cut = signal[start:stop]
    away = np.abs(cut - np.linspace(cut[0], cut[-1], len(cut)))
    best = int(np.argmax(away))
    return start + best if 0 < best < len(cut) - 1 else default


def landmarks(trace: Trace, beat: int) -> Landmarks:
    """Boundaries of a beat of a trace, on the lead that it was heard by."""
    lead = int(np.argmax(trace.share[:, trace.token[beat]]))
    signal = trace.signal[lead].astype(np.float64)
    earliest = trace.place[beat - 1] if beat else 0.0
    latest = trace.place[beat + 1] if beat + 1 < len(trace) else float(signal.size)
    return delineate(signal, float(trace.place[beat]), float(earliest), float(latest))


def segments(question: Question) -> tuple[Segment, ...]:
    """The parts of a question's input: each sample and each interval belongs to exactly one.

    For a beat: its waves, what follows and what precedes them, the intervals before and (where the model
    knew it) after the beat, and the older intervals. For a rhythm the waves and intervals of all target
    beats are taken together.
    """
    marks = [landmarks(question.trace, int(beat)) for beat in question.targets]
    length = question.live.stop - question.live.start
    owner = np.zeros(length, dtype=np.int64)  # 0: earlier
    names = ["earlier beats", *WAVES, "after T"]
    first = marks[0].p - question.live.start
    owner[max(0, first) :] = len(names) - 1
    for mark in marks:
        for wave in WAVES:
            start, stop = (int(np.clip(b - question.live.start, 0, length)) for b in mark.span(wave))
            owner[start:stop] = names.index(wave)
    between = "after T" if len(marks) == 1 else "between beats"
    found = [
        Segment(between if name == "after T" else name, _spans(owner == number))
        for number, name in enumerate(names)
        if (owner == number).any()
    ]
    return (*found, *_interval_segments(question))


def _interval_segments(question: Question) -> tuple[Segment, ...]:
    """Intervals at the targets, and those before."""
    count = question.table.count
    own = [question.interval_of(int(beat)) for beat in question.targets]
    own = [index for index in own if 0 <= index < count]
    after = list(range(max(own) + 1, count)) if own else []
    older = [index for index in range(count) if index not in own and index not in after]
    name = "RR intervals" if question.label == AFIB else "RR before"
    parts: Sequence[tuple[str, list[int]]] = ((name, own), ("RR after", after), ("RR earlier", older))
    return tuple(Segment(title, (), tuple(indices)) for title, indices in parts if indices)


def _spans(mask: NDArray[np.bool_]) -> tuple[tuple[int, int], ...]:
    """Runs of true."""
    edges = np.flatnonzero(np.diff(np.pad(mask.astype(np.int8), 1)))
    return tuple((int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True))
