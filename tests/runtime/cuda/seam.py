"""Drives the seam through a CUDA library; run by ``test_seam.py`` in a process of its own."""

from __future__ import annotations

import ctypes
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from edgeecg.errors import BackendError
from edgeecg.runtime.cuda import CudaError, open_device

FLOAT = np.dtype(np.float32)


def work(device, stream) -> None:
    """Copies in, on and out; the numbers must come back."""
    host, back = device.pinned((3, 4), FLOAT), device.pinned((3, 4), FLOAT)
    assert not host.array.any(), "pinned memory must begin as zeros"
    there, beside = device.allocate(48), device.allocate(48)
    host.array[...] = np.arange(12, dtype=np.float32).reshape(3, 4)
    device.copy_in(there.address, host.array, stream)
    device.copy_on(beside.address, there.address, 48, stream)
    device.clear(there.address, 48, stream)
    device.copy_out(back.array, beside.address, stream)
    stream.synchronize()
    np.testing.assert_array_equal(back.array, host.array)
    device.copy_out(back.array, there.address, stream)
    stream.synchronize()
    assert not back.array.any()
    mapped = device.pinned((2,), FLOAT, mapped=True)
    assert mapped.address
    assert host.address == 0
    for thing in (host, back, there, beside, mapped):
        thing.free()
        thing.free()


def elsewhere(device, stream) -> None:
    """The same in another thread, which has a context of its own."""
    with device.active():
        work(device, stream)


def capture(device, stream, driver) -> None:
    """What is captured runs at launch, not before."""
    host, there = device.pinned((4,), FLOAT), device.allocate(16)
    back = device.pinned((4,), FLOAT)

    def queue() -> None:
        device.copy_in(there.address, host.array, stream)
        device.copy_out(back.array, there.address, stream)

    graph = device.capture(stream, queue)
    host.array[...] = 7
    assert not back.array.any()
    graph.launch(stream)
    assert (back.array == 7).all()
    host.array[...] = 9
    graph.launch(stream)
    assert (back.array == 9).all()
    assert driver.hostcuda_launches() == 2

    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        device.capture(stream, fail)
    device.copy_in(there.address, host.array, stream)  # the stream is out of capture mode again
    for thing in (graph, host, there, back):
        thing.free()


def events(device, stream) -> None:
    """Events in both kinds."""
    first, second = device.event(), device.event(blocking=True)
    first.record(stream)
    second.record(stream)
    assert second.done()
    second.synchronize()
    assert second.since(first) == 1.5
    first.free()
    second.free()


def errors(device) -> None:
    """Errors are named; sticky ones say that the context is lost."""
    with device.active(), pytest.raises(CudaError, match="out of memory") as caught:
        device.allocate(1 << 40)
    assert caught.value.call.startswith("cuMemAlloc"), caught.value.call
    assert not caught.value.sticky
    if device.library == "cuda-python":  # without a current context nothing goes
        with pytest.raises(CudaError, match="invalid device context"):
            device.allocate(16)


def lose(library: str, driver) -> None:
    """A sticky error, and the reset that ends it."""
    device = open_device(library=library)
    with device.active():
        stream = device.stream()
        memory = device.pinned((4,), FLOAT)
        there, event = device.allocate(16), device.event()
        event.record(stream)
        words = {201: "invalid device context", 700: "an illegal memory access was encountered"}
        for code, reason in words.items():
            driver.hostcuda_fail(code)
            for call in (lambda: device.copy_in(there.address, memory.array, stream), event.done):
                with pytest.raises(CudaError) as caught:
                    call()
                assert caught.value.reason == reason  # the driver's words: by them a lost context is known
                assert caught.value.lost
    device.reset()
    device.reset()
    assert driver.hostcuda_resets() == 1
    again = open_device(library=library)
    with again.active():
        again.allocate(16).free()
    again.close()
    assert driver.hostcuda_retained() == 0


def main(library: str) -> None:
    driver = ctypes.CDLL("libcuda.so.1")
    device = open_device(library=library)
    assert device.library == library
    assert (device.info.name, device.info.capability, device.info.integrated) == ("Host", (8, 7), True)
    assert (device.info.memory, device.info.multiprocessors) == (8 << 30, 16)
    with pytest.raises(BackendError, match="there is no GPU 3"):
        open_device(3, library)
    with device.active():
        assert device.memory() == (6 << 30, 8 << 30)
        stream = device.stream()
        assert stream.handle
        work(device, stream)
        events(device, stream)
        if device.captures:
            capture(device, stream, driver)
        with ThreadPoolExecutor(3) as threads:
            for done in [threads.submit(elsewhere, device, stream) for _ in range(6)]:
                done.result()
    errors(device)
    assert driver.hostcuda_depth() == 0, "a context was pushed and not popped"
    device.close()
    device.close()
    assert driver.hostcuda_live() == 0, f"{driver.hostcuda_live()} things were not freed"
    assert driver.hostcuda_retained() == 0, "the primary context was not released as often as retained"
    assert driver.hostcuda_depth() == 0, "closing left a context behind"
    lose(library, driver)
    print("seam ok")


if __name__ == "__main__":
    main(sys.argv[1])
