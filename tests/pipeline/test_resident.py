"""State that stays with the executor: the same as beside it, also when the device is lost half-way.

The device is this machine's CPU behind TensorRT's seam; what a real one adds is tested in `tests/runtime`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeecg.errors import BackendError
from edgeecg.pipeline.resident import KEPT, Keeper, ResidentRows, open_rows
from edgeecg.pipeline.rows import SHELF, StateRows, state_width
from edgeecg.runtime.cuda import CudaError
from edgeecg.runtime.engine import Engine
from edgeecg.runtime.executor import Executor, Tensors
from edgeecg.runtime.trt.executor import TrtExecutor
from edgeecg.runtime.trt.recover import Recovery
from edgeecg.stream.pool import StreamPool
from edgeecg.stream.session import Stream
from tests.contract.engines import assert_same_events, heart

STEP = 64


class Device:
    """An executor that keeps state, and can be told to lose everything."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self.inputs, self.outputs = executor.inputs, executor.outputs
        self.step_length, self.most_rows = STEP, 64
        self.lost = self.abandoned = self.reset_elsewhere = False
        self.kept: list[Kept] = []
        self.stepped = 0
        self.full: dict[str, int] = {}  # calls of a kind until one finds no memory

    def spend(self, call: str) -> None:
        if call in self.full:
            self.full[call] -= 1
            if self.full[call] < 0:
                del self.full[call]
                raise CudaError("cuMemAlloc", "out of memory")

    def check(self) -> None:
        if self.reset_elsewhere:
            raise CudaError("cuCtxPushCurrent", "invalid device context")
        if self.lost:
            raise CudaError("cuLaunchKernel", "an illegal memory access was encountered", sticky=True)
        if self.abandoned:
            raise BackendError("the executor is closed: open the engine again")

    def run(self, inputs: Tensors) -> dict[str, NDArray[np.float32]]:
        self.check()
        self.spend("run")
        return self._executor.run(inputs)

    def cohort(self, rows: int) -> Kept:
        self.check()
        self.spend("cohort")
        self.kept.append(Kept(self, rows))
        return self.kept[-1]

    def abandon(self) -> None:
        """What `Recovery` does with a device that is lost."""
        self.abandoned, self.lost = True, False

    def close(self) -> None:
        """The engine that lent the executor closes it."""

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class Kept:
    def __init__(self, device: Device, rows: int) -> None:
        self.device, self.closed = device, False
        self.name = next(spec.name for spec in device.inputs if spec.name != "state")
        self.rows = StateRows(device._executor, rows)

    def step(
        self, inputs: Tensors, active: NDArray[np.bool_] | None = None
    ) -> dict[str, NDArray[np.float32]]:
        self.device.check()
        self.device.stepped += 1
        x = inputs[self.name]
        assert x.shape[:2] == (len(self.rows), STEP)
        index = np.arange(len(x)) if active is None else np.flatnonzero(active)
        part = self.rows.run(x[index], index)
        out = {name: np.full((len(x), *v.shape[1:]), np.nan, np.float32) for name, v in part.items()}
        for name, values in part.items():
            out[name][index] = values
        return out

    def save(self) -> NDArray[np.float32]:
        self.device.check()
        return np.stack([self.rows.read(row) for row in range(len(self.rows))])

    def load(self, state: NDArray[np.float32], row: int = 0) -> None:
        self.device.check()
        self.device.spend("load")
        for place, values in enumerate(state, row):
            self.rows.write(place, values)

    def close(self) -> None:
        self.closed = True


def recovering(engine: Engine, devices: Sequence[Any]) -> tuple[Recovery, Engine]:
    """An engine whose token executor is the first device, and the next one after each loss."""
    left = list(devices)

    def another() -> list[Any]:
        if not left:
            raise CudaError("cuInit", "no device")
        return [left.pop(0)]

    recovery = Recovery(another, lambda: [engine.token], "rebuild")
    return recovery, replace(engine, token=recovery.executors()[0])


def test_executors_of_tensorrt_keep_state() -> None:
    """The fake above and the real one have what the seam asks for."""
    assert all(hasattr(TrtExecutor, name) for name in ("step_length", "most_rows", "cohort"))


def test_who_cannot_keep_state_brings_it_along(nano: Engine) -> None:
    assert isinstance(open_rows(nano.token, 3), StateRows)
    device = Device(nano.token)
    assert isinstance(device, Keeper)
    assert isinstance(open_rows(device, 3), ResidentRows)


def test_a_cohort_that_begins_small_grows_on_the_device(nano: Engine) -> None:
    """Recordings join one by one; a step of all of them is as few launches as there are full lodges."""
    device = Device(nano.token)
    here, there = StateRows(nano.token, 1), ResidentRows(device, 1)
    rng = np.random.default_rng(2)
    for rows in (1, 2, 5, 70):
        for graph in (here, there):
            graph.grow(rows)
        x = rng.normal(size=(rows, STEP)).astype(np.float32)
        before = device.stepped
        one, other = here.run(x, np.arange(rows)), there.run(x, np.arange(rows))
        assert device.stepped - before == -(-rows // SHELF)
        for name, values in one.items():
            np.testing.assert_allclose(other[name], values, atol=1e-5)


def test_the_same_with_and_without_a_device(nano: Engine) -> None:
    """Steps of all, of some, of lengths that the device was not built for; resets, reads and writes."""
    rng = np.random.default_rng(0)
    here, there = StateRows(nano.token, 130), ResidentRows(Device(nano.token), 130)
    for turn in range(2 * KEPT + 10):
        count = int(rng.integers(1, 130))
        index = np.sort(rng.choice(130, count, replace=False))
        rows = slice(0, 130) if turn % 7 == 0 else index
        length = STEP if turn % 5 else 16
        x = rng.normal(size=(130 if turn % 7 == 0 else count, length)).astype(np.float32)
        one, other = here.run(x, rows), there.run(x, rows)
        for name, values in one.items():
            np.testing.assert_allclose(other[name], values, atol=1e-5)
        if turn % 11 == 0:
            here.reset(slice(3, 5))
            there.reset(slice(3, 5))
        if turn % 13 == 0:
            there.write(7, here.read(8))
            here.write(7, here.read(8))
    states = (np.stack([graph.read(row) for row in range(130)]) for graph in (there, here))
    np.testing.assert_allclose(*states, atol=1e-5)


@pytest.mark.parametrize("when", [0, 1, 9, KEPT + 3])
def test_a_lost_device_loses_no_beat(nano: Engine, when: int) -> None:
    """The context dies, twice; what was on it is computed again, on another device and then on the CPU."""
    signal = heart(60, 250)
    expected = Stream(nano, 250).push(signal)
    devices = [Device(nano.token), Device(nano.token)]
    recovery, engine = recovering(nano, devices)
    stream, events = Stream(engine, 250), []
    for number, start in enumerate(range(0, len(signal), 125)):
        if number == when:
            devices[0].lost = True
        if number == when + 30:
            devices[1].lost = True
        events += stream.push(signal[start : start + 125])
    assert_same_events(events, expected)
    assert [incident.now for incident in recovery.incidents] == ["tensorrt", "onnxruntime"]
    assert devices[1].stepped >= 29


@pytest.mark.parametrize("found_by", ["another", "a step of another length"])
@pytest.mark.parametrize("then", ["step", "read", "write", "reset"])
def test_a_loss_that_is_found_elsewhere_is_noticed(nano: Engine, found_by: str, then: str) -> None:
    """The other graph of the engine, or a call past the device's state, has had the executors replaced."""
    rng = np.random.default_rng(1)
    first = Device(nano.token)
    _, engine = recovering(nano, [first, Device(nano.token)])
    here, there = StateRows(nano.token, 3), ResidentRows(engine.token, 3)

    def step(length: int = STEP) -> None:
        x = rng.normal(size=(3, length)).astype(np.float32)
        one, other = here.run(x, slice(0, 3)), there.run(x, slice(0, 3))
        for name, values in one.items():
            np.testing.assert_allclose(other[name], values, atol=1e-5)

    step()
    step()
    if found_by == "another":
        first.lost = True
        state = np.zeros((1, state_width(nano.token)), np.float32)
        engine.token.run({"signal": np.zeros((1, STEP), np.float32), "state": state})
    else:
        there.read(0)  # nothing is left to be asked of the device before the step
        first.lost = True
        step(16)
    if then == "write":
        here.write(1, there.read(2))
        there.write(1, there.read(2))
    elif then == "reset":
        here.reset(slice(0, 2))
        there.reset(slice(0, 2))
    elif then == "read":
        np.testing.assert_allclose(there.read(1), here.read(1), atol=1e-5)
    step()


@pytest.mark.parametrize("then", ["step", "read", "write", "grow"])
@pytest.mark.parametrize(
    "full", [{"run": 3}, {"run": 8}, {"cohort": 0}, {"cohort": 1}, {"load": 0}, {"load": 1}]
)
def test_a_rebuild_that_fails_midway_is_done_again(nano: Engine, full: dict[str, int], then: str) -> None:
    """Some steps were replayed, some rows had moved: none is replayed twice, and all come to the device."""
    rng = np.random.default_rng(3)
    devices = [Device(nano.token), Device(nano.token)]
    _, engine = recovering(nano, devices)
    here, there = StateRows(nano.token, 2 * SHELF), ResidentRows(engine.token, 2 * SHELF)

    def step() -> None:
        x = rng.normal(size=(len(here), STEP)).astype(np.float32)
        one, other = here.run(x, slice(0, len(x))), there.run(x, slice(0, len(x)))
        for name, values in one.items():
            np.testing.assert_allclose(other[name], values, atol=1e-5)

    for _ in range(5):
        step()
    devices[0].lost, devices[1].full = True, dict(full)
    with pytest.raises(CudaError, match="out of memory"):
        there.run(np.zeros((SHELF, STEP), np.float32), slice(0, SHELF))
    assert not devices[1].full
    if then == "read":
        np.testing.assert_allclose(there.read(SHELF + 1), here.read(SHELF + 1), atol=1e-5)
    elif then == "write":
        for rows in (here, there):
            rows.write(SHELF + 1, np.ones(state_width(nano.token), np.float32))
    elif then == "grow":
        here.grow(3 * SHELF)
        there.grow(3 * SHELF)
    before = devices[1].stepped
    step()
    step()
    assert devices[1].stepped - before == 2 * len(here) // SHELF
    assert sum(not kept.closed for kept in devices[1].kept) == len(here) // SHELF, "memory is lost"


def test_a_context_that_somebody_else_reset_is_a_lost_device(nano: Engine) -> None:
    """CUDA then says 201, which is not of those errors that destroy a context themselves."""
    devices = [Device(nano.token), Device(nano.token)]
    recovery, engine = recovering(nano, devices)
    here, there = StateRows(nano.token, 3), ResidentRows(engine.token, 3)
    x = np.random.default_rng(4).normal(size=(3, 3, STEP)).astype(np.float32)
    for turn in range(3):
        devices[0].reset_elsewhere = turn == 2
        one, other = here.run(x[turn], slice(0, 3)), there.run(x[turn], slice(0, 3))
        for name, values in one.items():
            np.testing.assert_allclose(other[name], values, atol=1e-5)
    assert [incident.reason for incident in recovery.incidents] == [
        "cuCtxPushCurrent failed: invalid device context"
    ]


def test_a_lost_device_troubles_no_patient_of_a_pool(nano: Engine) -> None:
    devices = [Device(nano.token), Device(nano.token)]
    _, engine = recovering(nano, devices)
    pools = StreamPool(nano, queue=60), StreamPool(engine, queue=60)
    told: list[list[Any]] = [[], []]
    signals = [heart(30, 250, seed=seed % 4) for seed in range(70)]
    for n in range(30):
        for pool, events in zip(pools, told, strict=True):
            for seed, signal in enumerate(signals):
                if seed not in pool:
                    pool.add(250, patient=seed)
                pool.push(seed, signal[n * 250 : (n + 1) * 250])
            events += pool.poll()
        devices[0].lost = n >= 12
    for seed in (0, 1, 63, 64, 69):
        one, other = ([event for name, event in events if name == seed] for events in told)
        assert len(one) > 10
        assert_same_events(other, one)


def test_an_error_that_is_no_loss_is_raised(nano: Engine) -> None:
    device = Device(nano.token)
    stream = Stream(replace(nano, token=device), 250)
    stream.push(heart(3, 250))
    device.check = lambda: (_ for _ in ()).throw(CudaError("cuMemAlloc", "out of memory"))  # type: ignore[method-assign]
    with pytest.raises(CudaError, match="out of memory"):
        stream.push(heart(3, 250))


def test_memory_on_the_device_is_freed(nano: Engine) -> None:
    device = Device(nano.token)
    stream = Stream(replace(nano, token=device), 250)
    stream.push(heart(3, 250))
    assert [kept.closed for kept in device.kept] == [False]
    del stream
    assert [kept.closed for kept in device.kept] == [True]
