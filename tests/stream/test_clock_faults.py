"""Stalls, resends and early restarts: what a count and a clock together say, and what neither can."""

from __future__ import annotations

import numpy as np
import pytest

from edgeecg.stream.clock import TimeBase
from edgeecg.stream.clock_state import Piece, TimeState
from edgeecg.stream.sources import Packet

FS = 250.0
SIZE = 25
DATE = 1.7e9


def sent(
    first: int,
    end: int,
    heard: float | None = None,
    late: float = 0.0,
    begun: float | None = None,
    origin: int = 0,
) -> list[Packet]:
    """Counted packets: as they come (``late``, or all at ``heard``), or timed by their sender (``begun``)."""
    due = [(i, (i + SIZE) / FS + late if heard is None else heard) for i in range(first, end, SIZE)]
    values = np.arange(SIZE, dtype=np.float64)[:, None]
    if begun is not None:
        return [Packet(values + i, sample=i + origin, time=begun + i / FS) for i, _ in due]
    return [
        Packet(values + i, sample=i + origin, time=DATE + at - SIZE / FS, heard=1000 + at) for i, at in due
    ]


def bare(first: int, end: int, origin: int = 0) -> list[Packet]:
    """Packets that only count."""
    return [
        Packet(np.arange(i, i + SIZE, dtype=np.float64)[:, None], sample=i + origin)
        for i in range(first, end, SIZE)
    ]


def run(packets: list[Packet]) -> tuple[list[Piece], TimeState]:
    base = TimeBase(FS)
    state, told = base.initial(), []
    for packet in packets:
        pieces, state = base.step(packet, state)
        told += pieces
    pieces, state = base.flush(state)
    end = 0
    for piece in [*told, *pieces]:
        assert piece.start == end + piece.missing
        end = piece.start + len(piece.samples)
    return [*told, *pieces], state


def gaps(pieces: list[Piece]) -> list[tuple[int, int, str]]:
    return [(piece.start - piece.missing, piece.missing, piece.cause) for piece in pieces if piece.missing]


def in_place(pieces: list[Piece]) -> bool:
    return all(np.all(piece.samples[:, 0] == piece.start + np.arange(len(piece.samples))) for piece in pieces)


@pytest.mark.parametrize(("resumed", "lost"), [(2500, 10_000), (5000, 10_000), (2500, 3000), (2500, 17_400)])
def test_a_burst_behind_a_stall_is_late_and_only_its_holes_are_missing(resumed: int, lost: int) -> None:
    """60 s of stall; the backlog comes at once, without what the link's buffer could not hold."""
    backlog = sent(2500, resumed, heard=70.0) + sent(lost, 17_500, heard=70.0)
    pieces, state = run(sent(0, 2500) + backlog + sent(17_500, 25_000))
    assert gaps(pieces) == [(resumed, lost - resumed, "lost")]
    assert in_place(pieces)
    assert (state.lost, state.dropped, state.restarts) == (lost - resumed, 0, 0)
    assert state.spare < 1.0


def test_behind_a_stall_a_count_still_cannot_run_ahead_of_time() -> None:
    pieces, state = run(sent(0, 2500) + sent(2500, 5000, heard=70.0) + sent(30_000, 31_000, heard=70.1))
    assert gaps(pieces) == []
    assert state.restarts == 1


@pytest.mark.parametrize("ahead", [7500, 900_000])
def test_a_count_that_begins_anew_ahead_is_known_by_the_senders_own_time(ahead: int) -> None:
    anew = sent(17_500, 20_000, begun=DATE, origin=ahead - 15_000)  # 60 s later, counts on elsewhere
    pieces, state = run(sent(0, 2500, begun=DATE) + anew)
    assert gaps(pieces) == [(2500, 15_000, "jump")]
    assert in_place(pieces)
    assert state.restarts == 1


@pytest.mark.parametrize("seconds", [2, 5, 90])
@pytest.mark.parametrize("lost", [0, 500])
def test_what_is_sent_again_with_its_time_is_dropped(seconds: int, lost: int) -> None:
    end = 100 * 250
    again = sent(end - 250 * seconds, end, begun=DATE)
    pieces, state = run(sent(0, end, begun=DATE) + again + sent(end + lost, end + 5000, begun=DATE))
    assert gaps(pieces) == ([(end, lost, "lost")] if lost else [])
    assert in_place(pieces)
    times = [piece.time for piece in pieces]
    assert times == sorted(times)  # type: ignore[type-var]
    assert (state.dropped, state.restarts) == (len(again), 0)


@pytest.mark.parametrize("clock", ["arrival", "none"])
@pytest.mark.parametrize("absent", [0.0, 100.0])
def test_a_count_that_goes_on_inside_what_was_taken_is_old(clock: str, absent: float) -> None:
    end = 60 * 250
    if clock == "none":
        packets = bare(0, end) + bare(end - 1250, end) + bare(end, end + 2500)
    else:
        again = sent(end - 1250, end, heard=60 + absent + 1)
        packets = sent(0, end) + again + sent(end, end + 2500, late=absent + 1)
    pieces, state = run(packets)
    assert gaps(pieces) == []
    assert in_place(pieces)
    assert (state.dropped, state.restarts) == (50, 0)


@pytest.mark.parametrize("count", [0, 250, 5000])
def test_a_device_that_counted_from_zero_while_it_was_away_has_begun_anew(count: int) -> None:
    """It boots, counts, and is back on the link only then: up to the silence and 5 s, a count is new."""
    end, away = 600 * 250, 30.0
    packets = sent(0, end) + sent(count, count + 2500, late=600 + away - count / FS)
    pieces, state = run(packets)
    assert gaps(pieces) == [(end, round(away * FS), "restart")]
    assert (state.dropped, state.restarts) == (0, 1)


def test_a_count_below_the_first_that_was_taken_has_begun_anew() -> None:
    pieces, state = run(bare(0, 5000, origin=1_000_000) + bare(0, 5000, origin=500_000))
    assert gaps(pieces) == [(5000, 1, "restart")]
    assert state.dropped == 0


@pytest.mark.parametrize("again", [10_000, 20_000])
def test_a_device_that_begins_anew_inside_its_count_is_heard_after_a_minute(again: int) -> None:
    pieces, state = run(sent(0, 50_000) + sent(again, again + 20_000, late=200 - again / FS))
    assert gaps(pieces) == [(50_000, 15_000, "restart")]
    assert (state.dropped, state.restarts) == (600, 1)


@pytest.mark.parametrize("begun", [0.0, DATE])
def test_a_device_that_restarts_is_no_resend(begun: float) -> None:
    """Its time goes on, or it does not know the date: then time and count begin anew together."""
    later = begun + 30 if begun else 0.0
    pieces, _ = run(sent(0, 2500, begun=begun) + sent(0, 2500, begun=later))
    assert gaps(pieces) == [(2500, 5000 if begun else 1, "restart")]


def test_a_suspect_that_the_end_leaves_unproven_is_counted() -> None:
    _, state = run(sent(0, 2500) + sent(0, SIZE, late=11.0))
    assert (state.dropped, state.suspect) == (1, None)


@pytest.mark.parametrize("timed", [False, True])
def test_a_restart_within_the_first_second_is_told(timed: bool) -> None:
    before, after = (DATE, DATE + 5) if timed else (None, None)
    pieces, state = run(sent(0, 200, begun=before) + sent(0, 2500, late=5.0, begun=after))
    assert gaps(pieces) == [(200, 1050, "restart")]
    assert sum(len(piece.samples) for piece in pieces) == 200 + 2500
    assert (state.dropped, state.restarts) == (0, 1)


def test_last_packets_that_come_again_after_a_silence_are_no_restart() -> None:
    packets = sent(0, 200) + sent(100, 200, heard=5.0) + sent(200, 2500, late=5.0)
    pieces, state = run(packets)
    assert gaps(pieces) == []
    assert (state.dropped, state.restarts) == (4, 0)
