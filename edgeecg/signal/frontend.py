"""The stages in line: source millivolts to the network's input on the model grid."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeecg.signal.filter import BandPass, FilterState
from edgeecg.signal.normalise import GainControl, GainState
from edgeecg.signal.resample import Resampler, ResampleState
from edgeecg.specs import SignalSpec

__all__ = ["FrontEnd", "FrontEndState"]


class FrontEndState(NamedTuple):
    """States of the stages; ``filter`` is ``None`` until the first sample primes it."""

    resample: ResampleState
    filter: FilterState | None
    gain: GainState


@dataclass(frozen=True)
class FrontEnd:
    """Resample, filter, normalise.

    Parameters
    ----------
    spec : SignalSpec
        The bundle's front end.
    fs : float
        Source rate, hertz.
    """

    spec: SignalSpec
    fs: float

    @cached_property
    def resampler(self) -> Resampler:
        """First stage, at the source's rate."""
        return Resampler(self.fs)

    @cached_property
    def bandpass(self) -> BandPass:
        """Second stage, on the model grid."""
        return BandPass(self.spec)

    @cached_property
    def gain(self) -> GainControl:
        """Third stage, on the model grid."""
        return GainControl(self.spec)

    @property
    def latency(self) -> int:
        """Delay of a QRS from source to output, model samples."""
        return self.resampler.latency + self.bandpass.latency + self.gain.latency

    def initial(self, rows: int) -> FrontEndState:
        """State of ``rows`` streams that have not begun."""
        return FrontEndState(self.resampler.initial(), None, self.gain.initial(rows))

    def step(
        self, x: NDArray[np.float64], state: FrontEndState
    ) -> tuple[NDArray[np.float64], FrontEndState]:
        """``(rows, n)`` source millivolts to ``(rows, m)`` network input."""
        y, resample = self.resampler.step(np.asarray(x, dtype=np.float64), state.resample)
        if y.shape[-1] == 0:
            return y, state._replace(resample=resample)
        primed = self.bandpass.initial(y[:, 0]) if state.filter is None else state.filter
        y, filtered = self.bandpass.step(y, primed)
        y, gain = self.gain.step(y, state.gain)
        return y, FrontEndState(resample, filtered, gain)
