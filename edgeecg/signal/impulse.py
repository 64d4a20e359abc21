"""First stage: impulses that no heart makes are left out.

A glitch of a wire or of a bit, and the spike of a pacemaker, jump further between two samples than the
patient's QRS ever do, and are back within milliseconds. A QRS that is taken for one is not lost: what does
not come back is let through.

A sample is *held* where it lies further from the one before than ``RATIO`` times the steepest slope of late,
and than ``OFTEN`` times the usual step (noise and mains hum have steps and no slope): the value of ``SLOPE``
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

RATIO = 3.0  # of 150,408 beats of mitdb and svdb 630 have a sample that is held, 403 of them paced (104)
SLOPE = 1 / 120  # seconds: three steps at 360 Hz; the steep part of a QRS lasts longer
HOLD = 0.012  # seconds: three samples at 250 Hz; a QRS lasts five times as long
OFTEN = 6.0  # white noise has one step in a million that is as far
LEAST = 12.0  # mV a second: a QRS of a quarter of a millivolt
HALF_LIFE = 5.0  # seconds: of a heart of 15 a minute half is left
USUAL = 0.5  # seconds
LEARN = 1.0  # seconds
MOST = 16_384  # samples at a time: over more of them the slopes' growth has no number

Floats = NDArray[np.float64]


class ImpulseState(NamedTuple):
    """What a row remembers: ``before`` ``(rows, k)``, its last samples; and, each ``(rows, 1)``, ``value``:
    what was let through last; ``steep``: the steepest slope of late; ``usual``: the mean step; ``seen``:
    samples for which a slope has been known, up to those of ``LEARN``; ``held``: samples held in a row.
    """

    before: Floats
    value: Floats
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
        """Steps that make a slope: samples that a row remembers."""
        return max(2, int(np.ceil(SLOPE * self.fs)))

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
    def enough(self) -> int:
        """Samples for which a slope must have been known."""
        return round(LEARN * self.fs)

    def initial(self, rows: int) -> ImpulseState:
        """State of ``rows`` streams that have not begun."""
        nothing, zeros = np.full((rows, self.slope), np.nan), np.zeros((rows, 1))
        return ImpulseState(nothing, zeros, zeros, zeros, zeros, zeros)

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
        before = np.where(np.isnan(state.before), x[:, :1], state.before)  # the first sample, as if for ever
        known = np.concatenate([before, x], axis=1)
        steps = known[:, 1:] - known[:, :-1]
        age = np.arange(1, count + 1)
        grown = np.concatenate([state.steep, self._slopes(steps) * self.fade**-age], axis=1)
        steep = np.maximum.accumulate(grown, axis=1)
        steps = np.abs(steps[:, self.slope - 1 :])
        usual, _ = scipy.signal.lfilter(
            [self.weight], [1.0, self.weight - 1.0], steps, zi=(1.0 - self.weight) * state.usual
        )
        before = np.concatenate([state.usual, usual[:, :-1]], axis=1)
        slopes = steep[:, :-1] * self.fade**age
        limit = np.maximum(RATIO * slopes + (self.slope - 2) * before, OFTEN * before)
        seen = self._seen(slopes >= LEAST / self.fs, state.seen)
        limit[seen < self.enough] = np.inf
        far = steps > limit
        after = ImpulseState(
            known[:, -self.slope :],
            x[:, -1:].copy(),
            steep[:, -1:] * self.fade**count,
            usual[:, -1:],
            np.minimum(seen[:, -1:], self.enough),
            np.zeros((len(x), 1)),
        )
        rows = np.flatnonzero(far.any(axis=1) | (state.held[:, 0] > 0))
        if len(rows):  # hardly ever
            x = x.copy()
            value = np.where(np.isnan(state.before[:, :1]), x[:, :1], state.value)
            for row in rows.tolist():
                x[row], after.held[row] = self._held(
                    known[row].tolist(), limit[row].tolist(), float(value[row, 0]), int(state.held[row, 0])
                )
                after.value[row] = x[row, -1]
        return x, after

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

    def _held(
        self, known: list[float], limit: list[float], value: float, held: int
    ) -> tuple[list[float], int]:
        """One row, sample by sample; ``known`` begins with what came before; how many are held at last."""
        made = []
        for at, bound in enumerate(limit):
            sample = known[self.slope + at]
            if abs(sample - value) > bound and held < self.longest:
                value = value if held else known[at]  # from before it rose
                held += 1
            else:
                value, held = sample, 0
            made.append(value)
        return made, held
