"""A sink of a gateway: one that fails, or is not there yet, stops nobody else."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from edgeecg.errors import EdgeECGError, MissingExtra
from edgeecg.specs import Event
from edgeecg.stream.cause import cause
from edgeecg.stream.sinks import Header, SignalSink, Sink, WardSink

__all__ = ["Outlet"]

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds before a sink that was not reached is tried again
GRACE = 2.0  # seconds that a sink may be behind before the log says so

FAILURES = (EdgeECGError, OSError)
"""What a sink may raise; a broken pipe is whoever read our standard output, and is there no more."""

log = logging.getLogger(__name__)


class Outlet:
    """The sink, and the patients that it knows.

    Parameters
    ----------
    number : int
        Of the sink in the gateway's file, the first is 1: with its kind, what the log calls it.
    sink : Sink
    kind : str

    Attributes
    ----------
    failures : int
        Events, samples and openings that it did not take; not what it keeps for later.
    """

    def __init__(self, number: int, sink: Sink, kind: str) -> None:
        self.number, self.sink, self.kind = number, sink, kind
        sink.waits = False
        self.failures, self._why = 0, ""
        self._took = self._kept = True
        self._said: set[str] = set()  # what the log knows of a trouble that lasts
        self._behind_since: float | None = None
        self._wanted: dict[str, Header] = {}  # of patients that it does not know yet
        self._known: set[str] = set()
        self._pause, self._again = FIRST_PAUSE, 0.0

    @property
    def ok(self) -> bool:
        """Whether the last thing asked of it went well, and nothing waits that could not be written."""
        return self._took and self._kept and not self.sink.behind

    @property
    def error(self) -> str:
        """What went wrong, with paths and addresses; empty while all is well."""
        if self.ok:
            return ""
        trouble = self.sink.trouble if self._took and self._kept else None
        return self._why if trouble is None else str(trouble)

    def expect(self, patients: Mapping[int, str]) -> None:
        """Who will come, by number of the source, if it wants to know."""
        if isinstance(self.sink, WardSink):
            self.sink.expect(patients)

    def open(self, header: Header) -> None:
        """A patient begins.

        Raises
        ------
        MissingExtra
            The library of the sink is not installed: no later attempt will help.
        """
        self._wanted[header.patient] = header
        self._reach(header.patient)

    def write(self, event: Event, patient: str, at: float | None) -> None:
        """Pass an event on."""
        if self._reach(patient):
            self._try(lambda: self.sink.write(event, patient, at))

    def signal(self, start: int, samples: Any, patient: str) -> None:
        """Pass samples on, if it wants them."""
        if isinstance(self.sink, SignalSink) and self._reach(patient):
            sink = self.sink
            self._try(lambda: sink.signal(start, samples, patient))

    def keep(self) -> None:
        """Let it write what a crash would lose."""
        if self._known:
            took = self._took
            self._kept = self._try(self.sink.keep)
            self._took = took  # of what is written to it this says nothing

    def look(self) -> None:
        """Let what waits go out if there is room by now, and tell the log who is behind or well again.

        No other event may come to push what waits, nor a call to fail where a library sends by itself.
        """
        if self.sink.behind:
            self._retry()
        if not self.sink.behind:
            self._behind_since = None
        elif self._behind_since is None:
            self._behind_since = time.monotonic()
        if self.ok and self._said and not self._wanted:
            log.info("sink %d (%s) is well again", self.number, self.kind)
            self._said.clear()
        elif self._behind_since is not None and time.monotonic() - self._behind_since >= GRACE:
            trouble = self.sink.trouble
            if trouble is not None:
                self._say("is behind", trouble)

    def _retry(self) -> None:
        try:
            self.sink.retry()
        except FAILURES as error:
            self._why = str(error)
            if not self.sink.behind:  # what waited was given up
                self._say("failed", error)
                self._failed(error)
        else:
            self._took = self._took or not self.sink.behind

    def close(self) -> bool:
        """Let go of the sink; whether it had room for all that it still held."""
        try:
            self.sink.close()
        except FAILURES as error:
            self._failed(error)
            log.error("sink %d (%s) loses what it still held: %s", self.number, self.kind, cause(error))
            return False
        return True

    def _reach(self, patient: str) -> bool:
        """Whether the sink knows the patient; one that could not be reached is tried again now and then."""
        if patient in self._known:
            return True
        header = self._wanted.get(patient)
        if header is None or time.monotonic() < self._again:
            self._took, self.failures = False, self.failures + 1
            return False
        went_well = self._try(lambda: self.sink.open(header))
        if patient in self.sink.patients:  # perhaps with a header that goes out later
            self._known.add(patient)
            self._pause = FIRST_PAUSE
            del self._wanted[patient]
        else:
            self._again = time.monotonic() + self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
        return went_well

    def _try(self, call: Callable[[], None]) -> bool:
        try:
            call()
        except MissingExtra:
            raise
        except FAILURES as error:
            self._say("failed", error)
            self._failed(error)
            return False
        self._took = True
        return True

    def _say(self, what: str, error: BaseException) -> None:
        """Tell the log, once until all is well again."""
        if what not in self._said:
            self._said.add(what)
            log.error("sink %d (%s) %s: %s", self.number, self.kind, what, cause(error))

    def _failed(self, error: BaseException) -> None:
        self._took, self.failures, self._why = False, self.failures + 1, str(error)
