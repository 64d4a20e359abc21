"""The mirrored ring against plain concatenation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeecg.errors import ConfigError, SignalError, StateError
from edgeecg.signal.ring import Ring


@given(
    capacity=st.integers(1, 40),
    rows=st.integers(1, 3),
    counts=st.lists(st.integers(0, 100), max_size=20),
    data=st.data(),
)
def test_a_window_is_the_end_of_all_that_came(
    capacity: int, rows: int, counts: list[int], data: st.DataObject
) -> None:
    ring: Ring[np.float32] = Ring(rows, capacity)
    came = np.zeros((rows, capacity), np.float32)  # before the first sample there are zeros
    for count in counts:
        chunk = np.random.default_rng(count).normal(size=(rows, count)).astype(np.float32)
        ring.push(chunk)
        came = np.concatenate([came, chunk], axis=1)
        length = data.draw(st.integers(0, capacity), label="length")
        np.testing.assert_array_equal(ring.window(length), came[:, came.shape[1] - length :])
    assert ring.total == sum(counts)


def test_a_window_is_a_view_in_one_piece() -> None:
    ring: Ring[np.float32] = Ring(3, 100)
    for _ in range(17):
        ring.push(np.ones((3, 33), np.float32))
        window = ring.window(80)
        assert not window.flags.owndata
        assert not window.flags.writeable
        assert all(row.flags.c_contiguous for row in window)
    with pytest.raises(ValueError, match="read-only"):
        window[0, 0] = 5


def test_pushing_goes_on_after_a_window_was_taken() -> None:
    ring: Ring[np.float64] = Ring(1, 4, np.float64)
    for value in range(9):
        ring.push(np.full((1, 1), float(value)))
        assert ring.window(1)[0, 0] == value
    np.testing.assert_array_equal(ring.window(4), [[5, 6, 7, 8]])


@pytest.mark.parametrize("pushed", [0, 3, 10, 27])
def test_a_saved_ring_goes_on(pushed: int) -> None:
    rng = np.random.default_rng(0)
    ring: Ring[np.float32] = Ring(2, 10)
    ring.push(rng.normal(size=(2, pushed)).astype(np.float32))
    other: Ring[np.float32] = Ring(2, 10)
    other.restore(ring.snapshot())
    more = rng.normal(size=(2, 4)).astype(np.float32)
    ring.push(more)
    other.push(more)
    np.testing.assert_array_equal(ring.window(10), other.window(10))
    assert ring.total == other.total == pushed + 4
    ring.clear()
    assert ring.total == 0
    assert not ring.window(10).any()


def test_wrong_sizes_are_refused() -> None:
    ring: Ring[np.float32] = Ring(2, 10)
    with pytest.raises(SignalError, match=r"push \(rows, n\)"):
        ring.push(np.zeros((3, 4), np.float32))
    with pytest.raises(SignalError, match=r"push \(rows, n\)"):
        ring.push(np.zeros(4, np.float32))
    with pytest.raises(ConfigError, match="make the ring longer"):
        ring.window(11)
    with pytest.raises(ConfigError, match="at least 1"):
        Ring(0, 10)
    with pytest.raises(StateError, match="2 by 10"):
        ring.restore(Ring(2, 9).snapshot())
    with pytest.raises(StateError, match="2 by 10"):
        ring.restore({})
