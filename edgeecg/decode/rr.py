"""RR intervals as the beat encoder reads them: one row of features per decision.

Every reference is causal: the median of the eight intervals before, a mean of the thirty-two before,
the interval before. The next interval is known only when its beat was settled by the decision.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgeecg.decode.peaks import REACH
from edgeecg.specs import MODEL_FS, RR_FEATURES

__all__ = ["HISTORY", "RR_RANGE", "median", "past_intervals", "rr_features", "rr_of"]

HISTORY = 32
"""Intervals before the current one that a decision looks at."""

SHORT = 8
RR_RANGE = (0.15, 3.0)  # seconds; beyond it an interval says no more than "very short" or "a pause"


def past_intervals(times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intervals that end at each beat and the ``HISTORY`` before: ``(beats, HISTORY + 1)``, oldest first.

    Parameters
    ----------
    times : (beats,) seconds, ascending

    Returns
    -------
    Seconds; NaN where there is no beat before.
    """
    intervals = np.full(HISTORY + len(times), np.nan)
    intervals[HISTORY + 1 :] = np.diff(times)
    if len(times) == 0:
        return np.empty((0, HISTORY + 1))
    return np.lib.stride_tricks.sliding_window_view(intervals, HISTORY + 1)


def rr_of(place: NDArray[np.float64], patch: int, delay: int) -> NDArray[np.float32]:
    """Features of all beats of a recording, each from what is known when it is decided.

    Parameters
    ----------
    place : (beats,) model samples, ascending
    patch : int
        Model samples per token.
    delay : int
        Decision delay, tokens.

    Returns
    -------
    As :func:`rr_features`.
    """
    token = (place // patch).astype(np.int64)
    following = np.r_[token[1:], np.iinfo(np.int64).max // 2]  # none after the last; REACH is added to it
    known = following + REACH <= token + delay
    gap = np.r_[np.diff(place), np.inf] / MODEL_FS
    waited = np.where(known, gap, delay * patch / MODEL_FS)
    return rr_features(past_intervals(place / MODEL_FS), waited, known)


def median(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Median of each row, NaN left out; NaN where a row has nothing."""
    ordered = np.sort(values, axis=1)  # NaN goes last
    count = np.sum(np.isfinite(values), axis=1)
    last = values.shape[1] - 1
    rows = np.arange(len(values))
    low, high = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, last)
    middle: NDArray[np.float64] = 0.5 * (ordered[rows, low] + ordered[rows, high])
    return middle


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of each row, NaN left out; NaN where a row has nothing."""
    known = np.isfinite(values)
    count = known.sum(axis=1)
    total = np.where(known, values, 0.0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def rr_features(
    intervals: NDArray[np.float64], ahead: NDArray[np.float64], known: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Features of each decision, in the order of ``specs.RR_FEATURES``.

    Parameters
    ----------
    intervals : (beats, HISTORY + 1) seconds
        As :func:`past_intervals` gives them: the last column ends at the beat itself.
    ahead : (beats,) seconds
        The interval to the next beat where ``known``, else the time waited so far.
    known : (beats,) bool
        Whether the next beat was settled by the decision.

    Returns
    -------
    (beats, 8) float32; zeros stand for "no reference yet".
    """
    clipped = np.clip(intervals, *RR_RANGE)
    current, past = clipped[:, -1], clipped[:, :-1]
    short = past[:, -SHORT:]
    usual = median(short)
    reference = np.where(np.isfinite(usual), usual, current)
    jitter = _mean(np.abs(clipped[:, -SHORT:] - short)) / reference
    counted = np.isfinite(intervals).sum(axis=1)
    columns = [
        np.log(current / 0.8),
        np.log(current / usual),
        np.log(current / past[:, -1]),
        np.log(current / _mean(past)),
        np.log1p(4 * jitter),
        np.log(np.clip(ahead, *RR_RANGE) / reference),
        known.astype(np.float64),
        counted / (HISTORY + 1),
    ]
    table = np.stack(columns, axis=1)
    assert table.shape[1] == len(RR_FEATURES)
    features: NDArray[np.float32] = np.where(np.isnan(table), 0.0, table).astype(np.float32)
    return features
