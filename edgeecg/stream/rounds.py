"""The computing half of a pool: whose queue holds something, a piece of each at a time, what became known."""

from __future__ import annotations

import threading
from collections import deque

from edgeecg.errors import DeviceError
from edgeecg.pipeline import Seats
from edgeecg.signal.block import Piece
from edgeecg.specs import Event
from edgeecg.stream.member import Member, Patient

__all__ = ["Rounds"]


class Rounds:
    """Members announce themselves from any thread; one thread at a time computes; any may take what was told.

    Attributes
    ----------
    lock : Lock
        Of the cohorts: whoever computes holds it, and whoever takes or leaves a slot.
    leaving : set of Patient
        Those who were removed and whose last events nobody was given yet.
    """

    def __init__(self, seats: Seats) -> None:
        self.lock = threading.Lock()
        self.leaving: set[Patient] = set()
        self._seats = seats
        self._ready: deque[Member] = deque()
        # events that nobody was given yet; None behind the last one of a patient who has left
        self._told: deque[tuple[Patient, Event | None]] = deque()

    def announce(self, member: Member) -> None:
        """Take note of a queue, if it holds something; the member's lock is held."""
        if member.queue and not member.ready:
            member.ready = True
            self._ready.append(member)

    def compute(self, rounds: int | None = None) -> None:
        """Compute what is queued, so many pieces of each at most; what became known waits for :meth:`next`.

        Not what comes meanwhile, or it might never end: somebody may push as fast as it is computed.
        """
        with self.lock:
            members = dict.fromkeys(self._announced())
            waiting = max((len(member.queue) for member in members), default=0)
            try:
                for _ in range(waiting if rounds is None else min(rounds, waiting)):
                    self._round(members)
                    members |= dict.fromkeys(self._announced())  # who comes late waits for nobody's backlog
            finally:
                self._ready.extend(members)

    def next(self) -> tuple[Patient, Event] | None:
        """The next event that nobody was given yet; several threads may take them."""
        while self._told:
            try:
                patient, event = self._told.popleft()
            except IndexError:  # another thread was faster
                break
            if event is not None:
                return patient, event
            self.leaving.discard(patient)
        return None

    def _announced(self) -> list[Member]:
        """Members whose queues have come to hold something."""
        return [self._ready.popleft() for _ in range(len(self._ready))]

    def _round(self, members: dict[Member, None]) -> None:
        """One piece of each; those that have no more are taken out of ``members``."""
        work: dict[int, list[tuple[int, Piece]]] = {rows: [] for rows in self._seats}
        names: dict[int, dict[int, Patient]] = {rows: {} for rows in work}
        for member in list(members):
            piece = member.take()
            if piece is None:
                del members[member]
                continue
            if member.slot < 0:
                member.slot = self._seats.take(member.rows, member.intake.fs)
            slot, rows = member.slot, member.rows
            if isinstance(piece, str):
                self._told += [(member.patient, event) for event in self._seats.cohort(rows).flush(slot)]
                if piece == "leave":
                    self._seats.leave(rows, slot)
                    member.slot = -1
                    self._told.append((member.patient, None))
                continue
            work[rows].append((slot, piece))
            names[rows][slot] = member.patient
        failed: list[DeviceError] = []
        for rows, pairs in work.items():
            called = names[rows]
            try:
                for slot, event in self._seats.cohort(rows).advance(pairs):
                    self._told.append((called[slot], event))
            except DeviceError as error:  # the others' pieces are taken too
                failed.append(error)
        if failed:
            raise failed[0]
