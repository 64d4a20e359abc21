"""Changes to one real beat: when it comes, how wide its QRS is, how tall its waves are.

The generator's own variables, applied to a recording: a beat is moved by stretching the quiet stretches
around it, widened by stretching time inside the QRS, given a P wave by adding the patient's usual one. They
act on any grid: on the network's input, where thousands of versions are asked at once, and on the source's
millivolts, where the deployed path then has to agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from edgeecg.errors import ConfigError

__all__ = ["Edit", "Place", "apply", "limits"]

LEAST = 0.25  # share of its length that a quiet stretch keeps, and a neighbour of a widened QRS
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Edit:
    """How a beat is changed; the default changes nothing.

    Parameters
    ----------
    timing : float
        Seconds by which it comes later.
    width : float
        Factor on the length of the QRS.
    p : float
        Usual P waves that are added (negative: taken away).
    t, r : float
        Factors on the height of T wave and QRS.
    """

    timing: float = 0.0
    width: float = 1.0
    p: float = 0.0
    t: float = 1.0
    r: float = 1.0


@dataclass(frozen=True, eq=False)
class Place:
    """Where a beat lies on a grid, and what a P wave of this patient looks like on it.

    Parameters
    ----------
    fs : float
        Rate of the grid.
    quiet : float
        End of the T wave of the beat before.
    p, qrs, peak, st, t, end : float
        Boundaries as in ``segments.Landmarks``, and the R peak.
    next_p : float
        Start of the next beat's P wave.
    usual_p : (leads, n)
        A usual P wave, zero at both ends, that ends where the QRS begins.
    """

    fs: float
    quiet: float
    p: float
    qrs: float
    peak: float
    st: float
    t: float
    end: float
    next_p: float
    usual_p: Array

    def on(self, ratio: float, offset: float) -> Place:
        """The same place on a grid of ``ratio`` samples per sample that begins ``offset`` of them before."""
        names = ("quiet", "p", "qrs", "peak", "st", "t", "end", "next_p")
        moved = {name: getattr(self, name) * ratio + offset for name in names}
        old = np.arange(self.usual_p.shape[1]) - self.usual_p.shape[1]
        count = round(self.usual_p.shape[1] * ratio)
        new = (np.arange(count) - count) / ratio
        wave = np.stack([np.interp(new, old, row) for row in self.usual_p])
        return replace(self, fs=self.fs * ratio, usual_p=wave, **moved)


def limits(place: Place) -> dict[str, tuple[float, float]]:
    """Least and greatest value of each part of an edit: no stretch gets shorter than a quarter of itself."""
    shrink = 1 - LEAST
    before, after = place.p - place.quiet, place.next_p - place.end
    sides = ((place.qrs - place.p, place.peak - place.qrs), (place.t - place.st, place.st - place.peak))
    widest = min(1 + shrink * max(room, 0) / max(half, 1e-9) for room, half in sides)
    return {
        "timing": (-shrink * max(before, 0) / place.fs, shrink * max(after, 0) / place.fs),
        "width": (LEAST, max(1.0, widest)),
        "p": (-2.0, 2.0),
        "t": (-2.0, 3.0),
        "r": (0.2, 3.0),
    }


def apply(signal: Array, place: Place, edit: Edit) -> Array:
    """An edited copy of ``(leads, n)`` samples; all but the beat and the stretches around it stay.

    Raises
    ------
    ConfigError
        If the edit is beyond :func:`limits`.
    """
    for name, (low, high) in limits(place).items():
        if not low - 1e-6 <= getattr(edit, name) <= high + 1e-6:
            raise ConfigError(
                f"the {name} of this beat can be edited from {low:.2f} to {high:.2f}, "
                f"not to {getattr(edit, name):.2f}"
            )
    edited = signal.copy()
    _scale(edited, place.t, place.end, edit.t)
    _scale(edited, place.qrs, place.st, edit.r)
    _add_p(edited, place, edit.p)
    return _warped(edited, *_knots(place, edit))


def _scale(signal: Array, start: float, stop: float, factor: float) -> None:
    """Multiply a wave's departure from the line between its ends."""
    a, b = max(0, round(start)), min(signal.shape[1], round(stop) + 1)
    if factor == 1.0 or b - a < 3:
        return
    line = np.linspace(signal[:, a], signal[:, b - 1], b - a, axis=1)
    signal[:, a:b] = line + factor * (signal[:, a:b] - line)


def _add_p(signal: Array, place: Place, amount: float) -> None:
    stop = round(place.qrs)
    start = max(0, stop - place.usual_p.shape[1])
    if amount and stop > start:
        signal[:, start:stop] += amount * place.usual_p[:, start - stop :]


def _knots(place: Place, edit: Edit) -> tuple[Array, Array]:
    """Times of the old signal, and where each of them is in the new one."""
    shift = edit.timing * place.fs
    peak = place.peak
    begin, over = peak + edit.width * (place.qrs - peak), peak + edit.width * (place.st - peak)
    pairs: Sequence[tuple[float, float]] = (
        (place.quiet, place.quiet),
        (place.p, place.p + shift),
        (place.qrs, begin + shift),
        (peak, peak + shift),
        (place.st, over + shift),
        (max(place.t, place.st), max(place.t, place.st) + shift),
        (place.end, place.end + shift),
        (place.next_p, place.next_p),
    )
    kept = [pairs[0]]
    for pair in pairs[1:]:
        if pair[0] > kept[-1][0] + 0.5 and pair[1] > kept[-1][1]:
            kept.append(pair)
    old, new = (np.array(side) for side in zip(*kept, strict=True))
    return old, new


def _warped(signal: Array, old: Array, new: Array) -> Array:
    """The signal with its time bent between the first and the last knot."""
    if np.allclose(old, new):
        return signal
    first, last = max(0, int(np.ceil(new[0]))), min(signal.shape[1] - 1, int(np.floor(new[-1])))
    at = np.interp(np.arange(first, last + 1), new, old)
    low, high = max(0, first - 8), min(signal.shape[1], last + 9)
    spline = CubicSpline(np.arange(low, high), signal[:, low:high], axis=1)
    warped: Array = signal.copy()
    warped[:, first : last + 1] = spline(np.clip(at, low, high - 1))
    return warped
