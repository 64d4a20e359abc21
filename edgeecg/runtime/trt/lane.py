"""One optimization profile of an engine, with its context, buffers and CUDA graphs.

All buffers are made once per shape and stay where they are, since a CUDA graph remembers addresses.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgeecg.errors import DeviceError
from edgeecg.runtime.cuda import CudaError, Device, DeviceMemory, Event, Graph, HostMemory, Stream
from edgeecg.runtime.executor import TensorSpec
from edgeecg.runtime.trt.api import ICudaEngine, IExecutionContext
from edgeecg.runtime.trt.library import TensorRTLibrary
from edgeecg.runtime.trt.rtx import can_be_captured, create_context

__all__ = ["FLOAT", "Clock", "Lane", "Transfer"]

log = logging.getLogger("edgeecg.tensorrt")

Transfer = Literal["copy", "mapped"]
FLOAT = np.dtype(np.float32)

Shapes = Mapping[str, tuple[int, ...]]


@dataclass
class Binding:
    """Memory of one input or output; with mapped memory the device reads and writes the host's."""

    host: HostMemory
    device: DeviceMemory | None
    capacity: int
    view: NDArray[np.float32] = field(init=False)

    @property
    def address(self) -> int:
        """Where the device finds it."""
        return self.host.address if self.device is None else self.device.address

    def free(self) -> None:
        """Give both back."""
        self.host.free()
        if self.device is not None:
            self.device.free()


class Lane:
    """A profile made ready to run.

    Parameters
    ----------
    profile : int
        Index of the optimization profile.
    transfer : str
        ``copy`` (page-locked memory and copies) or ``mapped`` (zero-copy).
    """

    def __init__(
        self,
        library: TensorRTLibrary,
        engine: ICudaEngine,
        device: Device,
        stream: Stream,
        profile: int,
        specs: tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]],
        transfer: Transfer,
    ) -> None:
        self._library, self._device, self._stream = library, device, stream
        self._inputs, self._outputs = ([spec.name for spec in side] for side in specs)
        self._transfer = transfer
        self._bindings: dict[str, Binding] = {}
        self._graphs: dict[Hashable, Graph | None] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        strategy = library.module.ExecutionContextAllocationStrategy.ON_PROFILE_CHANGE
        if library.rtx:
            self._context = create_context(engine, library.module, strategy)
        else:
            self._context = engine.create_execution_context(strategy)
        del engine  # a traceback keeps what a frame names, and it must go before its device
        self._capturing = False
        self._capturable = True
        if self._context is None or not self._choose(profile):
            self._context = None
            raise DeviceError(f"no memory for profile {profile} of the engine: {library.complaint()}")

    def _choose(self, profile: int) -> bool:
        """Whether the context takes the profile, whose memory is allocated by that."""
        try:
            return self.context.set_optimization_profile_async(profile, self._stream.handle)
        except RuntimeError:  # what TensorRT's bindings make of a "no"
            self._stream.synchronize()  # a lost context says so itself
            return False

    @property
    def context(self) -> IExecutionContext:
        """TensorRT's own; raises ``DeviceError`` once the lane is closed."""
        if self._context is None:
            raise DeviceError("the engine is closed: open it again")
        return self._context

    def host(self, name: str) -> NDArray[np.float32]:
        """The host's side of an input or output, in its present shape."""
        return self._bindings[name].view

    def fit(self, shapes: Shapes) -> None:
        """Set the inputs' shapes; buffers grow where they must, and then captured graphs are gone."""
        if dict(shapes) == self._shapes:
            return
        self._shapes = {}  # until all has gone well: else the old shapes would seem to be ready
        for name, shape in shapes.items():
            if not self.context.set_input_shape(name, shape):
                raise DeviceError(f"the engine refuses {name} of shape {shape}: {self._library.complaint()}")
        outputs = {name: tuple(int(n) for n in self.context.get_tensor_shape(name)) for name in self._outputs}
        self.forget()
        for name, shape in {**shapes, **outputs}.items():
            self._reserve(name, shape)
        self._shapes = dict(shapes)

    def _reserve(self, name: str, shape: tuple[int, ...]) -> None:
        count = math.prod(shape)
        binding = self._bindings.get(name)
        if binding is None or binding.capacity < count:
            if binding is not None:
                self._stream.synchronize()
                self._bindings.pop(name).free()
            binding = self._bindings[name] = self._memory(count)
        binding.view = binding.host.array[:count].reshape(shape)

    def _memory(self, count: int) -> Binding:
        """Room for so many floats."""
        mapped = self._transfer == "mapped"
        host = self._device.pinned((count,), FLOAT, mapped)
        try:
            device = None if mapped else self._device.allocate(count * FLOAT.itemsize)
        except DeviceError:
            host.free()
            raise
        return Binding(host, device, count)

    def bind(self, elsewhere: Mapping[str, int]) -> None:
        """Point the context at this lane's buffers, and at the addresses of ``elsewhere`` by name."""
        for name, binding in self._bindings.items():
            address = elsewhere.get(name, binding.address)
            if not self.context.set_tensor_address(name, address):
                raise DeviceError(f"the engine refuses the buffer of {name}: {self._library.complaint()}")

    def copy_in(self, elsewhere: Mapping[str, int]) -> None:
        """Queue the inputs' copies."""
        for name in self._inputs:
            binding = self._bindings[name]
            if binding.device is not None and name not in elsewhere:
                self._device.copy_in(binding.device.address, binding.view, self._stream)

    def copy_out(self, elsewhere: Mapping[str, int]) -> None:
        """Queue the outputs' copies."""
        for name in self._outputs:
            binding = self._bindings[name]
            if binding.device is not None and name not in elsewhere:
                self._device.copy_out(binding.view, binding.device.address, self._stream)

    def execute(self) -> None:
        """Queue the engine."""
        if not self.context.execute_async_v3(self._stream.handle):
            if not self._capturing:  # a stream that captures must not be waited for
                self._stream.synchronize()  # a lost context says so itself
            raise DeviceError(f"the engine does not run: {self._library.complaint()}")

    def queue(self, elsewhere: Mapping[str, int], mark: Callable[[], None] = lambda: None) -> None:
        """Queue copies and engine; ``mark`` is called between the parts and at the end."""
        self.bind(elsewhere)
        self.copy_in(elsewhere)
        mark()
        self.execute()
        mark()
        self.copy_out(elsewhere)
        mark()

    def launch(self, key: Hashable, elsewhere: Mapping[str, int], graphs: bool) -> None:
        """Queue all, from the second call with a key on as one CUDA graph, if that can be.

        TensorRT must have run once with a shape before it can be captured: the first call does that.
        """
        if not graphs or not self._can_capture():
            self.queue(elsewhere)
            return
        known, graph = key in self._graphs, self._graphs.setdefault(key, None)
        if known and graph is None:
            graph = self._graphs[key] = self._capture(elsewhere)
        if graph is None:
            self.queue(elsewhere)
        else:
            graph.launch(self._stream)

    def _can_capture(self) -> bool:
        """Whether a run may become part of a CUDA graph."""
        asked = self._library.rtx
        return self._capturable and (not asked or can_be_captured(self.context, self._stream.handle))

    def _capture(self, elsewhere: Mapping[str, int]) -> Graph | None:
        """The run as a CUDA graph; ``None`` where that is refused: it is said, and not tried again."""
        self._capturing = True
        try:
            return self._device.capture(self._stream, lambda: self.queue(elsewhere))
        except DeviceError as error:
            if isinstance(error, CudaError) and error.sticky:
                raise
            self._capturable = False
            log.warning("no CUDA graph of this engine (%s): it runs without, more slowly", error)
            return None
        finally:
            self._capturing = False

    def forget(self, keys: Callable[[Hashable], bool] = lambda key: True) -> None:
        """Destroy the captured graphs whose key says so."""
        for key in [key for key in self._graphs if keys(key)]:
            graph = self._graphs.pop(key)
            if graph is not None:
                graph.free()

    def close(self) -> None:
        """Free the context, buffers and graphs."""
        self.forget()
        self._context = None
        for binding in self._bindings.values():
            binding.free()
        self._bindings.clear()


class Clock:
    """Events around the parts of a call: device milliseconds of copy in, compute, copy out."""

    def __init__(self, device: Device, stream: Stream) -> None:
        self._stream = stream
        self._events: list[Event] = [device.event() for _ in range(4)]
        self._next = 0

    def start(self) -> None:
        """Begin a call."""
        self._next = 0
        self.mark()

    def mark(self) -> None:
        """End a part."""
        self._events[self._next].record(self._stream)
        self._next += 1

    def parts(self) -> tuple[float, float, float]:
        """Milliseconds of the three parts; the stream must be done."""
        first, second, third, fourth = self._events
        return second.since(first), third.since(second), fourth.since(third)

    def close(self) -> None:
        """Destroy the events."""
        for event in self._events:
            event.free()
