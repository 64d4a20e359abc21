"""Do the first samples of a live source look like millivolts? A wrong unit makes a silent stream."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgeecg.io.channels import PLAUSIBLE_MILLIVOLTS, WINDOW_SECONDS, typical_span

__all__ = ["UnitWatch"]

WINDOWS = 3


class UnitWatch:
    """Looks at the first half minute.

    Parameters
    ----------
    fs : float
        Samples a second.

    Attributes
    ----------
    doubt : str
        What is wrong, once that is known; else empty.
    """

    def __init__(self, fs: float) -> None:
        self.fs = fs
        self.doubt = ""
        self._wanted = round(WINDOWS * WINDOW_SECONDS * fs)
        self._seen: list[NDArray[np.float64]] = []

    def look(self, samples: NDArray[np.float64]) -> bool:
        """Take ``(n, leads)`` millivolts; whether there is a doubt that was not there before."""
        if self._wanted <= 0 or not len(samples):
            return False
        self._seen.append(samples)
        self._wanted -= len(samples)
        if self._wanted > 0:
            return False
        signal, self._seen = np.concatenate(self._seen), []
        span = max(typical_span(signal[:, lead], self.fs) for lead in range(signal.shape[1]))
        least, most = PLAUSIBLE_MILLIVOLTS
        if span > most or 0 < span < least:
            wrong = f"samples span {span:.2g} mV, no ECG does"
            self.doubt = f"{wrong}: are the units right (--units uV, units=uV, or a gain), and the leads on?"
        return bool(self.doubt)
