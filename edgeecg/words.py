"""Numbers of things in words, for whatever people read: terminals, pages, logs."""

from __future__ import annotations

__all__ = ["counted"]


def counted(number: int, what: str) -> str:
    """``1 record``, ``2 records``."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
