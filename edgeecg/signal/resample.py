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
    """``tail``: last source samples ``(rows, context)``; ``taken``, ``made``: samples in and out so far.

    The tail of a row that has not begun is NaN. Only ``taken`` and ``made`` modulo one period of the
    ratio matter: ``down`` source samples are ``up`` model samples.
    """

    tail: NDArray[np.float64]
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
        window = ("kaiser", 5.6)
        taps = up * scipy.signal.firwin(2 * half + 1, cutoff, window=window, fs=float(up * self.fs))
        return np.asarray(taps)

    @cached_property
    def context(self) -> int:
        """Source samples before a block that the FIR still reads."""
        up, down = self.ratio.numerator, self.ratio.denominator
        return -(-(2 * HALF_LENGTH + 1) * down // up) + 1

    @property
    def lead_in(self) -> int:
        """Copies of its first sample that make a stream's first block as long as the ones that follow.

        Model sample 0 lies on source sample 0, so a block that follows another begins up to
        ``down / up`` source samples before its first model sample; a first block cannot.
        """
        return -(-self.ratio.denominator // self.ratio.numerator) - 1

    def needed(self, made: int) -> int:
        """Source samples that must have come for ``made`` model samples to be ready."""
        return self.taken_at(made) if made else 0

    def taken_at(self, made: int) -> int:
        """Source samples taken by a stream that goes on, where ``made`` model samples are due.

        The same as :meth:`needed`, but for the beginning: a stream that begins stands at ``lead_in``
        samples before its first one.
        """
        return (made - 1) * self.ratio.denominator // self.ratio.numerator + 1

    def ready(self, taken: int) -> int:
        """Model samples that ``taken`` source samples make."""
        up, down = self.ratio.numerator, self.ratio.denominator
        return (taken * up - 1) // down + 1 if taken else 0

    def initial(self, rows: int) -> ResampleState:
        """State of ``rows`` streams that have not begun."""
        return ResampleState(np.full((rows, self.context), np.nan), 0, 0)

    def between(self, tail: NDArray[np.float64], made: int) -> ResampleState:
        """State of rows that stand between two blocks, ``made`` model samples into a period.

        A row of ``tail`` that is NaN is a stream's beginning: its next block begins with ``lead_in``
        copies of its first sample.
        """
        return ResampleState(tail, self.taken_at(made), made)

    def step(
        self, x: NDArray[np.float64], state: ResampleState, upto: int | None = None
    ) -> tuple[NDArray[np.float64], ResampleState]:
        """Resample ``(rows, n)`` source samples that follow those before; all rows share the phase.

        With ``upto`` no more than that many model samples are made in all (a source sample can make
        two where the rate is below 128 Hz); the one left over comes with the next step.
        """
        if self.ratio == 1 or x.shape[-1] == 0:
            return x, state._replace(taken=state.taken + x.shape[-1], made=state.made + x.shape[-1])
        fresh = np.isnan(state.tail[:, -1:])
        tail = np.where(fresh, x[:, :1], state.tail) if fresh.any() else state.tail
        x = np.concatenate([tail, x], axis=1)
        up, down = self.ratio.numerator, self.ratio.denominator
        start = (state.taken - self.context) * up  # index of x[0] at the rate up * fs
        phase = start % down
        taken = state.taken + x.shape[1] - self.context
        made = self.ready(taken) if upto is None else min(self.ready(taken), upto)
        y = scipy.signal.upfirdn(self._padded_taps(phase), x, up, down)
        shift = (phase - start) // down
        return y[:, shift + state.made : shift + made], ResampleState(x[:, -self.context :], taken, made)

    def _padded_taps(self, phase: int) -> NDArray[np.float64]:
        """The FIR behind ``phase`` zeros, so that ``upfirdn`` starts at the right place."""
        return np.concatenate([np.zeros(phase), self.taps])
