"""Standard input, or any pipe: lines of text, or packed little-endian float32, lead after lead."""

from __future__ import annotations

import codecs
import os
import select
import sys
import time
from collections.abc import Iterator, Sized
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgeecg.errors import ConfigError, PacketError, SignalError
from edgeecg.stream.sources.base import Packet, check_rate, default_leads, named_leads, scale
from edgeecg.stream.sources.lines import LineSplitter, parse_line
from edgeecg.stream.sources.live import TICK, LiveSource

__all__ = ["StdinSource", "decode_floats"]

BLOCK = 1 << 12  # bytes a read: what is piped in faster than it is computed waits in the pipe, not in memory


def decode_floats(data: bytes, leads: int) -> tuple[NDArray[np.float64], bytes]:
    """Whole rows of ``leads`` float32 values, ``(n, leads)``, and the bytes that are left over."""
    whole = len(data) - len(data) % (4 * leads)
    with np.errstate(invalid="ignore"):  # a signalling NaN is a missing sample like any other
        values = np.frombuffer(data[:whole], dtype="<f4").astype(np.float64).reshape(-1, leads)
    return np.where(np.isfinite(values), values, np.nan), data[whole:]


class StdinSource(LiveSource):
    """Samples from standard input.

    Parameters
    ----------
    name : str
        ``-``; kept for the registry.
    fs : float
        Samples a second.
    format : str
        ``text`` (a line a sample) or ``f32`` (packed little-endian float32).
    leads : tuple of str or int
        Names of the columns, or how many there are; without them ``text`` counts the columns of its first
        line, ``f32`` has one.
    units : str
        ``mV``, ``uV`` or ``V``.
    live : bool
        Whether samples arrive as they are measured: then a pause in the input is a gap in the signal, and a
        line that cannot be read a missing sample, once it is known how many leads there are; else it ends
        the source, and so do many in a row.
    fd : int, optional
        Another file descriptor to read.

    Raises
    ------
    ConfigError
        If the rate is missing or an option is not one of those named.
    """

    def __init__(
        self,
        name: str = "-",
        *,
        fs: float | None = None,
        format: Literal["text", "f32"] = "text",  # noqa: A002 - the word a user types
        leads: tuple[str, ...] = (),
        units: str = "mV",
        live: bool = False,
        fd: int | None = None,
    ) -> None:
        super().__init__(timeout=None)
        if format not in ("text", "f32"):
            raise ConfigError(f"format={format!r} is not one of text, f32")
        self.fs = check_rate(fs, "standard input")
        self.leads = named_leads(leads)
        self._text, self._scale, self._live = format == "text", scale(units), live
        self._fd = -1 if fd is None else fd
        self._lines, self._line_number, self._rest = LineSplitter(), 0, b""
        self._marked = False  # whether a mark of the byte order has been looked for
        self._first: list[list[float]] = []
        self._wrong: PacketError | None = None  # in a line: raised once those before it are given

    def _connect(self) -> None:
        if self._fd < 0:
            if sys.stdin is None:
                raise ConfigError("standard input is closed: pipe samples into the program", public=True)
            self._fd = sys.stdin.fileno()
        if not self._text:
            self.leads = self.leads or default_leads(1)
        while self._text and not self._first:
            data = self._read()
            if data is None and not self._stop.is_set():
                continue
            self._first = self._rows(data or b"")
            self._raise_unless(self._first)
            if not data:
                break
        if self._text and not self._first:
            raise SignalError("standard input ended before the first sample", public=True)  # for good
        if self._text and not self.leads:
            self.leads = default_leads(len(self._first[0]))

    def _produce(self) -> None:
        self._give(self._first)
        while not self._stop.is_set():
            data = self._read()
            if data is None:
                continue
            if not data:
                self._finish()
                return
            if self._text:
                self._give(self._rows(data))
            else:
                values, self._rest = decode_floats(self._rest + data, len(self.leads))
                self._send(values)

    def _finish(self) -> None:
        if self._rest:
            raise PacketError(
                f"standard input ends {len(self._rest)} bytes into a sample of {len(self.leads)} leads: "
                "are leads= and format= right?",
                public=True,
            )
        if self._text:
            self._give(self._rows(b""))

    def _read(self) -> bytes | None:
        """What has come; ``None`` for nothing yet, empty at the end."""
        ready, _, _ = select.select([self._fd], [], [], TICK)
        return os.read(self._fd, BLOCK) if ready else None

    def _rows(self, data: bytes) -> list[list[float]]:
        """Rows of the lines that are whole now, up to a wrong one; without data that of the last line."""
        rows: list[list[float]] = []
        try:
            for line in self._whole(data):
                row = self._row(line, like=self.leads or (rows[0] if rows else None))
                rows += [row] if row is not None else []
                self._line_number += 1
        except PacketError as error:
            place = f"standard input, line {self._line_number + 1}"
            self._wrong = PacketError(f"{place}: {error}", public=f"{place}: {error.public}")
        return rows

    def _row(self, line: bytes, like: Sized | None) -> list[float] | None:
        """One line as numbers, as many as in ``like``; of a live one that is garbled, none is known."""
        try:
            row = parse_line(line if self._marked else line.removeprefix(codecs.BOM_UTF8))
            self._marked = True
            if row is not None and like is not None:
                self._check_width(row, like)
        except PacketError as error:
            if not (self._live and like is not None):
                raise
            self._excuse(error)
            return [np.nan] * len(like)
        self._bad_run = 0
        return row

    def _whole(self, data: bytes) -> Iterator[bytes]:
        """Lines with an end, before a rest that may be too long for one; without data what had none."""
        if not data:
            yield self._lines.finish()
            return
        cut = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        yield from self._lines.feed(data[:cut])
        yield from self._lines.feed(data[cut:])

    def _check_width(self, row: list[float], like: Sized) -> None:
        if len(row) != len(like):
            leads = "1 lead" if len(like) == 1 else f"{len(like)} leads"
            named = "name all that a line holds, in order (--lead, leads=)"
            raise PacketError(f"{len(row)} numbers in a line, but {leads}: {named}", public=True)

    def _give(self, rows: list[list[float]]) -> None:
        """Send rows, then tell what was wrong behind them."""
        self._send(np.array(rows))
        self._raise_unless([])

    def _raise_unless(self, rows: list[list[float]]) -> None:
        """Tell of a wrong line, unless there are rows to be given first."""
        if self._wrong is not None and not rows:
            raise self._wrong

    def _send(self, values: NDArray[np.float64]) -> None:
        if values.size == 0:
            return
        now = time.time() - len(values) / self.fs if self._live else None
        self._put(Packet(values * self._scale, time=now, heard=time.monotonic() if self._live else None))
