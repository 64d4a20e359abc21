"""Lab Streaming Layer markers (pylsl): one text marker an event, as JSON.

A marker's time is that of the event's sample where it is known, else of its writing. Lab Streaming Layer
confirms nothing: a marker reaches the inlets that are connected when it is written.
"""

from __future__ import annotations

import time as clock
from typing import Any

from edgeecg.specs import Event
from edgeecg.stream.sinks.base import BaseSink, Header
from edgeecg.stream.sinks.lines import event_line
from edgeecg.stream.sources.lsl import pylsl

__all__ = ["LslSink"]

LINGER = 0.5  # seconds that the library gets to hand over its last markers


class LslSink(BaseSink):
    """A marker stream.

    Parameters
    ----------
    name : str
        Name of the outlet.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self._outlet: Any = None

    def _connect(self, header: Header) -> None:
        self._lsl = pylsl("writing Lab Streaming Layer markers")
        info = self._lsl.StreamInfo(self._name, "Markers", 1, 0, self._lsl.cf_string, f"edgeecg-{self._name}")
        about = info.desc()
        about.append_child_value("model", header.model)
        about.append_child_value("digest", header.digest)
        self._outlet = self._lsl.StreamOutlet(info)

    def _send(self, event: Event, header: Header, time: float | None) -> None:
        now = self._lsl.local_clock()
        stamp = now if time is None else now + time - clock.time()
        self._outlet.push_sample([event_line(event, header.patient, time).decode()], stamp)

    def flush(self) -> None:
        """Give the library time to send."""
        if self._outlet is not None and self._outlet.have_consumers():
            clock.sleep(LINGER)

    def _disconnect(self) -> None:
        self._outlet = None  # its destructor ends the stream
