"""JSON lines into a file or to standard output; each line leaves the process as soon as it is written.

Where a file takes none, as on a full disk, lines wait for room, so that a gateway loses none. In a gateway
they also wait where whoever reads a pipe does not, which would hold up everybody else. A file that is removed
or replaced, as when logs are rotated, is made anew, and begins with the headers.
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
from edgeecg.stream.pipes import await_reader, has_room, unblocked
from edgeecg.stream.sinks.base import BaseSink, Header
from edgeecg.stream.sinks.lines import event_line, header_line

__all__ = ["JsonLinesSink"]

MOST_WAITING = 60_000
"""Lines that may wait for room; then the oldest are lost."""

LAST_WORDS = 10.0
"""Seconds that a flush waits for a reader where writing does not (``waits``), or where there is none."""

PAUSE = 0.02
"""Seconds before a terminal that is full is tried again."""

LOOK = 1.0
"""Seconds between two looks at whether the file has its name still."""


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
        self._ours = False  # to be closed by us
        self._made: list[Path] = []  # the file and its folders, where they were not there
        self._waiting: deque[bytes] = deque()
        self._trouble: LinkError | None = None
        self._anew = False  # whether the file is another than the one that has the headers
        self._part = False  # whether a part of the first of them is written
        self._lost = 0  # lines
        self._look = 0.0  # when the file's name is looked at again

    def _connect(self, header: Header) -> None:
        if self._path == "-":
            if sys.stdout is None:  # it was closed before the program began
                raise LinkError("events cannot be written to standard output: it is closed", public=True)
            sys.stdout.flush()
            self._fd = sys.stdout.fileno()
            self._wait_for_none()
        else:
            self._open(Path(self._path))

    def _open(self, target: Path) -> None:
        self._made = []
        try:
            self._made = [place for place in (target, *target.parents) if not place.exists()]
            target.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(target, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOCTTY, 0o644)
            self._ours = True
            self._wait_for_none()
            size = os.fstat(self._fd).st_size
            if size and os.pread(self._fd, 1, size - 1) != b"\n":
                os.write(self._fd, b"\n")  # a line that was cut off stays alone
        except OSError as error:
            self._remove_made()
            raise LinkError(f"{target} cannot be written: {error.strerror}") from error

    def _wait_for_none(self) -> None:
        """Where writing may not wait, see that it does not, in a terminal either."""
        if not self.waits and (own := unblocked(self._fd)) is not None:
            self._disconnect()
            self._fd, self._ours = own, True

    def _begin(self, header: Header) -> None:
        self._put(header_line(header))

    def _send(self, event: Event, header: Header, time: float | None) -> None:
        self._put(event_line(event, header.patient, time))

    def _put(self, line: bytes) -> None:
        """Write a line behind those that wait, or let it wait."""
        full = len(self._waiting) >= MOST_WAITING
        if full:
            del self._waiting[int(self._part)]  # what is written in part would spoil the next line
            self._lost += 1
        self._waiting.append(line + b"\n")
        try:
            self._write_waiting(None if self.waits else 0.0)
        except LinkError:
            if self.waits or full:
                raise
        if full:
            raise self._losses()

    @property
    def trouble(self) -> LinkError | None:
        """Why lines wait."""
        return self._trouble

    def _losses(self) -> LinkError:
        told = f"{self._lost} lines are lost, the oldest of over {MOST_WAITING} that waited for room"
        return LinkError(f"{told} in {self._path}", public=told)

    def _write_waiting(self, patience: float | None) -> None:
        """Write what waits; a reader that takes nothing has so many seconds for all of it, or for ever."""
        until = None if patience is None else time.monotonic() + patience
        if self._waiting and self._moved():
            self._begin_anew()
        try:
            while self._waiting:
                self._write_first(until)
                self._waiting.popleft()
                self._part = False
            self._trouble = None
        except LinkError as error:
            self._trouble = error
            raise
        finally:  # not before: a health page that is asked meanwhile would see a sink that is behind
            self.behind = bool(self._waiting)

    def _write_first(self, until: float | None) -> None:
        if self._fd < 0:
            self._open(Path(self._path))
        if self._anew:  # not before it is open: of what waits the oldest is lost first
            headers = [header_line(header) + b"\n" for header in self._headers.values()]
            self._waiting.extendleft(reversed([line for line in headers if line not in self._waiting]))
            self._anew = False
        line = self._waiting[0]
        data = memoryview(line)
        try:
            while data:
                self._await_room(until)
                data = data[self._written(data[: select.PIPE_BUF], until) :]  # so much fits: no pipe blocks
        except OSError as error:
            if self._path == "-" and isinstance(error, BrokenPipeError):
                raise  # whoever reads our output had enough: the command line ends without a word
            if not self._take_back(len(line) - len(data)):
                self._part = self._part or len(data) < len(line)
                self._waiting[0] = bytes(data)  # goes on where it stopped
            wait = f"{len(self._waiting)} lines wait" + (f", {self._lost} are lost" if self._lost else "")
            if isinstance(error, TimeoutError):
                why = f"whoever reads it takes nothing, let it read on ({wait})"
                raise LinkError(f"events cannot be written to {self._path}: {why}", public=why) from error
            raise LinkError(f"events cannot be written to {self._path}: {error.strerror} ({wait})") from error

    def _written(self, data: memoryview, until: float | None) -> int:
        """How many bytes were taken; a terminal may take none though it says that it has room."""
        try:
            return os.write(self._fd, data)
        except BlockingIOError:
            if until is not None and time.monotonic() >= until:
                raise TimeoutError from None
            time.sleep(PAUSE)
            return 0

    def _await_room(self, until: float | None) -> None:
        """Return when the next bytes can be written without waiting; raises ``TimeoutError`` if none can."""
        if not has_room(self._fd, None if until is None else until - time.monotonic()):
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

    def _moved(self) -> bool:
        """Whether the file was removed, or another has its name by now."""
        if self._path == "-" or self._fd < 0 or self._part:
            return False
        held, now = os.fstat(self._fd), time.monotonic()
        if stat.S_ISREG(held.st_mode) and held.st_nlink == 0:
            return True  # removed: nobody would ever read the line
        if now < self._look:
            return False
        self._look = now + LOOK
        try:
            return stat.S_ISREG(held.st_mode) and not os.path.samestat(os.stat(self._path), held)
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:  # nobody can tell
            return False

    def _begin_anew(self) -> None:
        """Let go of the file: the next line makes it again, behind the headers that its readers need."""
        self._disconnect()
        self._anew = True

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
        """Write what waits, and have a file on its disk, or in a named pipe somebody who reads it."""
        self._write_waiting(None if self.waits else LAST_WORDS)
        try:
            kind = os.fstat(self._fd).st_mode if self._fd >= 0 else 0
            if stat.S_ISREG(kind):
                os.fsync(self._fd)
            unread = await_reader(self._fd, LAST_WORDS) if stat.S_ISFIFO(kind) and self._path != "-" else 0
        except OSError as error:
            raise LinkError(f"events cannot be written to {self._path}: {error.strerror}") from error
        if unread:
            why = f"nobody has read the last {unread} bytes of events; let a reader open the pipe"
            raise LinkError(f"{self._path}: {why}", public=why)

    def close(self) -> None:
        """Flush and let go; raises `LinkError` too where lines were lost before."""
        told = self._state != "open"
        super().close()
        if self._lost and not told:
            raise self._losses()

    def _disconnect(self) -> None:
        if self._ours:
            os.close(self._fd)
        self._fd, self._ours = -1, False
