"""One patient of a pool: the queue between whoever pushes and the thread that computes."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from typing import Annotated, Any, Literal, Union

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from edgeecg.errors import ConfigError
from edgeecg.pipeline import Intake
from edgeecg.signal.block import Block, Piece
from edgeecg.stream.snapshot import pack_arrays, pack_piece, unpack_arrays, unpack_piece
from edgeecg.stream.units import UnitWatch

__all__ = ["Mark", "Member", "Patient", "plain_name"]

Patient = Union[str, int]
"""What a pool calls a patient."""

Mark = Literal["flush", "leave"]

Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]

NUMBERS = -(2**63), 2**64  # names that are numbers: what a snapshot can hold


PIECES = 32
"""Pieces that may wait for each second of the queue: of signal in crumbs each is a block or more."""


class Member:
    """One patient's queue; its lock is held by whoever pushes, and by the poll while it takes a piece."""

    def __init__(self, patient: Patient, intake: Intake, limit: int) -> None:
        self.patient, self.intake, self.limit = patient, intake, limit
        self._most = round(PIECES * limit / intake.fs)  # pieces
        self.lock = threading.Lock()
        self.state, self.units = intake.initial(), UnitWatch(intake.fs)
        self.queue: deque[Piece | Mark] = deque()
        self.waiting = 0  # samples in the queue that came; what is held before or behind a segment is none
        self.lost = 0  # samples dropped since the last one that was taken
        self.dropped = 0  # samples dropped in all
        self.ready = False  # whether the pool knows that the queue holds something
        self.left = False  # whether the patient has left: nothing is pushed any more
        self.slot = -1  # in the cohort of patients with as many rows; -1 before its first piece
        self.rows = intake.blocks.leads

    def push(self, chunk: ArrayLike) -> None:
        """Take a chunk, or drop it where the queue is full; what is wrong is refused either way."""
        data = self.intake.checked(chunk)
        if self.waiting and self._full(len(data)):
            return
        self.gap()
        pieces = self.intake.blocks.take(data, self.state)
        if pieces:
            if self.units.watching:
                self.units.take(pieces)
            self.put(pieces)

    def _full(self, count: int) -> bool:
        """Whether there is no room for so many samples; once there was none, half the queue must go first."""
        if count <= self.room:
            return False
        self.lost += count
        self.dropped += count
        return True

    @property
    def choked(self) -> bool:
        """Whether samples were dropped, and more than half of the queue has not been worked off since."""
        return self.lost > 0 and (self.waiting > self.limit // 2 or len(self.queue) > self._most // 2)

    @property
    def room(self) -> int:
        """Samples that there is room for."""
        if self.choked or len(self.queue) >= self._most:
            return 0
        return max(0, self.limit - self.waiting)

    def gap(self, length: int = 0) -> None:
        """Queue that ``length`` samples are missing, behind those that were dropped, however few."""
        if self.lost:
            self.put(self.intake.blocks.cut(self.state))  # or so few would be held, and not told
        if self.lost or length:
            self.put(self.intake.gap(self.lost + length, self.state))
            self.lost = 0

    def put(self, pieces: Iterable[Piece | Mark]) -> None:
        """Queue pieces."""
        for piece in pieces:
            self.queue.append(piece)
            if type(piece) is Block:
                self.waiting += _came(piece)

    def end(self, mark: Mark) -> None:
        """Queue what is left, and a mark behind it."""
        self.gap()
        self.put(self.intake.flush(self.state))
        self.queue.append(mark)
        self.left = mark == "leave"

    def take(self) -> Piece | Mark | None:
        """The next piece, if there is one."""
        with self.lock:
            if not self.queue:
                self.ready = False
                return None
            piece = self.queue.popleft()
            if type(piece) is Block:
                self.waiting -= _came(piece)
            return piece

    def saved(self) -> dict[str, Any]:
        """What a snapshot keeps of the queue and the signal before it; its lock is held."""
        return {
            "patient": self.patient,
            "fs": float(self.intake.fs),
            "leads": self.intake.leads,
            "lost": self.lost,
            "dropped": self.dropped,
            "intake": pack_arrays(self.state.to_arrays()),
            "queue": [piece if isinstance(piece, str) else pack_piece(piece) for piece in self.queue],
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on from :meth:`saved`; its lock is held."""
        self.state = self.intake.restored(unpack_arrays(saved["intake"]))
        self.lost, self.dropped = msgspec.convert((saved["lost"], saved["dropped"]), tuple[Count, Count])
        self.put(_unpacked(piece) for piece in saved["queue"])


def plain_name(patient: Patient | np.integer[Any]) -> Patient:
    """A name as a snapshot holds it; raises ``ConfigError``."""
    if isinstance(patient, str) and not any("\ud800" <= letter <= "\udfff" for letter in patient):
        return str(patient)
    whole = isinstance(patient, (int, np.integer)) and not isinstance(patient, bool)
    if whole and NUMBERS[0] <= int(patient) < NUMBERS[1]:
        return int(patient)
    raise ConfigError(f"patient {patient!r}: a name is text in UTF-8 or a whole number of 64 bits")


def _came(block: Block) -> int:
    """Samples of a block that came: up to a segment's first one its value is held."""
    return max(0, block.end - max(block.start, block.first))


def _unpacked(packed: Any) -> Piece | Mark:
    """A piece or a mark of a saved queue."""
    return "flush" if packed == "flush" else unpack_piece(packed)
