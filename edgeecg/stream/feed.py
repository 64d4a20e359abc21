"""One source on its way into a stream: its packets put in order, and the wall-clock time of its samples."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from edgeecg.errors import ConfigError, StateError
from edgeecg.stream.boottime import boot, heard_again, kept
from edgeecg.stream.clock import TimeBase
from edgeecg.stream.clock_rate import RateWatch
from edgeecg.stream.clock_stamps import PULL
from edgeecg.stream.clock_state import Piece, TimeState
from edgeecg.stream.sources.base import Packet
from edgeecg.stream.wallclock import WallClock

__all__ = ["Feed"]

MOST = 2**53  # samples that a stream may have had: at any rate more than ten thousand years


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
        self._rate = RateWatch(fs)
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
    def restarts(self) -> int:
        """How often the device's count began anew, or leapt."""
        return self._state.restarts

    @property
    def doubt(self) -> str:
        """What is wrong with the rate."""
        return self._rate.doubt

    @property
    def settled(self) -> bool:
        """Whether no packet is held back."""
        return not self._state.held and self._state.suspect is None

    def step(self, packet: Packet) -> list[Piece]:
        """What a packet settles: samples in their place, and how many are missing before them."""
        self._rate.look(packet)
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
        heard = self._state.heard
        state = self._state._replace(heard=None if heard is None else kept(heard))
        told = {"fs": self.fs, "jitter": self.jitter, "clock": self.clock.snapshot(), "boot": boot()}
        return told | {"time": msgspec.to_builtins(state._asdict())}

    @classmethod
    def restored(cls, saved: dict[str, Any]) -> Feed:
        """Go on from a :meth:`snapshot`: the next packet finds its place by count, stamp or clock.

        Until the machine is started anew that is the clock that nobody sets, then the wall clock.

        Raises
        ------
        StateError
            If it is not one, whatever stands in it: it is believed for as long as the stream lasts.
        """
        try:
            about = msgspec.convert(saved, _Saved)
            values = [about.time[name] for name in TimeState._fields]
            state = msgspec.convert(values, TimeState)
            feed = cls(about.fs, about.jitter)
        except (KeyError, ConfigError, msgspec.ValidationError) as error:
            raise StateError(f"the snapshot of a feed cannot be read ({error}): start without it") from error
        _check(state, about.fs)
        feed.clock.restore(about.clock)
        known = state.heard is not None and about.boot and about.boot == boot()
        feed._state = state._replace(heard=heard_again(state.heard or 0.0) if known else None)
        return feed


class _Saved(msgspec.Struct, forbid_unknown_fields=True):
    """What a snapshot keeps of a feed."""

    fs: float
    jitter: float
    clock: list[tuple[int, float]]
    time: dict[str, Any]  # ``heard`` counts from the start of the machine
    boot: str


def _check(state: TimeState, fs: float) -> None:
    """Refuse a time base that no stream could have come to; raises ``StateError``."""
    anchor = state.anchor or (0, 0.0)
    numbers = (state.wall or 0.0, state.heard or 0.0, anchor[1], state.rate, state.spare)
    counts = (state.next, state.dropped, state.lost, state.restarts, state.since, state.again)
    sound = all(map(math.isfinite, numbers)) and state.spare >= 0 and all(0 <= n <= MOST for n in counts)
    steady = abs(state.rate / (fs / 1e9) - 1) <= 2 * PULL
    if not (sound and steady and not state.held and state.suspect is None):
        raise StateError("the snapshot of a feed holds what cannot be: start without it", public=True)
