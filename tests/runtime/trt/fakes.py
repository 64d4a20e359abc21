"""A GPU of host memory, and a TensorRT that runs ONNX Runtime on it.

There is no GPU where these tests run. What they prove is the orchestration that is ours: addresses,
padding, slices, turns of the state, captures, frees. Streams are real queues here: what is queued runs
only when somebody waits, so a read before a wait gives wrong numbers as it would on a device.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np

from edgeecg.runtime.cuda import CudaError, DeviceInfo, Resource
from edgeecg.runtime.ort import OrtExecutor
from edgeecg.runtime.trt.library import TensorRTLibrary


class FakeStream(Resource):
    def __init__(self, owner: set[Resource], device: FakeDevice) -> None:
        super().__init__(owner)
        self._device = device
        self.queue: list[Callable[[], None]] = []
        self.capturing: list[Callable[[], None]] | None = None
        self.spoilt = False  # whether something was done that may not be done in a capture
        self.handle = 1000 + id(self) % 1_000_000
        device.streams[self.handle] = self

    def put(self, work: Callable[[], None]) -> None:
        (self.queue if self.capturing is None else self.capturing).append(work)

    def synchronize(self) -> None:
        self._device.check("cuStreamSynchronize")
        if self.capturing is not None:
            self.spoilt = True
            raise CudaError("cuStreamSynchronize", "operation not permitted when stream is capturing")
        for work in self.queue:
            work()
        self.queue.clear()

    def _release(self) -> None:
        del self._device.streams[self.handle]


class FakeEvent(Resource):
    def __init__(self, owner: set[Resource]) -> None:
        super().__init__(owner)
        self._stream: FakeStream | None = None
        self.ticks = 0

    def record(self, stream: FakeStream) -> None:
        self._stream = stream
        self.ticks = len(stream.queue)

    def done(self) -> bool:
        self.synchronize()
        return True

    def synchronize(self) -> None:
        assert self._stream is not None
        self._stream.synchronize()

    def since(self, earlier: FakeEvent) -> float:
        return float(self.ticks - earlier.ticks)

    def _release(self) -> None:
        pass


class FakeMemory(Resource):
    def __init__(self, owner: set[Resource], size: int) -> None:
        super().__init__(owner)
        self.size = size
        self.bytes = np.full(size, 0xAB, np.uint8)  # device memory is not zeroed
        self.address = self.bytes.ctypes.data

    def _release(self) -> None:
        self.bytes[:] = 0xCD  # use after free shows


class FakeHost(Resource):
    def __init__(self, owner: set[Resource], shape: tuple[int, ...], dtype: Any, mapped: bool) -> None:
        super().__init__(owner)
        self.array = np.zeros(shape, dtype)
        self.address = self.array.ctypes.data if mapped else 0

    def _release(self) -> None:
        self.array.view(np.uint8)[...] = 0xCD


class FakeGraph(Resource):
    def __init__(self, owner: set[Resource], work: list[Callable[[], None]]) -> None:
        super().__init__(owner)
        self._work = work
        self.launches = 0

    def launch(self, stream: FakeStream) -> None:
        assert self in self._owner, "launched after it was freed"
        self.launches += 1
        for work in self._work:
            stream.put(work)

    def _release(self) -> None:
        pass


class FakeDevice:
    """See ``edgeecg.runtime.cuda.Device``."""

    library = "fake"

    def __init__(self, integrated: bool = False, captures: bool = True) -> None:
        self.info = DeviceInfo(0, "Fake", (8, 7), integrated, 8 << 30, 16)
        self.captures = captures
        self.owned: set[Resource] = set()
        self.streams: dict[int, FakeStream] = {}
        self.graphs: list[FakeGraph] = []
        self.depth = 0
        self.resets = 0
        self.lost: CudaError | None = None
        self.mapped = 0
        self.engines: list[FakeEngine] = []
        self.full = False  # whether a profile finds no memory
        self.closed = False
        self.alone = False  # whether one executor has it, as in life each has its own
        self.capturable = True  # whether TensorRT lets its runs be captured

    def check(self, call: str) -> None:
        assert self.depth > 0, f"{call} without an active context"
        if self.lost is not None:
            raise self.lost

    @contextmanager
    def active(self) -> Iterator[None]:
        assert not (self.alone and self.closed), "the device is closed"
        self.depth += 1
        try:
            yield
        finally:
            self.depth -= 1

    def stream(self) -> FakeStream:
        return FakeStream(self.owned, self)

    def event(self, blocking: bool = False, timing: bool = True) -> FakeEvent:
        return FakeEvent(self.owned)

    def allocate(self, size: int) -> FakeMemory:
        self.check("cuMemAlloc")
        return FakeMemory(self.owned, size)

    def pinned(self, shape: tuple[int, ...], dtype: Any, mapped: bool = False) -> FakeHost:
        self.mapped += mapped
        return FakeHost(self.owned, shape, dtype, mapped)

    def copy_in(self, to: int, source: Any, stream: FakeStream) -> None:
        self.check("cuMemcpyHtoDAsync")
        stream.put(lambda: ctypes.memmove(to, source.ctypes.data, source.nbytes))

    def copy_out(self, to: Any, source: int, stream: FakeStream) -> None:
        self.check("cuMemcpyDtoHAsync")
        stream.put(lambda: ctypes.memmove(to.ctypes.data, source, to.nbytes))

    def copy_on(self, to: int, source: int, size: int, stream: FakeStream) -> None:
        stream.put(lambda: ctypes.memmove(to, source, size))

    def clear(self, address: int, size: int, stream: FakeStream) -> None:
        stream.put(lambda: ctypes.memset(address, 0, size))

    def capture(self, stream: FakeStream, work: Callable[[], None]) -> FakeGraph:
        stream.capturing, stream.spoilt = [], False
        try:
            work()
            recorded = stream.capturing
        finally:
            stream.capturing = None
        if stream.spoilt:
            raise CudaError("cuStreamEndCapture", "operation failed due to a previous error during capture")
        graph = FakeGraph(self.owned, recorded)
        self.graphs.append(graph)
        return graph

    def memory(self) -> tuple[int, int]:
        return 1 << 30, 8 << 30

    def reset(self) -> None:
        self.resets += 1
        self.owned.clear()

    def close(self) -> None:
        if self.alone and self.closed:
            return
        alive = [c for engine in self.engines for c in engine.contexts if c() is not None]
        assert not (self.alone and alive), "the device was closed under a context of TensorRT"
        with self.active():
            for thing in list(self.owned):
                thing.free()
        self.closed = True


class FakeContext:
    def __init__(self, engine: FakeEngine) -> None:
        self._engine = engine
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}
        self.profile = -1
        self.profiler: Any = None
        self.enqueue_emits_profile = True

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        if self._engine.device.full:
            raise RuntimeError("Error in set optimization profile async.")  # as TensorRT's bindings do
        self.profile = profile_index
        return True

    def set_input_shape(self, name: str, shape: Any) -> bool:
        self._shapes[name] = tuple(shape)
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        if name in self._shapes:
            return self._shapes[name]
        zeros = {key: np.zeros(shape, np.float32) for key, shape in self._shapes.items()}
        return self._engine.executor.run(zeros)[name].shape

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return memory != 0

    def execute_async_v3(self, stream_handle: int) -> bool:
        stream = self._engine.device.streams[stream_handle]
        if self._engine.device.lost is not None:
            return False
        if stream.capturing is not None and not self._engine.device.capturable:
            stream.spoilt = True
            return False
        engine, addresses, shapes = self._engine, dict(self._addresses), dict(self._shapes)
        stream.put(lambda: engine.execute(addresses, shapes))
        if self.profiler is not None:
            for layer, ms in (("attention", 0.5), ("feed forward", 0.25)):
                self.profiler.report_layer_time(layer, ms)
        return True


def at(address: int, shape: tuple[int, ...]) -> Any:
    """Float32 array over raw memory."""
    count = int(np.prod(shape))
    return np.ctypeslib.as_array((ctypes.c_float * count).from_address(address)).reshape(shape)


class FakeEngine:
    def __init__(self, model: bytes, device: FakeDevice) -> None:
        self.executor = OrtExecutor(model)
        self.device = device
        self.runs = 0
        self.contexts: list[weakref.ref[FakeContext]] = []
        device.engines.append(self)
        self.num_io_tensors = len(self.executor.inputs) + len(self.executor.outputs)

    def get_tensor_name(self, index: int) -> str:
        return (*self.executor.inputs, *self.executor.outputs)[index].name

    def get_tensor_dtype(self, name: str) -> str:
        return "float32"

    def create_execution_context(self, strategy: Any) -> FakeContext:
        context = FakeContext(self)
        self.contexts.append(weakref.ref(context))
        return context

    def execute(self, addresses: dict[str, int], shapes: dict[str, tuple[int, ...]]) -> None:
        self.runs += 1
        outputs = self.executor.run(
            {name: at(addresses[name], shape).copy() for name, shape in shapes.items()}
        )
        for name, value in outputs.items():
            at(addresses[name], value.shape)[...] = value


class FakeProfiler:
    def __init__(self) -> None:
        pass


def fake_library(device: FakeDevice) -> TensorRTLibrary:
    """A library whose runtime takes ONNX bytes for plans; ``b"broken"`` does not load."""
    engines: list[FakeEngine] = []

    def deserialize(data: bytes) -> FakeEngine | None:
        if data == b"broken":
            return None
        engines.append(FakeEngine(data, device))
        return engines[-1]

    module = SimpleNamespace(
        Runtime=lambda logger: SimpleNamespace(deserialize_cuda_engine=deserialize),
        DataType=SimpleNamespace(FLOAT="float32"),
        ExecutionContextAllocationStrategy=SimpleNamespace(ON_PROFILE_CHANGE=1),
        IProfiler=FakeProfiler,
        engines=engines,
    )
    logger = SimpleNamespace(complaint="no such plan")
    return TensorRTLibrary(module, "tensorrt", "10.3.0", logger)  # type: ignore[arg-type]
