"""Ticks of a source signal that are cut off, stand still, or stand at a rail."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Extremes", "extremes"]

CONSTANT = 0.9  # share of samples that equal the one before
CLIP_NEAR, CLIP_RANGE_MV = 0.05, 0.2

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Counts = NDArray[np.int64]


class Extremes(NamedTuple):
    """Each ``(rows, ticks)``: ``clipped`` at an extreme value, ``constant``, ``at_rail`` with a value."""

    clipped: Mask
    constant: Mask
    at_rail: Mask


def extremes(
    source: Floats, starts: Counts, lengths: Counts, plateau_samples: int, rails: tuple[float, float]
) -> Extremes:
    """Judge ticks that begin at these samples.

    Parameters
    ----------
    source : (rows, n)
        Millivolts, of whole ticks.
    starts, lengths : (ticks,)
        Samples at which the ticks begin, the first at 0, and how many they are.
    plateau_samples : int
        Samples at an extreme value that make a plateau.
    rails : (float, float)
        Lowest and highest value that the recorder can give, millivolts.
    """
    high = np.maximum.reduceat(source, starts, axis=1)
    low = np.minimum.reduceat(source, starts, axis=1)
    near = CLIP_NEAR * (high - low)
    same = np.zeros(source.shape, dtype=bool)  # as the sample before, in the same tick
    same[:, 1:] = source[:, 1:] == source[:, :-1]
    same[:, starts] = False
    at_high = _count(same & (source == _spread(high, lengths)), starts) + 1
    at_low = _count(same & (source == _spread(low, lengths)), starts) + 1
    by_high = _count(source >= _spread(high - near, lengths), starts)
    by_low = _count(source <= _spread(low + near, lengths), starts)
    plateau = ((at_high >= plateau_samples) & (2 * at_high > by_high)) | (
        (at_low >= plateau_samples) & (2 * at_low > by_low)
    )
    constant = _count(same, starts) >= CONSTANT * (lengths - 1)
    at_rail = (low <= rails[0]) | (high >= rails[1])
    return Extremes(plateau & (high - low > CLIP_RANGE_MV), constant, at_rail)


def _spread(values: Floats, lengths: Counts) -> Floats:
    """One value per tick to one per source sample; a single tick broadcasts."""
    return values if len(lengths) == 1 else np.repeat(values, lengths, axis=1)


def _count(mask: Mask, starts: Counts) -> Counts:
    """True samples per tick."""
    return np.asarray(np.add.reduceat(mask, starts, axis=1, dtype=np.int64))
