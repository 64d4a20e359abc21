"""What the block stage gives and what it remembers: the values of :mod:`edgeecg.signal.block`."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple, Union

import numpy as np
from numpy.typing import NDArray

from edgeecg.specs import Gap

__all__ = ["Block", "BlockState", "Piece", "SegmentEnd"]


class Block(NamedTuple):
    """Source samples of one block of the model grid.

    Attributes
    ----------
    samples : (leads, n) float64
        Millivolts, every one finite.
    anchor : int
        Source sample of the segment's model sample 0.
    first : int
        Source sample at which its signal began; from ``anchor`` up to there its first sample is held.
    made : int
        Model samples of the segment before this block.
    hop : int
        Model samples that this block makes; the last blocks of a segment may make fewer than the others.
    start : int
        Source sample of ``samples[:, 0]``.
    end : int
        One past the last source sample in the block; from there on ``samples`` is held.
    missing : (leads, n) bool or None
        Where ``samples`` is held because nothing came; ``None`` if all of it came.
    restarts : tuple of (lead, column)
        Leads that come back at that column after a long absence, or whose signal begins there behind what
        is held from the anchor on: their rows are primed anew.
    """

    samples: NDArray[np.float64]
    anchor: int
    first: int
    made: int
    hop: int
    start: int
    end: int
    missing: NDArray[np.bool_] | None
    restarts: tuple[tuple[int, int], ...]

    def held(self, ratio: Fraction) -> int:
        """Model samples of the segment before its signal, at so many model samples per source sample."""
        return int((self.first - self.anchor) * ratio)


class SegmentEnd(NamedTuple):
    """The segment that began at ``anchor`` has given all its blocks; its last sample is ``end - 1``."""

    anchor: int
    end: int


Piece = Union[Block, SegmentEnd, Gap]
"""What comes out, in the order of the stream."""


@dataclass
class BlockState:
    """What the stage remembers of one stream. It is advanced in place.

    Attributes
    ----------
    buffer : (room, leads) float64
        Samples of the block that is being filled, in its first ``fill`` rows.
    fill, target : int
        Rows that are there, and rows that make the block.
    base : int
        Source sample of the buffer's first row.
    anchor, first, made : int
        As in :class:`Block`, of the segment that is going on.
    seeking : bool
        Whether no segment is going on: the next sample that is there begins one.
    gap_start : int
        Where the search for it began.
    run : (leads,) int64
        Missing samples in a row just before the buffer.
    last : (leads,) float64
        The values that are held.
    """

    buffer: NDArray[np.float64]
    target: int
    run: NDArray[np.int64]
    last: NDArray[np.float64]
    fill: int = 0
    base: int = 0
    anchor: int = 0
    first: int = 0
    made: int = 0
    seeking: bool = True
    gap_start: int = 0

    @property
    def samples(self) -> int:
        """Source samples so far, those that are missing included."""
        return self.base + self.fill

    def lead_in(self, rows: int) -> None:
        """Put so many copies of the buffer's first row before it."""
        if rows:
            self.buffer[rows : rows + self.fill] = self.buffer[: self.fill].copy()
            self.buffer[:rows] = self.buffer[rows]
            self.base -= rows
            self.fill += rows

    def drop(self, rows: int) -> None:
        """Forget the buffer's first rows; the sample count goes on."""
        left = self.fill - rows
        if left:
            self.buffer[:left] = self.buffer[rows : self.fill].copy()
        self.base += rows
        self.fill = left

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """As plain arrays, for :meth:`Blocks.restored`."""
        counts = [self.base, self.anchor, self.first, self.made, int(self.seeking), self.gap_start]
        return {
            "counts": np.array(counts, np.int64),
            "pending": self.buffer[: self.fill].copy(),
            "run": self.run.copy(),
            "last": self.last.copy(),
        }
