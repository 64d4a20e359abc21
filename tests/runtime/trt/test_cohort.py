"""State on the device against state carried by the caller."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from edgeecg.bundle import Bundle
from edgeecg.errors import BackendError, SignalError
from edgeecg.runtime.ort import OrtExecutor
from edgeecg.runtime.trt.cohort import Cohort
from edgeecg.runtime.trt.executor import TrtExecutor
from tests.runtime.trt.fakes import FakeDevice

Open = Callable[..., TrtExecutor]
ROWS = 3


def signals(steps: int, rows: int = ROWS) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((steps, rows, 64)).astype(np.float32)


@pytest.mark.parametrize("graphs", [True, False])
def test_resident_state_equals_carried_state(bundle: Bundle, open_fake: Open, graphs: bool) -> None:
    executor = open_fake(graphs=graphs)
    cohort = executor.cohort(ROWS)
    size = executor.inputs[1].shape[1]
    state = np.zeros((ROWS, size), np.float32)
    with OrtExecutor(bundle.graph("token")) as reference:
        for signal in signals(7):
            wanted = reference.run({"signal": signal, "state": state})
            state = wanted["state_out"]
            got = cohort.step({"signal": signal})
            np.testing.assert_allclose(got["heads"], wanted["heads"], atol=1e-5)
            assert "state_out" not in got
    np.testing.assert_allclose(cohort.save(), state, atol=1e-5)
    cohort.close()


def test_each_turn_of_the_state_is_its_own_graph(open_fake: Open, device: FakeDevice) -> None:
    cohort = open_fake().cohort(ROWS)
    for signal in signals(6):
        cohort.step({"signal": signal})
    assert [graph.launches for graph in device.graphs] == [2, 2]
    cohort.close()


def test_an_inactive_row_keeps_its_state_to_the_bit(open_fake: Open) -> None:
    cohort = open_fake().cohort(ROWS)
    first, second = signals(2)
    cohort.step({"signal": first})
    before = cohort.save()
    cohort.step({"signal": second}, active=np.array([True, False, True]))
    after = cohort.save()
    np.testing.assert_array_equal(after[1], before[1])
    assert not np.array_equal(after[0], before[0])
    assert not np.array_equal(after[2], before[2])
    cohort.close()


def test_saved_state_goes_on_elsewhere(open_fake: Open) -> None:
    executor = open_fake()
    here, there = executor.cohort(ROWS), executor.cohort(8)
    for signal in signals(3):
        here.step({"signal": signal})
    there.load(here.save(), row=2)
    following = signals(4)[-1]
    wide = np.zeros((8, 64), np.float32)
    wide[2:5] = following
    got = there.step({"signal": wide})["heads"][2:5]
    np.testing.assert_allclose(got, here.step({"signal": following})["heads"], atol=1e-5)
    here.clear()
    assert not here.save().any()
    here.close()
    there.close()


def test_cohorts_and_stateless_calls_share_an_engine(bundle: Bundle, open_fake: Open) -> None:
    executor = open_fake()
    cohort = executor.cohort(4)
    zeros = np.zeros((4, executor.inputs[1].shape[1]), np.float32)
    with OrtExecutor(bundle.graph("token")) as reference:
        for signal in signals(4, rows=4):
            cohort.step({"signal": signal})
            inputs = {"signal": signal, "state": zeros}
            np.testing.assert_allclose(
                executor.run(inputs)["heads"], reference.run(inputs)["heads"], atol=1e-5
            )
    cohort.close()


def test_what_does_not_fit_is_told(open_fake: Open) -> None:
    executor = open_fake()
    with pytest.raises(BackendError, match="make several"):
        executor.cohort(65)
    cohort = executor.cohort(2)
    with pytest.raises(SignalError, match="2 rows"):
        cohort.step({"signal": np.zeros((3, 64), np.float32)})
    with pytest.raises(SignalError, match="does not fit"):
        cohort.load(np.zeros((2, 5), np.float32))
    cohort.close()
    assert isinstance(cohort, Cohort)
