"""What every sink must satisfy, each with its real far end on this machine."""

from __future__ import annotations

import threading
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edgeecg.errors import ConfigError, LinkError, StateError
from edgeecg.io import read_annotations
from edgeecg.specs import Alarm, Beat, Event, Gap, Quality, Rhythm
from edgeecg.stream.sinks import Fanout, Header, SignalSink, Sink, open_sink
from edgeecg.stream.sinks.lines import EventLine, parse_line, read_lines
from tests.stream.peers import (
    eventually,
    mqtt_broker,
    no_leftovers,
)

FS = 250.0

EVENTS: list[tuple[Event, float | None]] = [
    (Beat(100, "N", 0.98, 1.0, None), 1.7e9),
    (Rhythm(500, None, "AFIB", 0.9), 1.7e9 + 1),
    (Beat(343, "V", 0.7, 0.8, 0.972), None),
    (Gap(700, 10), None),
    (Alarm(800, None, "pause"), 1.7e9 + 2),
    (Alarm(800, 900, "pause"), 1.7e9 + 2),
    (Quality(900, None, "flat"), None),
    (Quality(900, 950, "flat"), None),
    (Quality(960, None, "lead-off", lead=1), None),
    (Quality(960, 990, "lead-off", lead=1), None),
    (Rhythm(500, 1500, "AFIB", 0.9), None),
]
HEADERS = [
    Header(name, FS, ("I", "V1"), "small", "9f2c", "onnxruntime", "fp32", 1.7e9)
    for name in ("bed-3", "bed-4")
]


@dataclass
class Outlet:
    """A sink, and a way to read at its far end, after it was closed, what arrived for ``bed-3``."""

    sink: Sink
    arrived: Callable[[], list[Event]]
    ready: Callable[[], None] = lambda: None


def from_lines(lines: list[bytes | str]) -> list[Event]:
    parsed = [parse_line(line) for text in lines for line in text.splitlines()]
    return [line.event for line in parsed if isinstance(line, EventLine) and line.patient == "bed-3"]


@contextmanager
def jsonl(folder: Path) -> Iterator[Outlet]:
    path = folder / "deep" / "events.jsonl"
    yield Outlet(
        open_sink(f"jsonl:{path}"),
        lambda: [x.event for x in read_lines(path) if isinstance(x, EventLine) and x.patient == "bed-3"],
    )


@contextmanager
def stdout(folder: Path) -> Iterator[Outlet]:
    import sys

    path = folder / "out"
    before = sys.stdout
    with open(path, "w") as out:
        sys.stdout = out
        try:
            yield Outlet(open_sink("-"), lambda: from_lines([path.read_bytes()]))
        finally:
            sys.stdout = before


@contextmanager
def wfdb(folder: Path) -> Iterator[Outlet]:
    def read() -> list[Event]:
        marks = read_annotations(folder / "ann" / "bed-3", "edg")
        told = list(zip(marks.sample.tolist(), marks.symbol.tolist(), marks.aux.tolist(), strict=True))
        expected = [
            (0, "+", "(N"),
            (100, "N", ""),
            (343, "V", ""),
            (500, "+", "(AFIB"),
            (700, '"', "gap of 10 samples"),
            (800, '"', "pause begins"),
            (900, '"', "pause ends"),
            (900, "~", "flat"),
            (950, "~", "good"),
            (960, '"', "lead 1: lead-off begins"),
            (990, '"', "lead 1: lead-off ends"),
            (1500, "+", "(N"),
        ]
        assert told == expected
        return [event for event, _ in EVENTS]

    yield Outlet(open_sink(f"wfdb:{folder / 'ann'}"), read)


@contextmanager
def mqtt_sink(folder: Path) -> Iterator[Outlet]:
    import paho.mqtt.client as paho

    heard: list[bytes] = []
    with mqtt_broker() as port:
        reader = paho.Client(paho.CallbackAPIVersion.VERSION2)
        reader.on_message = lambda client, data, message: heard.append(message.payload)
        reader.on_connect = lambda client, *rest: client.subscribe("ward/events/#", qos=1)
        subscribed = threading.Event()
        reader.on_subscribe = lambda *rest: subscribed.set()
        reader.connect("127.0.0.1", port)
        reader.loop_start()
        assert subscribed.wait(5)

        def read() -> list[Event]:
            eventually(lambda: len(heard) >= 2 + 2 * len(EVENTS))
            return from_lines(list(heard))

        try:
            yield Outlet(open_sink(f"mqtt://127.0.0.1:{port}/ward/events"), read)
        finally:
            reader.disconnect()
            reader.loop_stop()


class Reader:
    """Reads at a far end in a thread of its own, as a real client does."""

    def __init__(self, read: Callable[[list[bytes | str]], None]) -> None:
        self._heard: list[bytes | str] = []
        self._thread = threading.Thread(target=read, args=(self._heard,))
        self._thread.start()

    def result(self) -> list[Event]:
        self._thread.join(10)
        return from_lines(self._heard)


def result(readers: list[Reader]) -> list[Event]:
    (reader,) = readers
    return reader.result()


@contextmanager
def websocket_sink(folder: Path) -> Iterator[Outlet]:
    client_module = pytest.importorskip("websockets.sync.client")
    sink = open_sink("ws:0")
    readers: list[Reader] = []

    def connect() -> None:
        greeted = threading.Event()

        def read(heard: list[bytes | str]) -> None:
            with client_module.connect(f"ws://127.0.0.1:{sink.port}") as client:  # type: ignore[attr-defined]
                client.recv(timeout=5)  # the headers: from here on it hears all
                greeted.set()
                heard.extend(client)  # until the server says goodbye

        readers.append(Reader(read))
        assert greeted.wait(5)

    yield Outlet(sink, lambda: result(readers), connect)


@contextmanager
def lsl_sink(folder: Path) -> Iterator[Outlet]:
    pylsl = pytest.importorskip("pylsl", reason="no pylsl: pip install pylsl")
    name = f"edgeecg-marks-{uuid.uuid4().hex[:8]}"
    readers: list[Reader] = []

    def connect() -> None:
        inlet = pylsl.StreamInlet(pylsl.resolve_byprop("name", name, timeout=5)[0], recover=False)
        inlet.open_stream(timeout=5)

        def read(heard: list[bytes | str]) -> None:
            while len(heard) < 2 * len(EVENTS):
                heard.append(inlet.pull_sample(timeout=5)[0][0])
            inlet.close_stream()

        readers.append(Reader(read))

    yield Outlet(open_sink(f"lsl:{name}"), lambda: result(readers), connect)


@contextmanager
def fhir(folder: Path) -> Iterator[Outlet]:
    def read() -> list[Event]:
        from fhir.resources.R4B.observation import Observation

        names = sorted(path.name for path in (folder / "fhir").iterdir())
        assert [n for n in names if n.startswith("bed-3")] == ["bed-3-500-AFIB.json", "bed-3-800-pause.json"]
        for name in names:
            Observation.model_validate_json((folder / "fhir" / name).read_text())
        return [event for event, _ in EVENTS]

    yield Outlet(open_sink(f"fhir:{folder / 'fhir'}"), read)


def served(address: str, path: str) -> tuple[Sink, list[str]]:
    """A sink that serves a page, and what the page said when the sink was closed first."""
    sink = open_sink(address)
    seen: list[str] = []
    close = sink.close

    def look_and_close() -> None:
        if not seen and sink.port:  # type: ignore[attr-defined]
            with urllib.request.urlopen(f"http://127.0.0.1:{sink.port}{path}") as answer:  # type: ignore[attr-defined]
                seen.append(answer.read().decode())
        close()

    sink.close = look_and_close  # type: ignore[method-assign]
    return sink, seen


@contextmanager
def prometheus(folder: Path) -> Iterator[Outlet]:
    sink, seen = served("prometheus:0", "/metrics")

    def read() -> list[Event]:
        told = seen[0]
        assert 'edgeecg_beats_total{label="N",stream="1"} 1.0' in told
        assert 'edgeecg_beats_total{label="V",stream="2"} 1.0' in told
        assert 'edgeecg_lost_samples_total{stream="1"} 10.0' in told
        assert 'edgeecg_alarm{label="pause",stream="1"} 0.0' in told
        assert 'edgeecg_alarms_total{label="pause",stream="1"} 1.0' in told
        assert "bed-3" not in told
        return [event for event, _ in EVENTS]

    yield Outlet(sink, read)


@contextmanager
def page(folder: Path) -> Iterator[Outlet]:
    sink, seen = served("page:0", "/")

    def read() -> list[Event]:
        assert seen[0].count("<article") == len(HEADERS)
        assert "1 N, 1 V" in seen[0]
        return [event for event, _ in EVENTS]

    yield Outlet(sink, read)


ALL_SINKS = [jsonl, stdout, wfdb, mqtt_sink, websocket_sink, lsl_sink, fhir, prometheus, page]


@pytest.mark.parametrize("make", ALL_SINKS)
def test_a_sink_delivers_everything_before_it_is_closed(make: Callable[[Path], Any], tmp_path: Path) -> None:
    with no_leftovers(), make(tmp_path) as outlet:
        with outlet.sink as sink:
            for header in HEADERS:
                sink.open(header)
            outlet.ready()
            for event, at in EVENTS:
                for header in HEADERS:
                    sink.write(event, header.patient, at)
        sink.close()
        assert outlet.arrived() == [event for event, _ in EVENTS]


@pytest.mark.parametrize("make", ALL_SINKS)
def test_a_sink_closes_on_an_error_and_refuses_misuse(make: Callable[[Path], Any], tmp_path: Path) -> None:
    with no_leftovers(), make(tmp_path) as outlet:
        with pytest.raises(StateError):
            outlet.sink.write(EVENTS[0][0], "bed-3")
        with pytest.raises(ZeroDivisionError), outlet.sink as sink:  # noqa: PT012
            sink.open(HEADERS[0])
            with pytest.raises(ConfigError, match="name"):
                sink.open(HEADERS[0])
            with pytest.raises(StateError):
                sink.write(EVENTS[0][0], "nobody")
            raise ZeroDivisionError
        with pytest.raises(StateError):
            outlet.sink.open(HEADERS[1])


def test_a_sink_is_refused_with_one_clear_line(tmp_path: Path) -> None:
    wrong = ["tape:1", "ws:", "ws:http", "ws:70000", "prometheus:x", "mqtt://", "mqtt://h/a/#", "wfdb:x?a=1"]
    wrong += ["fhir:x?before=-1", "mqtt://h/t?patience=0", "mqtt://broker..ward/t", f"mqtts://{'x' * 64}/t"]
    for text in wrong:
        with pytest.raises(ConfigError) as caught:
            open_sink(text)
        assert "\n" not in str(caught.value), text
    file = tmp_path / "file"
    file.touch()
    long = tmp_path / ("x" * 300) / "events"
    unusable = [f"jsonl:{file}/x", f"wfdb:{file}", f"fhir:{file}", "mqtt://127.0.0.1:1/t"]
    for text in [*unusable, *(f"{kind}:{long}" for kind in ("jsonl", "wfdb", "fhir"))]:
        with no_leftovers(), pytest.raises(LinkError) as caught_link, open_sink(text) as sink:
            sink.open(HEADERS[0])
        assert "\n" not in str(caught_link.value), text


def test_a_port_that_is_taken_is_a_link_error() -> None:
    for kind in ("ws", "prometheus", "page"):
        with open_sink(f"{kind}:0") as first:
            first.open(HEADERS[0])
            with (
                pytest.raises(LinkError, match="cannot be used"),
                open_sink(f"{kind}:{first.port}") as second,
            ):  # type: ignore[attr-defined]
                second.open(HEADERS[0])


def test_a_fanout_closes_all_its_sinks_whichever_fails(tmp_path: Path) -> None:
    class Broken(type(open_sink("jsonl:x"))):  # type: ignore[misc]
        def flush(self) -> None:
            raise LinkError("the disk is full")

    broken = Broken(str(tmp_path / "a"))
    whole = open_sink(f"wfdb:{tmp_path / 'b'}")
    fanout = Fanout([broken, whole])
    fanout.open(HEADERS[0])
    fanout.write(EVENTS[0][0], "bed-3")
    with pytest.raises(LinkError, match="full"):
        fanout.close()
    assert len(read_annotations(tmp_path / "b" / "bed-3", "edg")) == 1
    assert isinstance(fanout, SignalSink)


def test_a_sink_that_fails_costs_the_others_nothing(tmp_path: Path) -> None:
    class Broken(type(open_sink("jsonl:x"))):  # type: ignore[misc]
        def write(self, event: object, patient: str, time: float | None = None) -> None:
            raise LinkError("the line is down")

    lines = tmp_path / "b"
    fanout = Fanout([Broken(str(tmp_path / "a")), open_sink(f"jsonl:{lines}")])
    fanout.open(HEADERS[0])
    with pytest.raises(LinkError, match="down"):
        fanout.write(EVENTS[0][0], "bed-3")
    fanout.close()
    assert len(lines.read_text(encoding="utf-8").splitlines()) == 2  # header and event
