"""Do the first samples of a stream look like millivolts? In another unit no silence raises an alarm."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from edgeecg.io.channels import PLAUSIBLE_MILLIVOLTS, WINDOW_SECONDS, typical_span
from edgeecg.signal.block import Block, Piece

__all__ = ["UnitWatch"]

WINDOWS = 3
ENOUGH = 64.0  # samples a second that tell how far a signal spans


class UnitWatch:
    """Looks at the first half minute, ten seconds at a time.

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
        self._width = self._missing = round(WINDOW_SECONDS * fs)
        self._every = max(1, round(fs / ENOUGH))
        self._left = WINDOWS
        self._seen: list[NDArray[np.float64]] = []  # of the window that is not full yet
        self._spans: list[list[float]] = []  # of each window, by lead

    @property
    def watching(self) -> bool:
        """Whether it wants to see more."""
        return self._left > 0

    def take(self, pieces: Iterable[Piece]) -> bool:
        """As :meth:`look`, at the samples of blocks."""
        found = [self.look(piece.samples.T) for piece in pieces if isinstance(piece, Block)]
        return any(found)

    def look(self, samples: NDArray[np.float64]) -> bool:
        """Take ``(n, leads)`` millivolts; whether there is a doubt that was not there before."""
        while len(samples) and self._left:
            part, samples = samples[: self._missing], samples[self._missing :]
            self._seen.append(part[:: self._every].copy())  # a view would keep the whole block
            self._missing -= len(part)
            if self._missing:
                return False
            signal, self._seen, self._missing = np.concatenate(self._seen), [], self._width
            self._spans.append([typical_span(lead, self.fs) for lead in signal.T])
            self._left -= 1
            if not self._left:
                self.doubt = _doubt(float(np.median(self._spans, axis=0).max()))
                return bool(self.doubt)
        return False


def _doubt(span: float) -> str:
    """What is wrong with samples that span so many millivolts."""
    least, most = PLAUSIBLE_MILLIVOLTS
    if span > most:
        cure = "are they microvolts (--units uV, units=uV; in Python push chunk / 1000) or counts (a gain)"
    elif 0 < span < least:
        cure = "are they volts (--units V, units=V), or millivolts that were taken for microvolts"
    else:
        return ""
    return f"samples span {span:.2g} mV, no ECG does: {cure}, and are the leads on? Alarms may fail so"
