"""Polar H10 chest strap over Bluetooth: raw ECG (PMD service) and RR intervals (heart rate service).

The strap is asked to stop its stream on every way out. A lost connection is tried anew; the strap's
stamps tell the time base (`edgeecg.stream.clock`) how much was lost meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable

from edgeecg.errors import ConfigError, LinkError, PacketError
from edgeecg.stream.cause import cause
from edgeecg.stream.sources import pmd
from edgeecg.stream.sources.base import Packet
from edgeecg.stream.sources.ble import BleakTransport, BleTransport
from edgeecg.stream.sources.interval_log import IntervalLog
from edgeecg.stream.sources.live import TICK, LiveSource

__all__ = ["PolarSource"]

CONTROL = "fb005c81-02e7-f387-1cad-8acd2d8df0c8"
DATA = "fb005c82-02e7-f387-1cad-8acd2d8df0c8"
HEART_RATE = "00002a37-0000-1000-8000-00805f9b34fb"
ANSWER_SECONDS = 10.0
LONGEST_PAUSE = 10.0

logger = logging.getLogger(__name__)


def reach_h10(address: str) -> BleTransport:
    """The real strap."""
    return BleakTransport(address, name="Polar H10")


class PolarSource(LiveSource):
    """ECG of a Polar H10, 130 Hz, one lead.

    Parameters
    ----------
    address : str
        Bluetooth address, or ``auto`` for the first H10 that is heard.
    wait : float
        Seconds that opening tries to get the first samples.
    retry : float
        Seconds for which a lost or silent strap is tried anew before the stream ends with an error.
    rr : str, optional
        File to which the strap's own RR intervals are appended, see `IntervalLog`.
    heart_rate : callable, optional
        Told every `pmd.HeartRate`, in the Bluetooth thread: the strap's own beat detection.
    transport : callable, optional
        Makes the `BleTransport` for an address; bleak by default.

    Attributes
    ----------
    trouble : str
        Why no samples come, while the strap is tried anew; else empty.

    Raises
    ------
    ConfigError
        If an option is out of range.
    LinkError
        When opened: if the strap is not reached, or ``rr`` cannot be written.
    """

    jitter = 0.05

    def __init__(
        self,
        address: str,
        *,
        wait: float = 30.0,
        retry: float = 300.0,
        rr: str | None = None,
        heart_rate: Callable[[pmd.HeartRate], None] | None = None,
        transport: Callable[[str], BleTransport] = reach_h10,
    ) -> None:
        super().__init__(timeout=None)
        if not (retry >= 0 and wait > 0):
            raise ConfigError(f"retry={retry} must be at least 0 and wait={wait} more than 0 seconds")
        self.fs, self.leads = float(pmd.ECG_FS), ("ECG",)
        self._address, self._heart_rate, self._make = address, heart_rate, transport
        self._rr = rr
        self._intervals: IntervalLog | None = None
        self._wait, self._retry = wait, retry
        self._heard = time.monotonic()
        self._ready = threading.Event()
        self.trouble = ""

    def open(self) -> None:
        """Wait for the first samples; a second call does nothing."""
        super().open()
        while not self._ready.wait(TICK):
            if self._over():
                return
            failed = None if self._running() else self._take()
            if isinstance(failed, BaseException):
                self.close()
                raise failed

    def _connect(self) -> None:
        self._transport = self._make(self._address)  # a missing library is told here, not in the thread
        if self._rr is not None:
            self._intervals = IntervalLog(self._rr)

    def _disconnect(self) -> None:
        if self._intervals is not None:
            self._intervals.close()

    def _produce(self) -> None:
        asyncio.run(self._keep_up())

    async def _keep_up(self) -> None:
        """One session after the other, with growing pauses, until the stop or until ``retry`` is over."""
        self._heard = time.monotonic()
        pause = 0.5
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                await self._session()
            except LinkError as error:
                self.trouble = str(error)
                limit = self._retry if self._ready.is_set() else self._wait
                if time.monotonic() - self._heard > limit:
                    raise LinkError(f"no samples from the strap for {limit:g} s: {error}") from error
                what = "broke off" if self._ready.is_set() else "could not be made"
                logger.warning("the strap's link %s and is tried anew in %g s: %s", what, pause, cause(error))
            if self._heard > began:
                pause = 0.5
            await self._sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
            self._transport = self._make(self._address)

    async def _session(self) -> None:
        """Connect, start, listen; whatever happens, ask the strap to stop and let go of it."""
        lost = asyncio.Event()
        answers: asyncio.Queue[bytes] = asyncio.Queue()
        strap, connected = self._transport, False
        try:
            connected = await self._reach(strap, lost)
            if not connected:
                return
            await strap.notify(CONTROL, answers.put_nowait)
            await strap.notify(DATA, self._on_ecg)
            await strap.notify(HEART_RATE, self._on_heart_rate)
            await self._start(strap, answers)
            await self._listen(lost)
        finally:
            await self._let_go(strap, connected and not lost.is_set())

    async def _reach(self, strap: BleTransport, lost: asyncio.Event) -> bool:
        """Connect, which may take long, or give that up at the stop; whether it is connected."""
        attempt = asyncio.ensure_future(strap.connect(lost.set))
        while not attempt.done() and not self._stop.is_set():
            await asyncio.wait({attempt}, timeout=TICK / 4)
        if not attempt.done():
            attempt.cancel()
            await asyncio.wait({attempt})
        if attempt.cancelled():
            return False
        attempt.result()
        return True

    async def _start(self, strap: BleTransport, answers: asyncio.Queue[bytes]) -> None:
        status = await self._command(strap, pmd.START_ECG, answers)
        if status == "already in state":  # a stream left over by a program that died
            await self._command(strap, pmd.STOP_ECG, answers)
            status = await self._command(strap, pmd.START_ECG, answers)
        if status != "success":
            raise LinkError(f"the strap refuses to send its ECG: {status}", public=True)

    async def _command(self, strap: BleTransport, command: bytes, answers: asyncio.Queue[bytes]) -> str:
        await strap.write(CONTROL, command)
        while True:
            try:
                data = await asyncio.wait_for(answers.get(), ANSWER_SECONDS)
            except (TimeoutError, asyncio.TimeoutError):  # two classes before Python 3.11
                raise LinkError(f"the strap did not answer for {ANSWER_SECONDS:g} s", public=True) from None
            code, status = pmd.decode_response(data)
            if code == command[0]:
                return status

    async def _listen(self, lost: asyncio.Event) -> None:
        """Until the stop, a loss, or a silence as long as the strap never keeps."""
        begun = time.monotonic()
        while not self._stop.is_set():
            if lost.is_set():
                raise LinkError("the strap's connection is lost", public=True)
            if time.monotonic() - max(self._heard, begun) > ANSWER_SECONDS:
                raise LinkError(f"the strap sent nothing for {ANSWER_SECONDS:g} s", public=True)
            await asyncio.sleep(TICK / 4)

    async def _let_go(self, strap: BleTransport, there: bool) -> None:
        try:
            if there:
                await strap.write(CONTROL, pmd.STOP_ECG)
        except LinkError:
            logger.warning("the strap could not be asked to stop; it stops by itself once disconnected")
        finally:
            await strap.disconnect()

    def _on_ecg(self, data: bytes) -> None:
        self._heard = time.monotonic()
        try:
            stamp, millivolts = pmd.decode_ecg(data)
        except PacketError as error:
            self._excuse(error)
            return
        before = (len(millivolts) - 1) / self.fs
        self._ready.set()
        self.trouble = ""
        first = max(0, stamp - round(before * 1e9))
        now = time.time() - before
        self._put_now(Packet(millivolts[:, None], stamp=first, time=now, heard=self._heard))

    def _on_heart_rate(self, data: bytes) -> None:
        if self._heart_rate is None and self._intervals is None:
            return
        try:
            measured = pmd.decode_heart_rate(data)
        except PacketError:
            self.unreadable += 1
            return
        if self._intervals is not None:
            self._intervals.write(measured)
        if self._heart_rate is not None:
            self._heart_rate(measured)

    async def _sleep(self, seconds: float) -> None:
        limit = time.monotonic() + seconds
        while not self._stop.is_set() and time.monotonic() < limit:
            await asyncio.sleep(TICK / 4)
