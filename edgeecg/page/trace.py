"""A stretch of ECG as inline SVG, with the beats that were told in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["STYLE", "trace"]

WIDTH, HEIGHT = 480, 110
WORDS = 17  # pixels above the trace, for the labels of the beats
COLUMNS = 400
LEAST = 1.0  # mV that the height shows at least: noise is not blown up to the size of beats

STYLE = """
.ecg { stroke: var(--ink); stroke-width: 1.1; fill: none; } .second { stroke: var(--line); }
.scale { stroke: var(--soft); stroke-width: 2; }
svg .N { fill: var(--soft); } svg .S { fill: #c58b00; } svg .V { fill: #d43d3d; font-weight: 700; }
svg .F { fill: #a04fc0; } svg .P { fill: var(--a); }
"""


def trace(signal: ArrayLike, fs: float, beats: Iterable[tuple[float, str]], title: str) -> str:
    """The picture.

    Parameters
    ----------
    signal : (n,) millivolts
        NaN where samples are missing: the line has a hole there.
    fs : float
        Samples a second.
    beats : iterable of (sample, label)
        Sample within ``signal``.
    title : str
        For those who cannot see it.
    """
    data = np.asarray(signal, np.float64)
    known = data[np.isfinite(data)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (-LEAST / 2, LEAST / 2)
    spare = max(0.0, LEAST - (high - low)) / 2
    low, high = low - spare, high + spare
    each = (HEIGHT - WORDS - 4) / (high - low)  # pixels of a millivolt
    across = WIDTH / max(len(data), 1)
    parts = [
        f'<line class="second" x1="{x:.0f}" x2="{x:.0f}" y1="{WORDS}" y2="{HEIGHT}"/>'
        for x in np.arange(fs, len(data), fs) * across
    ]
    parts += [
        f'<polyline class="ecg" points="{_points(piece)}"/>'
        for piece in _pieces(data, WORDS + (high - data) * each)
    ]
    parts += [
        f'<text class="{escape(label)}" x="{place * across:.0f}" y="{WORDS - 5}" text-anchor="middle">'
        f"{escape(label)}</text>"
        for place, label in beats
    ]
    parts.append(
        f'<line class="scale" x1="2" x2="2" y1="{HEIGHT - 2 - each:.0f}" y2="{HEIGHT - 2}">'
        "<title>1 mV</title></line>"
    )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>'
    )


def _pieces(data: NDArray[np.float64], y: NDArray[np.float64]) -> list[list[tuple[float, float]]]:
    """Points of the line between holes: of each column the lowest and the highest, in their order."""
    pieces: list[list[tuple[float, float]]] = [[]]
    size = max(1, -(-len(data) // COLUMNS))
    for begin in range(0, len(data), size):
        part = y[begin : begin + size]
        there = np.flatnonzero(np.isfinite(part))
        if not len(there):
            pieces.append([])
            continue
        ends = sorted({int(there[part[there].argmin()]), int(there[part[there].argmax()])})
        pieces[-1] += [((begin + end) * WIDTH / len(data), float(part[end])) for end in ends]
    return [piece for piece in pieces if piece]


def _points(piece: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in piece)
