"""What every source and every sink must satisfy, each with its real far end on this machine."""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeecg.errors import ConfigError, EdgeECGError, LinkError, SignalError, StateError
from edgeecg.io import Record, read_annotations, write_wfdb
from edgeecg.specs import Alarm, Beat, Event, Gap, Quality, Rhythm
from edgeecg.stream.sinks import SINKS, Fanout, Header, SignalSink, Sink, open_sink
from edgeecg.stream.sinks.lines import EventLine, parse_line, read_lines
from edgeecg.stream.sources import SOURCES, Packet, Source, open_source
from edgeecg.stream.sources.fake_polar import FRAME, FakeStrap
from edgeecg.stream.sources.polar import PolarSource
from edgeecg.stream.sources.wire import encode_binary, encode_json
from tests.stream.peers import Terminal, eventually, lsl_outlet, mqtt_broker, waves, websocket_server

FS = 250.0


@dataclass
class Setup:
    """A source that is open, what its far end has sent, and how to make that end."""

    source: Source
    sent: np.ndarray
    fs: float
    ends: bool = True
    """Whether the stream ends by itself."""


@contextmanager
def replay(folder: Path) -> Iterator[Setup]:
    x = waves(1000, 2)
    write_wfdb(Record("r1", x, FS, ("I", "V1")), folder)
    stored = open_source(str(folder / "r1"), speed=0)
    yield Setup(stored, stored.record.signal, FS)  # type: ignore[attr-defined]


@contextmanager
def synthetic(folder: Path) -> Iterator[Setup]:
    source = open_source("synthetic:3?seconds=5&speed=0", fs=FS)
    yield Setup(source, source.record.signal, FS)  # type: ignore[attr-defined]


@contextmanager
def stdin(folder: Path) -> Iterator[Setup]:
    x = waves(1000, 2)
    near, far = os.pipe()
    text = "\n".join(",".join(f"{v * 1000:.10g}" for v in row) for row in x)  # no line end after the last
    writer = threading.Thread(target=_pour, args=(far, f"# uV\n{text}".encode()))
    writer.start()
    try:
        yield Setup(open_source("-", fs=FS, units="uV", fd=near), x, FS)
    finally:
        writer.join(5)
        os.close(near)


@contextmanager
def packed(folder: Path) -> Iterator[Setup]:
    x = waves(1000, 2)
    near, far = os.pipe()
    writer = threading.Thread(target=_pour, args=(far, x.astype("<f4").tobytes()))
    writer.start()
    try:
        yield Setup(open_source("-?format=f32&leads=I,V1", fs=FS, fd=near), x, FS)
    finally:
        writer.join(5)
        os.close(near)


def _pour(fd: int, data: bytes) -> None:
    with os.fdopen(fd, "wb") as pipe:
        pipe.write(data)


@contextmanager
def websocket(folder: Path) -> Iterator[Setup]:
    x = waves(1000, 2)
    packets = [Packet(x[i : i + 100], sample=i, time=1.7e9 + i / FS) for i in range(0, 1000, 100)]
    messages = [encode_json(packet, FS, ("I", "V1")).decode() for packet in packets[:5]]
    with websocket_server([*messages, *(encode_binary(packet) for packet in packets[5:])]) as url:
        yield Setup(open_source(url), x, FS)


@contextmanager
def mqtt(folder: Path) -> Iterator[Setup]:
    import paho.mqtt.client as paho

    x = waves(1000, 2)
    with mqtt_broker() as port:
        source = open_source(f"mqtt://127.0.0.1:{port}/ward/bed-3?fs={FS}&leads=I,V1")
        sender = paho.Client(paho.CallbackAPIVersion.VERSION2)
        sender.connect("127.0.0.1", port)
        sender.loop_start()
        time.sleep(0.3)  # the subscription is on its way
        for i in range(0, 1000, 100):
            sender.publish("ward/bed-3", encode_binary(Packet(x[i : i + 100], sample=i), FS), qos=1)
        sender.publish("ward/bed-3", b"", qos=1).wait_for_publish(5)
        try:
            yield Setup(source, x, FS)
        finally:
            source.close()
            sender.disconnect()
            sender.loop_stop()


@contextmanager
def serial(folder: Path) -> Iterator[Setup]:
    pytest.importorskip("serial", reason="no pyserial: pip install pyserial")
    x = waves(1000, 2)
    lines = "".join(f"{i % 256},{a * 1024:.0f},{b * 1024:.0f}\r\n" for i, (a, b) in enumerate(x))
    with Terminal() as terminal:
        # a port throws away what came before it was opened
        writer = threading.Timer(0.3, terminal.write, args=((",9\r\n" + lines).encode(),))
        writer.start()
        options = {"fs": FS, "gain": 1024.0, "counter": 0, "wrap": 256, "leads": ("I", "V1")}
        yield Setup(open_source(f"serial:{terminal.device}", **options), x, FS, ends=False)
        writer.join(5)


@contextmanager
def lsl(folder: Path) -> Iterator[Setup]:
    x = waves(1000, 2)
    with lsl_outlet(FS, ("I", "V1")) as (name, outlet):
        source = open_source(f"lsl:{name}?timeout=5")
        for i in range(0, 1000, 100):
            outlet.push_chunk((x[i : i + 100] * 1000).astype(np.float32), 5000.0 + (i + 99) / FS)
        yield Setup(source, x, FS, ends=False)
        source.close()


@contextmanager
def polar(folder: Path) -> Iterator[Setup]:
    x = np.round(waves(FRAME * 10) * 1000) / 1000
    source = PolarSource("00:00", transport=FakeStrap(x[:, 0]))
    source.open()
    yield Setup(source, x, 130.0, ends=False)


ALL_SOURCES = [replay, synthetic, stdin, packed, websocket, mqtt, serial, lsl, polar]


@contextmanager
def no_leftovers() -> Iterator[None]:
    """No thread and no file stays open."""
    threads, files = set(threading.enumerate()), len(os.listdir("/proc/self/fd"))
    yield
    eventually(lambda: not {t for t in threading.enumerate() if t.name.startswith("edgeecg")} - threads)
    gc.collect()
    eventually(lambda: len(os.listdir("/proc/self/fd")) <= files)


@pytest.fixture(autouse=True, scope="module")
def libraries_awake(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Libraries open files and start threads once, when they are first used."""
    folder = tmp_path_factory.mktemp("awake")
    for setup in (replay, lsl, websocket):
        with contextlib.suppress(pytest.skip.Exception), setup(folder) as made:
            made.source.close()


def take(setup: Setup) -> list[Packet]:
    """All packets, up to as many samples as were sent where the stream has no end."""
    packets: list[Packet] = []
    for packet in setup.source:
        packets.append(packet)
        if not setup.ends and sum(map(len, packets)) >= len(setup.sent):
            break
    return packets


@pytest.mark.parametrize("make", ALL_SOURCES)
def test_a_source_gives_what_was_sent_and_leaves_nothing_behind(
    make: Callable[[Path], Any], tmp_path: Path
) -> None:
    with no_leftovers(), make(tmp_path) as setup:
        source = setup.source
        source.open()  # a second time does nothing
        packets = take(setup)
        assert source.fs == setup.fs
        assert len(source.leads) == setup.sent.shape[1]
        assert all(packet.samples.dtype == np.float64 and len(packet) for packet in packets)
        received = np.concatenate([packet.samples for packet in packets])
        np.testing.assert_allclose(received, setup.sent, atol=1e-6)
        source.close()
        source.close()


@pytest.mark.parametrize("make", ALL_SOURCES)
def test_a_source_closes_on_an_error_of_its_reader(make: Callable[[Path], Any], tmp_path: Path) -> None:
    with no_leftovers(), make(tmp_path) as setup:
        with pytest.raises(ZeroDivisionError), setup.source as source:  # noqa: PT012
            next(iter(source))
            raise ZeroDivisionError
        with pytest.raises(SignalError, match="closed"):
            setup.source.open()


@pytest.mark.parametrize("make", ALL_SOURCES)
def test_closing_from_another_thread_ends_the_stream_with_what_has_come(
    make: Callable[[Path], Any], tmp_path: Path
) -> None:
    with make(tmp_path) as setup:
        stream = iter(setup.source)
        first = next(stream)
        closer = threading.Timer(0.2, setup.source.close)
        closer.start()
        rest = list(stream)
        closer.join()
        received = np.concatenate([packet.samples for packet in (first, *rest)])
        np.testing.assert_allclose(received, setup.sent[: len(received)], atol=1e-6)


def test_a_source_is_refused_with_one_clear_line() -> None:
    wrong = [
        "tape:1",
        "lsl:",
        "-",
        "-?fs=fast",
        "-?fs=-1",
        "-?fs=250&units=counts",
        "-?fs=250&format=wav",
        "-?fs=250&colour=red",
        "serial:/dev/null?gain=100",
        "serial:/dev/null?fs=250",
        "serial:/dev/null?fs=250&board=ad9999",
        "serial:/dev/null?fs=250&gain=0",
        "serial:/dev/null?fs=250&gain=1&timeout=0",
        "mqtt://127.0.0.1",
        "mqtt://127.0.0.1:99999/t",
        "mqtt://127.0.0.1/all/#",
        "polar:AA?retry=-1",
        "lsl:x?wait=0",
        "lsl:x?units=bananas",
        "synthetic:x",
        "synthetic:1?speed=-1",
        "synthetic:1?packet=0",
        "synthetic:1?faults=fire=1",
        "synthetic:1?faults=drop=2",
        "synthetic:1?kind=elf",
    ]
    for text in wrong:
        with pytest.raises(ConfigError) as caught:
            open_source(text)
        assert "\n" not in str(caught.value), text
    with pytest.raises(ConfigError, match="polar:ADDRESS"):
        open_source("tape:1")


@pytest.mark.parametrize(
    "text",
    ["ws://127.0.0.1:1/x", "mqtt://127.0.0.1:1/x", "serial:/dev/none?fs=250&gain=1", "lsl:nobody?wait=0.5"],
)
def test_a_far_end_that_is_not_there_is_a_link_error(text: str) -> None:
    with pytest.raises(LinkError) as caught:
        open_source(text)
    assert "\n" not in str(caught.value)


def test_every_form_names_a_source_or_a_sink_that_exists() -> None:
    import importlib

    for form in (*SOURCES, *SINKS):
        module, _, name = form.factory.partition(":")
        factory = getattr(importlib.import_module(module), name)
        assert hasattr(factory, "close")
        assert form.what


EVENTS: list[tuple[Event, float | None]] = [
    (Beat(100, "N", 0.98, 1.0, None), 1.7e9),
    (Rhythm(500, None, "AFIB", 0.9), 1.7e9 + 1),
    (Beat(343, "V", 0.7, 0.8, 0.972), None),
    (Gap(700, 10), None),
    (Alarm(800, None, "pause"), 1.7e9 + 2),
    (Alarm(800, 900, "pause"), 1.7e9 + 2),
    (Quality(900, None, "flat"), None),
    (Quality(900, 950, "flat"), None),
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


@contextmanager
def prometheus(folder: Path) -> Iterator[Outlet]:
    sink = open_sink("prometheus:0")
    seen: list[str] = []
    close = sink.close

    def scrape_and_close() -> None:
        if not seen and sink.port:  # type: ignore[attr-defined]
            with urllib.request.urlopen(f"http://127.0.0.1:{sink.port}/metrics") as answer:  # type: ignore[attr-defined]
                seen.append(answer.read().decode())
        close()

    sink.close = scrape_and_close  # type: ignore[method-assign]

    def read() -> list[Event]:
        told = seen[0]
        assert 'edgeecg_beats_total{label="N",stream="0"} 1.0' in told
        assert 'edgeecg_beats_total{label="V",stream="1"} 1.0' in told
        assert 'edgeecg_lost_samples_total{stream="0"} 10.0' in told
        assert 'edgeecg_alarm{label="pause",stream="0"} 0.0' in told
        assert 'edgeecg_alarms_total{label="pause",stream="0"} 1.0' in told
        assert "bed-3" not in told
        return [event for event, _ in EVENTS]

    yield Outlet(sink, read)


ALL_SINKS = [jsonl, stdout, wfdb, mqtt_sink, websocket_sink, lsl_sink, fhir, prometheus]


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
    wrong += ["fhir:x?before=-1", "mqtt://h/t?patience=0"]
    for text in wrong:
        with pytest.raises(ConfigError) as caught:
            open_sink(text)
        assert "\n" not in str(caught.value), text
    file = tmp_path / "file"
    file.touch()
    for text in (f"jsonl:{file}/x", f"wfdb:{file}", f"fhir:{file}", "mqtt://127.0.0.1:1/t"):
        with no_leftovers(), pytest.raises(LinkError) as caught_link, open_sink(text) as sink:
            sink.open(HEADERS[0])
        assert "\n" not in str(caught_link.value), text


def test_a_port_that_is_taken_is_a_link_error() -> None:
    for kind in ("ws", "prometheus"):
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


def test_logs_carry_no_patient_data(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Neither names nor samples, at any level, from any library that is used here."""
    caplog.set_level(logging.DEBUG)
    header = Header("Wilhelmina-Einthoven", FS, ("I",), "small", "9f2c")
    with ExitStack() as stack:
        port = stack.enter_context(mqtt_broker())
        for text in ("ws:0", "prometheus:0", f"jsonl:{tmp_path / 'x'}", f"mqtt://127.0.0.1:{port}/t"):
            sink = stack.enter_context(open_sink(text))
            sink.open(header)
            sink.write(Beat(424242, "V", 0.987654, 1.0, None), header.patient)
        url = stack.enter_context(
            websocket_server([json.dumps({"fs": 250, "samples": [0.424242] * 5}), "rubbish"])
        )
        logging.getLogger("websockets.server").setLevel(logging.ERROR)  # the far end is not ours
        with open_source(url) as source:
            assert len(list(source)) == 1
    told = caplog.text
    assert "could not be read" in told
    assert not any(secret in told for secret in ("Wilhelmina", "424242", "987654", "rubbish"))


def test_errors_of_sources_and_sinks_are_of_this_project() -> None:
    assert issubclass(LinkError, EdgeECGError)
