"""What every source must satisfy, each with its real far end on this machine."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeecg.errors import ConfigError, LinkError, SignalError
from edgeecg.io import Record, write_wfdb
from edgeecg.stream.sources import Packet, Source, open_source
from edgeecg.stream.sources.fake_polar import FRAME, FakeStrap
from edgeecg.stream.sources.polar import PolarSource
from edgeecg.stream.sources.wire import encode_binary, encode_json
from tests.stream.peers import (
    Terminal,
    lsl_outlet,
    mqtt_broker,
    no_leftovers,
    waves,
    websocket_server,
)

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
