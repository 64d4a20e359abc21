"""A simulated H10 for tests and demonstrations: speaks the strap's protocol, plays a signal of yours."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edgeecg.errors import LinkError
from edgeecg.stream.sources import pmd
from edgeecg.stream.sources.polar import CONTROL, DATA, HEART_RATE

__all__ = ["FakeStrap"]

FRAME = 73  # samples in a notification of a real strap


class FakeStrap:
    """A `BleTransport` whose far end is simulated; itself stays the same over reconnections.

    Parameters
    ----------
    millivolts : (n,) float64
        What it measures, at 130 Hz; it falls silent at the end.
    lose_at : tuple of int
        Frame numbers before which the connection breaks once; the strap goes on measuring meanwhile.
    pause : float
        Seconds between frames.
    away : int
        Frames that pass while it is not connected.
    running : bool
        Whether another program has left the stream switched on.
    """

    def __init__(
        self,
        millivolts: NDArray[np.float64],
        lose_at: tuple[int, ...] = (),
        pause: float = 0.0,
        away: int = 4,
        running: bool = False,
    ) -> None:
        self._microvolts = np.round(millivolts * 1e3).astype(np.int64)
        self._lose_at, self._pause, self._away = set(lose_at), pause, away
        self._heard: dict[str, Callable[[bytes], None]] = {}
        self._task: asyncio.Task[None] | None = None
        self._lost: Callable[[], None] = lambda: None
        self._frame = 0
        self.streaming = running
        self.connected = False
        self.stops = 0
        """How often it was asked to stop."""

    def __call__(self, address: str) -> FakeStrap:
        """What `PolarSource` calls to reach an address."""
        return self

    async def connect(self, lost: Callable[[], None]) -> None:
        """Connect."""
        self._lost, self.connected = lost, True

    async def notify(self, characteristic: str, heard: Callable[[bytes], None]) -> None:
        """Remember who listens."""
        self._heard[characteristic] = heard

    async def write(self, characteristic: str, data: bytes) -> None:
        """Obey a command of the control point and answer it."""
        if not self.connected:
            raise LinkError("the simulated strap is not connected")
        status = 0
        if data == pmd.START_ECG:
            status = 6 if self.streaming else 0
            if not self.streaming:
                self.streaming = True
                self._task = asyncio.create_task(self._send())
        elif data == pmd.STOP_ECG:
            self.stops += 1
            self.streaming = False
        else:
            status = 5
        self._heard[CONTROL](bytes((0xF0, data[0], 0x00, status, 0x00)))

    async def disconnect(self) -> None:
        """Disconnect; a real strap stops its stream too."""
        self.connected = self.streaming = False
        if self._task is not None:
            self._task.cancel()

    async def _send(self) -> None:
        while self.streaming and (self._frame + 1) * FRAME <= len(self._microvolts):
            if self._frame in self._lose_at:
                self._lose_at.discard(self._frame)
                self._frame += self._away
                self.connected = self.streaming = False
                self._lost()
                return
            block = self._microvolts[self._frame * FRAME : (self._frame + 1) * FRAME]
            last = round(((self._frame + 1) * FRAME - 1) * 1e9 / pmd.ECG_FS)
            self._heard[DATA](pmd.encode_ecg(599_616_000_000_000_000 + last, block))
            self._heard[HEART_RATE](bytes((0x16, 60, 0x00, 0x04)))
            self._frame += 1
            await asyncio.sleep(self._pause)
