"""From WFDB's symbols to the labels of beats and rhythms.

Two mappings of beats exist side by side: that of the literature (de Chazal 2004, after AAMI EC57), which
counts junctional and atrial escape beats as N and is the primary one here, and that of PhysioNet's ``bxb``,
which counts them as S. In the primary one a paced beat is a label of its own, P; AAMI counts it as Q.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeecg.io.record import Annotations, Record

__all__ = ["BXB", "DE_CHAZAL", "P_WAVE", "Reference", "reference_of", "rhythm_intervals", "wave_spans"]

DE_CHAZAL: Mapping[str, str] = {
    **dict.fromkeys("NLRBejn", "N"),
    **dict.fromkeys("AaJS", "S"),
    **dict.fromkeys("VEr", "V"),
    "F": "F",
    **dict.fromkeys("/f", "P"),
    **dict.fromkeys("Q?", "Q"),
}
"""Label of each beat symbol by the literature's convention; Q is a beat that nobody could class."""

BXB: Mapping[str, str] = {
    **dict.fromkeys("NLRB", "N"),
    **dict.fromkeys("AaJSejn", "S"),
    **dict.fromkeys("VEr", "V"),
    "F": "F",
    **dict.fromkeys("/fQ?", "Q"),
}
"""AAMI class of each beat symbol as PhysioNet's ``bxb`` counts it."""

P_WAVE = "p"
WAVE_MARKS = ("(", P_WAVE, "t", "u", ")")  # onsets, peaks and ends
UNREADABLE_START, UNREADABLE_END = "[", "]"  # ventricular flutter or fibrillation: no beats to tell apart
_RHYTHM_NAMES = {"AF": "AFIB", "AFLUT": "AFL"}  # older spellings


OPENING = 10.0
"""Seconds from the start of a record within which the first rhythm mark speaks of its start too."""

JOINT = 0.4
"""Seconds between two marks of waves up to which the same beat, or the next one, has both: a beat that was
passed over takes longer, up to 150 beats a minute."""


@dataclass(frozen=True, eq=False)
class Reference:
    """What is known of a record.

    Parameters
    ----------
    beats : (b,) int64
        Sample of each beat.
    labels : (b,) str
        Label of each: N, S, V, F, P, or Q where its class is not known.
    rhythms : tuple of (int, int, str)
        Rhythm intervals ``[start, end)`` by WFDB's names (``N``, ``AFIB``, ``AFL``, ...), ascending, without
        overlap; empty where no rhythm was annotated, which does not mean that it is normal.
    masked : tuple of (int, int)
        Intervals without beats that could be told apart (ventricular flutter in mitdb 207).
    p_waves : (p,) int64
        Sample of each P wave's peak, where they were annotated (ludb, qtdb, synthetic).
    waves_known : tuple of (int, int), or None
        Intervals whose P waves are all in ``p_waves``, where a set marks the waves of some beats only;
        elsewhere nothing is known of them. ``None``: the whole record, if it has any.
    """

    beats: NDArray[np.int64]
    labels: NDArray[np.str_]
    rhythms: tuple[tuple[int, int, str], ...]
    masked: tuple[tuple[int, int], ...]
    p_waves: NDArray[np.int64]
    waves_known: tuple[tuple[int, int], ...] | None = None


def reference_of(
    record: Record,
    mapping: Mapping[str, str] = DE_CHAZAL,
    *,
    classed: bool = True,
    opening: float = OPENING,
) -> Reference:
    """Read a record's annotations by a mapping.

    Parameters
    ----------
    record : Record
        Without annotations it has no beats and no rhythms.
    mapping : mapping of str to str
        ``DE_CHAZAL`` or ``BXB``.
    classed : bool
        Whether the beat symbols were checked for their class; if not, all beats are Q.
    opening : float
        As in :func:`rhythm_intervals`, in seconds.
    """
    marks = record.annotations if record.annotations is not None else Annotations([], [])
    beats = marks.beats()
    labels = [mapping[symbol] if classed else "Q" for symbol in beats.symbol.tolist()]
    return Reference(
        beats=beats.sample,
        labels=np.array(labels, dtype=np.str_),
        rhythms=rhythm_intervals(marks, len(record), round(opening * record.fs)),
        masked=_masked(marks, len(record)),
        p_waves=marks.sample[marks.symbol == P_WAVE],
    )


def rhythm_intervals(marks: Annotations, n: int, opening: int = 0) -> tuple[tuple[int, int, str], ...]:
    """Rhythm intervals from the changes (``+`` with aux ``(NAME``) in a record of ``n`` samples.

    A first mark within the first ``opening`` samples counts from sample 0: annotators set it at the first
    beat. A later one begins where it stands, as an episode that begins in the record does.
    """
    changes = [
        (int(sample), aux[1:].strip("\0 "))
        for sample, symbol, aux in zip(marks.sample, marks.symbol, marks.aux, strict=True)
        if symbol == "+" and aux.startswith("(")
    ]
    if not changes:
        return ()
    starts = [*(sample for sample, _ in changes), n]
    if starts[0] <= opening:
        starts[0] = 0
    names = [_RHYTHM_NAMES.get(name, name) for _, name in changes]
    return tuple(
        (start, end, name)
        for start, end, name in zip(starts[:-1], starts[1:], names, strict=True)
        if end > start
    )


def wave_spans(marks: Annotations, fs: float) -> tuple[tuple[int, int], ...]:
    """Intervals of beats whose waves were marked, from a first mark to a last one; ``fs`` in hertz."""
    at = marks.sample[np.isin(marks.symbol, WAVE_MARKS)]
    parts = np.split(at, np.flatnonzero(np.diff(at) > JOINT * fs) + 1)
    return tuple((int(part[0]), int(part[-1])) for part in parts if len(part))


def _masked(marks: Annotations, n: int) -> tuple[tuple[int, int], ...]:
    """Intervals between ``[`` and ``]``; one that is not closed reaches to the end."""
    intervals: list[tuple[int, int]] = []
    begun: int | None = None
    for sample, symbol in zip(marks.sample.tolist(), marks.symbol.tolist(), strict=True):
        if symbol == UNREADABLE_START and begun is None:
            begun = sample
        elif symbol == UNREADABLE_END and begun is not None:
            intervals.append((begun, sample))
            begun = None
    if begun is not None:
        intervals.append((begun, n))
    return tuple(intervals)
