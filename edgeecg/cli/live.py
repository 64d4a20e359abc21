"""What ``edgeecg stream`` shows while it runs: a table that is drawn anew several times a second."""

from __future__ import annotations

import time
from collections import Counter, deque

import numpy as np
from numpy.typing import NDArray
from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from edgeecg.decode import rate
from edgeecg.pipeline import Latency
from edgeecg.signal.quality import QUALITY_LABELS, UNREADABLE
from edgeecg.specs import Alarm, Beat, Event, Gap, Quality, Rhythm

__all__ = ["LiveView", "strip"]

STRIP_SECONDS, STRIP_WIDTH, STRIP_HEIGHT = 5.0, 76, 4
LAST_BEATS = 24
HOLES = 16  # that beats still under decision may lie before
KEPT_TIMES = 2000  # pushes that the percentiles look back on
UNREADABLE_LABELS = QUALITY_LABELS[UNREADABLE:]
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
        self.fs, self.leads, self.latency = fs, leads, latency
        self._begun = time.monotonic()
        self._samples = 0
        self._signal: deque[float] = deque(maxlen=round(STRIP_SECONDS * fs))
        self._times: deque[float] = deque(maxlen=KEPT_TIMES)
        self._beats: deque[Beat] = deque(maxlen=LAST_BEATS)
        self._counts: Counter[str] = Counter()
        self._rate = rate.initial()
        self._holes: deque[tuple[int, int | None]] = deque(maxlen=HOLES)  # missing or unreadable
        self._open: dict[str | int, str] = {}  # episodes that last, by kind or column of a lead
        self._alarms: dict[str, int] = {}
        self._missing = 0

    def pushed(self, samples: NDArray[np.float64], total: int, seconds: float) -> None:
        """``(n, leads)`` samples went in, and took so long."""
        self._signal.extend(samples[:, 0].tolist())
        self._samples = total
        self._times.append(seconds)

    def told(self, event: Event) -> None:
        """An event came out."""
        if isinstance(event, Beat):
            self._beats.append(event)
            self._counts[event.label] += 1
            self._beat(event.sample)
        elif isinstance(event, Gap):
            self._missing += event.length
            self._hole(event.start, event.start + event.length)
        elif isinstance(event, Alarm):
            if event.end is None:
                self._alarms[event.label] = event.start
            else:
                self._alarms.pop(event.label, None)
        elif isinstance(event, (Rhythm, Quality)):
            self._episode(event)

    def _episode(self, event: Rhythm | Quality) -> None:
        """What lasts: a rhythm, a signal that is not good, a lead without one."""
        place: str | int = type(event).__name__
        if isinstance(event, Quality) and event.lead is not None:
            place = event.lead
        elif event.label in UNREADABLE_LABELS:
            self._hole(event.start, event.end)
        if event.end is None:
            self._open[place] = event.label
        elif self._open.get(place) == event.label:
            del self._open[place]

    def _hole(self, start: int, end: int | None) -> None:
        """No beat can be found from ``start`` on; the end is told later where it is not known yet."""
        if (start, None) in self._holes:
            self._holes.remove((start, None))
        self._holes.append((start, end))
        self._rate = rate.initial()

    def _beat(self, sample: int) -> None:
        """Take a beat into the running rate; an interval with a hole in it says nothing.

        A stretch is told as unreadable while the beats before it are still being decided.
        """
        last = self._rate.samples[-1] if self._rate.samples else sample
        if any(start < sample and (end is None or end > last) for start, end in self._holes):
            self._rate = rate.initial()
        self._rate = rate.beat(sample, self._rate)

    def __rich__(self) -> Panel:
        """The picture."""
        return Panel(
            Group(strip(list(self._signal), STRIP_WIDTH, STRIP_HEIGHT), self._table()), title=Text(self.title)
        )

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        table.add_column(style="bold")
        table.add_column()
        per_minute = rate.per_minute(self._rate, self.fs)
        table.add_row("heart rate", "..." if per_minute is None else f"{per_minute:.0f} /min")
        table.add_row("rhythm", self._open.get("Rhythm", "no atrial fibrillation"))
        beats = Text(" ").join(Text(beat.label, COLOURS[beat.label]) for beat in self._beats.copy())
        table.add_row("beats", beats)
        table.add_row("so far", "  ".join(f"{label} {n}" for label, n in sorted(self._counts.copy().items())))
        lasting = self._open.copy()
        off = "".join(f", {lead} {lasting[at]}" for at, lead in enumerate(self.leads) if at in lasting)
        table.add_row("signal", Text(lasting.get("Quality", "good") + off + self._lost()))
        table.add_row(
            "alarms", Text(", ".join(sorted(self._alarms)) or "none", "red" if self._alarms else "")
        )
        table.add_row("latency", self._lateness())
        table.add_row("pace", self._pace())
        return table

    def _lost(self) -> str:
        return f", {self._missing / self.fs:.1f} s missing" if self._missing else ""

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
