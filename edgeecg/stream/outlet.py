"""A sink of a gateway: one that fails, or is not there yet, stops nobody else."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from edgeecg.errors import EdgeECGError, MissingExtra
from edgeecg.specs import Event
from edgeecg.stream.cause import cause
from edgeecg.stream.sinks import Header, SignalSink, Sink

__all__ = ["Outlet"]

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds before a sink that was not reached is tried again

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
        Events, samples and openings that it did not take.
    """

    def __init__(self, number: int, sink: Sink, kind: str) -> None:
        self.number, self.sink, self.kind = number, sink, kind
        sink.waits = False
        self.failures, self._why = 0, ""
        self._took = self._kept = True
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
        return "" if self.ok else self._why

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
            self._kept = self._try(self.sink.keep)

    def retry(self) -> None:
        """Let what waits go out if there is room by now: no other event may come to push it."""
        if not self.sink.behind:
            return
        try:
            self.sink.retry()
        except FAILURES as error:
            self._why = str(error)
        else:
            self._took = True

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
        fine = self.ok  # what goes on failing is said once
        try:
            call()
        except MissingExtra:
            raise
        except FAILURES as error:
            if fine:
                log.error("sink %d (%s) failed: %s", self.number, self.kind, cause(error))
            self._failed(error)
            return False
        self._took = True
        return True

    def _failed(self, error: BaseException) -> None:
        self._took, self.failures, self._why = False, self.failures + 1, str(error)
