"""Where alarms have nothing to tell, the short way leaves the same state as the long one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeecg.decode.alarms import AlarmFinder, AlarmSettings
from edgeecg.decode.silence import faint_since
from edgeecg.specs import Alarm

FS = 100.0
GAPS = st.lists(
    st.tuples(st.integers(20, 700), st.sampled_from("NNNNVS"), st.booleans(), st.booleans()), max_size=40
)


@given(GAPS)
def test_settled_is_advance_where_nothing_is_told(beats: list[tuple[int, str, bool, bool]]) -> None:
    compare(beats)


@pytest.mark.parametrize("faint", [False, True])
def test_a_regular_rhythm_goes_the_short_way(faint: bool) -> None:
    """P waves after many beats too, until they are too long without one that counts."""
    beats = [(75, "N", True, False)] * 40 + [(75, "N", True, faint)] * 10
    assert compare(beats) > 40


def compare(beats: list[tuple[int, str, bool, bool]]) -> int:
    """Assert that both ways leave the same; how many ticks went the short one."""
    finder = AlarmFinder(AlarmSettings(), FS)
    long, short = finder.initial(), finder.initial()
    told: list[Alarm] = []
    briefly: list[Alarm] = []
    at, tick, shortened = 0, 50, 0
    for gap, label, readable, faint in beats:
        at += gap
        while tick <= at:
            level = (0.01 if faint else 0.1) * (1 + tick % 7)
            events, long = finder.advance(tick, readable, level, long)
            told += events
            if readable and tick <= finder.quiet_until(short):
                assert events == []
                past = short.silence
                since = faint_since(past.clock, level, past.faint, finder.loud_from(short))
                short = finder.settled(tick, level, since, short)
                shortened += 1
            else:
                events, short = finder.advance(tick, readable, level, short)
                briefly += events
            tick += 50
        events, long = finder.beat(at, label, long)
        told += events
        events, short = finder.beat(at, label, short)
        briefly += events
        assert long == short
    assert told == briefly
    return shortened
