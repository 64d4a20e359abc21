"""Recordings side by side are told what each is told alone."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import pytest

from edgeecg.errors import ConfigError, SignalError
from edgeecg.io import Record
from edgeecg.pipeline import Recordings, annotate
from edgeecg.runtime.engine import Engine
from tests.contract.engines import assert_same_events, beats, heart

KINDS = [(12.0, 250, 1), (90.0, 360, 2), (31.0, 300, 1), (30.0, 250, 2), (5.5, 128, 1), (75.0, 257, 3)]


def recordings(count: int) -> list[Record]:
    """Of many lengths, rates and numbers of leads, some with gaps."""
    made = []
    for n in range(count):
        seconds, fs, leads = KINDS[n % len(KINDS)]
        signal = heart(seconds, fs, leads=leads, seed=n)
        if n % 3 == 1:
            signal[len(signal) // 3 : len(signal) // 2] = np.nan
        made.append(Record(f"r{n}", signal, float(fs), tuple(f"lead {k}" for k in range(leads))))
    return made


@pytest.mark.parametrize("policy", ["first", "best", "fused"])
def test_side_by_side_as_alone(nano: Engine, policy: str) -> None:
    records = recordings(20)
    crowd = Recordings[int](nano, lead_policy=policy)  # type: ignore[arg-type]
    waiting, told, most = deque(enumerate(records)), {}, 0
    while waiting or len(crowd):
        while waiting and not crowd.full:
            crowd.add(*waiting.popleft())
        most = max(most, len(crowd))
        told.update(dict(crowd.step()))
    assert most > 4
    assert sorted(told) == list(range(20))
    assert sum(len(beats(events)) for events in told.values()) > 500
    for number, record in enumerate(records):
        assert_same_events(told[number], annotate(nano, record, lead_policy=policy))  # type: ignore[arg-type]


def test_samples_alone_are_no_recording(nano: Engine) -> None:
    with pytest.raises(SignalError, match="a recording is a Record, not ndarray"):
        annotate(nano, np.zeros((1000, 1)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "message"), [({"lead_policy": "foo"}, "no lead policy"), ({"alarms": {}}, "AlarmSettings")]
)
def test_wrong_settings_are_named(nano: Engine, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        annotate(nano, recordings(1)[0], **settings)


def test_a_rate_out_of_range_disturbs_nobody(nano: Engine) -> None:
    good, bad = recordings(1)[0], Record("slow", np.zeros((100, 1)), 50.0, ("I",))
    crowd = Recordings[str](nano)
    crowd.add("good", good)
    with pytest.raises(SignalError, match="outside"):
        crowd.add("bad", bad)
    assert len(crowd) == 1
    done = []
    while len(crowd):
        done += crowd.step()
    (name, events), *rest = done
    assert (name, rest) == ("good", [])
    assert_same_events(events, annotate(nano, good))
