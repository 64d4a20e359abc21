"""Missing samples: where they are, how long their runs are, and what is held in their place.

Functions of arrays alone; :mod:`edgeecg.signal.block` says what is done about it. ``run`` is always
the number of missing samples in a row, per lead, just before the first sample of the array.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["LIMIT", "fill_in", "first_gap", "present", "present_rows", "restarts", "runs_after", "trailing"]

LIMIT = 1e9
"""A finite sample beyond this magnitude, in millivolts, counts as missing: no amplifier gives it."""

Mask = NDArray[np.bool_]
Counts = NDArray[np.int64]


def present(samples: NDArray[np.float64]) -> Mask:
    """Where a sample is a number within ``LIMIT``."""
    return np.less_equal(np.abs(samples), LIMIT)  # NaN is not


def present_rows(samples: NDArray[np.float64]) -> Mask:
    """Where at least one lead of ``(n, leads)`` has a sample."""
    return np.asarray(present(samples).any(axis=1))


def first_gap(there: Mask, run: int, hold: int) -> int | None:
    """Index at which a run of missing samples first outgrows ``hold``, if one does.

    Parameters
    ----------
    there : (n,) bool
        Where at least one lead has a sample.
    """
    index = np.arange(len(there))
    lengths = index - np.maximum.accumulate(np.where(there, index, -1 - run))
    over = np.flatnonzero(lengths > hold)
    return int(over[0]) if len(over) else None


def trailing(there: Mask) -> int:
    """Missing samples at the end of ``(n,)``."""
    index = np.flatnonzero(there)
    return len(there) - (int(index[-1]) + 1 if len(index) else 0)


def _last_seen(there: Mask, run: Counts) -> NDArray[np.int64]:
    """Column of each lead's newest sample at every column ``(leads, n)``; negative: before the array."""
    index = np.arange(there.shape[1])
    return np.asarray(np.maximum.accumulate(np.where(there, index, -1 - run[:, None]), axis=1))


def restarts(there: Mask, run: Counts, hold: int) -> tuple[tuple[int, int], ...]:
    """``(lead, column)`` of every sample that comes after more than ``hold`` missing ones of its lead."""
    seen = np.concatenate([-1 - run[:, None], _last_seen(there, run)[:, :-1]], axis=1)
    absent = np.arange(there.shape[1]) - 1 - seen
    lead, column = np.nonzero(there & (absent > hold))
    return tuple(zip(lead.tolist(), column.tolist(), strict=True))


def runs_after(there: Mask, run: Counts) -> Counts:
    """Missing samples in a row at the end of ``(leads, n)``, per lead."""
    return np.asarray(there.shape[1] - 1 - _last_seen(there, run)[:, -1])


def fill_in(samples: NDArray[np.float64], there: Mask, last: NDArray[np.float64]) -> None:
    """Hold each lead's newest value over what is missing of ``(leads, n)``, in place.

    ``last`` holds the value per lead before the first column.
    """
    index = np.maximum.accumulate(np.where(there, np.arange(there.shape[1]), -1), axis=1)
    held = np.take_along_axis(samples, np.maximum(index, 0), axis=1)
    samples[...] = np.where(index >= 0, held, last[:, None])
