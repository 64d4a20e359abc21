"""Any chunk in, fixed blocks out; gaps and runs of missing samples are named here.

From this stage on nobody sees the caller's chunks. A *segment* is a stretch of signal without a gap.
Its block grid is anchored close before its first sample: block ``b`` ends at source sample
``anchor + Resampler.needed(hop * (b + 1))``. The anchor is a multiple of ``Blocks.grid``, which makes all
segments lie on the grid of model samples, tokens and ticks that the stream's sample 0 began: once what was
before a gap is forgotten, what follows is as if there had been none. Up to its first sample (less than a
second) that sample's value is held; there every lead is primed anew, and the network begins with the token
that holds it. Where rate and grid have no such common measure, it is the anchor.

What is missing
---------------
A sample is missing where it is not a number or beyond ``missing.LIMIT``, and where :meth:`Blocks.gap`
says so: ``gap(n)`` means the same as ``n`` rows of NaN. The source's sample count goes on over it.

* Up to ``hold`` missing samples in a row are *held*: the last value of the lead stands in for them.
* More of them *on all leads* are a gap. The segment ends before the first missing sample (it is carried
  on by held samples for ``tail`` model samples, so that what is still in the pipeline comes out), the
  gap is told as :class:`~edgeecg.specs.Gap` with its true start and length once it is over, and a new
  segment begins at the first sample after it: there the signal is processed from a fresh state.
* More of them *on one lead* while another goes on are held for as long as it takes; when the lead comes
  back it is listed in ``Block.restarts`` and its row is primed anew, on the grid that goes on.

The rule looks at samples only, never at chunks or blocks: every way of cutting the stream, and every
hop, gives the same segments, gaps and restarts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgeecg.errors import ConfigError, StateError
from edgeecg.signal.chunk import samples_of, whole
from edgeecg.signal.missing import (
    LIMIT,
    fill_in,
    first_gap,
    present,
    present_rows,
    restarts,
    runs_after,
    trailing,
)
from edgeecg.signal.pieces import Block, BlockState, Piece, SegmentEnd
from edgeecg.signal.resample import Resampler
from edgeecg.specs import Gap

__all__ = ["HOP", "PATCH", "Block", "BlockState", "Blocks", "Piece", "SegmentEnd"]

HOP = 64
"""Default block: 64 model samples, half a second."""

PATCH = 8
"""A hop is a multiple of this many model samples: one token."""

HOLD_SECONDS = 0.0625  # one token: a QRS is longer

LONGEST_LEAD = 1.0  # seconds by which a segment may be anchored before its first sample


NOTHING: tuple[Piece, ...] = ()


@dataclass(frozen=True)
class Blocks:
    """Settings of the stage; streams of one kind share them.

    Parameters
    ----------
    fs : float
        Source rate, 100 to 1000 Hz.
    leads : int
        Columns of a chunk.
    hop : int
        Model samples per block, a multiple of 8.
    tail : int
        Model samples by which a segment is carried on after its last sample; at least the latency of
        what comes after, so that nothing is left inside when the segment ends.
    hold : int, optional
        Longest run of missing samples that is held; 62.5 ms if not given.

    Raises
    ------
    ConfigError, SignalError
        If a setting is out of range.
    """

    fs: float
    leads: int = 1
    hop: int = HOP
    tail: int = 0
    hold: int | None = None

    def __post_init__(self) -> None:
        if self.hop < PATCH or self.hop % PATCH:
            raise ConfigError(
                f"hop is {self.hop} model samples: use a multiple of {PATCH}, for example {HOP}"
            )
        if self.leads < 1:
            raise ConfigError(f"{self.leads} leads: there must be at least one")
        if self.tail < 0 or self.longest_hold < 0:
            raise ConfigError(f"tail ({self.tail}) and hold ({self.hold}) are numbers of samples: 0 or more")
        self.resampler  # noqa: B018 - refuses a rate out of range

    @cached_property
    def resampler(self) -> Resampler:
        """The stage whose sample counts make the grid."""
        return Resampler(self.fs)

    @property
    def longest_hold(self) -> int:
        """Missing samples in a row that are held, at most."""
        return int(HOLD_SECONDS * self.fs) if self.hold is None else self.hold

    @property
    def latency(self) -> int:
        """Model samples that a sample waits for its block to be full, at most."""
        return self.hop

    def initial(self) -> BlockState:
        """State of a stream that has not begun: its first sample is sample 0."""
        # Blocks differ by one source sample; a first one is shorter by what lies between two model samples.
        room = self.count(0, self.hop) + self.resampler.lead_in + 1 + self.grid
        leads = self.leads
        return BlockState(
            buffer=np.empty((room, leads)),
            target=self.count(0, self.hop),
            run=np.zeros(leads, np.int64),
            last=np.zeros(leads),
        )

    def count(self, made: int, hop: int) -> int:
        """Source samples of the block that makes the segment's model samples ``made`` to ``made + hop``."""
        if made == 0 or hop != self.hop:
            return self.resampler.needed(made + hop) - self.resampler.needed(made)
        phase = made % self.resampler.ratio.numerator
        count = self._counts.get(phase)
        if count is None:
            count = self.resampler.taken_at(phase + hop) - self.resampler.taken_at(phase)
            self._counts[phase] = count
        return count

    @cached_property
    def _counts(self) -> dict[int, int]:
        """Source samples of a whole block that follows another, by its phase."""
        return {}

    @cached_property
    def grid(self) -> int:
        """Source samples that are whole ticks of 64 model samples; 1 where that takes over a second."""
        ratio = self.resampler.ratio
        samples = ratio.denominator * HOP // gcd(ratio.numerator, HOP)
        return samples if samples <= self.fs * LONGEST_LEAD else 1

    def push(self, chunk: ArrayLike, state: BlockState) -> Sequence[Piece]:
        """Take samples that follow those before.

        Parameters
        ----------
        chunk : (n,) or (n, leads) millivolts
            Any ``n``, zero included; NaN where a sample is missing.
        state : BlockState
            Advanced in place.

        Returns
        -------
        Blocks, segment ends and gaps that this chunk completes, in order; often none.

        Raises
        ------
        SignalError
            If the chunk has another shape or is not real numbers. Nothing of it has been taken then.
        """
        return self.take(samples_of(chunk, self.leads), state)

    def take(self, data: NDArray[Any], state: BlockState) -> Sequence[Piece]:
        """As :meth:`push`, of ``(n, leads)`` real numbers that somebody has checked."""
        fill = state.fill
        end = fill + data.shape[0]
        if end < state.target:  # the usual case: no more than a copy
            state.buffer[fill:end] = data
            state.fill = end
            return NOTHING
        out: list[Piece] = []
        done = 0
        while done < data.shape[0]:
            take = min(state.target - state.fill, data.shape[0] - done)
            state.buffer[state.fill : state.fill + take] = data[done : done + take]
            state.fill += take
            done += take
            if state.fill == state.target:
                self._settle(state, out)
        return out

    def gap(self, length: int, state: BlockState) -> Sequence[Piece]:
        """Say that the next ``length`` source samples are missing; the same as pushing that many NaN."""
        length = whole(length)
        short = min(length, self.longest_hold + 1)
        out = list(self.push(np.full((short, self.leads), np.nan), state))
        if length > short:  # longer than any hold: no need to write it out
            self._settle(state, out, partial=True)
            state.base += length - short
        return out

    def flush(self, state: BlockState) -> Sequence[Piece]:
        """End the segment here and give what is left of it; the next sample begins a new one."""
        out = self.cut(state)
        if state.base > state.gap_start:
            out.append(Gap(state.gap_start, state.base - state.gap_start))
            state.gap_start = state.base
        return out

    def cut(self, state: BlockState) -> list[Piece]:
        """As :meth:`flush`, but a gap that has begun is not over: samples that are missing may follow."""
        out: list[Piece] = []
        self._settle(state, out, partial=True)
        if not state.seeking:
            rows = present_rows(state.buffer[: state.fill])
            self._close(state, out, state.fill - trailing(rows))
            state.drop(state.fill)
        return out

    def restored(self, saved: Mapping[str, NDArray[Any]]) -> BlockState:
        """State from the arrays of :meth:`BlockState.to_arrays`, taken under the same settings.

        Raises
        ------
        StateError
            If the arrays are not those of such a state.
        """
        try:
            base, anchor, first, made, seeking, gap_start = (int(value) for value in saved["counts"])
            pending, run, last = (np.asarray(saved[name]) for name in ("pending", "run", "last"))
        except (KeyError, TypeError, ValueError) as error:
            raise StateError(f"not a saved block state ({error!r}): save the stream again") from error
        target = self.count(made, self.hop)
        shapes = (pending.shape[1:], run.shape, last.shape)
        if shapes != ((self.leads,),) * 3 or len(pending) >= target:
            raise StateError(
                f"this saved block state does not fit {self.leads} leads at {self.fs:g} Hz, hop {self.hop}: "
                "restore it into a stream with the settings that it was taken from"
            )
        state = self.initial()
        state.buffer[: len(pending)] = pending
        state.run, state.last = run.astype(np.int64), last.astype(np.float64)
        state.fill, state.target, state.base = len(pending), target, base
        state.anchor, state.first, state.made = anchor, first, made
        state.gap_start, state.seeking = gap_start, bool(seeking)
        return state

    # ---- inside ---------------------------------------------------------------------------------

    def _settle(self, state: BlockState, out: list[Piece], partial: bool = False) -> None:
        """Turn the buffer into pieces, as far as it goes; ``partial`` looks at less than a block too."""
        while state.fill:
            if state.seeking and not self._seek(state, out):
                return
            if state.fill < state.target and not partial:
                return
            data, cut = state.buffer[: min(state.fill, state.target)], None
            # An energy that is in bounds says at little cost that every sample is; NaN is not in bounds.
            whole = bool(np.vdot(data, data) <= LIMIT**2) or bool(present(data).all())
            if not whole:
                rows = np.asarray(present(data).any(axis=1))
                cut = first_gap(rows, int(state.run.min()), self.longest_hold)
            if cut is not None:
                self._close(state, out, cut - self.longest_hold)
                state.drop(cut + 1)
            elif state.fill < state.target:
                return
            else:
                out.append(self._next(state, whole))
                state.made += self.hop
                state.drop(state.target)
                state.target = self.count(state.made, self.hop)

    def _seek(self, state: BlockState, out: list[Piece]) -> bool:
        """Anchor a segment at the first row with a sample, if there is one; tell the gap before it."""
        there = present(state.buffer[: state.fill])
        rows = np.flatnonzero(there.any(axis=1))
        state.drop(int(rows[0]) if len(rows) else state.fill)
        if not len(rows):
            return False
        if state.base > state.gap_start:
            out.append(Gap(state.gap_start, state.base - state.gap_start))
        state.seeking, state.first, state.made = False, state.base, 0
        state.anchor = state.first - state.first % self.grid
        state.lead_in(state.first - state.anchor)
        # A lead that is absent here is primed when it comes, so its absence counts as a long one.
        state.run = np.where(there[rows[0]], 0, self.longest_hold + 1)
        state.last = np.zeros(self.leads)
        return True

    def _close(self, state: BlockState, out: list[Piece], valid: int) -> None:
        """End the segment before buffer row ``valid`` and carry it on for the tail."""
        if valid <= 0:  # the run of missing samples began in an earlier block
            valid = -int(state.run.min())
        end = state.base + valid
        goal = self.resampler.ready(end - state.anchor) + self.tail
        grain = gcd(self.hop, HOP)
        base = state.base
        while state.made < goal:
            hop = min(self.hop, -(-(goal - state.made) // grain) * grain)
            count = self.count(state.made, hop)
            out.append(self._block(state, count, min(max(valid, 0), count), hop))
            state.base += count
            state.made += hop
            valid = 0
        out.append(SegmentEnd(state.anchor, end))
        state.base, state.gap_start, state.seeking, state.made = base, end, True, 0
        state.run = np.zeros(self.leads, np.int64)
        state.target = self.count(0, self.hop)

    def _next(self, state: BlockState, whole: bool) -> Block:
        """The buffer, which is full, as a block; ``whole`` where nothing in it is missing."""
        count = state.target
        begins = state.anchor < state.first and state.base <= state.first < state.base + count
        held = any(state.run.tolist())  # of a lead or two: numpy's own is ten times as dear
        if begins or not whole or held:
            return self._block(state, count, count, self.hop)
        samples = state.buffer[:count].T.copy()
        state.last = samples[:, -1].copy()
        end = state.base + count
        return Block(samples, state.anchor, state.first, state.made, self.hop, state.base, end, None, ())

    def _block(self, state: BlockState, count: int, valid: int, hop: int) -> Block:
        """The next block: ``valid`` rows of the buffer, the rest of ``count`` held."""
        samples = np.full((self.leads, count), np.nan)
        samples[:, :valid] = state.buffer[:valid].T
        there = present(samples)
        missing: NDArray[np.bool_] | None = None
        back: tuple[tuple[int, int], ...] = ()
        if state.run.any() or not there.all():
            back = restarts(there, state.run, self.longest_hold)
            state.run = runs_after(there, state.run)
            missing = None if there.all() else ~there
            fill_in(samples, there, state.last)
        column = state.first - state.base
        if state.anchor < state.first and 0 <= column < count:  # what was held before is no signal
            back = (*((lead, column) for lead in range(self.leads)), *back)
        state.last = samples[:, -1].copy()
        end = state.base + valid
        return Block(samples, state.anchor, state.first, state.made, hop, state.base, end, missing, back)
