"""CUDA through cuda-python (``cuda.bindings.driver``): the driver API call by call."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeecg.errors import BackendError
from edgeecg.runtime.cuda import (
    ADVICE,
    Device,
    DeviceInfo,
    DeviceMemory,
    Event,
    Graph,
    HostMemory,
    Resource,
    Stream,
)
from edgeecg.runtime.cuda_errors import CudaError, is_sticky

__all__ = ["open_device"]


def load_driver() -> Any:
    """The driver bindings, at their place since 12.6 or before it; initialised.

    Raises
    ------
    BackendError
        The NVIDIA driver is missing or finds no GPU.
    """
    try:
        from cuda.bindings import driver
    except ImportError as error:
        driver = _former_driver(error)
    try:
        code = driver.cuInit(0)[0]
    except (RuntimeError, ImportError) as error:  # libcuda.so.1 is not there
        raise BackendError(
            f"no GPU can be used: install the NVIDIA driver, whose libcuda.so.1 is missing, {ADVICE}"
        ) from error
    if int(code):
        raise BackendError(f"no GPU can be used: cuInit says {code.name}, {ADVICE}")
    return driver


def _former_driver(first: ImportError) -> Any:
    """The driver bindings where they were before 12.6; ``first`` says why they are not where they are now."""
    try:
        from cuda import cuda
    except ImportError as error:  # not there, or of another CUDA
        told = error if isinstance(first, ModuleNotFoundError) else first
        said = " ".join(str(told).split())[:150]
        raise BackendError(
            f"no GPU can be used: cuda-python does not load ({said}); install the one of this CUDA's major "
            f"version, which 'edgeecg doctor' names, {ADVICE}"
        ) from told
    return cuda


class _Calls:
    """Calls into the driver, each checked."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def __call__(self, function: str, *arguments: Any) -> Any:
        """Result of a driver function without its status; :class:`CudaError`, or ``BackendError`` where the
        driver is too old to have it.
        """
        try:
            status, *results = getattr(self.driver, function)(*arguments)
        except RuntimeError as error:
            raise BackendError(
                f"cuda-python is newer than the driver ({error}): install the one of the driver's CUDA, e.g. "
                f"'cuda-python<13' before driver 580, {ADVICE}"
            ) from error
        if int(status):
            raise self.error(function, status)
        return results[0] if len(results) == 1 else tuple(results)

    def error(self, function: str, status: Any) -> CudaError:
        """What a driver function's status means, in the driver's words."""
        _, text = self.driver.cuGetErrorString(status)
        reason = text.decode() if isinstance(text, bytes) else str(status)
        return CudaError(function, reason, is_sticky(int(status), reason))


class _Stream(Resource):
    def __init__(self, owner: set[Resource], calls: _Calls) -> None:
        self._calls = calls
        self.raw = calls("cuStreamCreate", calls.driver.CUstream_flags.CU_STREAM_NON_BLOCKING)
        super().__init__(owner)

    @property
    def handle(self) -> int:
        return int(self.raw)

    def synchronize(self) -> None:
        self._calls("cuStreamSynchronize", self.raw)

    def _release(self) -> None:
        self._calls("cuStreamDestroy", self.raw)


class _Event(Resource):
    def __init__(self, owner: set[Resource], calls: _Calls, blocking: bool, timing: bool) -> None:
        self._calls = calls
        kinds = calls.driver.CUevent_flags
        flags = int(kinds.CU_EVENT_BLOCKING_SYNC) if blocking else 0
        flags |= 0 if timing else int(kinds.CU_EVENT_DISABLE_TIMING)
        self.raw = calls("cuEventCreate", flags)
        super().__init__(owner)

    def record(self, stream: Stream) -> None:
        self._calls("cuEventRecord", self.raw, stream.handle)

    def done(self) -> bool:
        status = self._calls.driver.cuEventQuery(self.raw)[0]
        results = self._calls.driver.CUresult
        if status == results.CUDA_ERROR_NOT_READY:
            return False
        if status != results.CUDA_SUCCESS:
            raise self._calls.error("cuEventQuery", status)
        return True

    def synchronize(self) -> None:
        self._calls("cuEventSynchronize", self.raw)

    def since(self, earlier: Event) -> float:
        if not isinstance(earlier, _Event):
            raise TypeError("events of one device only")
        return float(self._calls("cuEventElapsedTime", earlier.raw, self.raw))

    def _release(self) -> None:
        self._calls("cuEventDestroy", self.raw)


class _DeviceMemory(Resource):
    def __init__(self, owner: set[Resource], calls: _Calls, size: int) -> None:
        self._calls = calls
        self.size = size
        self.address = int(calls("cuMemAlloc", size))
        super().__init__(owner)

    def _release(self) -> None:
        self._calls("cuMemFree", self.address)


class _HostMemory(Resource):
    def __init__(
        self, owner: set[Resource], calls: _Calls, shape: tuple[int, ...], dtype: np.dtype[Any], mapped: bool
    ) -> None:
        self._calls = calls
        size = max(1, int(np.prod(shape)) * dtype.itemsize)
        flags = calls.driver.CU_MEMHOSTALLOC_DEVICEMAP if mapped else 0
        self._host = int(calls("cuMemHostAlloc", size, flags))
        block = (ctypes.c_byte * size).from_address(self._host)
        self.array: NDArray[Any] = (
            np.ctypeslib.as_array(block).view(dtype)[: int(np.prod(shape))].reshape(shape)
        )
        self.array[...] = 0
        self.address = int(calls("cuMemHostGetDevicePointer", self._host, 0)) if mapped else 0
        super().__init__(owner)

    def _release(self) -> None:
        self._calls("cuMemFreeHost", self._host)


class _Graph(Resource):
    def __init__(self, owner: set[Resource], calls: _Calls, recorded: Any) -> None:
        self._calls = calls
        self._runs = calls("cuGraphInstantiate", recorded, 0)
        calls("cuGraphDestroy", recorded)
        super().__init__(owner)

    def launch(self, stream: Stream) -> None:
        self._calls("cuGraphLaunch", self._runs, stream.handle)

    def _release(self) -> None:
        self._calls("cuGraphExecDestroy", self._runs)


class _Device:
    """A GPU through cuda-python; see :class:`edgeecg.runtime.cuda.Device`."""

    library = "cuda-python"
    captures = True

    def __init__(self, index: int = 0) -> None:
        self._calls = _Calls(load_driver())
        count = int(self._calls("cuDeviceGetCount"))
        if not 0 <= index < count:
            raise BackendError(f"there is no GPU {index}: this machine has {count}, {ADVICE}")
        self._raw = self._calls("cuDeviceGet", index)
        self.info = self._describe(index)
        self._context = self._calls("cuDevicePrimaryCtxRetain", self._raw)
        self._owned: set[Resource] = set()
        self._open = True

    def _describe(self, index: int) -> DeviceInfo:
        kinds = self._calls.driver.CUdevice_attribute
        major, minor, integrated, multiprocessors = (
            int(self._calls("cuDeviceGetAttribute", getattr(kinds, f"CU_DEVICE_ATTRIBUTE_{kind}"), self._raw))
            for kind in (
                "COMPUTE_CAPABILITY_MAJOR", "COMPUTE_CAPABILITY_MINOR", "INTEGRATED", "MULTIPROCESSOR_COUNT"
            )
        )  # fmt: skip
        name = self._calls("cuDeviceGetName", 128, self._raw).split(b"\0")[0].decode()
        memory = int(self._calls("cuDeviceTotalMem", self._raw))
        return DeviceInfo(index, name, (major, minor), bool(integrated), memory, multiprocessors)

    @contextmanager
    def active(self) -> Iterator[None]:
        self._calls("cuCtxPushCurrent", self._context)
        try:
            yield
        finally:
            self._calls("cuCtxPopCurrent")

    def stream(self) -> Stream:
        return _Stream(self._owned, self._calls)

    def event(self, blocking: bool = False, timing: bool = True) -> Event:
        return _Event(self._owned, self._calls, blocking, timing)

    def allocate(self, size: int) -> DeviceMemory:
        return _DeviceMemory(self._owned, self._calls, size)

    def pinned(self, shape: tuple[int, ...], dtype: np.dtype[Any], mapped: bool = False) -> HostMemory:
        return _HostMemory(self._owned, self._calls, shape, dtype, mapped)

    def copy_in(self, to: int, source: NDArray[Any], stream: Stream) -> None:
        self._calls("cuMemcpyHtoDAsync", to, source.ctypes.data, source.nbytes, stream.handle)

    def copy_out(self, to: NDArray[Any], source: int, stream: Stream) -> None:
        self._calls("cuMemcpyDtoHAsync", to.ctypes.data, source, to.nbytes, stream.handle)

    def copy_on(self, to: int, source: int, size: int, stream: Stream) -> None:
        self._calls("cuMemcpyDtoDAsync", to, source, size, stream.handle)

    def clear(self, address: int, size: int, stream: Stream) -> None:
        self._calls("cuMemsetD8Async", address, 0, size, stream.handle)

    def capture(self, stream: Stream, work: Callable[[], None]) -> Graph:
        # thread-local: what other threads do meanwhile neither enters the graph nor breaks it
        mode = self._calls.driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        self._calls("cuStreamBeginCapture", stream.handle, mode)
        try:
            work()
        except BaseException:
            # the stream must leave capture mode; the first error is the one to tell
            status, broken = self._calls.driver.cuStreamEndCapture(stream.handle)
            if not int(status):
                self._calls.driver.cuGraphDestroy(broken)
            raise
        recorded = self._calls("cuStreamEndCapture", stream.handle)
        return _Graph(self._owned, self._calls, recorded)

    def memory(self) -> tuple[int, int]:
        free, total = self._calls("cuMemGetInfo")
        return int(free), int(total)

    def reset(self) -> None:
        if self._open:
            self._open = False
            self._owned.clear()  # freed by the reset itself
            self._calls("cuDevicePrimaryCtxReset", self._raw)
            self._calls("cuDevicePrimaryCtxRelease", self._raw)

    def close(self) -> None:
        if not self._open:
            return
        self._open = False
        with self.active():
            for thing in list(self._owned):
                thing.free()
        self._calls("cuDevicePrimaryCtxRelease", self._raw)


def open_device(index: int = 0) -> Device:
    """Open GPU ``index``; :func:`edgeecg.runtime.cuda.open_device` chooses the library."""
    return _Device(index)
