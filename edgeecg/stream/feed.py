"""One source on its way into a stream: its packets put in order, and the wall-clock time of its samples."""

from __future__ import annotations

from typing import Any

import msgspec

from edgeecg.errors import StateError
from edgeecg.stream.clock import TimeBase
from edgeecg.stream.clock_state import Piece, TimeState
from edgeecg.stream.sources.base import Packet
from edgeecg.stream.wallclock import WallClock

__all__ = ["Feed"]


class Feed:
    """Time base and wall clock of one source.

    Parameters
    ----------
    fs : float
        Samples a second.
    jitter : float
        Of the source's stamps, seconds.

    Attributes
    ----------
    clock : WallClock
        From sample numbers to time of day.
    """

    def __init__(self, fs: float, jitter: float = 0.0) -> None:
        self.fs, self.jitter = fs, jitter
        self.clock = WallClock(fs)
        self._base = TimeBase(fs, jitter=jitter)
        self._state = self._base.initial()

    @property
    def lost(self) -> int:
        """Samples that never came."""
        return self._state.lost

    @property
    def dropped(self) -> int:
        """Packets that came too late, twice or from nowhere."""
        return self._state.dropped

    @property
    def settled(self) -> bool:
        """Whether no packet is held back."""
        return not self._state.held and self._state.suspect is None

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
        told = {"fs": self.fs, "jitter": self.jitter, "clock": self.clock.snapshot()}
        return told | {"time": msgspec.to_builtins(self._state._asdict())}

    @classmethod
    def restored(cls, saved: dict[str, Any]) -> Feed:
        """Go on from a :meth:`snapshot`: the next packet finds its place by count, stamp or wall clock.

        Raises
        ------
        StateError
            If it is not one.
        """
        try:
            feed = cls(saved["fs"], saved["jitter"])
            feed.clock.restore(saved["clock"])
            time = saved["time"]
            tuples = {name: tuple(map(tuple, time[name])) for name in ("held", "stamps")}
            anchor = None if time["anchor"] is None else tuple(time["anchor"])
            more = tuples | {"anchor": anchor, "pace": tuple(time["pace"]), "heard": None}  # of that process
            feed._state = TimeState(**(time | more))
        except (KeyError, TypeError) as error:
            raise StateError(f"the snapshot of a feed cannot be read ({error}): start without it") from error
        return feed
