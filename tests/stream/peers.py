"""Far ends that run on one machine: a broker, a WebSocket server, an LSL outlet, a pseudo-terminal."""

from __future__ import annotations

import gc
import importlib.util
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import tty
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeecg.stream.clock import TimeBase
from edgeecg.stream.clock_state import Piece
from edgeecg.stream.sources import Packet, Source


def repair(packets: Iterable[Packet], base: TimeBase) -> Iterator[Piece]:
    """Pieces of a whole stream of packets."""
    state = base.initial()
    for packet in packets:
        pieces, state = base.step(packet, state)
        yield from pieces
    yield from base.flush(state)[0]


def eventually(check: Any, seconds: float = 5.0) -> None:
    """Wait until ``check()`` holds."""
    limit = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < limit, "did not happen in time"
        time.sleep(0.01)


AMQTT = """
import asyncio, sys
from amqtt.broker import Broker

async def main():
    plugins = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
    await Broker({"listeners": {"default": {"type": "tcp", "bind": sys.argv[1]}}, "plugins": plugins}).start()
    await asyncio.Event().wait()

asyncio.run(main())
"""


@contextmanager
def process(command: Sequence[str], port: int) -> Iterator[int]:
    """A program that listens on a port of this machine."""
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def reachable() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        eventually(reachable, 15)
        yield port
    finally:
        child.terminate()
        child.wait(10)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def mqtt_broker(port: int | None = None) -> Iterator[int]:
    """A broker as a process of its own: mosquitto, or else amqtt, which is in Python."""
    pytest.importorskip("paho.mqtt.client", reason="no MQTT client: pip install paho-mqtt")
    port = port or free_port()
    program = shutil.which("mosquitto")
    if program is None and importlib.util.find_spec("amqtt") is None:
        pytest.skip("no MQTT broker: apt-get install mosquitto (or pip install amqtt)")
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder, "mosquitto.conf")
        settings.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
        mosquitto = [program or "", "-c", str(settings)]
        with process(mosquitto if program else [sys.executable, "-c", AMQTT, f"127.0.0.1:{port}"], port):
            yield port


@contextmanager
def websocket_server(
    messages: Sequence[bytes | str], end: bool = True, codes: Sequence[int] = ()
) -> Iterator[str]:
    """A server that sends these messages to each client; then closes normally, or stays.

    The first clients are hung up on with ``codes``, one after the other.
    """
    server_module = pytest.importorskip(
        "websockets.sync.server", reason="no websockets: pip install websockets"
    )
    done = threading.Event()
    unusual = iter(codes)

    def serve(connection: Any) -> None:
        for message in messages:
            connection.send(message)
        if (code := next(unusual, None)) is not None:
            connection.close(code)
        elif not end:
            done.wait(20)

    server = server_module.serve(serve, "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}/ecg"
    finally:
        done.set()
        server.shutdown()
        thread.join(5)
        for end in (server.shutdown_watcher, server.shutdown_notifier):
            if isinstance(end, int):
                os.close(end)  # websockets before 17 leaves its pipe open


@contextmanager
def lsl_outlet(fs: float, leads: Sequence[str], units: str = "microvolts") -> Iterator[tuple[str, Any]]:
    """An outlet of float32 samples with a name of its own."""
    pylsl = pytest.importorskip("pylsl", reason="no pylsl: pip install pylsl")
    name = f"edgeecg-test-{uuid.uuid4().hex[:8]}"
    info = pylsl.StreamInfo(name, "ECG", len(leads), fs, pylsl.cf_float32, name)
    info.set_channel_labels(list(leads))
    info.set_channel_units([units] * len(leads))
    outlet = pylsl.StreamOutlet(info)
    try:
        yield name, outlet
    finally:
        del outlet


class Terminal:
    """A pseudo-terminal: what is written here comes out of ``device`` as from a serial port."""

    def __init__(self) -> None:
        self._near, self._far = os.openpty()
        tty.setraw(self._far)
        os.set_blocking(self._near, False)
        self.device = os.ttyname(self._far)

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            select.select([], [self._near], [], 1.0)  # until the far side has read
            view = view[os.write(self._near, view[:256]) :]

    def close(self) -> None:
        for fd in (self._near, self._far):
            if fd >= 0:
                os.close(fd)
        self._near = self._far = -1

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def waves(n: int, leads: int = 1, seed: int = 0) -> np.ndarray:
    """Samples that are exact in float32 and in whole microvolts, all different enough to be told apart."""
    steps = np.random.default_rng(seed).integers(-1024, 1024, (n, leads))
    return steps / 1024.0


@contextmanager
def no_leftovers() -> Iterator[None]:
    """No thread and no file stays open."""
    threads, files = set(threading.enumerate()), len(os.listdir("/proc/self/fd"))
    yield
    eventually(lambda: not {t for t in threading.enumerate() if t.name.startswith("edgeecg")} - threads)
    gc.collect()
    eventually(lambda: len(os.listdir("/proc/self/fd")) <= files)


def everything(source: Source) -> np.ndarray:
    """All samples of a source."""
    return np.concatenate([packet.samples for packet in source])
