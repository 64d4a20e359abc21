"""What a log may say of an error: whoever reads logs need not know the patients."""

from __future__ import annotations

import errno
import os
import socket

from edgeecg.errors import (
    ConfigError,
    EdgeECGError,
    LinkError,
    PacketError,
    RecordError,
    SignalError,
    StateError,
)

__all__ = ["cause"]

KINDS = (
    (PacketError, "what it sends cannot be read"),
    (RecordError, "the recording cannot be read"),
    (SignalError, "the signal cannot be used"),
    (ConfigError, "its address or an option does not fit"),
    (LinkError, "it cannot be reached, or broke off"),
    (StateError, "it does not fit"),
)
"""Words for errors that say nothing that anybody may read; the narrower kinds first."""


def cause(error: BaseException) -> str:
    """Why, without paths, names, addresses, topics or what was read.

    What the error says for everybody, else what the operating system said behind it, else its kind.
    """
    behind: BaseException | None = error
    while behind is not None:
        words = behind.public if isinstance(behind, EdgeECGError) else _system(behind)
        if words:
            return words
        behind = behind.__cause__
    return next((words for kind, words in KINDS if isinstance(error, kind)), type(error).__name__)


def _system(error: BaseException) -> str:
    """The operating system's own words; those of a library may quote what was asked of it."""
    if not isinstance(error, OSError):
        return ""
    if isinstance(error, socket.gaierror):
        return "no machine of that name is known"
    if getattr(error, "library", None) == "SSL":  # whose numbers are its own
        return f"TLS: {getattr(error, 'reason', None) or 'no agreement'}"
    if error.errno is None or error.errno not in errno.errorcode:
        return "timed out" if isinstance(error, TimeoutError) else ""
    return os.strerror(error.errno)
