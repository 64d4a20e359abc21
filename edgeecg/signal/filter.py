"""Causal band-pass and mains notch on the model grid, as second-order sections."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.signal
from numpy.typing import NDArray

from edgeecg.specs import MODEL_FS, SignalSpec

__all__ = ["BandPass", "FilterState"]

FilterState = NDArray[np.float64]
"""Delays of all sections, ``(sections, rows, 2)``; NaN in a row that has not begun."""

NOTCH_Q = 8.0  # 6 Hz wide: mains drifts, and the QRS has little there


@dataclass(frozen=True)
class BandPass:
    """Butterworth high-pass (order 2), low-pass (order 4) and a notch.

    Parameters
    ----------
    spec : SignalSpec
        ``band`` and ``notch`` in hertz.
    """

    spec: SignalSpec

    @cached_property
    def sections(self) -> NDArray[np.float64]:
        """The filter as ``(sections, 6)``."""
        low, high = self.spec.band
        b, a = scipy.signal.iirnotch(self.spec.notch, NOTCH_Q, fs=MODEL_FS)
        return np.concatenate(
            [
                scipy.signal.butter(2, low, "highpass", fs=MODEL_FS, output="sos"),
                scipy.signal.butter(4, high, "lowpass", fs=MODEL_FS, output="sos"),
                scipy.signal.tf2sos(b, a),
            ]
        )

    @cached_property
    def latency(self) -> int:
        """Group delay at 12 Hz, where a QRS has most of its power, in model samples."""
        w = 2 * np.pi * np.array([11.5, 12.5]) / MODEL_FS
        _, h = scipy.signal.sosfreqz(self.sections, w)
        return round(float(-np.diff(np.unwrap(np.angle(h)))[0] / np.diff(w)[0]))

    def initial(self, rows: int) -> FilterState:
        """State of ``rows`` streams that have not begun: the first sample primes it."""
        return np.full((len(self.sections), rows, 2), np.nan)

    def primed(self, first: NDArray[np.float64]) -> FilterState:
        """State of rows that have stood at their first sample ``(rows,)`` for ever: no start-up swing."""
        return self._standing[:, None, :] * first[None, :, None]

    @cached_property
    def _standing(self) -> NDArray[np.float64]:
        """State ``(sections, 2)`` after a constant one."""
        zi: NDArray[np.float64] = scipy.signal.sosfilt_zi(self.sections)
        return zi

    def step(self, x: NDArray[np.float64], state: FilterState) -> tuple[NDArray[np.float64], FilterState]:
        """Filter ``(rows, n)`` samples that follow those before."""
        if x.shape[-1] == 0:
            return x, state
        fresh = np.isnan(state[0, :, 0])
        if fresh.any():
            state = np.where(fresh[None, :, None], self.primed(x[:, 0]), state)
        y, state = scipy.signal.sosfilt(self.sections, x, axis=-1, zi=state)
        return y, state
