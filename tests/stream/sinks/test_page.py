"""The page for people, and the trace in it."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from edgeecg.page.trace import trace
from edgeecg.specs import Alarm, Beat, Gap, Quality, Rhythm
from edgeecg.stream.sinks import Header, open_sink
from edgeecg.stream.sinks import page as room

FS = 100.0


class Clock:
    """Time as the page knows it: it stands until a test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(room, "clock", made)
    return made


@pytest.fixture
def sink(clock: Clock) -> Iterator[Any]:
    with open_sink("page:0") as made:
        yield made


def header(name: str) -> Header:
    return Header(name, FS, ("II", "V1"), "small", "9f2c")


def look(sink: Any, path: str = "/") -> str:
    cast("Clock", room.clock).now += room.AGAIN
    with urllib.request.urlopen(f"http://127.0.0.1:{sink.port}{path}", timeout=10) as answer:
        assert answer.headers["Refresh"] == str(room.AGAIN)
        return str(answer.read().decode())


def admit(sink: Any, name: str) -> None:
    sink.open(header(name))
    t = np.arange(round(10 * FS)) / FS
    sink.signal(0, np.stack([np.sin(t), 0 * t], axis=1), name)


def beats(sink: Any, name: str, count: int = 9) -> None:
    for n in range(1, count + 1):
        sink.write(Beat(100 * n, "V" if n == count else "N", 0.9, 1.0, 1.0), name)


def test_a_patient_is_shown_with_rate_rhythm_signal_and_beats(sink: Any) -> None:
    admit(sink, "bed-1")
    beats(sink, "bed-1")
    sink.write(Rhythm(100, None, "AFIB", 0.9), "bed-1")
    sink.write(Quality(0, None, "flat", 1), "bed-1")
    sink.write(Gap(950, 20), "bed-1")
    told = look(sink)
    assert ">60 <" in told, "nine beats a second apart"
    assert ">AFIB<" in told
    assert "signal good, V1 flat, 0.2 s missing so far" in told
    assert "8 N, 1 V" in told
    places = [int(x) for x in re.findall(r'<text class="N" x="(\d+)"', told)]
    width = 480 / room.SECONDS  # of a second; the trace ends at 10 s
    assert places == [round((second - 2) * width) for second in range(2, 9)]
    assert '<text class="V"' in told


def test_names_are_text_not_markup(sink: Any) -> None:
    admit(sink, "<script>alert(1)</script>")
    assert "<script" not in look(sink)


def test_in_asystole_no_rate_is_shown_and_the_patient_comes_first(sink: Any) -> None:
    for name in ("bed-1", "bed-2"):
        admit(sink, name)
        beats(sink, name)
    sink.write(Alarm(900, None, "asystole"), "bed-2")
    told = look(sink)
    assert told.index("bed-2") < told.index("bed-1")
    assert told.count(">-- <") == 1
    assert "2 patients, 1 with an alarm" in told
    sink.write(Alarm(900, 1000, "asystole"), "bed-2")
    assert ">-- <" not in look(sink)


def test_a_patient_from_whom_nothing_comes_is_set_back(sink: Any, clock: Clock) -> None:
    for name in ("gone", "here"):
        admit(sink, name)
        beats(sink, name)
    clock.now += 58
    sink.signal(1000, np.zeros((10, 2)), "here")
    told = look(sink)
    assert told.index("here") < told.index("gone")
    assert re.findall(r"nothing for (\d+) s", told) == ["60"]
    assert ">-- <" in told, "a rate of a minute ago is none"


def test_who_has_not_come_yet_is_not_forgotten(sink: Any) -> None:
    sink.expect({1: "here", 2: "<late>"})
    first, second = (replace(header(name), number=n) for n, name in ((1, "here"), (2, "<late>")))
    sink.open(first)
    told = look(sink)
    assert "2 patients, 0 with an alarm, model small. No signal yet: 1." in told
    assert (
        told.index("here")
        < told.index("&lt;late&gt;")
        < told.index("no signal yet: the log says why of source 2")
    )
    sink.open(second)
    told = look(sink)
    assert "2 patients, 0 with an alarm, model small. Not" in told
    assert "o signal yet" not in told


def test_what_is_missing_leaves_a_hole_wherever_the_ring_stands(sink: Any) -> None:
    sink.open(header("bed-1"))
    for start in range(0, 3000, 70):
        sink.signal(start, np.ones((70, 2)), "bed-1")
    assert look(sink).count('class="ecg"') == 1
    sink.signal(3200, np.ones((70, 2)), "bed-1")
    shown = sink._beds["bed-1"].shown().signal
    assert np.flatnonzero(np.isnan(shown)).tolist() == list(range(800 - 70 - 190, 800 - 70))
    assert look(sink).count('class="ecg"') == 2
    sink.signal(90_000, np.ones((5000, 2)), "bed-1")  # more than the ring holds, after more than it holds
    assert np.isfinite(sink._beds["bed-1"].shown().signal).all()


def test_many_patients_come_in_pages(sink: Any) -> None:
    for n in range(room.MOST + 2):
        sink.open(header(f"bed-{n:03}"))
    assert look(sink).count("<article") == room.MOST
    rest = look(sink, f"/?from={room.MOST}")
    assert rest.count("<article") == 2
    assert f"Shown: {room.MOST + 1} to {room.MOST + 2}" in rest
    for odd in ("-1", "x", "9" * 5000, ""):
        look(sink, f"/?from={odd}")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        look(sink, "/etc/passwd")


def test_who_looks_at_once_gets_the_same_page(sink: Any) -> None:
    admit(sink, "bed-1")
    first = look(sink)
    beats(sink, "bed-1")
    with urllib.request.urlopen(f"http://127.0.0.1:{sink.port}/", timeout=10) as answer:
        assert answer.read().decode() == first
    assert look(sink) != first


def test_a_source_that_comes_back_otherwise_takes_its_old_bed(sink: Any) -> None:
    for name, number in (("bed-1", 1), ("bed-2", 2), ("bed-1-2", 1)):
        sink.open(Header(name, FS, ("II",), "small", "9f2c", number=number))
    sink.signal(0, np.zeros((10, 1)), "bed-1")
    sink.write(Beat(5, "N", 1, 1, None), "bed-1")  # the last word of the old stream
    told = look(sink)
    assert told.count("<article") == 2
    assert "bed-1-2" in told
    assert "bed-2" in told


@pytest.mark.parametrize("signal", [[], [np.nan] * 50, [0.0], [1e300, -1e300], np.ones(7)])
def test_any_trace_can_be_drawn(signal: Any) -> None:
    drawn = trace(signal, 50.0, [(0, "N")], "a <b>")
    assert drawn.startswith("<svg")
    assert "nan" not in drawn
    assert "<b>" not in drawn


def test_a_trace_keeps_its_extremes_however_long_it_is() -> None:
    x = np.zeros(20_000)
    x[12_345], x[17_000] = 3.0, -1.0
    points = re.findall(r"([\d.]+),([\d.]+)", trace(x, 250.0, [], "ECG"))
    heights = [float(y) for _, y in points]
    assert (min(heights), max(heights)) == (17.0, 106.0)
    assert len(points) <= 800
