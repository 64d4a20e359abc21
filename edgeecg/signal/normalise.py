"""Slow causal gain control: the signal over its recent mean absolute value.

The level has a floor in millivolts, so the microvolts of a lead that is off are not blown up into
beats. A weak prior stands in for the past at the start; it is forgotten within half a second.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import scipy.signal
from numpy.typing import NDArray

from edgeecg.specs import MODEL_FS, SignalSpec

__all__ = ["GainControl", "GainState"]

PRIOR_LEVEL = 0.10  # mV, mean absolute value of a band-passed chest lead
PRIOR_SECONDS = 0.15


class GainState(NamedTuple):
    """``level``: decayed sum per row ``(rows, 1)``; ``weight``: decayed count per row, same shape."""

    level: NDArray[np.float64]
    weight: NDArray[np.float64]


@dataclass(frozen=True)
class GainControl:
    """Exponential mean of ``|x|`` with bias correction.

    Parameters
    ----------
    spec : SignalSpec
        ``gain_seconds``, ``gain_floor`` (mV) and ``clip``.
    """

    spec: SignalSpec

    latency = 0

    @cached_property
    def decay(self) -> float:
        """Weight of the past per model sample."""
        return float(np.exp(-1 / (self.spec.gain_seconds * MODEL_FS)))

    def initial(self, rows: int) -> GainState:
        """State before the first sample: the prior."""
        weight = np.full((rows, 1), self.decay * PRIOR_SECONDS * MODEL_FS)
        return GainState(weight * PRIOR_LEVEL, weight)

    def step(self, x: NDArray[np.float64], state: GainState) -> tuple[NDArray[np.float64], GainState]:
        """Normalise ``(rows, n)`` millivolts to units of their level, clipped."""
        if x.shape[-1] == 0:
            return x, state
        past = [1.0, -self.decay]
        level, next_level = scipy.signal.lfilter([1.0], past, np.abs(x), zi=state.level)
        # The weight of rows that run for a while is one and the same number: worked out once then.
        same = state.weight[:1] if (state.weight == state.weight[:1]).all() else state.weight
        weight, next_weight = scipy.signal.lfilter([1.0], past, np.ones((len(same), x.shape[1])), zi=same)
        mean = np.maximum(level / weight, self.spec.gain_floor)
        y = np.clip(x / mean, -self.spec.clip, self.spec.clip)
        return y, GainState(next_level, np.broadcast_to(next_weight, next_level.shape))
