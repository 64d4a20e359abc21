"""Whole recordings through the same path as live streams, in longer blocks, several side by side."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from edgeecg.bundle import LeadPolicy
from edgeecg.decode.alarms import AlarmSettings
from edgeecg.errors import SignalError
from edgeecg.io.record import Record
from edgeecg.pipeline.decoder_state import DecoderSettings
from edgeecg.pipeline.intake import Intake, bundle_of, policy_of, rows_of
from edgeecg.pipeline.seats import Seats
from edgeecg.runtime.engine import Engine
from edgeecg.signal.block import BlockState, Piece
from edgeecg.specs import Event

__all__ = ["Recordings", "annotate"]

TOKENS = 1024  # in a block, 64 s: the longer, the less it matters what a block costs besides the graphs
STRIDE = 1 << 16  # samples pushed at a time, so that blocks do not pile up
ROWS = 16  # leads side by side in the token graph: more of them gain nothing

Key = TypeVar("Key")


def annotate(
    engine: Engine,
    record: Record,
    *,
    lead_policy: LeadPolicy | None = None,
    withhold: bool = True,
    alarms: AlarmSettings | None = None,
) -> list[Event]:
    """Find and classify every beat of a recording, and its rhythms, gaps, stretches of noise and alarms.

    Parameters
    ----------
    engine : Engine
        Of :func:`edgeecg.open_engine`.
    record : Record
        Millivolts, 100 to 1000 Hz; NaN where a sample is missing.
    lead_policy : str, optional
        ``first``, ``best`` or ``fused``; the bundle's where left out.
    withhold : bool
        Leave out beats on unreadable signal.
    alarms : AlarmSettings, optional
        Thresholds of the alarms.

    Returns
    -------
    list of Event
        What a :class:`edgeecg.Stream` would tell, in the same order: samples and labels are equal,
        probabilities within 1e-4.

    Raises
    ------
    SignalError
        If the rate is out of range, or ``record`` is no :class:`edgeecg.Record`.
    ConfigError
        If a setting is out of range.
    """
    recordings = Recordings[None](engine, lead_policy=lead_policy, withhold=withhold, alarms=alarms)
    recordings.add(None, record)
    while True:
        for _, events in recordings.step():
            return events


@dataclass
class Going(Generic[Key]):
    """A recording that is being annotated: how far it is, and what has been told."""

    key: Key
    record: Record
    intake: Intake
    state: BlockState
    slot: int
    at: int = 0
    ended: bool = False
    pieces: deque[Piece] = field(default_factory=deque)
    events: list[Event] = field(default_factory=list)

    def take(self) -> Piece | None:
        """The next piece; ``None`` when there is no more."""
        while not self.pieces and not self.ended:
            chunk = self.record.signal[self.at : self.at + STRIDE]
            self.ended = not len(chunk)
            more = self.intake.flush(self.state) if self.ended else self.intake.push(chunk, self.state)
            self.pieces.extend(more)
            self.at += len(chunk)
        return self.pieces.popleft() if self.pieces else None


class Recordings(Generic[Key]):
    """Recordings that go through one engine side by side, a block of each at a time.

    Each is told what :func:`annotate` would tell of it alone; short ones together take half the time.

    Parameters
    ----------
    engine, lead_policy, withhold, alarms
        As for :func:`annotate`.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        lead_policy: LeadPolicy | None = None,
        withhold: bool = True,
        alarms: AlarmSettings | None = None,
    ) -> None:
        self._policy = policy_of(bundle_of(engine), lead_policy)
        settings = DecoderSettings.of(engine.bundle, alarms, withhold)
        self._hop = TOKENS * engine.bundle.spec.patch
        self._seats = Seats(engine, self._hop, self._policy, settings, first=1)
        self._going: dict[int, dict[int, Going[Key]]] = {}  # by rows in the network, then slot

    def __len__(self) -> int:
        return sum(map(len, self._going.values()))

    @property
    def full(self) -> bool:
        """Whether another recording would gain nothing by being added now."""
        return sum(rows * len(going) for rows, going in self._going.items()) >= ROWS

    def add(self, key: Key, record: Record) -> None:
        """Let a recording take part; ``key`` names it in what :meth:`step` gives.

        Raises
        ------
        SignalError
            If the rate is out of range, or it is no ``Record``.
        """
        if not isinstance(record, Record):
            raise SignalError(
                f"a recording is a Record, not {type(record).__name__}: make one of samples in millivolts by "
                "edgeecg.Record(name, signal, fs, leads), or use edgeecg.read_record"
            )
        leads = len(record.leads)
        rows = rows_of(self._policy, leads)
        tail = self._seats.cohort(rows).tail(record.fs)
        intake = Intake(record.fs, leads, self._policy, self._hop, tail)
        slot = self._seats.take(rows, record.fs)
        self._going.setdefault(rows, {})[slot] = Going(key, record, intake, intake.initial(), slot)

    def step(self) -> list[tuple[Key, list[Event]]]:
        """Take a block of each; gives those that have come to their end, with all their events."""
        done: list[tuple[Key, list[Event]]] = []
        for rows, going in self._going.items():
            cohort, work = self._seats.cohort(rows), []
            for one in list(going.values()):
                piece = one.take()
                if piece is not None:
                    work.append((one.slot, piece))
                    continue
                done.append((one.key, one.events + cohort.flush(one.slot)))
                self._seats.leave(rows, one.slot)
                del going[one.slot]
            for slot, event in cohort.advance(work):
                going[slot].events.append(event)
        return done
