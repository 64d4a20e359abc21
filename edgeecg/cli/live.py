"""What ``edgeecg stream`` shows while it runs: a table that is drawn anew several times a second."""

from __future__ import annotations

import time
from collections import deque

import numpy as np
from numpy.typing import NDArray
from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from edgeecg.pipeline import Latency
from edgeecg.specs import Event
from edgeecg.stream.vitals import Vitals

__all__ = ["LiveView", "strip"]

STRIP_SECONDS, STRIP_WIDTH, STRIP_HEIGHT = 5.0, 76, 4
KEPT_TIMES = 2000  # pushes that the percentiles look back on
COLOURS = {"N": "green", "S": "yellow", "V": "red", "F": "magenta", "P": "cyan"}
DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # of a braille cell, by row and column


class LiveView:
    """State of the view; rich asks it for a picture.

    Parameters
    ----------
    patient : str
    leads : tuple of str
    fs : float
        Samples a second.
    model : str
        What computes.
    latency : Latency
        Declared latency of the stream.
    """

    def __init__(self, patient: str, leads: tuple[str, ...], fs: float, model: str, latency: Latency) -> None:
        self.title = f"{patient}: {', '.join(leads)} at {fs:g} Hz, {model}"
        self.fs, self.latency = fs, latency
        self._vitals = Vitals(fs, leads)
        self._begun = time.monotonic()
        self._samples = 0
        self._trace: deque[float] = deque(maxlen=round(STRIP_SECONDS * fs))
        self._times: deque[float] = deque(maxlen=KEPT_TIMES)

    def pushed(self, samples: NDArray[np.float64], total: int, seconds: float) -> None:
        """``(n, leads)`` samples went in, and took so long."""
        self._trace.extend(samples[:, 0].tolist())
        self._samples = total
        self._times.append(seconds)

    def told(self, event: Event) -> None:
        """An event came out."""
        self._vitals.told(event)

    def __rich__(self) -> Panel:
        """The picture."""
        return Panel(
            Group(strip(list(self._trace), STRIP_WIDTH, STRIP_HEIGHT), self._table()), title=Text(self.title)
        )

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        table.add_column(style="bold")
        table.add_column()
        now = self._vitals
        table.add_row("heart rate", "..." if now.rate is None else f"{now.rate:.0f} /min")
        table.add_row("rhythm", now.rhythm or "no atrial fibrillation")
        beats = Text(" ").join(Text(beat.label, COLOURS[beat.label]) for beat in now.beats.copy())
        table.add_row("beats", beats)
        table.add_row("so far", "  ".join(f"{label} {n}" for label, n in sorted(now.counts.copy().items())))
        lost = f", {now.missing / self.fs:.1f} s missing" if now.missing else ""
        table.add_row("signal", Text(now.signal + lost))
        alarms = ", ".join(sorted(now.alarms.copy())) or "none"
        table.add_row("alarms", Text(alarms, "red" if alarms != "none" else ""))
        table.add_row("latency", self._lateness())
        table.add_row("pace", self._pace())
        return table

    def _lateness(self) -> str:
        declared = f"{self.latency.seconds:.2f} s declared, at most {self.latency.most:.2f} s with the hop"
        if not self._times:
            return declared
        p50, p99 = np.percentile(list(self._times), [50, 99]) * 1e3
        return f"{declared}; a packet takes {p50:.2f} ms, 99th percentile {p99:.2f} ms"

    def _pace(self) -> str:
        seconds, wall = self._samples / self.fs, time.monotonic() - self._begun
        return f"{seconds:.1f} s of signal, {seconds / max(wall, 1e-3):,.1f} times real time"


def strip(signal: list[float], width: int, height: int) -> Text:
    """A trace in braille characters, ``width`` by ``height`` cells; samples that are missing leave a hole."""
    columns, rows = 2 * width, 4 * height
    lines = [[0] * width for _ in range(height)]
    known = np.array(signal, dtype=float)
    if len(known) >= columns and np.isfinite(known).any():
        low, high = np.nanmin(known), np.nanmax(known)
        scaled = (high - known) / max(high - low, 1e-6) * (rows - 1)
        for column, part in enumerate(np.array_split(scaled, columns)):
            there = part[np.isfinite(part)]
            for dot in range(int(there.min()), int(there.max()) + 1) if len(there) else ():
                lines[dot // 4][column // 2] |= DOTS[dot % 4][column % 2]
    return Text("\n".join("".join(chr(0x2800 + cell) for cell in line) for line in lines), style="green")
