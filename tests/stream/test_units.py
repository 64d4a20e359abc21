"""A live source in a wrong unit is told of, once; an ECG and a lead that is off are not."""

from __future__ import annotations

import numpy as np
import pytest

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
