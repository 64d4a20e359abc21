"""CUDA through pycuda, on the primary context; ``pycuda.autoinit`` is never imported.

One context object serves all threads: pycuda frees a thing only while the very object is current under
which it was made.
"""

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


@contextmanager
def checked(driver: Any) -> Iterator[None]:
    """Turn pycuda's errors (``cuMemAlloc failed: out of memory``) into :class:`CudaError`."""
    try:
        yield
    except driver.Error as error:
        call, _, reason = str(error).partition(" failed: ")
        raise CudaError(call, reason or str(error), is_sticky(0, str(error))) from error


def load_driver() -> Any:
    """``pycuda.driver``, initialised.

    Raises
    ------
    BackendError
        It was built against another CUDA, or the NVIDIA driver is missing or finds no GPU.
    """
    try:
        import pycuda.driver as driver
    except ImportError as error:
        raise BackendError(f"no GPU can be used: pycuda does not load ({error}), {ADVICE}") from error
    try:
        driver.init()
    except driver.Error as error:
        raise BackendError(f"no GPU can be used: {error}, {ADVICE}") from error
    return driver


class _Stream(Resource):
    def __init__(self, owner: set[Resource], driver: Any) -> None:
        super().__init__(owner)
        self._driver = driver
        with checked(driver):
            self.raw = driver.Stream(1)  # CU_STREAM_NON_BLOCKING

    @property
    def handle(self) -> int:
        return int(self.raw.handle)

    def synchronize(self) -> None:
        with checked(self._driver):
            self.raw.synchronize()

    def _release(self) -> None:
        self.raw = None  # pycuda destroys it with its last reference


class _Event(Resource):
    def __init__(self, owner: set[Resource], driver: Any, blocking: bool, timing: bool) -> None:
        super().__init__(owner)
        self._driver = driver
        flags = driver.event_flags.BLOCKING_SYNC if blocking else 0
        flags |= 0 if timing else driver.event_flags.DISABLE_TIMING
        with checked(driver):
            self.raw = driver.Event(flags)

    def record(self, stream: Stream) -> None:
        with checked(self._driver):
            self.raw.record(raw_stream(stream))

    def done(self) -> bool:
        with checked(self._driver):
            return bool(self.raw.query())

    def synchronize(self) -> None:
        with checked(self._driver):
            self.raw.synchronize()

    def since(self, earlier: Event) -> float:
        if not isinstance(earlier, _Event):
            raise TypeError("events of one device only")
        with checked(self._driver):
            return float(self.raw.time_since(earlier.raw))

    def _release(self) -> None:
        self.raw = None


class _DeviceMemory(Resource):
    def __init__(self, owner: set[Resource], driver: Any, size: int) -> None:
        self._driver = driver
        self.size = size
        with checked(driver):
            self._raw = driver.mem_alloc(size)
        self.address = int(self._raw)
        super().__init__(owner)

    def _release(self) -> None:
        with checked(self._driver):
            self._raw.free()


class _HostMemory(Resource):
    def __init__(
        self, owner: set[Resource], driver: Any, shape: tuple[int, ...], dtype: np.dtype[Any], mapped: bool
    ) -> None:
        self._driver = driver
        flags = driver.host_alloc_flags.DEVICEMAP if mapped else 0
        with checked(driver):
            self.array: NDArray[Any] = driver.pagelocked_empty(shape, dtype, mem_flags=flags)
            self.array[...] = 0
            self._raw: Any = self.array.base
            self.address = int(self._raw.get_device_pointer()) if mapped else 0
        super().__init__(owner)

    def _release(self) -> None:
        with checked(self._driver):
            self._raw.free()


def raw_stream(stream: Stream) -> Any:
    """The pycuda object behind a stream of this module."""
    if not isinstance(stream, _Stream):
        raise TypeError("streams of one device only")
    return stream.raw


class _Device:
    """A GPU through pycuda; see :class:`edgeecg.runtime.cuda.Device`."""

    library = "pycuda"
    captures = False

    def __init__(self, index: int = 0) -> None:
        self._driver = load_driver()
        count = self._driver.Device.count()
        if not 0 <= index < count:
            raise BackendError(f"there is no GPU {index}: this machine has {count}, {ADVICE}")
        self._raw = self._driver.Device(index)
        attribute, kinds = self._raw.get_attribute, self._driver.device_attribute
        self.info = DeviceInfo(
            index,
            self._raw.name(),
            self._raw.compute_capability(),
            bool(attribute(kinds.INTEGRATED)),
            self._raw.total_memory(),
            attribute(kinds.MULTIPROCESSOR_COUNT),
        )
        with checked(self._driver):
            self._context = self._raw.retain_primary_context()
        self._owned: set[Resource] = set()
        self._open = True

    @contextmanager
    def active(self) -> Iterator[None]:
        with checked(self._driver):
            self._context.push()
        try:
            yield
        finally:
            with checked(self._driver):
                self._driver.Context.pop()

    def stream(self) -> Stream:
        return _Stream(self._owned, self._driver)

    def event(self, blocking: bool = False, timing: bool = True) -> Event:
        return _Event(self._owned, self._driver, blocking, timing)

    def allocate(self, size: int) -> DeviceMemory:
        return _DeviceMemory(self._owned, self._driver, size)

    def pinned(self, shape: tuple[int, ...], dtype: np.dtype[Any], mapped: bool = False) -> HostMemory:
        return _HostMemory(self._owned, self._driver, shape, dtype, mapped)

    def copy_in(self, to: int, source: NDArray[Any], stream: Stream) -> None:
        with checked(self._driver):
            self._driver.memcpy_htod_async(to, source, raw_stream(stream))

    def copy_out(self, to: NDArray[Any], source: int, stream: Stream) -> None:
        with checked(self._driver):
            self._driver.memcpy_dtoh_async(to, source, raw_stream(stream))

    def copy_on(self, to: int, source: int, size: int, stream: Stream) -> None:
        with checked(self._driver):
            self._driver.memcpy_dtod_async(to, source, size, raw_stream(stream))

    def clear(self, address: int, size: int, stream: Stream) -> None:
        with checked(self._driver):
            self._driver.memset_d8_async(address, 0, size, raw_stream(stream))

    def capture(self, stream: Stream, work: Callable[[], None]) -> Graph:
        raise BackendError(
            "pycuda cannot capture CUDA graphs: pip install cuda-python, or open without graphs"
        )

    def memory(self) -> tuple[int, int]:
        with checked(self._driver):
            free, total = self._driver.mem_get_info()
        return int(free), int(total)

    def reset(self) -> None:
        if not self._open:
            return
        self._open = False
        self._owned.clear()
        # pycuda has no such call; the driver library that it is linked to has
        status = libcuda().cuDevicePrimaryCtxReset_v2(self.info.index)
        self._let_go()
        if status:
            raise CudaError("cuDevicePrimaryCtxReset", f"error {status}", is_sticky(status, ""))

    def close(self) -> None:
        if not self._open:
            return
        self._open = False
        with self.active():
            for thing in list(self._owned):
                thing.free()
        self._let_go()

    def _let_go(self) -> None:
        """Release the primary context.

        pycuda does so properly only for a context that is current, and then forgets to pop it.
        """
        alone = self._driver.Context.get_current() is None
        with checked(self._driver):
            self._context.push()
            self._context.detach()
        if alone:
            libcuda().cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p()))


def libcuda() -> ctypes.CDLL:
    """NVIDIA's driver library, for the calls that pycuda lacks."""
    return ctypes.CDLL("libcuda.so.1")


def open_device(index: int = 0) -> Device:
    """Open GPU ``index``; :func:`edgeecg.runtime.cuda.open_device` chooses the library."""
    return _Device(index)
