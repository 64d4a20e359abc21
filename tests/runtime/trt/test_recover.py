"""A lost CUDA context: rebuilt, or to the CPU, told, and no step lost."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from edgeecg.bundle import Bundle, GraphName
from edgeecg.errors import BackendError
from edgeecg.runtime.cuda import CudaError
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


def test_a_context_that_somebody_else_reset_is_not_reset_again(machine: Machine, signal) -> None:
    recovery = machine.recovery("rebuild")
    token, _ = recovery.executors()
    machine.devices[0].lost = CudaError("cuLaunch", "context is destroyed", sticky=True)
    token.run(signal())
    assert machine.devices[0].resets == 0


def test_two_threads_that_fail_together_replace_once(machine: Machine) -> None:
    recovery = machine.recovery("rebuild")
    failed = recovery.current(0)
    recovery.replace(failed, LOST)
    recovery.replace(failed, LOST)
    assert len(recovery.incidents) == 1
    assert len(machine.devices) == 2


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
