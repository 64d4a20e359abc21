"""Is a signal good, and can it be read at all? The noise estimate with hysteresis; a pause is no noise.

A heart that pauses leaves a second and a half without a beat, which to the estimate looks as unsteady as
beats beside a burst of noise. What tells them apart is the usual size: beside nothing larger than beats
usually are, what lies far below them is silence. Functions of arrays alone; :mod:`edgeecg.signal.quality` is
the stage.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeecg.signal.noise import SIZE, estimate, ratios, steadiness

__all__ = ["LATCH", "Reading", "read"]

LATCH = 3
"""What a row remembers: whether its last tick was good, whether readable, and the usual size, millivolts."""

# Each pair: lost below the first, won at the second.
GOOD_DB = (7.0, 10.0)
READABLE_DB = (-5.0, -3.0)  # low: ventricular flutter looks like noise, and must not be hidden as such
BUSY = -2.66  # logarithm of 0.07: the fastest flutter seen has 0.06, white noise 0.13
SILENT, LOUD = 0.35, 2.0  # of the usual size: below the one nothing beats, above the other lies noise
USUAL_MEMORY = 0.1  # weight of one more good tick in it

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Reading(NamedTuple):
    """``good``, ``readable``, ``snr`` (decibels in the pass band): ``(rows, ticks)``; ``latch`` after it."""

    good: Mask
    readable: Mask
    snr: Floats
    latch: Floats


def read(recent: Floats, latch: Floats) -> Reading:
    """Judge ticks.

    Parameters
    ----------
    recent : (rows, features, ticks, window)
        The features of each tick and of those before it, as `edgeecg.signal.noise.tick_features` makes them.
    latch : (rows, 3)
        What the tick before left; NaN where there was none.
    """
    logarithms = ratios(recent)
    snr = estimate(logarithms)
    good = _latched(snr, GOOD_DB, latch[:, :1])
    usual = _usual(recent, good, latch[:, 2])
    calm = logarithms[3] < BUSY
    held = _latched(_but_for_pauses(snr, logarithms, recent, usual), READABLE_DB, latch[:, 1:2])
    after = np.concatenate([good[:, -1:], held[:, -1:], usual[:, -1:]], axis=1)
    return Reading(good, held & calm, snr, after)


def _latched(value: Floats, bounds: tuple[float, float], before: Floats) -> Mask:
    """True from where ``value`` reaches the upper bound to where it falls below the lower one."""
    low, high = bounds
    above = value >= high
    last = np.where(np.isnan(before), value[:, :1] >= (low + high) / 2, before > 0.5)
    told = np.where(above | (value < low), np.arange(value.shape[1]), -1)  # between the bounds it stays
    since = np.maximum.accumulate(told, axis=1)
    held: Mask = np.where(since < 0, last, above[np.arange(len(value))[:, None], since])
    return held


def _usual(recent: Floats, good: Mask, before: Floats) -> Floats:
    """Size of what is largest in three seconds, as it usually is while that is good: ``(rows, ticks)``."""
    sizes = np.fmax.reduce(recent[:, SIZE], axis=-1)
    usual, last = np.empty(sizes.shape), before
    if len(sizes) < sizes.shape[1]:  # a long block of few rows: numpy's calls would cost most
        for row, now in enumerate(before.tolist()):
            followed = []
            for size, fine in zip(sizes[row].tolist(), good[row].tolist(), strict=True):
                if fine:
                    now = size if math.isnan(now) else now + USUAL_MEMORY * (size - now)
                followed.append(now)
            usual[row] = followed
        return usual
    for tick in range(sizes.shape[1]):
        size = sizes[:, tick]
        new = np.where(np.isnan(last), size, last + USUAL_MEMORY * (size - last))
        last = usual[:, tick] = np.where(good[:, tick], new, last)
    return usual


def _but_for_pauses(snr: Floats, logarithms: Floats, recent: Floats, usual: Floats) -> Floats:
    """The ratio in decibels, where a heart that pauses is not taken for a signal that is unsteady."""
    if not (snr < READABLE_DB[1]).any():
        return snr
    loud = np.fmax.reduce(recent[:, SIZE], axis=-1) > LOUD * usual
    paused = logarithms.copy()
    paused[2] = np.where(loud, np.nan, steadiness(recent, SILENT * usual))
    return np.fmax(snr, estimate(paused))
