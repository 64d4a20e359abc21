"""First stage: impulses that no heart makes are left out.

A glitch of a wire or of a bit, and the spike of a pacemaker, jump further between two samples than the
patient's QRS ever do, and are back within milliseconds. A QRS that is taken for one is not lost: what does
not come back is let through.

A sample is *held* where it lies further from the one before than ``RATIO`` times the steepest slope of late,
and than ``OFTEN`` times the usual step (noise and mains hum have steps and no slope): the value of ``BACK``
seconds before stands in its place, since an impulse may rise in two steps. The next one that lies near it
again ends that, or so does the sample behind ``HOLD`` seconds: then it was no impulse.

A slope is what the steps of ``SLOPE`` seconds in a row have in common, at least two of one direction: an
impulse has none, so that those of the first beat, and of every beat, do not hide the others. Of many steps
noise takes more away than of two, for which the usual step stands in. Slopes are halved every ``HALF_LIFE``
seconds, the usual step is a mean over some ``USUAL`` seconds. Nothing is held before a slope that could be of
a QRS has been known for ``LEARN`` seconds, as at the beginning and behind a flat line. Nothing is waited for,
and no row knows of another.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import scipy.signal
from numpy.typing import NDArray

__all__ = ["ImpulseState", "Impulses"]

RATIO = 3.0
SLOPE = 1 / 120  # seconds: three steps at 360 Hz, two from 180 to 299 Hz
LONG = 1 / 62  # seconds: a slope of two steps that lasts longer, below 124 Hz, is most of a narrow R wave
BACK = 0.01  # seconds by which the value that is held lies back
HOLD = 0.012  # seconds: three samples at 250 Hz; a QRS lasts five times as long
OFTEN = 6.0  # white noise has one step in a million that is as far
LEAST = 12.0  # mV a second: a QRS of a quarter of a millivolt
HALF_LIFE = 8.0  # seconds
USUAL = 0.5  # seconds
LEARN = 1.0  # seconds
MOST = 16_384  # samples at a time: over more of them the slopes' growth has no number

Floats = NDArray[np.float64]


class ImpulseState(NamedTuple):
    """What a row remembers: ``before``, ``clear`` ``(rows, context)``, its last samples as they came and as
    they were let through; and, each ``(rows, 1)``, ``steep``: the steepest slope of late; ``usual``: the mean
    step; ``seen``: samples for which a slope has been known, up to those of ``LEARN``; ``held``: samples held
    in a row.
    """

    before: Floats
    clear: Floats
    steep: Floats
    usual: Floats
    seen: Floats
    held: Floats


@dataclass(frozen=True)
class Impulses:
    """Settings of the stage for one source rate.

    Parameters
    ----------
    fs : float
        Source rate, hertz.
    """

    fs: float

    @cached_property
    def slope(self) -> int:
        """Steps that make a slope."""
        return max(2, round(SLOPE * self.fs))

    @cached_property
    def back(self) -> int:
        """Samples by which the value that is held lies back."""
        return max(2, int(np.ceil(BACK * self.fs)))

    @cached_property
    def context(self) -> int:
        """Samples that a row remembers."""
        return max(self.slope, self.back)

    @cached_property
    def ratio(self) -> float:
        """How many times as far as a slope a step must be."""
        return RATIO * max(1.0, self.slope / self.fs / LONG)

    @cached_property
    def longest(self) -> int:
        """Samples in a row that are held, at most."""
        return max(1, round(HOLD * self.fs))

    @cached_property
    def fade(self) -> float:
        """What is left of the steepest slope after a sample."""
        return float(0.5 ** (1.0 / (HALF_LIFE * self.fs)))

    @cached_property
    def weight(self) -> float:
        """Of a step in the mean step."""
        return 1.0 / (USUAL * self.fs)

    @cached_property
    def _fades(self) -> Floats:
        """What is left of the steepest slope after so many samples; a power is dear."""
        return np.asarray(self.fade ** np.arange(MOST + 1))

    @cached_property
    def _weights(self) -> Floats:
        """Of a step of so many samples ago in the mean step."""
        return np.asarray(self.weight * (1.0 - self.weight) ** np.arange(MOST + 1))

    @cached_property
    def enough(self) -> int:
        """Samples for which a slope must have been known."""
        return round(LEARN * self.fs)

    def initial(self, rows: int) -> ImpulseState:
        """State of ``rows`` streams that have not begun."""
        nothing, zeros = np.full((rows, self.context), np.nan), np.zeros((rows, 1))
        return ImpulseState(nothing, nothing, zeros, zeros, zeros, zeros)

    def step(self, x: Floats, state: ImpulseState) -> tuple[Floats, ImpulseState]:
        """``(rows, n)`` millivolts that follow those before, to the same without impulses."""
        count = x.shape[1]
        if count <= MOST:
            return self._step(x, state) if count else (x, state)
        pieces = []
        for begin in range(0, count, MOST):
            piece, state = self._step(x[:, begin : begin + MOST], state)
            pieces.append(piece)
        return np.concatenate(pieces, axis=1), state

    def _step(self, x: Floats, state: ImpulseState) -> tuple[Floats, ImpulseState]:
        count = x.shape[1]
        known = np.concatenate([state.before, x], axis=1)
        steps = np.diff(known[:, self.context - self.slope :], axis=1)
        sizes, left = np.abs(steps[:, self.slope - 1 :]), state.steep * self.fade**count
        # Even the limit that is left at the end, if nothing steep comes, is above all steps: in most blocks.
        calm = (sizes.max(axis=1, keepdims=True) <= self.ratio * left) & (left >= LEAST / self.fs)
        calm &= (state.held == 0) & (count >= self.context)
        rows = np.flatnonzero(~calm[:, 0])
        if len(rows) == len(x):
            return self._looked_at(x, state)
        faded = self._slopes(steps) * self._fades[count - 1 :: -1]  # by their age
        steep = np.maximum(left, faded.max(axis=1, keepdims=True))
        usual = (sizes * self._weights[count - 1 :: -1]).sum(axis=1, keepdims=True)
        usual += state.usual * (1.0 - self.weight) ** count
        seen, tail = np.minimum(state.seen + count, self.enough), known[:, -self.context :]
        after = ImpulseState(tail, tail.copy(), steep, usual, seen, np.zeros_like(seen))
        if len(rows):
            made, its = self._looked_at(x[rows], ImpulseState(*(part[rows] for part in state)))
            x = x.copy()
            x[rows] = made
            for part, new in zip(after, its, strict=True):
                part[rows] = new
        return x, after

    def _looked_at(self, x: Floats, state: ImpulseState) -> tuple[Floats, ImpulseState]:
        """Rows of which a sample may have to be held."""
        first = np.isnan(state.before)  # it is as if the first sample had been there for ever
        known = np.concatenate([np.where(first, x[:, :1], state.before), x], axis=1)
        steps = np.diff(known[:, self.context - self.slope :], axis=1)
        limit, seen, steep, usual = self._limits(steps, state)
        far = np.abs(steps[:, self.slope - 1 :]) > limit
        held, clear = np.zeros((len(x), 1)), known
        rows = np.flatnonzero(far.any(axis=1) | (state.held[:, 0] > 0))
        if len(rows) or x.shape[1] < self.context:  # hardly ever
            x, clear = x.copy(), np.concatenate([np.where(first, x[:, :1], state.clear), x], axis=1)
            for row in rows.tolist():
                made, held[row] = self._held(
                    clear[row].tolist(), limit[row].tolist(), int(state.held[row, 0])
                )
                clear[row], x[row] = made, made[self.context :]
        last = np.minimum(seen[:, -1:], self.enough)
        return x, ImpulseState(
            known[:, -self.context :], clear[:, -self.context :], steep[:, -1:], usual[:, -1:], last, held
        )

    def _limits(self, steps: Floats, state: ImpulseState) -> tuple[Floats, Floats, Floats, Floats]:
        """How far each sample may lie; samples for which a slope was known; slopes of late; mean steps."""
        slopes, steps = self._slopes(steps), np.abs(steps[:, self.slope - 1 :])
        fade = self._fades[: slopes.shape[1] + 1]
        grown = np.concatenate([state.steep, slopes / fade[1:]], axis=1)
        steep = np.maximum.accumulate(grown, axis=1) * fade
        mean, _ = scipy.signal.lfilter(
            [self.weight], [1.0, self.weight - 1.0], steps, zi=(1.0 - self.weight) * state.usual
        )
        usual = np.concatenate([state.usual, mean], axis=1)
        before = steep[:, :-1] * self.fade  # of the samples before each
        limit = np.maximum(self.ratio * before + (self.slope - 2) * usual[:, :-1], OFTEN * usual[:, :-1])
        seen = self._seen(before >= LEAST / self.fs, state.seen)
        limit[seen < self.enough] = np.inf
        return limit, seen, steep, usual

    def _slopes(self, steps: Floats) -> Floats:
        """What the steps up to each have in common; 0 where they are of two directions."""
        count = steps.shape[1] - self.slope + 1
        low, high = steps[:, :count], steps[:, :count]
        for place in range(1, self.slope):
            part = steps[:, place : place + count]
            low, high = np.minimum(low, part), np.maximum(high, part)
        return np.maximum(np.maximum(low, -high), 0.0)

    def _seen(self, known: NDArray[np.bool_], before: Floats) -> Floats:
        """Samples in a row up to each at which a slope was known."""
        place = np.arange(1, known.shape[1] + 1)
        if known.all():
            return before + place
        return place - np.maximum.accumulate(np.where(known, -before, place), axis=1)

    def _held(self, clear: list[float], limit: list[float], held: int) -> tuple[list[float], int]:
        """One row, sample by sample, behind what was let through before; how many are held at last."""
        value = clear[self.context - 1]
        for at, bound in enumerate(limit, self.context):
            if abs(clear[at] - value) > bound and held < self.longest:
                value = value if held else clear[at - self.back]  # from before it rose
                clear[at], held = value, held + 1
            else:
                value, held = clear[at], 0
        return clear, held
