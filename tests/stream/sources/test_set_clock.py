"""A wall clock that is set while signal is missing: the gap is as long as a clock says that never is."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest

from edgeecg.stream.clock import TimeBase
from edgeecg.stream.feed import Feed
from edgeecg.stream.sources import Packet, pmd
from edgeecg.stream.sources.live import LiveSource
from edgeecg.stream.sources.lsl import LslSource
from edgeecg.stream.sources.messages import MessageSource
from edgeecg.stream.sources.polar import PolarSource
from edgeecg.stream.sources.serial_port import SerialSource
from edgeecg.stream.sources.stdin import StdinSource
from edgeecg.stream.sources.wire import Message

FS = 250.0
STEP = 7200.0  # seconds by which the wall clock is set
AWAY = 20.0  # seconds that the link is lost
Sender = Callable[[int, int], None]


class Clocks:
    """Stands for the module ``time``: one clock that is set, one that never is."""

    def __init__(self) -> None:
        self.now = 0.0
        self.ahead = 0.0

    def time(self) -> float:
        return 1.7e9 + self.now + self.ahead

    def monotonic(self) -> float:
        return 500.0 + self.now


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    made = Clocks()
    for module in ("polar", "serial_port", "lsl", "messages", "stdin"):
        monkeypatch.setattr(f"edgeecg.stream.sources.{module}.time", made)
    return made


def polar() -> tuple[LiveSource, Sender]:
    source = PolarSource("AA:BB")

    def send(first: int, end: int) -> None:
        stamp = 10**17 + round((end - 1) / source.fs * 1e9)
        source._on_ecg(pmd.encode_ecg(stamp, np.arange(first, end) % 100))

    return source, send


def serial(counter: int | None) -> tuple[LiveSource, Sender]:
    source = SerialSource("/dev/null", fs=FS, gain=1.0, counter=counter)

    def send(first: int, end: int) -> None:
        rows = [[float(i), 0.0] if counter is not None else [0.0] for i in range(first, end)]
        for packet in source._pack(rows):
            source._put(packet)

    return source, send


def lsl(clocks: Clocks) -> tuple[LiveSource, Sender]:
    source = LslSource("ecg")
    source.fs = FS
    source._lsl = SimpleNamespace(local_clock=clocks.monotonic)
    source._inlet = SimpleNamespace(time_correction=lambda timeout: 0.0)

    def send(first: int, end: int) -> None:
        source._send(np.zeros((end - first, 1)), 500.0 + np.arange(first, end) / FS)

    return source, send


class Messages(MessageSource):
    """Messages from nowhere."""

    def _link(self) -> None:
        """There is nobody."""

    def _receive(self) -> bytes | str | None:
        return None


def messages(counted: bool) -> tuple[LiveSource, Sender]:
    source = Messages("nobody", FS, ("I",), 1.0, None)
    source.fs = FS

    def send(first: int, end: int) -> None:
        packet = Packet(np.zeros((end - first, 1)), sample=first if counted else None)
        source._put(source._checked(Message(packet, None, ())))

    return source, send


def stdin() -> tuple[LiveSource, Sender]:
    source = StdinSource(fs=FS, live=True)
    return source, lambda first, end: source._send(np.zeros((end - first, 1)))


@pytest.mark.parametrize(
    "kind",
    ["polar", "serial", "serial, counted", "lsl", "message", "message, counted", "standard input"],
)
def test_a_clock_that_is_set_while_the_link_is_lost_makes_up_no_signal(clocks: Clocks, kind: str) -> None:
    makers: dict[str, Callable[[], tuple[LiveSource, Sender]]] = {
        "polar": polar,
        "serial": lambda: serial(None),
        "serial, counted": lambda: serial(0),
        "lsl": lambda: lsl(clocks),
        "message": lambda: messages(False),
        "message, counted": lambda: messages(True),
        "standard input": stdin,
    }
    source, send = makers[kind]()
    feed, size, lost, missing = Feed(source.fs, source.jitter), round(source.fs / 2), 0, 0
    for number in range(20):
        if number == 10:
            clocks.now, clocks.ahead, lost = clocks.now + AWAY, STEP, round(AWAY * source.fs)
        clocks.now += 0.5
        send(number * size + lost, (number + 1) * size + lost)
        while isinstance(packet := source._inbox.get_nowait() if source._inbox.qsize() else None, Packet):
            missing += sum(piece.missing for piece in feed.step(packet))
    missing += sum(piece.missing for piece in feed.flush())
    assert missing == pytest.approx(AWAY * source.fs, abs=2)


def test_each_run_of_a_counted_batch_has_the_time_of_its_own_samples(clocks: Clocks) -> None:
    """A run that were told as early as the batch would draw the time of day of a minute with it."""
    clocks.now = 30.0
    source = SerialSource("/dev/null", fs=FS, gain=1.0, counter=0)
    rows = [[float(i), 0.0] for i in (*range(100, 200), *range(250, 300), *range(400, 410))]
    packets = source._pack(rows)
    assert [packet.sample for packet in packets] == [100, 250, 400]
    ages = [clocks.time() - packet.time for packet in packets]
    assert ages == pytest.approx([160 / FS, 60 / FS, 10 / FS], abs=1e-6)
    assert {packet.heard for packet in packets} == {clocks.monotonic()}
    base = TimeBase(FS)
    state, told = base.initial(), []
    for packet in packets:
        pieces, state = base.step(packet, state)
        told += pieces
    told += base.flush(state)[0]
    assert [(piece.start, piece.missing) for piece in told] == [(0, 0), (150, 50), (300, 100)]
