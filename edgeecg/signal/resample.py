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
ROUNDED = 4e-6  # relative: what three decimals leave open at 128 Hz; a crystal is off by more

# A direct-coupled electrode may stand hundreds of millivolts off zero. The FIR's phases pass a constant
# equally to 60-90 dB only, so such a constant would come out with a ripple as large as a P wave: what a row
# begins with goes around the FIR if it is larger than any AC-coupled recorder gives.
OFFSET_MV = 10.0


class ResampleState(NamedTuple):
    """``tail``: last source samples ``(rows, context)``; ``taken``, ``made``: samples in and out so far.

    ``offset`` ``(rows, 1)``: the electrode offset that goes around the FIR, millivolts. The tail of a row
    that has not begun is NaN. Only ``taken`` and ``made`` modulo one period of the ratio matter: ``down``
    source samples are ``up`` model samples.
    """

    tail: NDArray[np.float64]
    offset: NDArray[np.float64]
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
        if not isinstance(self.fs, (int, float, np.integer, np.floating)):
            raise SignalError(f"sampling rate {self.fs!r} is no number: give hertz, such as fs=250")
        if not FS_RANGE[0] <= self.fs <= FS_RANGE[1]:
            raise SignalError(
                f"sampling rate {self.fs:g} Hz is outside {FS_RANGE[0]:g} to {FS_RANGE[1]:g} Hz: "
                "correct it if it is wrong (--fs, or the file's header), else resample the signal first "
                "(scipy.signal.resample_poly)"
            )

    @cached_property
    def ratio(self) -> Fraction:
        """``up / down``: model samples per source sample, as a fraction of small integers.

        A rounded decimal is taken for the simple fraction that it stands for: 333.333 Hz would need a FIR of
        three million taps. Samples are counted by the ratio itself, so nothing drifts.
        """
        exact = Fraction(self.fs)
        simple = (exact.limit_denominator(most) for most in (1, 2, 3, 5, 10, 20, 50, 100, 200, 500))
        near = (rate for rate in simple if abs(rate / exact - 1) <= ROUNDED)
        return MODEL_FS / next(near, exact.limit_denominator(1000))

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
        return ResampleState(np.full((rows, self.context), np.nan), np.zeros((rows, 1)), 0, 0)

    def between(self, tail: NDArray[np.float64], offset: NDArray[np.float64], made: int) -> ResampleState:
        """State of rows that stand between two blocks, ``made`` model samples into a period.

        A row of ``tail`` that is NaN is a stream's beginning: its next block begins with ``lead_in``
        copies of its first sample.
        """
        return ResampleState(tail, offset, self.taken_at(made), made)

    def step(
        self, x: NDArray[np.float64], state: ResampleState, upto: int | None = None
    ) -> tuple[NDArray[np.float64], ResampleState]:
        """Resample ``(rows, n)`` source samples that follow those before; all rows share the phase.

        With ``upto`` no more than that many model samples are made in all (a source sample can make
        two where the rate is below 128 Hz); the one left over comes with the next step.
        """
        if self.ratio == 1 or x.shape[-1] == 0:
            return x, state._replace(taken=state.taken + x.shape[-1], made=state.made + x.shape[-1])
        tail, offset = state.tail, state.offset
        fresh = np.isnan(tail[:, -1:])
        if fresh.any():
            first = x[:, :1]
            tail = np.where(fresh, first, tail)
            offset = np.where(fresh, np.where(np.abs(first) > OFFSET_MV, first, 0.0), offset)
        x = np.concatenate([tail, x], axis=1)
        up, down = self.ratio.numerator, self.ratio.denominator
        start = (state.taken - self.context) * up  # index of x[0] at the rate up * fs
        phase = start % down
        taken = state.taken + x.shape[1] - self.context
        made = self.ready(taken) if upto is None else min(self.ready(taken), upto)
        shift = (phase - start) // down
        around = offset.any()
        y = scipy.signal.upfirdn(self._padded_taps(phase), x - offset if around else x, up, down)
        y = y[:, shift + state.made : shift + made]
        return y + offset if around else y, ResampleState(x[:, -self.context :], offset, taken, made)

    def _padded_taps(self, phase: int) -> NDArray[np.float64]:
        """The FIR behind ``phase`` zeros, so that ``upfirdn`` starts at the right place."""
        return np.concatenate([np.zeros(phase), self.taps])
