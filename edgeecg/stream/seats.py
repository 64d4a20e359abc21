"""Where the patients of a pool sit: slots of cohorts, which grow as they come."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from edgeecg.bundle import LeadPolicy
from edgeecg.pipeline import Cohort, DecoderSettings
from edgeecg.runtime.engine import Engine
from edgeecg.stream.member import Member

__all__ = ["Seats"]

FIRST = 64  # patients that a new cohort has room for


class Seats:
    """A cohort for patients with as many rows in the network, and which of its slots are free.

    Any thread may ask for a cohort; slots are taken and left by the one that computes.

    Parameters
    ----------
    engine, hop, policy, settings
        As for :class:`edgeecg.pipeline.Cohort`.
    """

    def __init__(self, engine: Engine, hop: int, policy: LeadPolicy, settings: DecoderSettings) -> None:
        self._engine, self._hop, self._policy, self._settings = engine, hop, policy, settings
        self._cohorts: dict[int, Cohort] = {}
        self._free: dict[int, list[int]] = {}
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[int]:
        """Rows of the cohorts so far; others may be added meanwhile."""
        return iter(list(self._cohorts))

    def cohort(self, rows: int) -> Cohort:
        """The cohort of patients with so many rows in the network."""
        found = self._cohorts.get(rows)
        if found is not None:
            return found
        with self._lock:
            if rows not in self._cohorts:
                self._free[rows] = list(range(FIRST))[::-1]
                self._cohorts[rows] = Cohort(
                    self._engine, FIRST, rows, hop=self._hop, policy=self._policy, settings=self._settings
                )
            return self._cohorts[rows]

    def take(self, member: Member) -> None:
        """Give a patient a slot; that is when the first piece has come."""
        cohort, free = self.cohort(member.rows), self._free[member.rows]
        if not free:
            free += list(range(cohort.slots, 2 * cohort.slots))[::-1]
            cohort.grow(2 * cohort.slots)
        member.slot = free.pop()
        cohort.open(member.slot, member.intake.fs)

    def leave(self, member: Member) -> None:
        """Take the slot back, if the patient has one."""
        if member.slot >= 0:
            self.cohort(member.rows).close(member.slot)
            self._free[member.rows].append(member.slot)
            member.slot = -1
