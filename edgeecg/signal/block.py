"""Any chunk in, fixed blocks out; gaps and runs of missing samples are named here.

From this stage on nobody sees the caller's chunks. A *segment* is a stretch of signal without a gap.
Its block grid is anchored at its first sample: block ``b`` ends at source sample
``anchor + Resampler.needed(hop * (b + 1))``, so a segment is cut exactly like a fresh stream.

What is missing
---------------
A sample is missing where it is not a number or beyond ``LIMIT``, and where :meth:`Blocks.gap` says so:
``gap(n)`` means the same as ``n`` rows of NaN. The source's sample count goes on over what is missing.

* Up to ``hold`` missing samples in a row are *held*: the last value of the lead stands in for them.
* More of them *on all leads* are a gap. The segment ends before the first missing sample (it is carried
  on by held samples for ``tail`` model samples, so that what is still in the pipeline comes out), the
  gap is told as :class:`~edgeecg.specs.Gap` with its true start and length once it is over, and a new
  segment is anchored at the first sample after it: there the signal is processed from a fresh state.
* More of them *on one lead* while another goes on are held for as long as it takes; when the lead comes
  back its row is listed in ``Block.restarts`` and is primed anew, on the grid that goes on.

The rule looks at samples only, never at chunks or blocks: every way of cutting the stream, and every
hop, gives the same segments, gaps and restarts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import gcd
from typing import Any, NamedTuple, Union

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgeecg.errors import ConfigError, SignalError, StateError
from edgeecg.signal.resample import Resampler
from edgeecg.specs import Gap

__all__ = ["HOP", "LIMIT", "PATCH", "Block", "Blocks", "Piece", "SegmentEnd"]

HOP = 64
"""Default block: 64 model samples, half a second."""

PATCH = 8
"""A hop is a multiple of this many model samples: one token."""

LIMIT = 1e9
"""A finite sample beyond this magnitude, in millivolts, counts as missing: no amplifier gives it."""

HOLD_SECONDS = 0.0625  # one token: shorter than a QRS, longer than one lost BLE notification of a few samples


class Block(NamedTuple):
    """Source samples of one block of the model grid.

    Attributes
    ----------
    samples : (leads, n) float64
        Millivolts, every one finite.
    anchor : int
        Source sample at which the segment began: model sample 0 of the front end.
    made : int
        Model samples of the segment before this block.
    hop : int
        Model samples that this block makes.
    start : int
        Source sample of ``samples[:, 0]``.
    end : int
        One past the last sample that came in; what ``samples`` holds from there on is held.
    missing : (leads, n) bool or None
        Where ``samples`` is held because nothing came; ``None`` if all of it came.
    restarts : tuple of (lead, column)
        Leads that come back at that column after a long absence: their rows are primed anew there.
    """

    samples: NDArray[np.float64]
    anchor: int
    made: int
    hop: int
    start: int
    end: int
    missing: NDArray[np.bool_] | None
    restarts: tuple[tuple[int, int], ...]


class SegmentEnd(NamedTuple):
    """The segment that began at ``anchor`` has given all its blocks; its last sample is ``end - 1``."""

    anchor: int
    end: int


Piece = Union[Block, SegmentEnd, Gap]
"""What comes out, in the order of the stream."""

NOTHING: tuple[Piece, ...] = ()


class Blocks:
    """The stage and its state for one stream: a buffer of one block.

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

    def __init__(
        self, fs: float, leads: int = 1, hop: int = HOP, tail: int = 0, hold: int | None = None
    ) -> None:
        if hop < PATCH or hop % PATCH:
            raise ConfigError(f"hop is {hop} model samples: use a multiple of {PATCH}, for example {HOP}")
        if leads < 1 or tail < 0 or (hold is not None and hold < 0):
            raise ConfigError(
                f"leads ({leads}) must be at least 1, tail ({tail}) and hold ({hold}) not negative"
            )
        self.resampler = Resampler(fs)
        self.leads, self.hop, self.tail = leads, hop, tail
        self.hold = int(HOLD_SECONDS * fs) if hold is None else hold
        self.reset()

    # ---- what goes in ---------------------------------------------------------------------------

    def push(self, chunk: ArrayLike) -> Sequence[Piece]:
        """Take samples that follow those before.

        Parameters
        ----------
        chunk : (n,) or (n, leads) millivolts
            Any ``n``, zero included; NaN where a sample is missing.

        Returns
        -------
        Blocks, segment ends and gaps that this chunk completes, in order; often none.

        Raises
        ------
        SignalError
            If the chunk has another shape or is not real numbers. Nothing of it has been taken then.
        """
        data = chunk if type(chunk) is np.ndarray else np.asarray(chunk)
        if data.ndim == 1 and self.leads == 1 and data.dtype.kind in "fiu":
            buffer = self._flat
        else:
            data, buffer = self._checked(data), self._buffer
        fill = self._fill
        end = fill + data.shape[0]
        if end < self._target:  # the usual case: no more than a copy
            buffer[fill:end] = data
            self._fill = end
            return NOTHING
        out: list[Piece] = []
        done = 0
        while done < data.shape[0]:
            take = min(self._target - self._fill, data.shape[0] - done)
            buffer[self._fill : self._fill + take] = data[done : done + take]
            self._fill += take
            done += take
            if self._fill == self._target:
                self._settle(out)
        return out

    def gap(self, length: int) -> Sequence[Piece]:
        """Say that the next ``length`` source samples are missing; the same as pushing that many NaN."""
        if length < 0:
            raise SignalError(f"a gap of {length} samples: give the number of missing samples, 0 or more")
        short = min(length, self.hold + 1)
        out = list(self.push(np.full((short, self.leads), np.nan)))
        if length > short:  # longer than any hold: no need to write it out
            self._settle(out, partial=True)
            self._base += length - short
        return out

    def flush(self) -> Sequence[Piece]:
        """End the segment here and give what is left of it; the next sample begins a new one."""
        out: list[Piece] = []
        self._settle(out, partial=True)
        if not self._seeking:
            end = self._fill - self._trailing()
            self._close(out, end)
            self._drop(self._fill)
        if self._base > self._gap_start:
            out.append(Gap(self._gap_start, self._base - self._gap_start))
            self._gap_start = self._base
        return out

    def reset(self) -> None:
        """Forget everything: the next sample is sample 0 of a fresh stream."""
        self._base = 0  # source sample of the buffer's first row
        self._anchor = 0
        self._made = 0
        self._seeking = True  # for the first sample of a segment
        self._gap_start = 0  # where the search began
        self._run = np.zeros(self.leads, np.int64)  # missing samples in a row up to the buffer, per lead
        self._last = np.zeros(self.leads)  # the value that is held
        self._target = self._count(0, self.hop)
        self._fill = 0
        room = self._target + 2  # block lengths differ by one sample at most, the first one by a few less
        room += -(-self.resampler.ratio.denominator // self.resampler.ratio.numerator)
        self._buffer = np.empty((room, self.leads))
        self._flat = self._buffer[:, 0]

    @property
    def samples(self) -> int:
        """Source samples so far, those that are missing included."""
        return self._base + self._fill

    # ---- state as plain arrays ------------------------------------------------------------------

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """Everything that the stage remembers, as plain arrays."""
        counts = [self._base, self._anchor, self._made, int(self._seeking), self._gap_start]
        return {
            "counts": np.array(counts, np.int64),
            "pending": self._buffer[: self._fill].copy(),
            "run": self._run.copy(),
            "last": self._last.copy(),
        }

    def restore(self, saved: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a :meth:`snapshot` of a stage with the same settings.

        Raises
        ------
        StateError
            If the arrays are not those of such a stage.
        """
        try:
            base, anchor, made, seeking, gap_start = (int(value) for value in saved["counts"])
            pending, run, last = saved["pending"], saved["run"], saved["last"]
        except (KeyError, ValueError) as error:
            raise StateError(f"not a snapshot of a block stage ({error}): take a new one") from error
        target = self._count(made, self.hop)
        if pending.shape[1:] != (self.leads,) or len(run) != self.leads or len(pending) >= target:
            raise StateError(
                f"this snapshot does not fit {self.leads} leads at {self.resampler.fs:g} Hz with hop {self.hop}: "
                "restore it into a stream with the settings it was taken from"
            )
        self._base, self._anchor, self._made, self._gap_start = base, anchor, made, gap_start
        self._seeking, self._target, self._fill = bool(seeking), target, len(pending)
        self._run, self._last = run.astype(np.int64), last.astype(np.float64)
        self._buffer[: self._fill] = pending

    # ---- inside ---------------------------------------------------------------------------------

    def _checked(self, data: NDArray[Any]) -> NDArray[Any]:
        """``data`` as ``(n, leads)``, or an error that says what is expected."""
        if data.size == 0:
            return np.empty((0, self.leads))
        if data.dtype.kind not in "fiu":
            raise SignalError(f"samples of type {data.dtype}: push real numbers in millivolts")
        if data.ndim == 1 and self.leads == 1:
            return data[:, None]
        if data.ndim != 2 or data.shape[1] != self.leads:
            wanted = "(n,) or (n, 1)" if self.leads == 1 else f"(n, {self.leads})"
            raise SignalError(f"a chunk of shape {data.shape}: push samples by leads, {wanted}")
        return data

    def _count(self, made: int, hop: int) -> int:
        """Source samples of the block that makes model samples ``made`` to ``made + hop``."""
        return self.resampler.needed(made + hop) - self.resampler.needed(made)

    def _settle(self, out: list[Piece], partial: bool = False) -> None:
        """Turn the buffer into pieces, as far as it goes; ``partial`` looks at less than a block too."""
        while self._fill:
            if self._seeking and not self._seek(out):
                return
            if self._fill < self._target and not partial:
                return
            data = self._buffer[: self._fill]
            there = np.abs(data) <= LIMIT  # NaN is not
            if there.all():
                cut = None
            else:
                cut = self._first_gap(there.any(axis=1))
            if cut is not None:
                self._close(out, cut - self.hold)
                self._drop(cut + 1)
            elif self._fill < self._target:
                return
            else:
                out.append(self._block(self._target, self._target, self.hop))
                self._base += self._fill
                self._fill = 0
                self._made += self.hop
                self._target = self._count(self._made, self.hop)

    def _seek(self, out: list[Piece]) -> bool:
        """Anchor a segment at the first row with a sample, if there is one; tell the gap before it."""
        there = np.abs(self._buffer[: self._fill]) <= LIMIT
        rows = np.flatnonzero(there.any(axis=1))
        self._drop(int(rows[0]) if len(rows) else self._fill)
        if not len(rows):
            return False
        if self._base > self._gap_start:
            out.append(Gap(self._gap_start, self._base - self._gap_start))
        self._seeking, self._anchor, self._made = False, self._base, 0
        self._run = np.where(there[rows[0]], 0, self.hold + 1)  # an absent lead is primed when it comes
        self._last = np.zeros(self.leads)
        return True

    def _first_gap(self, there: NDArray[np.bool_]) -> int | None:
        """Row at which a run of missing rows outgrows the hold."""
        index = np.arange(len(there))
        before = -1 - int(self._run.min())
        run = index - np.maximum.accumulate(np.where(there, index, before))
        over = np.flatnonzero(run > self.hold)
        return int(over[0]) if len(over) else None

    def _trailing(self) -> int:
        """Rows at the buffer's end on which every lead is missing."""
        rows = np.flatnonzero((np.abs(self._buffer[: self._fill]) <= LIMIT).any(axis=1))
        return self._fill - (int(rows[-1]) + 1 if len(rows) else 0)

    def _drop(self, rows: int) -> None:
        """Forget the buffer's first rows; the count goes on."""
        left = self._fill - rows
        self._buffer[:left] = self._buffer[rows : self._fill].copy()
        self._base += rows
        self._fill = left

    def _close(self, out: list[Piece], valid: int) -> None:
        """End the segment before buffer row ``valid`` (negative: in an earlier block) and carry it on."""
        if valid <= 0:
            valid = min(valid, -int(self._run.min()))
        end = self._base + valid
        goal = self.resampler.ready(end - self._anchor) + self.tail
        grain = gcd(self.hop, HOP)
        base, left = self._base, max(valid, 0)
        while self._made < goal:
            hop = min(self.hop, -(-(goal - self._made) // grain) * grain)
            count = self._count(self._made, hop)
            out.append(self._block(count, min(left, count), hop))
            self._base += count
            self._made += hop
            left = 0
        self._base = base
        out.append(SegmentEnd(self._anchor, end))
        self._seeking, self._gap_start, self._made = True, end, 0
        self._run = np.zeros(self.leads, np.int64)
        self._target = self._count(0, self.hop)

    def _block(self, count: int, valid: int, hop: int) -> Block:
        """The next block: ``valid`` rows of the buffer, the rest of ``count`` held."""
        samples = np.empty((self.leads, count))
        samples[:, :valid] = self._buffer[:valid].T
        samples[:, valid:] = np.nan
        there = np.abs(samples) <= LIMIT
        missing, restarts = None, ()
        if self._run.any() or not there.all():
            restarts = self._restarts(there)
            missing = None if there.all() else ~there
            self._fill_in(samples, there)
        self._last = samples[:, -1].copy()
        end = self._base + valid
        return Block(samples, self._anchor, self._made, hop, self._base, end, missing, restarts)

    def _restarts(self, there: NDArray[np.bool_]) -> tuple[tuple[int, int], ...]:
        """Where leads come back after more than ``hold`` missing samples; updates their runs."""
        count = there.shape[1]
        index = np.arange(count)
        seen = np.maximum.accumulate(np.where(there, index, -1 - self._run[:, None]), axis=1)
        first = -1 - self._run[:, None]
        before = index - 1 - np.concatenate([first, seen[:, :-1]], axis=1)  # missing samples just before
        self._run = count - 1 - seen[:, -1]
        lead, column = np.nonzero(there & (before > self.hold))
        return tuple(zip(lead.tolist(), column.tolist()))

    def _fill_in(self, samples: NDArray[np.float64], there: NDArray[np.bool_]) -> None:
        """Hold each lead's last value over what is missing, in place."""
        index = np.maximum.accumulate(np.where(there, np.arange(there.shape[1]), -1), axis=1)
        held = np.take_along_axis(samples, np.maximum(index, 0), axis=1)
        samples[...] = np.where(index >= 0, held, self._last[:, None])
