"""How far a tensor's values reach, for a symmetric INT8 scale: four ways to cut off the tail.

All work on a histogram of absolute values, so calibration data are seen a piece at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from edgeecg.errors import ConfigError, SignalError

__all__ = ["LEVELS", "METHODS", "SMALLEST", "Histogram", "Method", "clip_level"]

Method = Literal["minmax", "percentile", "entropy", "mse"]
METHODS: tuple[Method, ...] = get_args(Method)

LEVELS = 127
"""Steps on each side of zero of a symmetric INT8 scale."""

BINS = 2048
SMALLEST = 1e-8
"""Least clip level: a tensor that is always zero still needs a scale."""


@dataclass
class Histogram:
    """Counts of absolute values in equal bins from 0 to ``limit``, which grows by doubling.

    Parameters
    ----------
    counts : (2048,) int64
    limit : float
        Upper edge of the last bin; 0 before anything was seen.
    largest : float
        Largest absolute value seen.
    """

    counts: NDArray[np.int64]
    limit: float = 0.0
    largest: float = 0.0

    @classmethod
    def empty(cls) -> Histogram:
        """One that has seen nothing."""
        return cls(np.zeros(BINS, np.int64))

    def add(self, values: NDArray[np.floating]) -> None:
        """Count values; raises ``SignalError`` where one is not finite."""
        magnitude = np.abs(values, dtype=np.float64).ravel()
        if not magnitude.size:
            return
        largest = float(magnitude.max())
        if not np.isfinite(largest):
            raise SignalError("a calibration tensor is not finite: the network or its input is broken")
        self.largest = max(self.largest, largest)
        if self.limit == 0.0 and largest > 0:
            self.limit = float(2.0 ** np.ceil(np.log2(largest)))
        while largest > self.limit:
            self.counts = np.concatenate(
                [self.counts.reshape(-1, 2).sum(axis=1), np.zeros(BINS // 2, np.int64)]
            )
            self.limit *= 2
        width = self.limit / BINS or 1.0
        place = np.minimum((magnitude / width).astype(np.int64), BINS - 1)
        self.counts = self.counts + np.bincount(place, minlength=BINS)

    @property
    def centres(self) -> NDArray[np.float64]:
        """Middle of each bin."""
        return np.asarray((np.arange(BINS) + 0.5) * (self.limit / BINS), np.float64)

    def noise(self, level: float) -> float:
        """Signal-to-noise ratio of INT8 with this clip level, dB."""
        values, counts = self.centres, self.counts
        error = float(np.sum(counts * np.square(values - _rounded(values, level))))
        power = float(np.sum(counts * np.square(values)))
        return float(10 * np.log10(power / error)) if error > 0 and power > 0 else np.inf


def clip_level(histogram: Histogram, method: Method, percentile: float = 99.99) -> float:
    """Absolute value that becomes 127.

    Parameters
    ----------
    method : str
        ``minmax`` takes the largest value; ``percentile`` leaves a share beyond; ``entropy`` loses the
        least information (Kullback-Leibler, as TensorRT's calibrator did); ``mse`` makes the least
        squared error.
    percentile : float
        Percent of the values that stay below, for ``percentile``.

    Raises
    ------
    ConfigError
        An unknown method, or a percentile out of range.
    SignalError
        The histogram has seen nothing.
    """
    if not histogram.counts.any():
        raise SignalError("a tensor was never seen: calibrate on records in which beats are found")
    if histogram.largest <= SMALLEST:
        return SMALLEST
    if method == "minmax":
        level = histogram.largest
    elif method == "percentile":
        level = _percentile(histogram, percentile)
    elif method == "entropy":
        level = _entropy(histogram)
    elif method == "mse":
        level = _mse(histogram)
    else:
        raise ConfigError(f"no calibration method {method!r}: choose one of {', '.join(METHODS)}")
    return max(min(float(level), histogram.largest), SMALLEST)


def _rounded(values: NDArray[np.float64], level: float) -> NDArray[np.float64]:
    scale = level / LEVELS
    return np.minimum(np.rint(values / scale), LEVELS) * scale


def _percentile(histogram: Histogram, percentile: float) -> float:
    if not 50 < percentile <= 100:
        raise ConfigError(f"percentile = {percentile}: give more than 50 and at most 100")
    below = np.cumsum(histogram.counts) / histogram.counts.sum()
    index = int(np.searchsorted(below, percentile / 100 - 1e-12))
    return (index + 1) * histogram.limit / BINS


def _mse(histogram: Histogram) -> float:
    """Least squared error over two hundred clip levels."""
    used = np.flatnonzero(histogram.counts)
    values, counts = histogram.centres[used], histogram.counts[used]
    levels = histogram.largest * np.arange(20, 201) / 200
    errors = [float(np.sum(counts * np.square(values - _rounded(values, level)))) for level in levels]
    return float(levels[int(np.argmin(errors))])


def _entropy(histogram: Histogram) -> float:
    """Least divergence between the clipped distribution and what is left of it in 128 levels."""
    counts = histogram.counts.astype(np.float64)
    last = int(np.flatnonzero(counts)[-1]) + 1
    groups = LEVELS + 1
    if last <= groups:
        return histogram.largest
    best, level = np.inf, histogram.largest
    for stop in range(groups, last + 1, max(1, (last - groups) // 256)):
        kept = counts[:stop].copy()
        kept[-1] += counts[stop:].sum()
        owner = np.arange(stop) * groups // stop
        filled = counts[:stop] > 0
        total = np.bincount(owner, counts[:stop], groups)
        share = total / np.maximum(np.bincount(owner, filled, groups), 1)
        coarse = np.where(filled, share[owner], 0.0)
        divergence = _divergence(kept, coarse)
        if divergence < best:
            best, level = divergence, stop * histogram.limit / BINS
    return float(level)


def _divergence(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    """Kullback-Leibler divergence of two histograms, both smoothed where they are empty."""
    p, q = (np.maximum(x / max(x.sum(), 1.0), 1e-12) for x in (p, q))
    p, q = p / p.sum(), q / q.sum()
    return float(np.sum(p * np.log(p / q)))
