"""Many patients, one engine: anyone pushes, one thread computes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Hashable, Iterator
from numbers import Real
from typing import Any

from numpy.typing import ArrayLike

from edgeecg.bundle import LeadPolicy
from edgeecg.decode.alarms import AlarmSettings
from edgeecg.errors import ConfigError, EdgeECGError, InputError, StateError
from edgeecg.pipeline import (
    DecoderSettings,
    Intake,
    Latency,
    Seats,
    bundle_of,
    hop_samples,
    plain_rate,
    policy_of,
    rows_of,
)
from edgeecg.runtime.engine import Engine
from edgeecg.signal.chunk import whole
from edgeecg.specs import Event
from edgeecg.stream.member import Mark, Member, Patient, plain_name
from edgeecg.stream.rounds import Rounds
from edgeecg.stream.snapshot import check_settings, pack_arrays, read, unpack_arrays, write

__all__ = ["Patient", "StreamPool", "check_queue"]

LONGEST = 86400.0  # seconds that a queue may hold
FIRST = 64  # patients that a new cohort has room for


class StreamPool:
    """Live streams of many patients through one engine.

    Patients join and leave at any time, each with its own rate and number of leads. :meth:`push` only
    queues and is safe from any thread; :meth:`poll` computes in the caller's thread, one block of every
    patient that has one in each round, so nobody waits for the slow or the silent.

    Parameters
    ----------
    engine : Engine
        Shared; must stay open.
    hop : float
        Seconds of signal that are computed together; a multiple of 1/16.
    queue : float
        Seconds of signal that may wait for :meth:`poll`, per patient. Beyond it chunks are dropped until
        half of it has been worked off; a ``Gap`` event tells which samples were lost. A chunk is taken whole
        or not at all, and where nothing waits it is taken however long.
    lead_policy, withhold, alarms
        As for :class:`edgeecg.Stream`.

    Raises
    ------
    ConfigError
        If a setting is out of range.

    Examples
    --------
    >>> pool = edgeecg.StreamPool(engine)  # doctest: +SKIP
    >>> bed = pool.add(fs=250)  # doctest: +SKIP
    >>> pool.push(bed, chunk)  # doctest: +SKIP
    >>> for patient, event in pool.poll():  # doctest: +SKIP
    ...     print(patient, event)
    """

    def __init__(
        self,
        engine: Engine,
        *,
        hop: float = 0.5,
        queue: float = 10.0,
        lead_policy: LeadPolicy | None = None,
        withhold: bool = True,
        alarms: AlarmSettings | None = None,
    ) -> None:
        self._engine, self._hop, self._limit = engine, hop_samples(hop), queue
        check_queue(queue, hop)
        self._policy = policy_of(bundle_of(engine), lead_policy)
        self._settings = DecoderSettings.of(engine.bundle, alarms, withhold)
        self._members: dict[Patient, Member] = {}
        self._names = 0
        self._seats = Seats(engine, self._hop, self._policy, self._settings, FIRST)
        self._rounds = Rounds(self._seats)
        self._lock = threading.Lock()  # of the members

    # ---- patients -------------------------------------------------------------------------------

    def add(self, fs: float, leads: int = 1, patient: Patient | None = None) -> Patient:
        """A patient joins.

        Parameters
        ----------
        fs : float
            Samples a second, 100 to 1000.
        leads : int
            Columns of what will be pushed.
        patient : str or int, optional
            What to call it; a number where left out.

        Raises
        ------
        SignalError, ConfigError
            If the rate or the leads are out of range, the name is none, or the patient is there already, or
            was removed and no poll has yet told what its signal still held.
        """
        patient = None if patient is None else plain_name(patient)
        intake = self._intake(fs, leads)
        with self._lock:
            if patient is None:
                while self._names in self._members or self._names in self._rounds.leaving:
                    self._names += 1
                patient = self._names
            self._join([self._new(patient, intake)])
        return patient

    def _intake(self, fs: float, leads: int) -> Intake:
        """The way in for a patient with this rate and number of leads; raises as :meth:`add`."""
        fs = plain_rate(fs)
        tail = self._seats.cohort(rows_of(self._policy, leads)).tail(fs)
        return Intake(fs, int(leads), self._policy, self._hop, tail)

    def _new(self, patient: Patient, intake: Intake) -> Member:
        return Member(patient, intake, round(self._limit * intake.fs))

    def _join(self, members: list[Member]) -> None:
        """Let all of them in, or nobody; the lock is held. From here on anyone may push for them."""
        joining: dict[Patient, Member] = {}
        for member in members:
            patient = member.patient
            if patient in self._members or patient in joining:
                raise ConfigError(f"patient {patient!r} is in the pool already: remove it first")
            if patient in self._rounds.leaving:  # events of two signals could not be told apart
                raise ConfigError(
                    f"patient {patient!r} is leaving still: poll until all is told, or add another"
                )
            joining[patient] = member
        self._members |= joining

    def remove(self, patient: Patient) -> None:
        """A patient leaves: the next polls tell what its signal still held."""
        with self._lock:
            member = self._member(patient)
            del self._members[patient]
            self._rounds.leaving.add(patient)
        self._mark(member, "leave")

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Patient]:
        return iter(list(self._members))

    def __contains__(self, patient: Hashable) -> bool:
        return patient in self._members

    def dropped(self, patient: Patient) -> int:
        """Samples that were dropped because the queue was full."""
        return self._member(patient).dropped

    def room(self, patient: Patient) -> int:
        """Samples that can be pushed before the queue is full; nothing waits where it is all of it."""
        return self._member(patient).room

    def doubt(self, patient: Patient) -> str:
        """What is wrong with the unit of a patient's samples, once half a minute has come; else empty."""
        return self._member(patient).units.doubt

    def samples(self, patient: Patient) -> int:
        """Samples so far, missing ones included: the number of the next one."""
        member = self._member(patient)
        return member.state.samples + member.lost

    def latency(self, patient: Patient) -> Latency:
        """Declared latency of a patient's stream, by stage; waiting for :meth:`poll` comes on top."""
        fs = self._member(patient).intake.fs
        return Latency.of(self._engine.bundle.signal, fs, self._engine.bundle.spec, self._hop)

    # ---- samples in -----------------------------------------------------------------------------

    def push(self, patient: Patient, chunk: ArrayLike) -> None:
        """Queue the samples that follow; see :meth:`edgeecg.Stream.push` for what may be pushed.

        What cannot be millivolts is told by :meth:`doubt` alone, not in the log.

        Raises
        ------
        InputError
            If there is no such patient.
        SignalError
            If the chunk has another shape or is not real numbers; nothing of it has been taken then.
        """
        member = self._member(patient)
        with member.lock:
            _check_there(member)
            member.push(chunk)
            self._rounds.announce(member)

    def gap(self, patient: Patient, length: int) -> None:
        """Queue that the next ``length`` samples are missing."""
        member = self._member(patient)
        with member.lock:
            _check_there(member)
            member.gap(whole(length))
            self._rounds.announce(member)

    def flush(self, patient: Patient) -> None:
        """Queue that the signal ends here: the next polls tell what it still held."""
        self._mark(self._member(patient), "flush")

    def _mark(self, member: Member, mark: Mark) -> None:
        with member.lock:
            _check_there(member)
            member.end(mark)
            self._rounds.announce(member)

    def _member(self, patient: Patient) -> Member:
        try:
            return self._members[patient]
        except (KeyError, TypeError):  # a list, say, is nobody's name
            raise _stranger(patient) from None

    # ---- events out -----------------------------------------------------------------------------

    def poll(self, rounds: int | None = None) -> list[tuple[Patient, Event]]:
        """Compute what is queued, and tell what became known.

        Parameters
        ----------
        rounds : int, optional
            Pieces of each patient to compute at most; all that wait at the call where left out.

        Returns
        -------
        (patient, event) pairs; those of a patient in the order in which they became known. Where a step fails
        and the caller goes on, the next call gives what was known before.
        """
        self._rounds.compute(rounds)
        return list(iter(self._rounds.next, None))

    async def events(self, interval: float = 0.1) -> AsyncIterator[tuple[Patient, Event]]:
        """Poll every ``interval`` seconds beside the event loop, for ever.

        Whoever cancels it or leaves the loop loses nothing: the next one, or :meth:`poll`, gives the rest.
        """
        while True:
            await asyncio.to_thread(self._rounds.compute)
            for told in iter(self._rounds.next, None):
                yield told
            await asyncio.sleep(interval)

    # ---- snapshot -------------------------------------------------------------------------------

    def snapshot(self) -> bytes:
        """Every patient with its queue; see :meth:`restore`.

        Events that wait for :meth:`poll`, and patients who were removed, are not in it: poll before.
        """
        with self._rounds.lock, self._lock:
            saved = [self._saved(member) for member in self._members.values()]
        return write("pool", self._engine.bundle, {"settings": self._about(), "patients": saved})

    def restore(self, data: bytes) -> list[Patient]:
        """Let the patients of a :meth:`snapshot` join, each where it was; gives their names.

        Raises
        ------
        StateError
            If it is not a snapshot of a pool with the same bundle and settings. Nobody has joined then.
        ConfigError
            If a patient of that name is in the pool already. Nobody has joined then either.
        """
        body = read("pool", self._engine.bundle, data)
        check_settings(body.get("settings"), self._about())
        made: list[Member] = []
        try:
            for saved in body["patients"]:
                intake = self._intake(saved["fs"], saved["leads"])
                made.append(self._new(plain_name(saved["patient"]), intake))
                self._restore_member(made[-1], saved)
            with self._lock:
                self._join(made)
        except BaseException as error:
            for member in made:
                with self._rounds.lock:
                    if member.slot >= 0:
                        self._seats.leave(member.rows, member.slot)
            foreign = not isinstance(error, EdgeECGError)
            if foreign and isinstance(error, (LookupError, TypeError, ValueError, OverflowError)):
                raise StateError(
                    f"the snapshot is not one of a pool ({error!r}): start without it"
                ) from error
            raise
        for member in made:
            with member.lock:
                self._rounds.announce(member)
        return [member.patient for member in made]

    def _about(self) -> dict[str, Any]:
        return {"lead_policy": self._policy, "hop": self._hop, **self._settings.told}

    def _saved(self, member: Member) -> dict[str, Any]:
        with member.lock:
            saved = member.saved()
            if member.slot >= 0:
                arrays, plain = self._seats.cohort(member.rows).snapshot(member.slot)
                saved |= {"arrays": pack_arrays(arrays), "decoder": plain}
            return saved

    def _restore_member(self, member: Member, saved: dict[str, Any]) -> None:
        with self._rounds.lock, member.lock:
            member.restore(saved)
            if "arrays" in saved:
                member.slot = self._seats.take(member.rows, member.intake.fs)
                arrays = unpack_arrays(saved["arrays"])
                self._seats.cohort(member.rows).restore(member.slot, arrays, saved["decoder"])


def check_queue(queue: float, hop: float) -> None:
    """Refuse a queue that holds less than two hops or more than a day, in seconds; raises ``ConfigError``."""
    if not isinstance(queue, Real) or not 2 * hop <= queue <= LONGEST:
        raise ConfigError(f"queue is {queue} s: it must hold at least two hops of {hop} s, and a day at most")


def _check_there(member: Member) -> None:
    """Refuse a patient who was removed since it was looked up; its lock is held."""
    if member.left:
        raise _stranger(member.patient)


def _stranger(patient: Patient) -> InputError:
    return InputError(f"no patient {patient!r} in the pool: add it first")
