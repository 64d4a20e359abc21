"""A patient of a gateway: its link, its place in the pool, and what goes wrong with it."""

from __future__ import annotations

import logging
import queue
import time
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from edgeecg.errors import EdgeECGError, InputError, StateError
from edgeecg.stream.feed import Feed
from edgeecg.stream.gateway_config import PatientConfig
from edgeecg.stream.link import Ended, Link, Opened, let_go
from edgeecg.stream.sources import Packet, Source
from edgeecg.stream.sources.live import LiveSource

if TYPE_CHECKING:
    from edgeecg.stream.gateway import Gateway

__all__ = ["Bed"]

REPEAT = 60.0  # seconds between two words in the log on what was dropped

log = logging.getLogger(__name__)


class _Saved(msgspec.Struct):
    """What a snapshot keeps of a bed."""

    patient: str
    streams: Annotated[int, msgspec.Meta(ge=1)]
    leads: list[str]
    feed: Any


class Bed:
    """A patient of the file: its link, and what it is called in the pool.

    A source that comes back with another rate or other leads is another stream: the old one is ended,
    and the patient joins anew under the name with a number behind it.
    """

    def __init__(self, number: int, config: PatientConfig, gateway: Gateway) -> None:
        self.config, self._gateway = config, gateway
        self.link = Link(number, config.source)
        self.name = config.name
        self.feed: Feed | None = None
        self.leads: tuple[str, ...] = ()
        self.ended = False
        self.failed = False
        self.events = 0
        self._streams = 1
        self._source: Source | None = None  # that is open, or was last
        self._overrun_before = self._dropped_before = 0  # of earlier sources and streams
        self._doubted: set[str] = set()  # what the log knows of unit and rate
        self._error = ""  # why the signal cannot be used
        self._said, self._said_at = 0, -REPEAT  # what the log knows of what was dropped, and since when

    def drain(self) -> bool:
        """Take what the link has brought, but no more than the pool has room for; whether more is waiting."""
        if self.failed:
            return False
        room = self._gateway.config.queue / 2
        while room > 0:
            try:
                item = self.link.inbox.get_nowait()
            except queue.Empty:
                over = not self.link.alive and self.link.inbox.empty()
                self.ended = over and self.link.state in ("ended", "failed")
                return False
            if isinstance(item, Packet):
                self._push(item)
                room -= len(item) / (self.feed.fs if self.feed else 1)
            elif isinstance(item, Opened):
                self._reached(item)
            elif isinstance(item, Ended):
                self.settle()
                self._gateway.pool.flush(self.name)
        return True

    @property
    def unusable(self) -> bool:
        """Whether the source cannot be used, now or later."""
        return self.failed or (self.ended and self.link.state == "failed")

    @property
    def over(self) -> bool:
        """Whether the source has ended by itself."""
        return self.ended and not self.unusable

    @property
    def overrun(self) -> int:
        """Packets that came faster than they were taken from the source."""
        source = self._source
        return self._overrun_before + (source.dropped if isinstance(source, LiveSource) else 0)

    @property
    def dropped(self) -> int:
        """Samples that the pool had no room for."""
        pool = self._gateway.pool
        try:
            return self._dropped_before + (0 if self.feed is None else pool.dropped(self.name))
        except InputError:  # left the pool meanwhile
            return self._dropped_before

    @property
    def doubt(self) -> str:
        """What is wrong with the unit or the rate of the samples."""
        return "; ".join(self._doubts())

    def _doubts(self) -> list[str]:
        if self.feed is None:
            return []
        try:
            told = (self._gateway.pool.doubt(self.name), self.feed.doubt)
        except InputError:  # left the pool meanwhile
            return []
        return [doubt for doubt in told if doubt]

    def warn(self) -> None:
        """Say in the log what was dropped since it was last said, but not all the time."""
        overrun, dropped = self.overrun, self.dropped
        if overrun + dropped <= self._said or time.monotonic() - self._said_at < REPEAT:
            return
        self._said, self._said_at = overrun + dropped, time.monotonic()
        log.warning(
            "source %d: %d packets and %d samples dropped so far, as they came faster than they are computed",
            self.link.number,
            overrun,
            dropped,
        )

    def warn_of_rest(self) -> None:
        """Say in the log what has come and will be told to nobody, at a stop that could not wait for it."""
        source = self._source
        left = self.link.inbox.packets + (source.waiting if isinstance(source, LiveSource) else 0)
        if left and not self.failed:
            log.warning(
                "source %d: the last %d packets are not told, as they came faster than they are computed",
                self.link.number,
                left,
            )

    def _reached(self, opened: Opened) -> None:
        source = opened.source
        self._overrun_before, self._source = self.overrun, source
        if self.feed is not None and (self.feed.fs, self.leads) == (source.fs, source.leads):
            return
        if self.feed is not None:
            self.settle()
            self._dropped_before = self.dropped
            self._gateway.pool.remove(self.name)
            self.name, self._streams = self._gateway.free_name(self.config.name, self._streams + 1)
            log.warning("source %d came back otherwise: its stream begins anew", self.link.number)
        self.feed, self.leads, self._doubted = Feed(source.fs, source.jitter), source.leads, set()
        self._gateway.admit(self, self.feed)

    def fail(self, error: EdgeECGError) -> None:
        """What comes cannot be used: the stream ends with what was told, and the link is closed."""
        self.ended = self.failed = True
        self._error = str(error)
        self._dropped_before = self.dropped
        self.feed = None
        let_go([self.link])  # others wait for no goodbye
        self._gateway.discharge(self)

    def _push(self, packet: Packet) -> None:
        if self.feed is not None:
            self._take(self.feed.step(packet))

    def settle(self) -> None:
        """Push what is held back for packets that are late."""
        if self.feed is not None:
            self._take(self.feed.flush())

    def _take(self, pieces: Any) -> None:
        for piece in pieces:
            if piece.missing:
                self._gateway.pool.gap(self.name, piece.missing)
            self._gateway.signal(piece.start, piece.samples, self.name)
            self._gateway.make_room(self.name, len(piece.samples))
            self._gateway.pool.push(self.name, piece.samples)
        for doubt in self._doubts():
            if doubt not in self._doubted:
                log.warning("source %d: %s", self.link.number, doubt)
                self._doubted.add(doubt)

    def snapshot(self) -> dict[str, Any]:
        """What is needed to go on; only after :meth:`settle`."""
        if self.feed is None:
            return {}
        about = {"patient": self.name, "streams": self._streams, "leads": list(self.leads)}
        return about | {"feed": self.feed.snapshot()}

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on from a :meth:`snapshot`; the patient is in the pool already, and is to be admitted."""
        try:
            about = msgspec.convert(saved, _Saved)
        except msgspec.ValidationError as error:
            raise StateError(f"the snapshot of a bed is none ({error})", public=True) from error
        self.name, self._streams, self.leads = about.patient, about.streams, tuple(about.leads)
        self.feed = Feed.restored(about.feed)

    def report(self) -> dict[str, Any]:
        """How the patient's signal is."""
        link, feed = self.link, self.feed
        state = "failed" if self.failed else link.state
        silent = 0.0 if state == "ended" else time.monotonic() - link.heard
        return {
            "state": state,
            "silent": round(silent, 1),
            "attempts": link.attempts,
            "events": self.events,
            "lost_samples": 0 if feed is None else feed.lost,
            "dropped_packets": 0 if feed is None else feed.dropped,
            "restarts": 0 if feed is None else feed.restarts,
            "overrun_packets": self.overrun,
            "dropped_samples": self.dropped,
            "doubt": self.doubt,
            "error": self._error or link.error,
        }
