"""A sink of a gateway: one that fails stops nobody else."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from edgeecg.errors import LinkError, StateError
from edgeecg.specs import Event
from edgeecg.stream.sinks import Header, SignalSink, Sink

__all__ = ["Outlet"]

log = logging.getLogger(__name__)


class Outlet:
    """A sink that may fail without stopping the others."""

    def __init__(self, sink: Sink, kind: str) -> None:
        self.sink, self.kind = sink, kind
        self.failures = 0
        self.ok = True

    def open(self, header: Header) -> None:
        """A patient begins."""
        self._try(lambda: self.sink.open(header))

    def write(self, event: Event, patient: str, at: float | None) -> None:
        """Pass an event on."""
        self._try(lambda: self.sink.write(event, patient, at))

    def signal(self, start: int, samples: Any, patient: str) -> None:
        """Pass samples on, if it wants them."""
        if isinstance(self.sink, SignalSink):
            sink = self.sink
            self._try(lambda: sink.signal(start, samples, patient))

    def _try(self, call: Callable[[], None]) -> None:
        try:
            call()
            self.ok = True
        except (LinkError, StateError) as error:
            if self.ok:
                log.error("sink %s failed: %s", self.kind, error)
            self.ok, self.failures = False, self.failures + 1
