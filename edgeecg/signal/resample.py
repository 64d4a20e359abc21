"""Any source rate to the model grid: a polyphase FIR with an integer phase.

Output sample ``m`` of the model grid lies at source time ``m * down / up``. The filter is linear
phase and its half length is a whole number of model samples, so its delay is exact. Output ``m`` is
ready as soon as source sample ``floor(m * down / up)`` is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import NamedTuple

import numpy as np
import scipy.signal
from numpy.typing import NDArray

from edgeecg.errors import SignalError
from edgeecg.specs import MODEL_FS

__all__ = ["ResampleState", "Resampler"]

HALF_LENGTH = 5  # model samples; 40 Hz passes and 88 Hz, which folds onto it, is 60 dB down
FS_RANGE = (100.0, 1000.0)


class ResampleState(NamedTuple):
    """``tail``: last source samples ``(rows, context)``; ``taken``, ``made``: samples in and out so far."""

    tail: NDArray[np.float64] | None
    taken: int
    made: int


@dataclass(frozen=True)
class Resampler:
    """Settings of the stage for one source rate.

    Parameters
    ----------
    fs : float
        Source rate, 100 to 1000 Hz. 128 Hz passes unchanged.
    """

    fs: float

    def __post_init__(self) -> None:
        if not FS_RANGE[0] <= self.fs <= FS_RANGE[1]:
            raise SignalError(
                f"sampling rate {self.fs:g} Hz is outside {FS_RANGE[0]:g} to {FS_RANGE[1]:g} Hz: "
                "resample the signal first (scipy.signal.resample_poly)"
            )

    @cached_property
    def ratio(self) -> Fraction:
        """``up / down``: model samples per source sample, as a fraction of small integers."""
        return MODEL_FS / Fraction(self.fs).limit_denominator(1000)

    @property
    def latency(self) -> int:
        """Delay of the output, model samples."""
        return 0 if self.ratio == 1 else HALF_LENGTH

    @cached_property
    def taps(self) -> NDArray[np.float64]:
        """The FIR at the rate ``up * fs``."""
        up, down = self.ratio.numerator, self.ratio.denominator
        half = HALF_LENGTH * down
        cutoff = min(MODEL_FS / 2, 0.98 * self.fs / 2)
        return up * scipy.signal.firwin(2 * half + 1, cutoff, window=("kaiser", 5.6), fs=float(up * self.fs))

    @cached_property
    def context(self) -> int:
        """Source samples before a block that the FIR still reads."""
        up, down = self.ratio.numerator, self.ratio.denominator
        return -(-(2 * HALF_LENGTH + 1) * down // up) + 1

    def needed(self, made: int) -> int:
        """Source samples that must have come for ``made`` model samples to be ready."""
        return (made - 1) * self.ratio.denominator // self.ratio.numerator + 1 if made else 0

    def ready(self, taken: int) -> int:
        """Model samples that ``taken`` source samples make."""
        up, down = self.ratio.numerator, self.ratio.denominator
        return (taken * up - 1) // down + 1 if taken else 0

    def initial(self) -> ResampleState:
        """State of a stream that has not begun."""
        return ResampleState(None, 0, 0)

    def step(
        self, x: NDArray[np.float64], state: ResampleState
    ) -> tuple[NDArray[np.float64], ResampleState]:
        """Resample ``(rows, n)`` source samples that follow those before; all rows share the phase."""
        if self.ratio == 1 or x.shape[-1] == 0:
            return x, state._replace(taken=state.taken + x.shape[-1], made=state.made + x.shape[-1])
        tail = np.repeat(x[:, :1], self.context, axis=1) if state.tail is None else state.tail
        x = np.concatenate([tail, x], axis=1)
        up, down = self.ratio.numerator, self.ratio.denominator
        start = (state.taken - self.context) * up  # index of x[0] at the rate up * fs
        phase = start % down
        taken = state.taken + x.shape[1] - self.context
        made = self.ready(taken)
        y = scipy.signal.upfirdn(np.concatenate([np.zeros(phase), self.taps]), x, up, down)
        shift = (phase - start) // down
        return y[:, shift + state.made : shift + made], ResampleState(x[:, -self.context :], taken, made)
