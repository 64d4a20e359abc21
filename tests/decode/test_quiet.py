"""Where alarms have nothing to tell, the short way leaves the same state as the long one."""

from __future__ import annotations

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
