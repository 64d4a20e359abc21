"""Faults on purpose: seeded, logged, and doing what they say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgeecg.errors import ConfigError
from edgeecg.stream.clock import TimeBase
from edgeecg.stream.faults import Fault, Faults, FaultSpec
from edgeecg.stream.sources import Packet
from tests.stream.peers import repair

FS = 250.0


def signal(minutes: float = 10) -> list[Packet]:
    return [
        Packet(np.full((25, 2), 1.0 + i % 3), sample=25 * i, stamp=round(25 * i / FS * 1e9))
        for i in range(round(minutes * 60 * FS / 25))
    ]


def test_no_faults_change_nothing() -> None:
    faults = Faults(FaultSpec(), FS)
    sent = signal(1)
    got = list(faults.apply(sent))
    assert faults.log == []
    for a, b in zip(sent, got, strict=True):
        assert (a.sample, a.stamp) == (b.sample, b.stamp)
        np.testing.assert_array_equal(a.samples, b.samples)


OFTEN = {"drop": 0.1, "duplicate": 0.1, "reorder": 0.1, "outage": 3, "nan": 3, "flat": 3, "clip": 3}
OFTEN |= {"restart": 3, "jump": 3}


@pytest.mark.parametrize(("kind", "value"), OFTEN.items())
def test_each_fault_happens_about_as_often_as_asked_and_is_logged(kind: str, value: float) -> None:
    faults = Faults(FaultSpec(**{kind: value}), FS, seed=4)
    got = list(faults.apply(signal()))
    expected = value * 6000 if value < 1 else value * 10
    assert {fault.kind for fault in faults.log} == {kind}
    assert 0.4 * expected < len(faults.log) < 1.6 * expected
    change = {"drop": -1, "duplicate": 1}.get(kind, 0) * len(faults.log)
    if kind == "outage":
        assert len(got) < 6000
    else:
        assert len(got) == 6000 + change
    assert repr(faults.log) == repr(_again(kind, value))


def _again(kind: str, value: float) -> list[Fault]:
    faults = Faults(FaultSpec(**{kind: value}), FS, seed=4)
    list(faults.apply(signal()))
    return faults.log


@pytest.mark.parametrize("parts", [10_000, -10_000])
def test_a_clock_that_drifts_is_followed_and_packets_carry_nothing_else(parts: float) -> None:
    """Also where the source tells counts only, as a recording that is played does."""
    sent = [replace(packet, stamp=None) for packet in signal(4)]
    got = list(Faults(FaultSpec(drift=parts, drop=0.02), FS, seed=2).apply(sent))
    assert all(packet.sample is None for packet in got)
    assert got[-1].stamp == pytest.approx(240e9 * (1 + parts * 1e-6), rel=1e-3)
    pieces = list(repair(got, TimeBase(FS)))
    first = round(got[0].stamp / (1 + parts * 1e-6) * 1e-9 * FS)  # what is lost before it nobody can know
    lost = sum(piece.missing for piece in pieces)
    assert lost == pytest.approx(25 * (len(sent) - len(got)) - first, abs=5)


def test_runs_are_where_the_log_says() -> None:
    faults = Faults(FaultSpec(nan=4, seconds=2), FS, seed=1)
    samples = np.concatenate([packet.samples for packet in faults.apply(signal())])
    marked = np.zeros(len(samples), bool)
    for fault in faults.log:
        marked[fault.start : fault.start + fault.length] = True
    np.testing.assert_array_equal(np.isnan(samples[:, 0]), marked)


def test_what_is_sent_in_is_not_changed() -> None:
    sent = signal(1)
    list(Faults(FaultSpec(nan=30, clip=30, flat=30), FS).apply(sent))
    assert all(np.isfinite(packet.samples).all() and packet.samples.max() <= 3 for packet in sent)


def test_a_spec_reads_what_a_user_types() -> None:
    assert FaultSpec.parse(" drop=0.01, nan=2 ") == FaultSpec(drop=0.01, nan=2)
    for wrong in ("fire=1", "drop", "drop=x", "drop=2", "nan=-1", "seconds=0", "drift=1e9"):
        with pytest.raises(ConfigError):
            FaultSpec.parse(wrong)
