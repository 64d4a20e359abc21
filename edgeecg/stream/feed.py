"""One source on its way into a stream: its packets put in order, and the wall-clock time of its samples."""

from __future__ import annotations

from typing import Any

import msgspec

from edgeecg.errors import StateError
from edgeecg.stream.clock import Piece, TimeBase, TimeState
from edgeecg.stream.sources.base import Packet, Source
from edgeecg.stream.wallclock import WallClock

__all__ = ["Feed"]


class Feed:
    """Time base and wall clock of one source.

    Parameters
    ----------
    source : Source
        Open, so that its rate is known.

    Attributes
    ----------
    fs : float
        Samples a second.
    clock : WallClock
        From sample numbers to time of day.
    """

    def __init__(self, source: Source) -> None:
        self.fs = source.fs
        self.clock = WallClock(self.fs)
        self._base = TimeBase(self.fs, jitter=source.jitter)
        self._state = self._base.initial()

    @property
    def lost(self) -> int:
        """Samples that never came."""
        return self._state.lost

    @property
    def dropped(self) -> int:
        """Packets that came too late, twice or from nowhere."""
        return self._state.dropped

    def step(self, packet: Packet) -> list[Piece]:
        """What a packet settles: samples in their place, and how many are missing before them."""
        pieces, self._state = self._base.step(packet, self._state)
        for piece in pieces:
            if piece.time is not None:
                self.clock.observe(piece.start, piece.time)
        return pieces

    def flush(self) -> list[Piece]:
        """What is still held back; at the end, or before :meth:`snapshot`."""
        pieces, self._state = self._base.flush(self._state)
        return pieces

    def snapshot(self) -> dict[str, Any]:
        """Counters and anchors as builtin values; flush first."""
        return {"fs": self.fs, "time": msgspec.to_builtins(self._state), "clock": self.clock.snapshot()}

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on from a :meth:`snapshot`: the next packet finds its place by count, stamp or wall clock.

        Raises
        ------
        StateError
            If it is not one.
        """
        try:
            self._state = msgspec.convert(saved["time"], TimeState)
            self.clock.restore(saved["clock"])
        except (KeyError, msgspec.ValidationError) as error:
            raise StateError(f"the snapshot of a feed cannot be read ({error}): start without it") from error
