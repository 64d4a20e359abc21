"""A patient's source in a thread of its own: opened, read, and opened again when it breaks off."""

from __future__ import annotations

import logging
import queue
import sys
import threading
import time
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Union

from edgeecg.errors import EdgeECGError, LinkError, PacketError
from edgeecg.stream.address import build
from edgeecg.stream.cause import cause
from edgeecg.stream.sources import SOURCES, Packet, Source
from edgeecg.stream.sources.inbox import Inbox

__all__ = ["Ended", "Link", "LinkState", "Opened", "close_all", "let_go"]

LinkState = Literal["connecting", "live", "waiting", "ended", "failed"]
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds before another attempt
GRACE = 2.0  # seconds for which a closed link waits for a place: whoever stops computes meanwhile
UNFORESEEN = "a fault of the program, please report it:"
DEPTH = 256  # packets between the thread and the gateway; beyond it the source is held up

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Opened:
    """The source was reached: its rate and leads are known."""

    source: Source


@dataclass(frozen=True)
class Ended:
    """The source has ended by itself."""


class Link:
    """The thread, and what it has brought.

    Parameters
    ----------
    number : int
        Of the patient in the gateway's file, the first is 1: what the log calls it.
    source : str
        As for :func:`open_source`.

    Attributes
    ----------
    inbox : queue of Opened, Packet or Ended
    state : str
    heard : float
        When the last packet came, ``time.monotonic``.
    attempts : int
        Times that the source was opened, or tried to be.
    reached : bool
        Whether the source is open, so that something may be on its way.
    """

    def __init__(self, number: int, source: str) -> None:
        self.number, self._text = number, source
        self.inbox: Inbox[Union[Opened, Packet, Ended]] = Inbox(DEPTH)
        self.state: LinkState = "connecting"
        self.heard = time.monotonic()
        self.attempts = 0
        self.reached = False
        self._fed = False  # whether this attempt has brought a packet
        self._error = ""
        self._source: Source | None = None  # that is open, is being opened, or was last
        self._guard = threading.Lock()  # of the source, between who opens and who closes
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"edgeecg-link-{number}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End it; what has come can still be taken. A source that is being opened is not waited for."""
        with self._guard:
            first = not self._stop.is_set()
            self._stop.set()
            source, opening = self._source, not self.reached
        if source is None or not first:
            return
        if opening:  # it may hold up who closes it until its peer has answered
            threading.Thread(target=source.close, name=f"edgeecg-close-{self.number}", daemon=True).start()
        else:
            source.close()

    @property
    def error(self) -> str:
        """Why nothing comes; empty while something does.

        A source that tries by itself to reach its device says it in ``trouble``, before it gives up.
        """
        return self._error or getattr(self._source, "trouble", "")

    @property
    def alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._keep_open()
        finally:  # whatever ended the thread, the gateway must know that it has ended
            self.reached = False
            unforeseen = sys.exc_info()[1]
            if unforeseen is not None:
                self._error = repr(unforeseen)
            if self.state != "failed":
                self.state = "ended" if self._stop.is_set() or self.state == "ended" else "failed"

    def _keep_open(self) -> None:
        pause = FIRST_PAUSE
        while not self._stop.is_set():
            self.state, self.attempts, self._fed = "connecting", self.attempts + 1, False
            try:
                self._use(build("source", self._text, SOURCES, {}))
                if not self._stop.is_set():
                    log.info("source %d has ended by itself", self.number)
                    self._put(Ended())
                self.state = "ended"
                return
            except (LinkError, PacketError) as error:
                broken: Exception = error
            except EdgeECGError as error:
                if self._stop.is_set() and not self.reached:  # closed before it was opened
                    return
                log.error("source %d cannot be used: %s", self.number, cause(error))
                self.state, self._error = "failed", str(error)
                return
            except Exception as error:  # noqa: BLE001 - a library's, or ours: no patient is given up for it
                broken = error
            pause = self._wait(broken, FIRST_PAUSE if self._fed else pause)

    def _wait(self, broken: Exception, pause: float) -> float:
        """Say why the source broke off, and wait before another attempt; how long before the next one."""
        self.reached = False
        foreseen = isinstance(broken, EdgeECGError)
        if foreseen and self._stop.is_set():
            return pause
        self.state, self._error = "waiting", str(broken) if foreseen else repr(broken)
        level, why = (logging.WARNING, cause(broken)) if foreseen else (logging.ERROR, _place(broken))
        log.log(level, "source %d broke off, again in %.0f s: %s", self.number, pause, why)
        self._stop.wait(pause)
        return min(2 * pause, LONGEST_PAUSE)

    def _use(self, source: Source) -> None:
        """Open a source and read it to its end; :meth:`close` knows of it from before it is opened."""
        with self._guard:
            if self._stop.is_set():
                return
            self._source = source
        with source:
            with self._guard:
                self.reached = not self._stop.is_set()
            if self.reached:
                self._put(Opened(source))
                self._read(source)
        self.reached = False

    def _read(self, source: Source) -> None:
        for packet in source:
            self.state, self.heard, self._error, self._fed = "live", time.monotonic(), "", True
            if not self._put(packet):
                return

    def _put(self, item: Union[Opened, Packet, Ended]) -> bool:
        """Hand it over; false where nobody takes it any more. A closed source still gives what has come."""
        while not self._offer(item, 0.2):
            if self._stop.is_set():
                return self._offer(item, GRACE)
        return True

    def _offer(self, item: Union[Opened, Packet, Ended], timeout: float) -> bool:
        try:
            self.inbox.put(item, timeout=timeout)
        except queue.Full:
            return False
        return True


def let_go(links: Iterable[Link]) -> list[threading.Thread]:
    """Ask links to end, all at once: some peers take seconds to say goodbye. Gives who waits for them."""
    closing = [
        threading.Thread(target=link.close, name=f"edgeecg-close-{link.number}", daemon=True)
        for link in links
    ]
    for thread in closing:
        thread.start()
    return closing


def close_all(links: Iterable[Link]) -> None:
    """Close links side by side; the slowest one tells how long it takes."""
    for thread in let_go(links):
        thread.join()


def _place(error: Exception) -> str:
    """The kind and the place of an error that nobody has foreseen; its text may quote what was read."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{UNFORESEEN} {type(error).__name__} in {Path(last.filename).name}, line {last.lineno}"
