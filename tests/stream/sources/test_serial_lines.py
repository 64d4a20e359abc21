"""Lines of a serial board: a garbled count makes up no signal, and what it says of itself is no sample."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from edgeecg.stream.feed import Feed
from edgeecg.stream.sources.base import Packet
from edgeecg.stream.sources.serial_port import SerialSource

SAMPLES = 300


class Port:
    """A port that gives a few lines at a time."""

    in_waiting = 1

    def __init__(self, lines: list[bytes], at_once: int) -> None:
        self.parts = [
            b"".join(line + b"\n" for line in lines[start : start + at_once])
            for start in range(0, len(lines), at_once)
        ]

    def read(self, count: int) -> bytes:
        return self.parts.pop(0)


def counted(wrap: int) -> list[bytes]:
    return [b"%d,%d" % (n % wrap, 512 + n % 50) for n in range(SAMPLES)]


def played(lines: list[bytes], at_once: int = 1, **options: Any) -> tuple[tuple[str, ...], int, int]:
    """Names of the leads, samples that came, and how many were told as missing."""
    source = SerialSource("/dev/null", fs=250, **options)
    source._port, source._failure = Port(lines, at_once), OSError
    source._learn_width()

    def packets() -> Iterator[Packet]:
        yield from source._pack([source._row(line) for line in source._waiting])
        while source._port.parts:
            yield from source._pack([source._row(line) for line in source._lines.feed(source._read())])

    feed = Feed(source.fs, source.jitter)
    pieces = [piece for packet in packets() for piece in feed.step(packet)] + feed.flush()
    return source.leads, sum(len(p.samples) for p in pieces), sum(p.missing for p in pieces)


@pytest.mark.parametrize("at_once", [1, 2, 7])
@pytest.mark.parametrize("wrap", [256, 2**32])
@pytest.mark.parametrize("garbled", [b"8,512", b"1e30,512", b"-7,512"])
def test_a_count_with_a_garbled_digit_is_no_leap(garbled: bytes, wrap: int, at_once: int) -> None:
    lines = counted(wrap)
    lines[150] = garbled
    _, came, missing = played(lines, at_once, board="ad8232", counter=0, wrap=wrap)
    assert (came, missing) == (SAMPLES - 1, 0)  # the first line may be cut


@pytest.mark.parametrize("at_once", [1, 2, 7])
def test_lines_that_are_lost_are_told_though_a_leap_waits_for_the_next(at_once: int) -> None:
    lines = counted(256)
    del lines[100:120]
    _, came, missing = played(lines, at_once, board="ad8232", counter=0, wrap=256)
    assert (came, missing) == (SAMPLES - 21, 20)


@pytest.mark.parametrize("at_once", [1, 7, 104])
@pytest.mark.parametrize("before", [b"103,512", b"oops"])
def test_a_garbled_count_behind_lost_lines_is_no_leap(before: bytes, at_once: int) -> None:
    """Also where the line that tells it is the last that was read with them."""
    lines = [*counted(2**32)[:100], b"102,512", before, b"9,512", b"105,512"]
    _, came, missing = played(lines, at_once, board="ad8232", counter=0)
    assert (came, missing) == (103, 2)


def test_a_banner_and_leads_that_are_off_at_the_start_say_nothing_of_the_width() -> None:
    numbers = [b"%d,%d" % (n, 2 * n) for n in range(SAMPLES)]
    banner = [b"boot", b"ADS1292 v1.0", b"ready", *[b"!"] * 30]
    leads, came, missing = played(banner + numbers, board="ads1292")
    assert (len(leads), came, missing) == (2, SAMPLES, 0)


def test_a_board_whose_leads_stay_off_is_opened_all_the_same() -> None:
    leads, came, _ = played([b"!"] * 700, board="ads1292", leads=("I", "II"))
    assert leads == ("I", "II")
    assert came > 600
