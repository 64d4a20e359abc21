"""A lost CUDA context: rebuilt, or to the CPU, told, and no step lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from edgeecg.bundle import Bundle, GraphName
from edgeecg.errors import BackendError
from edgeecg.runtime.cuda_errors import CudaError, is_sticky
from edgeecg.runtime.executor import Tensors
from edgeecg.runtime.ort import OrtExecutor
from edgeecg.runtime.trt.executor import TrtExecutor
from edgeecg.runtime.trt.recover import OnDeviceError, Recovery
from tests.runtime.trt.conftest import plan_of
from tests.runtime.trt.fakes import FakeDevice, fake_library

LOST = CudaError("cuStreamSynchronize", "an illegal memory access was encountered", sticky=True)


class Machine:
    """Opens the bundle's graphs on ever new fake devices."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.devices: list[FakeDevice] = []
        self.broken = False

    def reopen(self) -> list[TrtExecutor]:
        if self.broken:
            raise BackendError("no GPU can be used: the NVIDIA driver is missing")
        device = FakeDevice()
        self.devices.append(device)
        return [
            TrtExecutor(fake_library(device), plan_of(self.bundle, name), device)
            for name in ("token", "beat")
        ]

    def fallback(self) -> list[OrtExecutor]:
        return [OrtExecutor(self.bundle.graph("token")), OrtExecutor(self.bundle.graph("beat"))]

    def recovery(self, policy: OnDeviceError) -> Recovery:
        return Recovery(self.reopen, self.fallback, policy)


@pytest.fixture
def machine(bundle: Bundle) -> Machine:
    return Machine(bundle)


def fresh(bundle: Bundle, name: GraphName, rows: int) -> np.ndarray:
    """A state of zeros for a graph."""
    return np.zeros((rows, bundle.golden()[f"{name}.state"].shape[1]), np.float32)


@pytest.fixture
def signal(bundle: Bundle) -> Callable[[], dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    state = fresh(bundle, "token", 2)
    return lambda: {"signal": rng.standard_normal((2, 64)).astype(np.float32), "state": state}


@pytest.mark.parametrize(("policy", "now"), [("rebuild", "tensorrt"), ("cpu", "onnxruntime")])
def test_the_step_that_failed_is_run_again(machine: Machine, signal, policy: OnDeviceError, now: str) -> None:
    recovery = machine.recovery(policy)
    token, beat = recovery.executors()
    token.run(signal())
    machine.devices[0].lost = LOST
    inputs = signal()
    with OrtExecutor(machine.bundle.graph("token")) as reference:
        np.testing.assert_allclose(token.run(inputs)["heads"], reference.run(inputs)["heads"], atol=1e-5)
    (incident,) = recovery.incidents
    assert incident.now == now
    assert "illegal memory access" in incident.reason
    assert incident.seconds >= 0
    assert machine.devices[0].resets == 2  # both executors are dropped; the second reset finds nothing
    beats = {"beats": np.zeros((1, 1, 40), np.float32), "state": fresh(machine.bundle, "beat", 1)}
    beat.run(beats)
    assert len(recovery.incidents) == 1, "both graphs are replaced at once"
    token.close()
    beat.close()


def test_raise_leaves_it_to_the_caller(machine: Machine, signal) -> None:
    recovery = machine.recovery("raise")
    token, _ = recovery.executors()
    machine.devices[0].lost = LOST
    with pytest.raises(CudaError, match="must be opened anew"):
        token.run(signal())
    assert recovery.incidents == []


def test_an_error_that_is_not_sticky_is_passed_on(machine: Machine, signal) -> None:
    recovery = machine.recovery("rebuild")
    token, _ = recovery.executors()
    machine.devices[0].lost = CudaError("cuMemAlloc", "out of memory")
    with pytest.raises(CudaError, match=r"cuMemAlloc failed: out of memory$"):
        token.run(signal())


def test_a_rebuild_that_fails_falls_to_the_cpu(
    machine: Machine, signal, caplog: pytest.LogCaptureFixture
) -> None:
    recovery = machine.recovery("rebuild")
    token, _ = recovery.executors()
    machine.devices[0].lost = LOST
    machine.broken = True
    token.run(signal())
    assert recovery.incidents[0].now == "onnxruntime"
    assert "falling to the CPU" in caplog.text


@pytest.mark.parametrize(("code", "reason"), [(709, "context is destroyed"), (201, "invalid device context")])
def test_a_context_that_somebody_else_reset_is_not_reset_again(
    machine: Machine, signal, code: int, reason: str
) -> None:
    recovery = machine.recovery("rebuild")
    token, _ = recovery.executors()
    machine.devices[0].lost = CudaError("cuLaunch", reason, is_sticky(code, reason))
    token.run(signal())
    assert machine.devices[0].resets == 0
    assert len(recovery.incidents) == 1


@pytest.mark.parametrize(("code", "reason"), [(709, "context is destroyed"), (201, "invalid device context")])
def test_closing_on_a_context_that_somebody_else_reset_leaves_the_new_one(
    machine: Machine, signal, code: int, reason: str
) -> None:
    token, _ = machine.reopen()
    token.run(signal())
    machine.devices[0].lost = CudaError("cuStreamSynchronize", reason, is_sticky(code, reason))
    token.close()
    assert machine.devices[0].resets == 0
    with pytest.raises(BackendError, match="closed"):
        token.run(signal())


@pytest.mark.parametrize("policy", ["rebuild", "cpu"])
def test_two_threads_that_fail_together_replace_once(
    machine: Machine, signal, policy: OnDeviceError, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have taken the same executor before either runs it: one loses the device, the other finds out."""
    recovery = machine.recovery(policy)
    token, _ = recovery.executors()
    failing, both = recovery.current(0), threading.Barrier(2)
    run = failing.run
    monkeypatch.setattr(failing, "run", lambda inputs: (both.wait(10), run(inputs))[1])
    machine.devices[0].lost = LOST
    inputs = signal()
    with ThreadPoolExecutor(2) as threads:
        found = [future.result(60) for future in [threads.submit(token.run, inputs) for _ in range(2)]]
    with OrtExecutor(machine.bundle.graph("token")) as reference:
        for outputs in found:
            np.testing.assert_allclose(outputs["heads"], reference.run(inputs)["heads"], atol=1e-5)
    assert len(recovery.incidents) == 1
    assert len(machine.devices) == (2 if policy == "rebuild" else 1)


def test_who_finds_the_executor_closed_waits_for_the_one_that_replaces_it(
    machine: Machine, signal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread has dropped the executors and is still opening others, which takes seconds on a GPU."""
    recovery = machine.recovery("rebuild")
    token, beat = recovery.executors()
    taken, dropped, told = threading.Event(), threading.Event(), threading.Event()
    failing = recovery.current(0)
    run = failing.run

    def late(inputs: Tensors) -> dict[str, np.ndarray]:
        taken.set()
        assert dropped.wait(10)
        try:
            return run(inputs)
        finally:
            told.set()

    def reopen() -> list[TrtExecutor]:
        dropped.set()
        assert told.wait(10)
        return machine.reopen()

    monkeypatch.setattr(failing, "run", late)
    monkeypatch.setattr(recovery, "_reopen", reopen)
    inputs = signal()
    with ThreadPoolExecutor(1) as threads:
        other = threads.submit(token.run, inputs)
        assert taken.wait(10)
        machine.devices[0].lost = LOST
        beat.run({"beats": np.zeros((1, 1, 40), np.float32), "state": fresh(machine.bundle, "beat", 1)})
        outputs = other.result(60)
    with OrtExecutor(machine.bundle.graph("token")) as reference:
        np.testing.assert_allclose(outputs["heads"], reference.run(inputs)["heads"], atol=1e-5)
    assert len(recovery.incidents) == 1


def test_an_executor_that_its_owner_closed_is_not_run_again(machine: Machine, signal) -> None:
    recovery = machine.recovery("rebuild")
    token, _ = recovery.executors()
    token.close()
    with pytest.raises(BackendError, match="the executor is closed"):
        token.run(signal())
    assert recovery.incidents == []


def test_an_engine_on_a_lost_device_can_be_closed(machine: Machine, signal) -> None:
    token, beat = machine.reopen()
    token.run(signal())
    machine.devices[0].lost = LOST
    for executor in (token, beat):
        executor.close()
        executor.close()
    assert machine.devices[0].resets == 2
    with pytest.raises(BackendError, match="closed"):
        token.run(signal())
