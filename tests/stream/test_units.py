"""A live source in a wrong unit is told of, once; an ECG and a lead that is off are not."""

from __future__ import annotations

import numpy as np
import pytest

from edgeecg.runtime.engine import Engine
from edgeecg.stream.pool import StreamPool
from edgeecg.stream.session import Stream
from edgeecg.stream.units import UnitWatch
from tests.contract.engines import heart

FS = 250.0


def doubts(signal: np.ndarray, size: int = 50) -> list[int]:
    watch = UnitWatch(FS)
    return [at for at in range(0, len(signal), size) if watch.look(signal[at : at + size])]


@pytest.mark.parametrize("factor", [1000.0, 1e-3])
def test_a_wrong_unit_is_told_once_after_half_a_minute(factor: float) -> None:
    assert doubts(factor * heart(120, FS)) == [7450]


def test_an_ecg_is_not_doubted() -> None:
    assert not doubts(heart(60, FS))
    assert not doubts(heart(60, FS, leads=2))


def test_nothing_is_said_of_no_signal() -> None:
    assert not doubts(np.zeros((15_000, 1)))
    assert not doubts(np.full((15_000, 1), np.nan))


def test_a_chunk_may_hold_it_all() -> None:
    assert doubts(1000 * heart(120, FS), size=30_000) == [0]


@pytest.mark.parametrize(("factor", "cure"), [(1000.0, "--units uV"), (1e-3, "--units V"), (1.0, "")])
def test_streams_and_pools_tell_of_it(
    nano: Engine, caplog: pytest.LogCaptureFixture, factor: float, cure: str
) -> None:
    signal = factor * heart(40, FS)
    stream, pool = Stream(nano, FS), StreamPool(nano, queue=60)
    bed = pool.add(FS)
    for at in range(0, len(signal), 500):
        stream.push(signal[at : at + 500])
        pool.push(bed, signal[at : at + 500])
        if at < 29 * FS:
            assert stream.doubt == pool.doubt(bed) == ""
    assert stream.doubt == pool.doubt(bed)
    assert (cure in stream.doubt) if cure else not stream.doubt
    assert len(caplog.messages) == bool(cure)
    stream.reset()
    assert not stream.doubt
