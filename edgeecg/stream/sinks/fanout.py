"""Several sinks as one: all get everything, and all are closed, whichever of them fails.

The last error of several is raised, with the others behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack

import numpy as np
from numpy.typing import NDArray

from edgeecg.specs import Event
from edgeecg.stream.sinks.base import Header, SignalSink, Sink

__all__ = ["Fanout"]


class Fanout(Sink):
    """Hands everything on to several sinks.

    Parameters
    ----------
    sinks : sequence of Sink
    """

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self.sinks = tuple(sinks)

    @property
    def patients(self) -> set[str]:
        """Who is open everywhere."""
        return set.intersection(*(set(sink.patients) for sink in self.sinks)) if self.sinks else set()

    def open(self, header: Header) -> None:
        """Begin a patient everywhere."""
        self._each(lambda sink: sink.open(header))

    def write(self, event: Event, patient: str, time: float | None = None) -> None:
        """Write to all."""
        self._each(lambda sink: sink.write(event, patient, time))

    def signal(self, start: int, samples: NDArray[np.float64], patient: str) -> None:
        """Pass the signal to those that want it."""
        self._each(
            lambda sink: sink.signal(start, samples, patient) if isinstance(sink, SignalSink) else None
        )

    def flush(self) -> None:
        """Flush all."""
        self._each(lambda sink: sink.flush())

    def retry(self) -> None:
        """Let all of them write what waits, where there is room."""
        self._each(lambda sink: sink.retry())

    def keep(self) -> None:
        """Let all of them write what a crash would lose."""
        self._each(lambda sink: sink.keep())

    def close(self) -> None:
        """Close all."""
        self._each(lambda sink: sink.close())

    def _each(self, act: Callable[[Sink], None]) -> None:
        """Do it with every sink in turn, also after one that fails."""
        with ExitStack() as stack:
            for sink in reversed(self.sinks):
                stack.callback(act, sink)
