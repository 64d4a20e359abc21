"""The CUDA seam by itself on a GPU: what its calls cost, copies against mapped memory, a lost context.

``python -m tools.gpu.seam pycuda`` or ``cuda-python``. No TensorRT and no PyTorch.
"""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from edgeecg.profile.latency import measure
from edgeecg.runtime.cuda import CudaError, Device, open_device

FLOAT = np.dtype(np.float32)

KERNELS = b"""
.version 7.0
.target sm_75
.address_size 64
.visible .entry double_all(.param .u64 from, .param .u64 to, .param .u32 count)
{
    .reg .pred %p; .reg .b32 %r<6>; .reg .f32 %f<2>; .reg .b64 %d<6>;
    ld.param.u64 %d1, [from]; ld.param.u64 %d2, [to]; ld.param.u32 %r1, [count];
    mov.u32 %r2, %ctaid.x; mov.u32 %r3, %ntid.x; mov.u32 %r4, %tid.x;
    mad.lo.s32 %r5, %r2, %r3, %r4;
    setp.ge.u32 %p, %r5, %r1;
    @%p ret;
    mul.wide.u32 %d3, %r5, 4;
    add.s64 %d4, %d1, %d3; add.s64 %d5, %d2, %d3;
    ld.global.f32 %f1, [%d4];
    add.f32 %f1, %f1, %f1;
    st.global.f32 [%d5], %f1;
    ret;
}
"""
"""A kernel that doubles ``count`` floats, as text that the driver compiles."""


class Kernel:
    """The kernel above through the driver itself, on whatever context is current."""

    def __init__(self) -> None:
        self._driver = ctypes.CDLL("libcuda.so.1")
        module, self._function = ctypes.c_void_p(), ctypes.c_void_p()
        self._check("cuModuleLoadData", ctypes.byref(module), KERNELS)
        self._check("cuModuleGetFunction", ctypes.byref(self._function), module, b"double_all")

    def _check(self, call: str, *arguments: Any) -> None:
        status = getattr(self._driver, call)(*arguments)
        if status:
            raise SystemExit(f"{call} failed with {status}")

    def launch(self, source: int, to: int, count: int, stream: int) -> None:
        """Queue it."""
        values = ctypes.c_uint64(source), ctypes.c_uint64(to), ctypes.c_uint32(count)
        pointers = (ctypes.c_void_p * 3)(*(ctypes.addressof(value) for value in values))
        blocks, threads = (count + 255) // 256, 256
        self._check(
            "cuLaunchKernel", self._function, blocks, 1, 1, threads, 1, 1, 0, ctypes.c_void_p(stream),
            pointers, None,
        )  # fmt: skip


def spinning(
    device: Device, stream: Any, work: Callable[[], None], blocking: bool = False
) -> Callable[[], None]:
    """A call that queues ``work`` and waits for it, by spinning or in an event's sleep."""
    done = device.event(blocking, timing=False)

    def call() -> None:
        work()
        done.record(stream)
        if blocking:
            done.synchronize()
        else:
            while not done.done():
                pass

    return call


def show(name: str, call: Callable[[], object]) -> None:
    """p50 and p99 of a call."""
    found = measure(call, warmup=100, runs=1000)
    print(f"{name:40}{1e3 * found.p50:9.1f} us{1e3 * found.p99:9.1f} us p99", flush=True)


def step_of(device: Device, stream: Any, kernel: Kernel, count: int, mapped: bool) -> Callable[[], None]:
    """Copy in, a kernel, copy out; or the kernel on mapped memory. Its result is checked once."""
    host, back = (device.pinned((count,), FLOAT, mapped) for _ in range(2))
    host.array[...] = np.random.default_rng(count).standard_normal(count)
    there, result = (None, None) if mapped else (device.allocate(4 * count), device.allocate(4 * count))

    def work() -> None:
        if there is None or result is None:
            kernel.launch(host.address, back.address, count, stream.handle)
            return
        device.copy_in(there.address, host.array, stream)
        kernel.launch(there.address, result.address, count, stream.handle)
        device.copy_out(back.array, result.address, stream)

    work()
    stream.synchronize()
    np.testing.assert_array_equal(back.array, 2 * host.array)
    return work


def costs(device: Device) -> None:
    """Copies against mapped memory by size, queued call by call and as a graph, spinning and blocking."""
    kernel, stream = Kernel(), device.stream()
    show("an empty wait", spinning(device, stream, lambda: None))
    for count in (128, 9_648, 64 * 9_648):
        for mapped in (False, True):
            work = step_of(device, stream, kernel, count, mapped)
            name = f"{4 * count} bytes, {'mapped' if mapped else 'copied'}"
            show(name, spinning(device, stream, work))
            show(f"{name}, blocking", spinning(device, stream, work, blocking=True))
            if device.captures:
                graph = device.capture(stream, work)
                show(f"{name}, graph", spinning(device, stream, lambda graph=graph: graph.launch(stream)))


def use(library: str, kernel: Kernel) -> None:
    """Open, take something of everything, run it, close."""
    device = open_device(library=library)  # type: ignore[arg-type]
    with device.active():
        stream = device.stream()
        for mapped in (False, True):
            work = step_of(device, stream, kernel, 1 << 20, mapped)
            if device.captures:
                device.capture(stream, work).launch(stream)
            spinning(device, stream, work)()
    device.close()


def leaks(library: str, times: int = 30) -> int:
    """Bytes of the device that are gone after opening and closing again and again."""
    watching = open_device(library=library)  # type: ignore[arg-type]
    with watching.active():
        kernel = Kernel()
        use(library, kernel)
        before, _ = watching.memory()
        for _ in range(times):
            use(library, kernel)
        after, _ = watching.memory()
    watching.close()
    return before - after


def lose(library: str) -> None:
    """A real sticky error, the reset, and work on the device afterwards."""
    device = open_device(library=library)  # type: ignore[arg-type]
    said, sticky = "nothing", False
    with device.active():
        stream = device.stream()
        Kernel().launch(0, 16, 64, stream.handle)  # reads address 0
        try:
            stream.synchronize()
            device.allocate(16)
        except CudaError as error:
            said, sticky = str(error), error.sticky
    begin = time.perf_counter()
    device.reset()
    again = open_device(library=library)  # type: ignore[arg-type]
    with again.active():
        step_of(again, again.stream(), Kernel(), 1000, mapped=False)
    seconds = time.perf_counter() - begin
    again.close()
    print(f"a kernel that reads address 0: {said} (sticky: {sticky}); work again after {seconds:.3f} s")


def main(library: str) -> None:
    """Measure, look for leaks, lose the context, go on."""
    device = open_device(library=library)  # type: ignore[arg-type]
    print(f"{device.library} on {device.info}")
    with device.active():
        costs(device)
        free, total = device.memory()
        print(f"memory in use by everybody: {(total - free) >> 20} MiB")
    device.close()
    print(f"opened and closed 30 times: {leaks(library)} bytes of the device are gone")
    lose(library)


if __name__ == "__main__":
    main(sys.argv[1])
