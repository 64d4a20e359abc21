"""Standard error of a service: whoever reads its log too slowly loses lines of it, and holds up nobody."""

from __future__ import annotations

import io
import os
import select
import sys
from typing import TextIO

from edgeecg.stream.pipes import has_room, unblocked

__all__ = ["Unhurried", "unhurried_stderr"]

MOST_WAITING = 1 << 16
"""Bytes that may wait for room; then lines are left out."""


class Unhurried(io.TextIOBase):
    """A text stream that never waits.

    Parameters
    ----------
    out : text stream
        With a descriptor; what is written here appears there, as far as it has room.
    """

    encoding = "utf-8"

    def __init__(self, out: TextIO) -> None:
        super().__init__()
        out.flush()
        self.encoding = out.encoding
        self._out, self._waiting, self._left_out = out, b"", 0
        own = unblocked(out.fileno())
        self._fd = out.fileno() if own is None else own

    def fileno(self) -> int:
        """Descriptor of the stream behind."""
        return self._out.fileno()

    def isatty(self) -> bool:
        """Whether the stream behind is a terminal."""
        return self._out.isatty()

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, text: str) -> int:
        """Write what there is room for; the rest waits, or is left out, which the next line tells."""
        self.flush()
        data = text.encode(self.encoding, "backslashreplace")
        if len(self._waiting) + len(data) > MOST_WAITING:
            self._left_out += text.count("\n")
            return len(text)
        if self._left_out:
            self._waiting += f"({self._left_out} lines had no room here)\n".encode()
            self._left_out = 0
        self._waiting += data
        self.flush()
        return len(text)

    def flush(self) -> None:
        """Write what waits, as far as there is room."""
        try:
            while self._waiting and has_room(self._fd, 0.0):
                self._waiting = self._waiting[os.write(self._fd, self._waiting[: select.PIPE_BUF]) :]
        except BlockingIOError:  # a terminal has room, but for less
            pass
        except OSError:  # nobody reads it any more, or the disk is full: there is no other place to say so
            self._waiting = b""


def unhurried_stderr() -> None:
    """Let nothing that this process says on standard error hold it up, up to its last word."""
    try:
        sys.stderr = Unhurried(sys.stderr)
    except (OSError, AttributeError):  # it is closed, or no descriptor is behind it
        return
