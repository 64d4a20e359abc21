"""A page for people: every patient's last seconds, rate, rhythm and alarms, drawn anew every two seconds.

Like the health page it tells patients by name, so that it is served to this machine alone unless a host is
named. One file of HTML without script, font or network, on ``http://HOST:PORT/``.
"""

from __future__ import annotations

import threading
import time as clock
from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeecg.page.html import document
from edgeecg.page.trace import STYLE as TRACE
from edgeecg.page.trace import trace
from edgeecg.specs import Event
from edgeecg.stream.listener import Answer, Listener, answering
from edgeecg.stream.sinks.base import BaseSink, Header, port_of
from edgeecg.stream.vitals import Vitals
from edgeecg.words import counted

__all__ = ["PageSink"]

SECONDS = 8.0  # of signal that are shown
AGAIN = 2  # seconds between two drawings
MOST = 48  # patients on one page
STALE = 5.0  # seconds without a sample after which a patient is set back

STYLE = TRACE + """
body { max-width: 96rem; margin: 1rem auto; }
.ward { display: grid; grid-template-columns: repeat(auto-fill, minmax(25rem, 1fr)); gap: .8rem;
  margin-top: 1rem; }
.bed { border: 1px solid var(--line); border-radius: .5rem; padding: .5rem .8rem; }
.bed h2 { margin: 0; display: flex; justify-content: space-between; gap: 1rem; overflow-wrap: anywhere; }
.bed b { font-size: 1.6rem; line-height: 1; white-space: nowrap; }
.bed b small { font-size: .8rem; color: var(--soft); }
.bed p { font-size: 13px; margin: .1rem 0 0; } .bed .say { color: var(--ink); min-height: 1.5em; }
.bed.alarm { border-color: #d43d3d; box-shadow: 0 0 0 1px #d43d3d; } .bed.stale { opacity: .55; }
.bed mark { background: #d43d3d; color: #fff; border-radius: .3rem; padding: 0 .4rem; margin-right: .3rem; }
.bed .af { background: #c58b00; }
"""  # fmt: skip


class _Bed:
    """What is shown of a patient."""

    def __init__(self, header: Header) -> None:
        self.header = header
        self.vitals = Vitals(header.fs, header.leads)
        self.trace = np.full(max(1, round(SECONDS * header.fs)), np.nan, np.float32)
        self.end = 0  # sample behind the last one of the trace
        self.heard = clock.monotonic()

    def take(self, start: int, samples: NDArray[np.float64]) -> None:
        """The first lead of ``(n, leads)`` samples; what was left out before them is missing."""
        size = len(self.trace)
        missing = np.arange(max(self.end, start - size), start)
        self.trace[missing % size] = np.nan
        first = samples[-size:, 0]
        self.end = start + len(samples)
        self.trace[np.arange(self.end - len(first), self.end) % size] = first
        self.heard = clock.monotonic()

    def shown(self) -> _Shown:
        """As it is now, for another thread to draw."""
        now, size = self.vitals, len(self.trace)
        begin = self.end - size
        beats = [(b.sample - begin, b.label) for b in now.beats if begin <= b.sample < self.end]
        return _Shown(
            header=self.header,
            signal=np.roll(self.trace, -self.end % size),
            beats=beats,
            rate=now.rate,
            rhythm=now.rhythm,
            quality=now.signal,
            alarms=sorted(now.alarms),
            counts=", ".join(f"{count:,} {label}" for label, count in sorted(now.counts.items())),
            missing=now.missing / self.header.fs,
            silent=clock.monotonic() - self.heard,
        )


class _Shown(NamedTuple):
    header: Header
    signal: NDArray[np.float32]
    beats: list[tuple[int, str]]
    rate: float | None
    rhythm: str
    quality: str
    alarms: list[str]
    counts: str
    missing: float
    silent: float

    def drawn(self) -> str:
        """A patient's part of the page."""
        header, stale = self.header, self.silent > STALE
        rate = "--" if self.rate is None or stale else f"{self.rate:.0f}"
        marks = [f"<mark>{escape(alarm)}</mark>" for alarm in self.alarms]
        marks += [f'<mark class="af">{escape(self.rhythm)}</mark>'] if self.rhythm else []
        told = [f"signal {self.quality}"] if self.quality != "good" else []
        told += [f"nothing for {self.silent:.0f} s"] if stale else []
        told += [f"{self.missing:.1f} s missing so far"] if self.missing else []
        lead = header.leads[0] if header.leads else "ECG"
        kind = "bed" + (" alarm" if self.alarms else "") + (" stale" if stale else "")
        return (
            f'<article class="{kind}"><h2>{escape(header.patient)}<b>{rate} <small>/min</small></b></h2>'
            f"{trace(self.signal, header.fs, self.beats, f'{lead}, the last {SECONDS:.0f} seconds')}"
            f'<p class="say">{"".join(marks)}{escape(", ".join(told))}</p>'
            f"<p>{escape(lead)} at {header.fs:g} Hz; beats so far: {escape(self.counts or 'none')}</p>"
            "</article>"
        )


class PageSink(BaseSink):
    """Serves the page.

    Parameters
    ----------
    port : str
        ``PORT`` or ``HOST:PORT``; port 0 takes a free one.

    Attributes
    ----------
    port : int
        The port in use, once open.

    Raises
    ------
    ConfigError
        If there is no port in the text.
    """

    def __init__(self, port: str) -> None:
        super().__init__()
        self._address, (_, self.port) = port, port_of(port, "page")
        self._lock = threading.Lock()  # clients read what the stream's thread writes
        self._beds: dict[str, _Bed] = {}
        self._expected: dict[int, str] = {}
        self._drawing = threading.Lock()
        self._drawn: dict[int, tuple[bytes, float]] = {}  # pages of late, and when they were drawn
        self._listener: Listener | None = None

    def expect(self, patients: Mapping[int, str]) -> None:
        """Patients who will come, by number of their source; the page is there with the first of them."""
        self._expected = dict(patients)

    def _connect(self, header: Header) -> None:
        self._listener = Listener(self._address, "page", answering(self._answer))
        self.port = self._listener.port

    def _begin(self, header: Header) -> None:
        with self._lock:
            if header.number is not None:  # a source that came back as another stream: its old bed is empty
                self._beds = {n: b for n, b in self._beds.items() if b.header.number != header.number}
            self._beds[header.patient] = _Bed(header)

    def signal(self, start: int, samples: NDArray[np.float64], patient: str) -> None:
        """Take ``(n, leads)`` millivolts from sample ``start`` on."""
        with self._lock:
            if patient in self._beds:
                self._beds[patient].take(start, samples)

    def _send(self, event: Event, header: Header, time: float | None) -> None:
        with self._lock:
            if header.patient in self._beds:  # else the last word of a stream whose source came back
                self._beds[header.patient].vitals.told(event)

    def _disconnect(self) -> None:
        if self._listener is not None:
            self._listener.close()

    def _answer(self, path: str, query: dict[str, str]) -> Answer | None:
        if path != "/":
            return None
        text = query.get("from", "")[:6]
        begin = int(text) if text.isdecimal() else 0
        with (
            self._drawing
        ):  # one at a time, and once for all who look at the same: it takes the stream's time
            page, at = self._drawn.get(begin, (b"", -AGAIN))
            if clock.monotonic() - at > AGAIN / 2:
                page, at = self._draw(begin), clock.monotonic()
                self._drawn = {b: d for b, d in self._drawn.items() if at - d[1] < AGAIN} | {
                    begin: (page, at)
                }
        return Answer(page, "text/html; charset=utf-8", again=AGAIN)

    def _draw(self, begin: int) -> bytes:
        with self._lock:
            beds = list(self._beds.values())
        here = {bed.header.number for bed in beds}
        away = [_Away(number, name) for number, name in self._expected.items() if number not in here]
        everybody = [self._shown(bed) for bed in beds]  # one by one: the stream waits for none of it
        return _drawn(everybody, away, begin).encode()

    def _shown(self, bed: _Bed) -> _Shown:
        with self._lock:
            return bed.shown()


class _Away(NamedTuple):
    number: int
    name: str

    def drawn(self) -> str:
        """A patient's part of the page of whom nothing has come yet."""
        head = f"<h2>{escape(self.name)}<b>-- <small>/min</small></b></h2>"
        told = f"no signal yet: the log says why of source {self.number}"
        return f'<article class="bed stale">{head}<p class="say">{told}</p></article>'


def _drawn(everybody: Sequence[_Shown], away: Sequence[_Away], begin: int) -> str:
    """The page from patient ``begin`` on: who has an alarm comes first, from whom nothing comes last."""
    present = sorted(everybody, key=lambda bed: (bed.silent > STALE, not bed.alarms))
    ordered: list[_Shown | _Away] = [*present, *away]
    chosen = ordered[begin : begin + MOST]
    model = f", model {everybody[0].header.model}" if everybody else ""
    alarmed = sum(bool(bed.alarms) and bed.silent <= STALE for bed in everybody)
    lead = f"{counted(len(ordered), 'patient')}, {alarmed} with an alarm{model}."
    if away:
        lead += f" No signal yet: {len(away)}."
    links = ""
    if len(ordered) > MOST:
        lead += f" Shown: {begin + 1} to {begin + len(chosen)}."
        parts = [(first, min(first + MOST, len(ordered))) for first in range(0, len(ordered), MOST)]
        shown = (f'<a href="/?from={first}">{first + 1} to {last}</a>' for first, last in parts)
        links = f"<p>{' '.join(shown)}</p>"
    beds = "".join(bed.drawn() for bed in chosen)
    body = f'{links}<div class="ward">{beds}</div>'
    return document("EdgeECG", "EdgeECG", f"{lead} Not a medical device.", body, STYLE)
