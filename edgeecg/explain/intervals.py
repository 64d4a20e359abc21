"""The RR features of ``decode.rr`` once more, as a differentiable function of the intervals themselves.

The beats' times are frozen; what may vary is each interval between them, so that an interval can carry
relevance as a sample does. The same numbers as ``decode.rr.rr_features``: a test holds them together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgeecg.decode.peaks import REACH
from edgeecg.decode.rr import HISTORY, RR_RANGE, SHORT
from edgeecg.specs import MODEL_FS, ModelSpec

__all__ = ["IntervalTable", "interval_features"]

MISSING = -1


@dataclass(frozen=True, eq=False)
class IntervalTable:
    """Which intervals each beat's features read, as indices into a vector of ``count`` intervals.

    Parameters
    ----------
    past : (beats, HISTORY + 1) int64
        The interval that ends at the beat last; ``MISSING`` where there is none.
    ahead : (beats,) int64
        The interval to the next beat; ``MISSING`` where it was not known at the decision.
    waited : float
        Seconds that stand for an interval that was not known.
    first : int
        Number of the beat at which interval 0 ends.
    count : int
    """

    past: NDArray[np.int64]
    ahead: NDArray[np.int64]
    waited: float
    first: int
    count: int

    @classmethod
    def of(cls, token: NDArray[np.int64], spec: ModelSpec, begin: int, end: int) -> IntervalTable:
        """Table for the beats ``begin`` to ``end`` (left out) of a stretch whose beats lie at ``token``."""
        first = max(1, begin - HISTORY)
        known = token[1:] + REACH <= token[:-1] + spec.delay  # the next beat, at this one's decision
        beats = np.arange(begin, end)
        past = beats[:, None] + np.arange(-HISTORY, 1) - first
        followed = np.array([beat + 1 < len(token) and bool(known[beat]) for beat in beats])
        ahead = np.where(followed, beats + 1 - first, MISSING)
        count = int(max(past.max(), ahead.max())) + 1
        return cls(np.where(past < 0, MISSING, past), ahead, spec.delay * spec.patch / MODEL_FS, first, count)


def interval_features(intervals: Tensor, table: IntervalTable) -> Tensor:
    """Features of each beat.

    Parameters
    ----------
    intervals : (B, count) seconds
        B versions of the same intervals.

    Returns
    -------
    (B, beats, 8), in the order of ``specs.RR_FEATURES``.
    """
    if table.count == 0:  # the first beat of all; the one column is read by nobody
        intervals = torch.ones(len(intervals), 1)
    past = torch.from_numpy(table.past)
    there = past >= 0
    clipped = intervals[:, past.clamp(min=0)].clamp(*RR_RANGE)  # B, beats, HISTORY + 1
    current, before = clipped[..., -1], clipped[..., :-1]
    has_current, has_before = there[:, -1], there[:, :-1]
    median = _median(before[..., -SHORT:], has_before[:, -SHORT:], current)
    jitter = _jitter(clipped[..., -SHORT - 1 :], there[:, -SHORT - 1 :]) / median
    mean = _mean(before, has_before, current)
    following = torch.from_numpy(table.ahead)
    known = following >= 0
    ahead = torch.where(known, intervals[:, following.clamp(min=0)], torch.tensor(table.waited))
    both = has_current & has_before[:, -1]
    zero = torch.zeros(())
    columns = [
        torch.where(has_current, torch.log(current / 0.8), zero),
        torch.where(both, torch.log(current / median), zero),
        torch.where(both, torch.log(current / before[..., -1]), zero),
        torch.where(both, torch.log(current / mean), zero),
        torch.where(both, torch.log1p(4 * jitter), zero),
        torch.where(has_current, torch.log(ahead.clamp(*RR_RANGE) / median), zero),
        known.float().expand_as(current),
        (there.sum(dim=-1).float() / (HISTORY + 1)).expand_as(current),
    ]
    return torch.stack(columns, dim=-1)


def _median(values: Tensor, there: Tensor, default: Tensor) -> Tensor:
    """Median over the last axis of what is there; ``default`` where nothing is."""
    ordered = torch.where(there, values, torch.inf).sort(dim=-1).values
    count = there.sum(dim=-1)
    low, high = (count - 1).clamp(min=0) // 2, (count // 2).clamp(max=values.shape[-1] - 1)
    pick = torch.stack([low, high], dim=-1).expand(*values.shape[:-1], 2)
    middle = ordered.gather(-1, pick).mean(dim=-1)
    return torch.where(count > 0, middle, default)


def _mean(values: Tensor, there: Tensor, default: Tensor) -> Tensor:
    """Mean over the last axis of what is there; ``default`` where nothing is."""
    count = there.sum(dim=-1)
    total = torch.where(there, values, 0.0).sum(dim=-1)
    return torch.where(count > 0, total / count.clamp(min=1), default)


def _jitter(values: Tensor, there: Tensor) -> Tensor:
    """Mean absolute difference of neighbours over the last axis."""
    pairs = there[:, 1:] & there[:, :-1]
    steps = torch.where(pairs, (values[..., 1:] - values[..., :-1]).abs(), 0.0)
    mean: Tensor = steps.sum(dim=-1) / pairs.sum(dim=-1).clamp(min=1)
    return mean
