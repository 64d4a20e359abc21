"""JSON lines into a file or to standard output; each line leaves the process as soon as it is written.

Where a file takes none, as on a full disk, lines wait for the next one, so that a gateway loses none. In a
gateway they also wait where whoever reads a pipe does not, which would hold up everybody else.
"""

from __future__ import annotations

import os
import select
import stat
import sys
import time
from collections import deque
from contextlib import suppress
from pathlib import Path

from edgeecg.errors import LinkError
from edgeecg.specs import Event
from edgeecg.stream.sinks.base import BaseSink, Header
from edgeecg.stream.sinks.lines import event_line, header_line

__all__ = ["JsonLinesSink"]

MOST_WAITING = 60_000
"""Lines that may wait for room; then the oldest are lost."""

LAST_WORDS = 10.0
"""Seconds that a flush waits for a reader where writing does not (``waits``)."""


class JsonLinesSink(BaseSink):
    """Events as JSON lines; see `lines` for the format. A file that is there is continued.

    Parameters
    ----------
    path : str
        File, or ``-`` for standard output.
    """

    def __init__(self, path: str = "-") -> None:
        super().__init__()
        self._path = path
        self._fd = -1
        self._made: list[Path] = []  # the file and its folders, where they were not there
        self._waiting: deque[bytes] = deque()

    def _connect(self, header: Header) -> None:
        if self._path == "-":
            if sys.stdout is None:  # it was closed before the program began
                raise LinkError("events cannot be written to standard output: it is closed", public=True)
            sys.stdout.flush()
            self._fd = sys.stdout.fileno()
        else:
            self._open(Path(self._path))

    def _open(self, target: Path) -> None:
        self._made = [place for place in (target, *target.parents) if not place.exists()]
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(target, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            size = os.fstat(self._fd).st_size
            if size and os.pread(self._fd, 1, size - 1) != b"\n":
                os.write(self._fd, b"\n")  # a line that was cut off stays alone
        except OSError as error:
            self._remove_made()
            raise LinkError(f"{target} cannot be written: {error.strerror}") from error

    def _begin(self, header: Header) -> None:
        self._put(header_line(header))

    def _send(self, event: Event, header: Header, time: float | None) -> None:
        self._put(event_line(event, header.patient, time))

    def _put(self, line: bytes) -> None:
        """Write a line behind those that wait, or let it wait."""
        lost = len(self._waiting) >= MOST_WAITING
        if lost:
            self._waiting.popleft()
        self._waiting.append(line + b"\n")
        self._write_waiting(None if self.waits else 0.0)
        if lost:
            raise LinkError(
                f"over {MOST_WAITING} lines waited for room in {self._path}: one is lost",
                public=f"over {MOST_WAITING} lines waited for room: one is lost",
            )

    def _write_waiting(self, patience: float | None) -> None:
        """Write what waits; a reader that takes nothing has so many seconds for all of it, or for ever."""
        until = None if patience is None else time.monotonic() + patience
        try:
            while self._waiting:
                self._write_first(until)
                self._waiting.popleft()
        finally:  # not before: a health page that is asked meanwhile would see a sink that is behind
            self.behind = bool(self._waiting)

    def _write_first(self, until: float | None) -> None:
        if self._fd < 0:
            self._open(Path(self._path))
        line = self._waiting[0]
        data = memoryview(line)
        try:
            while data:
                self._await_room(until)
                data = data[os.write(self._fd, data[: select.PIPE_BUF]) :]  # so much fits: it cannot block
        except OSError as error:
            if self._path == "-" and isinstance(error, BrokenPipeError):
                raise  # whoever reads our output had enough: the command line ends without a word
            if not self._take_back(len(line) - len(data)):
                self._waiting[0] = bytes(data)  # goes on where it stopped
            wait = f"{len(self._waiting)} lines wait"
            if isinstance(error, TimeoutError):
                why = f"whoever reads it takes nothing, let it read on ({wait})"
                raise LinkError(f"events cannot be written to {self._path}: {why}", public=why) from error
            raise LinkError(f"events cannot be written to {self._path}: {error.strerror} ({wait})") from error

    def _await_room(self, until: float | None) -> None:
        """Return when the next bytes can be written without waiting; raises ``TimeoutError`` if none can."""
        room = select.poll()
        room.register(self._fd, select.POLLOUT)
        left = None if until is None else max(0.0, until - time.monotonic()) * 1000
        if not room.poll(left):
            raise TimeoutError

    def _take_back(self, count: int) -> bool:
        """Whether the part of a line that was written is gone again, as it can be from a file of our own.

        A file that we made for it and that holds nothing else goes too.
        """
        if self._path == "-" or not stat.S_ISREG(os.fstat(self._fd).st_mode):
            return False
        try:
            left = os.fstat(self._fd).st_size - count
            os.ftruncate(self._fd, left)
        except OSError:
            return False
        if left == 0 and self._made:
            self._disconnect()
            self._remove_made()
        return True

    def _remove_made(self) -> None:
        """Remove the file and the folders that were made for it; a next line makes them again."""
        with suppress(OSError):  # one that was not made after all, or a folder that somebody else uses
            for place in self._made:
                place.rmdir() if place.is_dir() else place.unlink()
        self._made = []

    def retry(self) -> None:
        """Write what waits, if there is room for it now."""
        self._write_waiting(0.0)

    def flush(self) -> None:
        """Write what waits, and ask the system to put a file onto its disk."""
        self._write_waiting(None if self.waits else LAST_WORDS)
        try:
            if self._fd >= 0 and stat.S_ISREG(os.fstat(self._fd).st_mode):
                os.fsync(self._fd)
        except OSError as error:
            raise LinkError(f"events cannot be written to {self._path}: {error.strerror}") from error

    def _disconnect(self) -> None:
        if self._path != "-" and self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
