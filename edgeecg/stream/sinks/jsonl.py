"""JSON lines into a file or to standard output; each line leaves the process as soon as it is written."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from edgeecg.errors import LinkError
from edgeecg.specs import Event
from edgeecg.stream.sinks.base import BaseSink, Header
from edgeecg.stream.sinks.lines import event_line, header_line

__all__ = ["JsonLinesSink"]


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

    def _connect(self, header: Header) -> None:
        if self._path == "-":
            sys.stdout.flush()
            self._fd = sys.stdout.fileno()
            return
        target = Path(self._path)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(target, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            size = os.fstat(self._fd).st_size
            if size and os.pread(self._fd, 1, size - 1) != b"\n":
                os.write(self._fd, b"\n")  # a line that was cut off stays alone
        except OSError as error:
            raise LinkError(f"{target} cannot be written: {error.strerror}") from error

    def _begin(self, header: Header) -> None:
        self._put(header_line(header))

    def _send(self, event: Event, header: Header, time: float | None) -> None:
        self._put(event_line(event, header.patient, time))

    def _put(self, line: bytes) -> None:
        data = memoryview(line + b"\n")
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError as error:
            if self._path == "-" and isinstance(error, BrokenPipeError):
                raise  # whoever reads our output had enough: the command line ends without a word
            raise LinkError(f"events cannot be written to {self._path}: {error.strerror}") from error

    def flush(self) -> None:
        """Ask the system to put a file onto its disk."""
        try:
            if stat.S_ISREG(os.fstat(self._fd).st_mode):
                os.fsync(self._fd)
        except OSError as error:
            raise LinkError(f"events cannot be written to {self._path}: {error.strerror}") from error

    def _disconnect(self) -> None:
        if self._path != "-" and self._fd >= 0:
            os.close(self._fd)
