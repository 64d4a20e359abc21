"""Far ends that run on one machine: a broker, a WebSocket server, an LSL outlet, a pseudo-terminal."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import threading
import time
import tty
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest


def eventually(check: Any, seconds: float = 5.0) -> None:
    """Wait until ``check()`` holds."""
    limit = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < limit, "did not happen in time"
        time.sleep(0.01)


@contextmanager
def amqtt_broker() -> Iterator[int]:
    """A broker in this process, on a free port."""
    broker_module = pytest.importorskip("amqtt.broker", reason="no MQTT broker: pip install amqtt")
    config = {
        "listeners": {"default": {"type": "tcp", "bind": "127.0.0.1:0"}},
        "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
    }
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> Any:
        broker = broker_module.Broker(config)
        await broker.start()
        return broker

    broker = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    try:
        yield broker._servers["default"].instance.sockets[0].getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(broker.shutdown(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def mosquitto_broker(folder: Path, port: int | None = None) -> Iterator[int]:
    """The reference broker as a process of its own."""
    program = shutil.which("mosquitto")
    if program is None:
        pytest.skip("mosquitto is not installed")
    port = port or free_port()
    settings = folder / "mosquitto.conf"
    settings.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    process = subprocess.Popen(
        [program, "-c", str(settings)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )

    def reachable() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        eventually(reachable)
        yield port
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def websocket_server(messages: Sequence[bytes | str], end: bool = True) -> Iterator[str]:
    """A server that sends these messages to each client; then closes normally, or stays."""
    server_module = pytest.importorskip(
        "websockets.sync.server", reason="no websockets: pip install websockets"
    )
    done = threading.Event()

    def serve(connection: Any) -> None:
        for message in messages:
            connection.send(message)
        if not end:
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
        os.close(server.shutdown_watcher)  # the library leaves these two open
        os.close(server.shutdown_notifier)


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
            try:
                view = view[os.write(self._near, view) :]
            except BlockingIOError:  # the far side has not read yet
                time.sleep(0.001)

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
