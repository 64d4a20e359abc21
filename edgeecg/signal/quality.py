"""How readable is each row? A causal verdict every half second, over the last three seconds.

A *tick* is 64 model samples, half a second, on the grid of the segment. The verdict on a tick looks at
the last ``WINDOW`` ticks and is told with its last sample.

* **Noise**: the estimate of :mod:`edgeecg.signal.noise`, with hysteresis, and a signal that never rests
  (:mod:`edgeecg.signal.readable`); *unreadable* not before a second and a half, which may pass without a
  beat.
* **Clipping**, on source samples: the extreme value of a tick is taken by several samples in a row, and by
  more of them than lie close to it, in two ticks of four.
* **Flat**: the same value again and again, or a band-passed signal of a few microvolts.
* **Lead-off**: samples are missing, a flat line at a rail, or mains hum with no ECG in it, as of an open
  input. Hum in which beats were read before says nothing of the electrode.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeecg.signal.extremes import extremes
from edgeecg.signal.noise import COLUMNS, HUM, SIZE, SPAN, TICK, tick_features
from edgeecg.signal.readable import LATCH, read
from edgeecg.signal.resample import Resampler

__all__ = [
    "FLAT",
    "LEAD_OFF",
    "NOISY",
    "QUALITY_LABELS",
    "TICK",
    "UNREADABLE",
    "WINDOW",
    "Quality",
    "QualityInput",
    "QualityOutput",
    "QualityState",
    "TickState",
]

WINDOW = 6
"""Ticks that a verdict looks at."""

QUALITY_LABELS = ("good", "noisy", "clipped", "unreadable", "flat", "lead-off")
"""Meaning of ``QualityOutput.label``, from best to worst."""

GOOD, NOISY, CLIPPED, BAD, FLAT, LEAD_OFF = range(len(QUALITY_LABELS))

UNREADABLE = BAD
"""A label of this number or above: beats found there are not to be trusted."""

HALF_DB, SLOPE_DB = 4.5, 3.0  # centre and softness of the score

FLAT_MV = 0.04  # peak to peak in the pass band, over FLAT_TICKS
FLAT_TICKS = 4
RAIL_MV = 4.5  # common recorders end at +-5 mV
ROUGH_MV = 0.5  # mean bend at 128 Hz: 0.25 mV of 50 Hz
ABSENT = 0.5  # share of a tick
CLIP_SECONDS, CLIP_SAMPLES = 0.012, 3
CLIP_TICKS, CLIP_OF = 2, 4  # once is chance, at low rates
HUM_TICKS = 2
HUMMED = 2 * WINDOW  # ticks that were readable: when a lead falls off, at most half as many still are

FEATURES = len(COLUMNS) + 1  # the last: whether the tick was clipped, or stood still
CLIP = FEATURES - 1
STOOD = -1.0  # in its place: the source stood still

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Counts = NDArray[np.int64]


class QualityInput(NamedTuple):
    """One chunk of rows, as the front end took and made it.

    ``source`` ``(rows, n)``: source millivolts. ``resampled``, ``filtered`` ``(rows, m)``: millivolts on
    the model grid. ``missing`` ``(rows, n)`` bool: source samples that are only held; ``None`` for none.
    """

    source: Floats
    resampled: Floats
    filtered: Floats
    missing: Mask | None = None


class QualityOutput(NamedTuple):
    """Verdicts on the ticks that a chunk completes, each ``(rows, ticks)``.

    ``label``: index into ``QUALITY_LABELS``. ``score``: 0 (nothing to be read) to 1 (clean).
    ``snr``: estimated signal-to-noise ratio in the pass band, decibels, whatever the label.
    """

    label: NDArray[np.int8]
    score: Floats
    snr: Floats


class TickState(NamedTuple):
    """The tick that is not complete: ``source`` ``(rows, p)``, ``resampled`` and ``filtered`` ``(rows, q)``,
    ``absent`` ``(rows, 1)`` missing samples; ``taken``, ``made`` as in :class:`ResampleState`.
    """

    source: Floats
    resampled: Floats
    filtered: Floats
    absent: Floats
    taken: int
    made: int


class QualityState(NamedTuple):
    """``history`` ``(rows, 6, WINDOW - 1)`` of the ticks before; ``latch`` ``(rows, 3)`` as
    :mod:`edgeecg.signal.readable` keeps it; both NaN where there is no tick yet. ``hummed`` ``(rows, 1)``:
    ticks that could be read in mains hum, as far as ``HUMMED``, since the last that could without. ``tick``:
    the one that is not complete.
    """

    history: Floats
    latch: Floats
    hummed: Floats
    tick: TickState


@dataclass(frozen=True)
class Quality:
    """Settings of the stage for one source rate.

    Parameters
    ----------
    fs : float
        Source rate, hertz.
    rails : (float, float)
        Lowest and highest value that the recorder can give, millivolts: a flat line there is a lead
        that is off.
    """

    fs: float
    rails: tuple[float, float] = (-RAIL_MV, RAIL_MV)

    latency = TICK

    @cached_property
    def resampler(self) -> Resampler:
        """Where the ticks end among the source samples."""
        return Resampler(self.fs)

    @property
    def clip_samples(self) -> int:
        """Samples at the extreme value that make a plateau."""
        return max(CLIP_SAMPLES, int(np.ceil(CLIP_SECONDS * self.fs)))

    def initial(self, rows: int) -> QualityState:
        """State of ``rows`` streams that have not begun."""
        nothing = np.empty((rows, 0))
        tick = TickState(nothing, nothing, nothing, np.zeros((rows, 1)), 0, 0)
        unknown = np.full((rows, FEATURES, WINDOW - 1), np.nan)
        return QualityState(unknown, np.full((rows, LATCH), np.nan), np.zeros((rows, 1)), tick)

    def step(self, x: QualityInput, state: QualityState) -> tuple[QualityOutput, QualityState]:
        """Judge the ticks that a chunk completes; all rows share the phase."""
        tick = state.tick
        source = _joined(tick.source, x.source)
        resampled, filtered = _joined(tick.resampled, x.resampled), _joined(tick.filtered, x.filtered)
        taken, made = tick.taken + x.source.shape[1], tick.made + x.filtered.shape[1]
        ticks = filtered.shape[1] // TICK
        ends = self._ends(made - filtered.shape[1], ticks) - (taken - source.shape[1])
        absent, left = _absent(x.missing, tick.absent, ends - tick.source.shape[1])
        if not ticks:
            nothing = np.empty((len(source), 0))
            waiting = TickState(source, resampled, filtered, left, taken, made)
            return QualityOutput(nothing.astype(np.int8), nothing, nothing), state._replace(tick=waiting)
        used, whole = int(ends[-1]), ticks * TICK
        waiting = TickState(source[:, used:], resampled[:, whole:], filtered[:, whole:], left, taken, made)
        features = tick_features(resampled[:, :whole], filtered[:, :whole])
        return self._judge(source[:, :used], features, absent, ends, state, waiting)

    def restarted(self, state: QualityState, rows: Sequence[int]) -> QualityState:
        """The same state, but for some rows that forget the ticks before."""
        history, latch, hummed = state.history.copy(), state.latch.copy(), state.hummed.copy()
        history[list(rows)], latch[list(rows)], hummed[list(rows)] = np.nan, np.nan, 0.0
        return state._replace(history=history, latch=latch, hummed=hummed)

    # ---- rows as plain arrays -------------------------------------------------------------------

    def pack(self, state: QualityState) -> Floats:
        """All that the rows remember but their common phase: one array, a row each."""
        rows, tick = len(state.latch), state.tick
        parts = [state.history.reshape(rows, -1), state.latch, state.hummed, *tick[:4]]
        return np.concatenate(parts, axis=1)

    def unpack(self, packed: Floats, made: int) -> QualityState:
        """State of packed rows that stand between two blocks, ``made`` model samples into a period."""
        waiting = made % TICK
        taken = self.resampler.taken_at(made)
        pending = taken - self.resampler.taken_at(made - waiting)
        widths = [FEATURES * (WINDOW - 1), LATCH, 1, pending, waiting, waiting, 1]
        ends = list(accumulate(widths, initial=0))
        parts = [packed[:, begin:end] for begin, end in pairwise(ends)]
        history, latch, hummed, source, resampled, filtered, absent = parts
        history = history.reshape(len(packed), FEATURES, WINDOW - 1)
        tick = TickState(source, resampled, filtered, absent, taken, made)
        return QualityState(history, latch, hummed, tick)

    # ---- inside ---------------------------------------------------------------------------------

    def _ends(self, start: int, ticks: int) -> Counts:
        """Source samples up to the end of each tick, counted as ``taken`` is."""
        ends = [self.resampler.taken_at(start + TICK * (tick + 1)) for tick in range(ticks)]
        return np.array(ends, np.int64)

    def _judge(
        self,
        source: Floats,
        features: Floats,
        absent: Floats,
        ends: Counts,
        state: QualityState,
        waiting: TickState,
    ) -> tuple[QualityOutput, QualityState]:
        """Verdicts on whole ticks that end at these source samples."""
        starts = np.concatenate([ends[:1] * 0, ends[:-1]])
        lengths = ends - starts
        clipped, constant, at_rail = extremes(source, starts, lengths, self.clip_samples, self.rails)
        features = np.concatenate([features, clipped[:, None]], axis=1)
        seen, recent = _windows(state.history, features, constant)
        reading = read(recent, state.latch)
        lost = (absent > ABSENT * lengths) | (constant & at_rail)
        hum = np.fmin.reduce(recent[:, HUM, :, -HUM_TICKS:], axis=-1) > ROUGH_MV
        known, hummed = _hummed(hum, reading.readable, state.hummed)
        label = _label(recent, reading.good & ~hum, reading.readable, constant)
        label[lost | (hum & ~known & (label >= BAD))] = LEAD_OFF
        output = QualityOutput(label, _score(reading.snr, label), reading.snr)
        return output, QualityState(seen[:, :, -(WINDOW - 1) :], reading.latch, hummed, waiting)


def _windows(history: Floats, features: Floats, constant: Mask) -> tuple[Floats, Floats]:
    """Features ``(rows, 6, WINDOW - 1 + ticks)`` as later ticks see them, and each tick's window of them.

    Ticks in which the source stood still, and the two that come then, are seen by nobody else: the leap out
    of a saturation, and what the filter makes of it, are no measure of what follows.
    """
    seen = np.concatenate([history, features], axis=2)
    stood = np.concatenate([history[:, CLIP, -2:] == STOOD, constant], axis=1)
    own = seen[:, :, WINDOW - 1 :]
    if stood.any():
        hidden = stood[:, 2:] | stood[:, 1:-1] | stood[:, :-2]
        own[np.broadcast_to(hidden[:, None], own.shape)] = np.nan
        own[:, CLIP][constant] = STOOD
    if constant.shape[1] == 1 and not stood.any():
        return seen, seen[:, :, None]  # of a single tick; the general form costs ten times as much
    recent = np.lib.stride_tricks.sliding_window_view(seen, WINDOW, axis=2)
    if stood.any():
        recent = recent.copy()
        recent[..., -1] = features
    return seen, recent


def _joined(before: Floats, after: Floats) -> Floats:
    """What waited and what came, one after the other."""
    return np.concatenate([before, after], axis=1) if before.shape[1] else after


def _absent(missing: Mask | None, before: Floats, ends: Counts) -> tuple[Floats, Floats]:
    """Missing samples per tick, and those of the tick that is not complete."""
    if missing is None:
        counts = np.zeros((len(before), len(ends) + 1))
        counts[:, :1] = before
    else:
        total = np.concatenate([np.zeros((len(before), 1)), np.cumsum(missing, axis=1)], axis=1)
        counts = np.diff(np.concatenate([-before, total[:, ends], total[:, -1:]], axis=1), axis=1)
    return counts[:, :-1], counts[:, -1:]


def _hummed(hum: Mask, readable: Mask, before: Floats) -> tuple[Mask, Floats]:
    """Whether beats were read in the hum before each tick ``(rows, ticks)``; the count after the last."""
    if not hum.any() and not before.any():
        return hum, before
    known, count = np.empty(hum.shape, bool), before[:, 0]
    for tick in range(hum.shape[1]):
        known[:, tick] = count >= HUMMED
        more = np.where(hum[:, tick], np.minimum(count + 1, HUMMED), 0.0)
        count = np.where(readable[:, tick], more, count)
    return known, count[:, None]


def _label(recent: Floats, good: Mask, readable: Mask, constant: Mask) -> NDArray[np.int8]:
    """From what is known of each tick ``(rows, ticks)`` to its label; the worst one wins."""
    label = np.where(good, GOOD, NOISY)
    clipped = (recent[:, CLIP, :, -CLIP_OF:] == 1.0).sum(axis=-1) >= CLIP_TICKS
    label = np.where(clipped, CLIPPED, label)
    young = np.isnan(recent[:, SIZE, :, -SPAN])  # too short to hold a beat for sure
    label = np.where(readable | young, label, BAD)
    flat = constant | (recent[:, SIZE, :, -FLAT_TICKS:].max(axis=-1) < FLAT_MV)
    return np.where(flat, FLAT, label).astype(np.int8)


def _score(snr: Floats, label: NDArray[np.int8]) -> Floats:
    """0 to 1, to weigh leads by."""
    score = 0.5 + 0.5 * np.tanh((snr - HALF_DB) / (2 * SLOPE_DB))
    return np.where(label >= FLAT, 0.0, np.where(label == CLIPPED, np.minimum(score, 0.5), score))
