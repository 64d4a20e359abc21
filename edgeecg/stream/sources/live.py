"""Sources whose packets come by themselves: a thread fetches them, the reader takes them in its own time."""

from __future__ import annotations

import logging
import queue
import threading
import time
from abc import abstractmethod
from collections.abc import Iterator

import numpy as np

from edgeecg.errors import ConfigError, LinkError, PacketError
from edgeecg.stream.sources.base import BaseSource, Packet
from edgeecg.stream.sources.inbox import Inbox

__all__ = ["LiveSource"]

DEPTH = 4096  # packets that wait between a transport and a slow reader
TICK = 0.2  # seconds between two looks at whether to stop
PATIENCE = 20  # packets in a row that may be unreadable: noise on a line is not yet a wrong format

logger = logging.getLogger(__name__)


class LiveSource(BaseSource):
    """The common part of live sources.

    Parameters
    ----------
    timeout : float or None
        Seconds without a packet after which the link counts as broken; ``None`` waits for ever.

    Attributes
    ----------
    dropped : int
        Packets that a reader was too slow to take.
    unreadable : int
        Packets that could not be decoded and were left out.

    Raises
    ------
    ConfigError
        If the timeout is not positive.
    """

    def __init__(self, timeout: float | None) -> None:
        super().__init__()
        if timeout is not None and not timeout > 0:
            raise ConfigError(f"timeout={timeout} must be more than 0 seconds")
        self.dropped = 0
        self.unreadable = 0
        self._timeout = timeout
        self._bad_run = 0
        self._inbox: Inbox[Packet | BaseException | None] = Inbox(DEPTH)
        self._thread: threading.Thread | None = None

    @abstractmethod
    def _produce(self) -> None:
        """Fetch packets in a thread of its own and `_put` them, until the end or ``self._stop``."""

    def _interrupt(self) -> None:
        """Wake `_produce` where it cannot look at ``self._stop``."""

    def open(self) -> None:
        """Reach the sender and begin to fetch; a second call does nothing."""
        super().open()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="edgeecg-source", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """End the link; from any thread, any number of times. What has come can still be read."""
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._interrupt()
            self._thread.join(timeout=10)
        super().close()

    def _run(self) -> None:
        """The thread: whatever ends it, the reader learns of it."""
        end: BaseException | None = None
        try:
            self._produce()
        except BaseException as error:  # noqa: BLE001 - raised again in the reader's thread
            end = error
        while not self._offer(end) and not self._stop.is_set():
            pass  # the inbox is full; a reader of a stopped source needs no mark at its end

    def _put(self, packet: Packet) -> None:
        """Hand a packet over; waits for a slow reader, so that TCP and serial peers are held up."""
        self._read_well(packet)
        while not self._offer(packet):
            if self._stop.is_set():
                self.dropped += 1
                return

    def _put_now(self, packet: Packet) -> None:
        """Hand a packet over from a transport that cannot be held up; counts what finds no place."""
        self._read_well(packet)
        if self._inbox.full():
            self.dropped += 1
            return
        self._inbox.put_nowait(packet)  # this thread is the only one that puts

    def _read_well(self, packet: Packet) -> None:
        """Something could be read again, unless the packet but stands for what could not."""
        if not np.isnan(packet.samples).all():
            self._bad_run = 0

    def _offer(self, item: Packet | BaseException | None) -> bool:
        try:
            self._inbox.put(item, timeout=TICK)
        except queue.Full:
            return False
        return True

    def _excuse(self, error: PacketError) -> None:
        """Leave out a packet that cannot be read; after many in a row the format must be wrong.

        Raises
        ------
        PacketError
            The error itself, when patience is at its end.
        """
        self.unreadable += 1
        self._bad_run += 1
        if self._bad_run >= PATIENCE:
            raise error
        logger.warning("a packet could not be read and is left out (%d so far)", self.unreadable)

    def _packets(self) -> Iterator[Packet]:
        heard = time.monotonic()
        while True:
            item = self._take()
            if isinstance(item, Packet):
                yield item
                heard = time.monotonic()  # after the reader's own work, which may be long
            elif isinstance(item, BaseException):
                self._inbox.put(None)  # whoever reads on finds the end
                raise item
            elif item is None:
                self._inbox.put(None)
                return
            elif self._over():
                return
            elif self._timeout is not None and time.monotonic() - heard > self._timeout:
                raise LinkError(
                    f"no packet came for {self._timeout:g} s: check the device, or raise timeout=",
                    public=True,
                )

    def _take(self) -> Packet | BaseException | bool | None:
        """The next item; ``False`` when there is none yet."""
        try:
            return self._inbox.get(timeout=TICK)
        except queue.Empty:
            return False

    @property
    def waiting(self) -> int:
        """Packets that have come and were not read yet."""
        return self._inbox.packets

    def _running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _over(self) -> bool:
        return not self._running() and self._stop.is_set() and self._inbox.empty()
