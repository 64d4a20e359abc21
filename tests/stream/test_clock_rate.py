"""A wrong rate is told, and nothing else is taken for one."""

from __future__ import annotations

import numpy as np
import pytest

from edgeecg.stream.clock_rate import RateWatch
from edgeecg.stream.feed import Feed
from edgeecg.stream.sources import Packet

FS = 250.0
SIZE = 25


def steady(seconds: float, true: float = FS) -> list[tuple[int, float]]:
    """Number of each packet's first sample, and when its last one is measured."""
    return [(i, (i + SIZE) / true) for i in range(0, round(seconds * true), SIZE)]


def packet(first: int, arrival: float, kind: str) -> Packet:
    """One that is counted, bare, or has its sender's own time."""
    own = {"time": 1.7e9 + arrival} if kind == "timed" else {"time": 5.0, "heard": 1e4 + arrival}
    return Packet(np.zeros((SIZE, 1)), sample=first if kind == "counted" else None, **own)


def doubts(due: list[tuple[int, float]], kind: str = "counted") -> list[str]:
    """Every doubt there ever was, in turn."""
    watch, seen = RateWatch(FS), [""]
    for first, arrival in due:
        watch.look(packet(first, arrival, kind))
        seen += [watch.doubt] if watch.doubt != seen[-1] else []
    return seen[1:]


@pytest.mark.parametrize("kind", ["counted", "bare", "timed"])
@pytest.mark.parametrize("true", [125.0, 237.0, 262.0, 500.0])
def test_a_wrong_rate_is_told_in_two_minutes_and_a_half(kind: str, true: float) -> None:
    (told,) = doubts(steady(160, true), kind)
    assert f"about {true:.0f} samples come in a second, but 250 Hz is declared" in told
    assert not doubts(steady(110, true), kind)


@pytest.mark.parametrize("seed", range(3))
def test_packets_that_are_lost_now_and_then_make_none(seed: int) -> None:
    random = np.random.default_rng(seed)
    assert not doubts([due for due in steady(7200) if random.random() > 0.03], "bare")


@pytest.mark.parametrize("true", [243.0, 250.0, 257.0])
def test_a_poor_crystal_is_none(true: float) -> None:
    assert not doubts(steady(600, true))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", ["counted", "bare"])
def test_neither_delays_nor_bursts_nor_stalls_are(kind: str, seed: int) -> None:
    """What is late comes at the end of its delay, all at once."""
    random = np.random.default_rng(seed)
    until, due = 0.0, []
    for first, arrival in steady(1800):
        if random.random() < 0.01:
            until = arrival + random.exponential(10.0)
        due.append((first, max(arrival + random.exponential(0.2), until)))
    due.sort(key=lambda item: item[1])
    assert not doubts(due, kind)


@pytest.mark.parametrize("period", [1.0, 7.0, 15.0, 25.0, 60.0])
def test_a_sender_that_collects_what_it_sends_has_no_wrong_rate(period: float) -> None:
    due = [(first, np.ceil(arrival / period) * period) for first, arrival in steady(1800)]
    assert not doubts(due)
    assert not doubts(due, "bare")


def test_a_backlog_at_the_beginning_and_silences_are_no_wrong_rate() -> None:
    backlog = [(first, max(arrival, 300.0)) for first, arrival in steady(900)]
    assert not doubts(backlog, "bare")
    silences = [(i, at) for i, at in steady(3600) if at % 100 > 12]  # and what was measured then is lost
    assert not doubts(silences, "counted")
    assert not doubts(silences, "bare")


def test_a_count_or_a_clock_that_begins_anew_is_no_wrong_rate() -> None:
    assert not doubts([(i % 10_000, at) for i, at in steady(900)])
    assert not doubts([(i, at - (1e6 if at > 300 else 0)) for i, at in steady(900)], "timed")


def test_what_is_read_as_fast_as_possible_or_stamped_says_nothing() -> None:
    """Recordings tell no time but their own; stamps are looked at elsewhere."""
    watch = RateWatch(FS)
    for first, arrival in steady(300, 500.0):
        watch.look(Packet(np.zeros((SIZE, 1)), sample=first))
        watch.look(Packet(np.zeros((SIZE, 1)), stamp=round(1e9 * first / FS), heard=arrival))
    assert not watch.doubt


def test_a_doubt_goes_when_the_rate_is_right_again() -> None:
    """As behind a link that took minutes to catch up."""
    caught_up = [(first, max(arrival, 300 + arrival / 2)) for first, arrival in steady(900)]
    watch, seen = Feed(FS), list[bool]()
    for first, arrival in caught_up:
        watch.step(packet(first, arrival, "counted"))
        seen.append(bool(watch.doubt))
    assert any(seen)
    assert not seen[-1]
