"""How noisy is a stretch of ECG? Numbers per tick, ratios over a window, one estimate in decibels.

A readable ECG is quiet between its beats, keeps to its baseline and beats with a steady size. The
ratios say how far that holds; none depends on the gain. Functions of arrays alone, each row by itself;
:mod:`edgeecg.signal.quality` is the stage that uses them.

``tools/tune_quality.py`` fits ``WEIGHTS`` and ``OFFSET``, and prints the figures of ``docs/signal.md``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "COLUMNS",
    "OFFSET",
    "SLOT",
    "SPAN",
    "TICK",
    "WEIGHTS",
    "estimate",
    "ratios",
    "steadiness",
    "tick_features",
]

TICK = 64
"""Model samples of a tick, half a second."""

SLOT = 8
"""Model samples of a slot: one token."""

COLUMNS = ("quiet", "sharp", "level", "size", "hum")
"""What a tick leaves behind, all in millivolts: the slope of its fourth quietest and of its steepest
slot, the distance of its mean from zero, its peak-to-peak size, and its mean bend before the filter
(mains hum bends, ECG hardly does)."""

QUIET, SHARP, LEVEL, SIZE, HUM = range(len(COLUMNS))  # `ratios` takes every other one: keep the order

WEIGHTS = (-6.7, -4.4, 7.9)
"""Decibels per unit of each of the first three ratios."""

OFFSET = -21.8
"""Decibels."""

SPAN = 3
"""Ticks that hold a beat of any heart above 40 a minute."""

TINY = 1e-9  # mV; keeps the logarithms finite

Floats = NDArray[np.float64]


def tick_features(resampled: Floats, filtered: Floats) -> Floats:
    """What each tick leaves behind.

    Parameters
    ----------
    resampled, filtered : (rows, 64 * ticks) millivolts

    Returns
    -------
    (rows, 5, ticks), in the order of ``COLUMNS``.
    """
    rows = len(filtered)
    before = np.ascontiguousarray(resampled).reshape(-1, TICK)  # a row and a tick to each line
    after = np.ascontiguousarray(filtered).reshape(-1, TICK)
    slope = np.abs(after[:, 1:] - after[:, :-1])
    step = before[:, 1:] - before[:, :-1]
    slots = np.sort(np.add.reduceat(slope, np.arange(0, TICK - 1, SLOT), axis=1), axis=1) / SLOT
    features: Floats = np.empty((len(after), len(COLUMNS)))
    features[:, QUIET] = slots[:, TICK // SLOT // 2 - 1]
    features[:, SHARP] = slots[:, -1]
    features[:, LEVEL] = np.abs(after.mean(axis=1))
    features[:, SIZE] = after.max(axis=1) - after.min(axis=1)
    features[:, HUM] = np.abs(step[:, 1:] - step[:, :-1]).mean(axis=1)
    return np.moveaxis(features.reshape(rows, -1, len(COLUMNS)), 2, 1)


def ratios(recent: Floats) -> Floats:
    """Logarithms of four ratios over a window of ticks.

    Parameters
    ----------
    recent : (rows, 5, ticks, window)
        NaN in ticks before the beginning.

    Returns
    -------
    (4, rows, ticks): quiet to sharp slopes, wander to size, the weakest second and a half to the strongest
    tick, and quiet slopes to size (what never rests is no ECG).
    """
    known = ~np.isnan(recent[:, QUIET])
    means = np.where(known[:, None], recent[:, QUIET : LEVEL + 1 : 2], 0.0).sum(axis=-1)
    means = means / known.sum(axis=-1)[:, None] + TINY
    quiet, level = means[:, 0], means[:, 1]
    largest = np.fmax.reduce(recent[:, SHARP : SIZE + 1 : 2], axis=-1) + TINY
    sharp, size = largest[:, 0], largest[:, 1]
    weakest = np.fmin.reduce(_spans(recent), axis=-1) + TINY
    steady = np.where(np.isnan(weakest), size, weakest) / size
    return np.asarray(np.log(np.stack([quiet / sharp, level / size, steady, quiet / size])))


def steadiness(recent: Floats, silent: Floats) -> Floats:
    """The third of :func:`ratios`, where a second and a half below ``silent`` is a pause of the heart.

    Parameters
    ----------
    recent : (rows, 5, ticks, window)
    silent : (rows, ticks) millivolts, peak to peak

    Returns
    -------
    (rows, ticks): NaN where there is a pause only.
    """
    spans = _spans(recent)
    weakest = np.fmin.reduce(np.where(spans < silent[..., None], np.nan, spans), axis=-1)
    return np.asarray(np.log((weakest + TINY) / (np.fmax.reduce(recent[:, SIZE], axis=-1) + TINY)))


def _spans(recent: Floats) -> Floats:
    """Peak-to-peak sizes over a second and a half each, which holds a beat of all but a pausing heart."""
    sizes = recent[:, SIZE]
    return np.maximum(np.maximum(sizes[..., :-2], sizes[..., 1:-1]), sizes[..., 2:])


def estimate(logarithms: Floats) -> Floats:
    """Signal-to-noise ratio in the pass band, decibels, from :func:`ratios`."""
    quiet, wander, steady, _ = logarithms
    return np.asarray(WEIGHTS[0] * quiet + WEIGHTS[1] * wander + WEIGHTS[2] * steady + OFFSET)
