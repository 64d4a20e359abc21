"""What the system knows of a pipe or terminal that is written to: whether it has room, and who reads it."""

from __future__ import annotations

import os
import select
import stat
import struct
import time

__all__ = ["await_reader", "has_room", "unblocked"]

PAUSE = 0.02  # seconds between two looks at who reads


def has_room(fd: int, seconds: float | None) -> bool:
    """Whether something can be written within so many seconds, or some time (``None``)."""
    room = select.poll()
    room.register(fd, select.POLLOUT)
    return bool(room.poll(None if seconds is None else 1000 * max(0.0, seconds)))


def unblocked(fd: int) -> int | None:
    """A descriptor of our own for a terminal or another device, in which no write waits.

    A terminal says that it has room where that is for less than a line. The mode is of the descriptor's
    description, which others may share: so a new one is opened, if it can be.

    Returns
    -------
    The descriptor, to be closed; none for what is no device or cannot be opened again.
    """
    try:
        if stat.S_ISCHR(os.fstat(fd).st_mode):
            return _again(fd, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:  # no /proc, or somebody else's terminal
        pass
    return None


def await_reader(fd: int, seconds: float) -> int:
    """Wait until a named pipe is empty, or somebody reads it: else what is in it goes with the last end.

    Parameters
    ----------
    fd : int
        Opened for reading and writing, as opens without a reader; it is again in the end.
    seconds : float
        How long to wait.

    Returns
    -------
    Bytes in it that nobody will read.
    """
    try:
        writer = _again(fd, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:  # no /proc: nobody can tell
        return 0
    os.dup2(writer, fd, inheritable=False)  # so that we are no reader ourselves
    try:
        until = time.monotonic() + seconds
        while (left := _held(writer)) and _unread(writer):
            if time.monotonic() > until:
                return left
            time.sleep(PAUSE)
        return 0
    finally:
        both = _again(writer, os.O_RDWR)
        os.dup2(both, fd, inheritable=False)
        os.close(both)
        os.close(writer)


def _again(fd: int, flags: int) -> int:
    return os.open(f"/proc/self/fd/{fd}", flags)


def _held(fd: int) -> int:
    """Bytes in a pipe."""
    from fcntl import ioctl
    from termios import FIONREAD

    count: int = struct.unpack("i", ioctl(fd, FIONREAD, bytes(4)))[0]
    return count


def _unread(fd: int) -> bool:
    """Whether nobody has the other end of a pipe open."""
    ends = select.poll()
    ends.register(fd, 0)  # an error is told unasked
    return bool(ends.poll(0))
