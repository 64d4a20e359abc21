"""Where patients and recordings sit: slots of cohorts, which grow as they come."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from heapq import heappop, heappush

from edgeecg.bundle import LeadPolicy
from edgeecg.pipeline.cohort import Cohort
from edgeecg.pipeline.decoder_state import DecoderSettings
from edgeecg.runtime.engine import Engine

__all__ = ["Seats"]


class Seats:
    """A cohort for those with as many rows in the network, and which of its slots are free.

    Any thread may ask for a cohort; slots are taken and left by the one that computes.

    Parameters
    ----------
    engine, hop, policy, settings
        As for :class:`edgeecg.pipeline.Cohort`.
    first : int
        Slots of a new cohort.
    """

    def __init__(
        self, engine: Engine, hop: int, policy: LeadPolicy, settings: DecoderSettings, first: int
    ) -> None:
        self._make = partial(Cohort, engine, hop=hop, policy=policy, settings=settings)
        self._first = first
        self._cohorts: dict[int, Cohort] = {}
        self._free: dict[int, list[int]] = {}
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[int]:
        """Rows of the cohorts so far; others may be added meanwhile."""
        return iter(list(self._cohorts))

    def cohort(self, rows: int) -> Cohort:
        """The cohort of those with so many rows in the network."""
        found = self._cohorts.get(rows)
        if found is not None:
            return found
        with self._lock:
            if rows not in self._cohorts:
                self._free[rows] = list(range(self._first))
                self._cohorts[rows] = self._make(self._first, rows)
            return self._cohorts[rows]

    def take(self, rows: int, fs: float) -> int:
        """Open the lowest slot that is free at this rate; raises ``SignalError`` where it is out of range."""
        cohort, free = self.cohort(rows), self._free[rows]
        if not free:
            free += range(cohort.slots, 2 * cohort.slots)
            cohort.grow(2 * cohort.slots)
        cohort.open(free[0], fs)
        return heappop(free)

    def leave(self, rows: int, slot: int) -> None:
        """Give a slot back."""
        self.cohort(rows).close(slot)
        heappush(self._free[rows], slot)
