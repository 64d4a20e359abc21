"""One patient, live: samples in, events out."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from typing import Any

from numpy.typing import ArrayLike

from edgeecg.bundle import LeadPolicy
from edgeecg.decode.alarms import AlarmSettings
from edgeecg.errors import StateError
from edgeecg.pipeline import (
    Cohort,
    DecoderSettings,
    Intake,
    Latency,
    Mode,
    bundle_of,
    hop_samples,
    plain_rate,
    policy_of,
    rows_of,
)
from edgeecg.runtime.engine import Engine
from edgeecg.signal.block import Piece
from edgeecg.specs import Event
from edgeecg.stream.snapshot import check_settings, pack_arrays, read, unpack_arrays, write
from edgeecg.stream.units import UnitWatch

__all__ = ["Stream"]

log = logging.getLogger(__name__)


class Stream:
    """The live stream of one patient.

    Parameters
    ----------
    engine : Engine
        Of :func:`edgeecg.open_engine`; many streams may share it, in threads of their own too.
    fs : float
        Samples a second of what will be pushed, 100 to 1000.
    leads : int
        Columns of what will be pushed.
    hop : float
        Seconds of signal that are computed together; a multiple of 1/16.
    mode : str
        ``incremental`` computes every token once; ``window`` computes the last ten seconds anew at each
        hop. Both tell the same events.
    lead_policy : str, optional
        ``first``, ``best`` or ``fused``; the bundle's where left out.
    withhold : bool
        Leave out beats on unreadable signal.
    alarms : AlarmSettings, optional
        Thresholds of the alarms.

    Raises
    ------
    SignalError, ConfigError
        If a setting is out of range.

    Examples
    --------
    >>> with edgeecg.open_engine("small") as engine:  # doctest: +SKIP
    ...     stream = edgeecg.Stream(engine, fs=250)
    ...     for chunk in source:
    ...         for event in stream.push(chunk):
    ...             print(event)
    ...     print(stream.flush())
    """

    def __init__(
        self,
        engine: Engine,
        fs: float,
        leads: int = 1,
        *,
        hop: float = 0.5,
        mode: Mode = "incremental",
        lead_policy: LeadPolicy | None = None,
        withhold: bool = True,
        alarms: AlarmSettings | None = None,
    ) -> None:
        self._lock = threading.RLock()  # two chunks at once would spoil each other
        fs, policy = plain_rate(fs), policy_of(bundle_of(engine), lead_policy)
        settings = DecoderSettings.of(engine.bundle, alarms, withhold)
        self._cohort = Cohort(
            engine,
            leads=rows_of(policy, leads),
            hop=hop_samples(hop),
            mode=mode,
            policy=policy,
            settings=settings,
        )
        self._intake = Intake(fs, int(leads), policy, self._cohort.hop, self._cohort.tail(fs))
        self._told: deque[Event] = deque()  # what is known and was given to nobody yet
        self.reset()

    @property
    def fs(self) -> float:
        """Samples a second."""
        return self._intake.fs

    @property
    def leads(self) -> int:
        """Columns of a chunk."""
        return self._intake.leads

    @property
    def samples(self) -> int:
        """Samples so far, missing ones included: the number of the next one."""
        return self._state.samples

    @property
    def latency(self) -> Latency:
        """Declared latency, by stage."""
        return self._cohort.latency(self.fs)

    @property
    def doubt(self) -> str:
        """What is wrong with the unit of the samples, once half a minute of them has come; else empty."""
        return self._units.doubt

    def push(self, chunk: ArrayLike) -> list[Event]:
        """Take the samples that follow.

        They must be millivolts: in microvolts beats are found as well, but the noise of a heart that stands
        still is as loud as an ECG. What cannot be millivolts is told in the log, see :attr:`doubt`.

        Parameters
        ----------
        chunk : (n,) or (n, leads) millivolts
            Any ``n``; NaN where a sample is missing.

        Returns
        -------
        What became known, in order; often nothing.

        Raises
        ------
        SignalError
            If the chunk has another shape or is not real numbers; nothing of it has been taken then.
        DeviceError
            If a step of the engine fails. The rest of the chunk has been taken; whoever goes on is given what
            became known by the next call.
        """
        with self._lock:
            self._push(chunk)
            return self._given() if self._told else []

    def gap(self, length: int) -> list[Event]:
        """Say that the next ``length`` samples are missing; the same as pushing that many NaN."""
        with self._lock:
            self._run(self._intake.gap(length, self._state))
            return self._given()

    def flush(self) -> list[Event]:
        """Tell what the signal so far still holds, and end open episodes; what follows begins afresh."""
        with self._lock:
            self._flush()
            return self._given()

    def _push(self, chunk: ArrayLike) -> None:
        with self._lock:
            pieces = self._intake.push(chunk, self._state)
            if not pieces:
                return
            if self._units.watching and self._units.take(pieces):
                log.warning("%s", self.doubt)
            self._run(pieces)

    def _flush(self) -> None:
        with self._lock:
            try:
                self._run(self._intake.flush(self._state))
            finally:  # what follows begins afresh, whatever failed
                self._told += self._cohort.flush(0)

    def _run(self, pieces: Iterable[Piece]) -> None:
        """Compute pieces; what became known waits for whoever takes it."""
        for event in self._cohort.run(0, pieces):
            self._told.append(event)

    def _next(self) -> Event | None:
        """The next event that nobody was given yet."""
        try:
            return self._told.popleft()
        except IndexError:
            return None

    def _given(self) -> list[Event]:
        """What nobody was given yet, to somebody."""
        told = list(self._told)
        self._told.clear()
        return told

    def reset(self) -> None:
        """Forget everything: the next sample is sample 0 of another patient."""
        with self._lock:
            self._state, self._units = self._intake.initial(), UnitWatch(self.fs)
            self._told.clear()
            self._cohort.open(0, self.fs)

    async def events(self, chunks: AsyncIterable[ArrayLike]) -> AsyncIterator[Event]:
        """Push what comes from ``chunks``, an asynchronous iterable, computing beside the event loop; flushes
        at the end.

        Whoever leaves the loop or is cancelled loses nothing: the next call tells the rest. A chunk that came
        is taken before the cancellation ends.
        """
        async for chunk in chunks:
            await _beside(self._push, chunk)
            while (event := self._next()) is not None:
                yield event
        await _beside(self._flush)
        while (event := self._next()) is not None:
            yield event

    def snapshot(self) -> bytes:
        """Everything that the stream remembers; see :meth:`restore`.

        What waits for the next call to tell (see :meth:`push` and :meth:`events`) is not in it: ``push([])``
        before gives it.
        """
        with self._lock:
            arrays, plain = self._cohort.snapshot(0)
            body = {"settings": self._settings(), "intake": pack_arrays(self._state.to_arrays())}
        body |= {"arrays": pack_arrays(arrays), "decoder": plain}
        return write("stream", self._cohort.engine.bundle, body)

    def restore(self, data: bytes) -> None:
        """Go on from a :meth:`snapshot` of a stream with the same bundle and settings.

        Raises
        ------
        StateError
            If it is not one. The stream is reset then.
        """
        with self._lock:
            self.reset()
            body = read("stream", self._cohort.engine.bundle, data)
            try:
                check_settings(body["settings"], self._settings())
                state = self._intake.restored(unpack_arrays(body["intake"]))
                self._cohort.restore(0, unpack_arrays(body["arrays"]), body["decoder"])
            except KeyError as error:
                raise StateError(f"the snapshot lacks {error}: start without it") from error
            self._state = state

    def _settings(self) -> dict[str, Any]:
        cohort = self._cohort
        return {
            "fs": float(self.fs),
            "leads": self.leads,
            "lead_policy": self._intake.policy,
            "hop": cohort.hop,
            "mode": cohort.mode,
            **cohort.settings.told,
        }


async def _beside(call: Callable[..., None], *given: Any) -> None:
    """Run a call in a thread, to its end also for who is cancelled: one that had not begun would be lost."""
    work = asyncio.get_running_loop().run_in_executor(None, call, *given)
    try:
        await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        raise
