"""A serial port that prints a line a sample, as sketches for AD8232 and ADS1292 boards do (pyserial).

Counts become millivolts through the board's gain: name the board, or give ``gain`` (counts a millivolt).
A line that cannot be read becomes a row without numbers, so that time goes on; the first line, which is
usually cut, and what the board says of itself before its first numbers are left out.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeecg.errors import ConfigError, LinkError, PacketError
from edgeecg.stream.address import need
from edgeecg.stream.sources.base import Packet, check_rate, default_leads, named_leads
from edgeecg.stream.sources.lines import LineSplitter, parse_line
from edgeecg.stream.sources.live import TICK, LiveSource

__all__ = ["BOARDS", "SerialSource", "unwrap"]

BOARDS = {
    # 10-bit converter over 3.3 V behind a gain of 100, resting at half scale
    "ad8232": (1023 / 3300 * 100, 512.0),
    # 24-bit two's complement over +-2.42 V behind the reset gain of 6
    "ads1292": ((2**23 - 1) / 2420 * 6, 0.0),
}
"""Counts a millivolt, and the count at rest, of boards in their usual wiring."""


def unwrap(counter: int, before: int, wrap: int) -> int:
    """A counter that begins anew after ``wrap - 1``, as a count that goes on from ``before``."""
    return before + (counter - before) % wrap


class SerialSource(LiveSource):
    """Samples from a serial port.

    Parameters
    ----------
    port : str
        Device, e.g. ``/dev/ttyUSB0``.
    fs : float
        Samples a second that the board's program prints.
    baud : int
        Speed of the line.
    board : str
        ``ad8232`` or ``ads1292``: gain and rest level in the usual wiring.
    gain : float, optional
        Counts a millivolt; 1 for a program that prints millivolts.
    rest : float, optional
        Count at zero volts.
    leads : tuple of str
        Names of the columns; otherwise counted from the first whole line.
    counter : int, optional
        Column (from 0) that holds a running sample count, so that lost lines are seen.
    wrap : int
        The count after which the counter begins at 0 again.
    timeout : float or None
        Seconds without a line after which the link counts as broken.

    Raises
    ------
    ConfigError
        If the rate or the gain is missing, or an option is out of range.
    """

    jitter = 0.0

    def __init__(
        self,
        port: str,
        *,
        fs: float | None = None,
        baud: int = 115200,
        board: str = "",
        gain: float | None = None,
        rest: float | None = None,
        leads: tuple[str, ...] = (),
        counter: int | None = None,
        wrap: int = 2**32,
        timeout: float | None = 30.0,
    ) -> None:
        super().__init__(timeout)
        self.fs = check_rate(fs, f"serial:{port}")
        self.leads = named_leads(leads)
        self._gain, self._rest = _calibration(board, gain, rest)
        if baud <= 0 or wrap < 2 or (counter is not None and counter < 0):
            raise ConfigError("serial: baud and counter must be positive, wrap at least 2")
        self._port_name, self._baud = port, baud
        self._counter, self._wrap = counter, wrap
        self._port: Any = None
        self._lines = LineSplitter()
        self._width = 0
        self._at = -1
        self._held: list[list[float]] = []  # a row whose count leaps

    def _connect(self) -> None:
        serial = need("serial", "pyserial", "serial", "reading a serial port")
        self._failure = serial.SerialException
        try:
            self._port = serial.Serial(self._port_name, self._baud, timeout=TICK)
        except (serial.SerialException, ValueError) as error:
            listing = need("serial.tools.list_ports", "pyserial", "serial", "reading a serial port")
            ports = ", ".join(port.device for port in listing.comports()) or "none"
            raise LinkError(
                f"serial port {self._port_name} cannot be opened ({error}); ports here: {ports}"
            ) from error
        self._learn_width()

    def _disconnect(self) -> None:
        if self._port is not None:
            self._port.close()

    def _learn_width(self) -> None:
        """Skip the first line, which is usually cut, and count the fields of the first that has numbers."""
        limit = time.monotonic() + (self._timeout or 30.0)
        self._waiting: list[bytes] = []
        cut = True
        while not (width := self._first_width()):
            if time.monotonic() > limit or self._stop.is_set():
                what = f"sends no lines of numbers: is the baud rate {self._baud} right?"
                raise LinkError(f"serial port {self._port_name} {what}", public=f"its serial port {what}")
            lines = [line for line in self._lines.feed(self._read()) if line.strip()]
            self._waiting += lines[cut:]
            cut = cut and not lines
        self._width = width
        data = self._width - (self._counter is not None)
        if data < 1 or (self._counter is not None and self._counter >= self._width):
            raise PacketError(f"lines of {self._width} fields leave no lead beside counter={self._counter}")
        self.leads = self.leads or default_leads(data)
        if len(self.leads) != data:
            raise PacketError(
                f"lines carry {data} leads, but {len(self.leads)} are named: {', '.join(self.leads)}"
            )

    def _first_width(self) -> int:
        """Fields of the first waiting line that has numbers, behind nothing else then; 0: none has.

        A lone ``!`` (all leads are off) says nothing of them; after two seconds of it they are those that are
        named, or one.
        """
        off = 0
        for at, line in enumerate(self._waiting):
            with contextlib.suppress(PacketError):  # what a board says of itself
                row = parse_line(line)
                lone = row is not None and len(row) == 1 and row[0] != row[0]
                if row and not lone:
                    del self._waiting[:at]
                    return len(row)
                off += lone
        return max(1, len(self.leads)) + (self._counter is not None) if off > 2 * self.fs else 0

    def _read(self) -> bytes:
        try:
            data: bytes = self._port.read(max(1, self._port.in_waiting))
        except (self._failure, OSError) as error:
            raise LinkError(f"serial port {self._port_name} broke off: {error}") from error
        return data

    def _produce(self) -> None:
        lines = self._waiting
        while True:
            if lines:
                for packet in self._pack([self._row(line) for line in lines]):
                    self._put(packet)
            if self._stop.is_set():
                return
            try:
                lines = self._lines.feed(self._read())
            except PacketError as error:
                self._excuse(error)

    def _row(self, line: bytes) -> list[float] | None:
        """One line as numbers; an unreadable one holds none, a blank one is nothing."""
        try:
            row = parse_line(line)
            if row is not None and len(row) == 1 < self._width and row[0] != row[0]:
                row *= self._width  # a lone "!": all leads are off
            if row is not None and len(row) != self._width:
                raise PacketError(f"a line has {len(row)} fields instead of {self._width}")
        except PacketError as error:
            self._excuse(error)
            return [np.nan] * self._width
        self._bad_run = 0
        return row

    def _pack(self, rows: Sequence[list[float] | None]) -> list[Packet]:
        values = np.array([row for row in (*self._held, *rows) if row is not None], dtype=np.float64)
        self._held = []
        if self._counter is not None and len(values):
            column = values[:, self._counter]
            column[~((column >= 0) & (column < self._wrap))] = np.nan
            if self._leaps(column):  # the next line tells whether it is garbled
                self._held, values = [values[-1].tolist()], values[:-1]
        if values.size == 0:
            return []
        now, heard = time.time() - len(values) / self.fs, time.monotonic()
        if self._counter is None:
            return [Packet(self._millivolts(values), time=now, heard=heard)]
        counts = self._counts(values[:, self._counter])
        self._at = counts[-1]
        values = np.delete(values, self._counter, axis=1)
        cuts = np.flatnonzero(np.diff(counts) != 1) + 1
        # by the rows that came and not by their count: a count that leaps would put a run hours too early
        runs = zip((0, *cuts.tolist()), np.split(values, cuts), strict=True)
        return [
            Packet(self._millivolts(part), sample=counts[at], time=now + at / self.fs, heard=heard)
            for at, part in runs
        ]

    def _leaps(self, column: NDArray[np.float64]) -> bool:
        """Whether the last count does not go on from what came before it."""
        return bool(np.diff([self._at, *self._counts(column)])[-1:] != 1)

    def _counts(self, column: NDArray[np.float64]) -> list[int]:
        """The counter without its wraps.

        A line without one follows the line before; so does one that leaps if the next goes on as if it had
        not: a digit was garbled.
        """
        at, out = self._at, list[int]()
        for value, following in zip(column, [*column[1:], np.nan], strict=True):
            garbled = (following - at - 2) % self._wrap == 0
            at = at + 1 if np.isnan(value) or garbled else unwrap(int(value), at, self._wrap)
            out.append(at)
        return out

    def _millivolts(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        return (counts - self._rest) / self._gain


def _calibration(board: str, gain: float | None, rest: float | None) -> tuple[float, float]:
    if board and board not in BOARDS:
        raise ConfigError(f"board={board!r} is unknown: write {', '.join(BOARDS)}, or give gain= and rest=")
    if not board and gain is None:
        raise ConfigError(
            f"serial lines are counts: name the board (board={'|'.join(BOARDS)}) or give "
            "gain=COUNTS_PER_MILLIVOLT (in a shell, quote a source with options: & ends a command)"
        )
    usual_gain, usual_rest = BOARDS.get(board, (1.0, 0.0))
    gain = usual_gain if gain is None else gain
    if not (np.isfinite(gain) and gain != 0):
        raise ConfigError(f"gain={gain} must be a number of counts a millivolt, not 0")
    return gain, usual_rest if rest is None else rest
