"""Samples as lines of text: one line a sample, one field a lead.

Fields are separated by commas, semicolons, tabs or spaces. ``nan``, an empty field between commas and
``!`` (what the usual AD8232 sketch prints while a lead is off) mean that there is no number. Blank lines
and lines that begin with ``#`` are skipped.
"""

from __future__ import annotations

import math
import re

from edgeecg.errors import PacketError

__all__ = ["LineSplitter", "parse_line"]

LONGEST = 4096  # bytes; a longer line is no line of samples
NOTHING = frozenset(("", "!", "nan", "-nan", "na"))
SEPARATOR = re.compile(r"\s*[,;]\s*|\s+")


def parse_line(line: bytes) -> list[float] | None:
    """One line to its numbers, ``None`` for a blank line or a comment.

    Raises
    ------
    PacketError
        If a field is no number.
    """
    try:
        text = line.decode("ascii").strip()
    except UnicodeDecodeError:
        raise PacketError(
            "a line holds bytes that are no text: is the baud rate or the format right?", public=True
        ) from None
    if not text or text.startswith("#"):
        return None
    return [_number(field) for field in SEPARATOR.split(text)]


def _number(field: str) -> float:
    if field.lower() in NOTHING:
        return math.nan
    try:
        value = float(field)
    except ValueError:
        wrong = "is no number: lines hold one number a lead, and no names"
        raise PacketError(f"{field[:20]!r} {wrong}", public=f"a field {wrong}") from None
    return value if math.isfinite(value) else math.nan


class LineSplitter:
    """Cuts bytes as they come into whole lines."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Lines that are whole now.

        Raises
        ------
        PacketError
            If there is no line end for too long.
        """
        *lines, self._rest = (self._rest + data).replace(b"\r", b"\n").split(b"\n")
        if len(self._rest) > LONGEST:
            self._rest = b""
            raise PacketError(
                f"no line end in {LONGEST} bytes: this is not text, one sample a line", public=True
            )
        return lines

    def finish(self) -> bytes:
        """The last line, if it had no end."""
        rest, self._rest = self._rest, b""
        return rest
