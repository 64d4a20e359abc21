"""Text that others wrote, as one line that steers no terminal."""

from __future__ import annotations

__all__ = ["plain_line"]


def plain_line(message: str) -> str:
    """One line, with ``?`` for what cannot be printed: names out of files may hold anything."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(message.split()))
