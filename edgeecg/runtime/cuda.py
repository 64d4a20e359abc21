"""The thin seam over CUDA: what an executor needs from a GPU, over pycuda or cuda-python.

Both libraries speak the driver API, so they share the *primary context* with TensorRT, PyTorch or
anything else in the process. A thread works inside ``with device.active():``, which pushes the context
and pops it again. Addresses are plain integers. Nothing is freed by a garbage collector's whim: what
is allocated here is freed by its own ``free`` or by ``Device.close``, whichever comes first.

pycuda is the default. cuda-python is taken where it is the one that is installed, or where CUDA graphs
are wanted, since pycuda cannot capture them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from edgeecg.errors import BackendError
from edgeecg.runtime.cuda_errors import CudaError

__all__ = [
    "CudaError",
    "Device",
    "DeviceInfo",
    "DeviceMemory",
    "Event",
    "Graph",
    "HostMemory",
    "Library",
    "Resource",
    "Stream",
    "available_libraries",
    "open_device",
]

Library = Literal["auto", "pycuda", "cuda-python"]
ADVICE = "or run on the CPU with --backend onnxruntime (backend='onnxruntime' in Python)"


@dataclass(frozen=True)
class DeviceInfo:
    """What a GPU is.

    ``capability`` is its compute capability; ``integrated`` says that it shares the host's memory, as
    on Jetson; ``memory`` is in bytes; ``multiprocessors`` are those that are on.
    """

    index: int
    name: str
    capability: tuple[int, int]
    integrated: bool
    memory: int
    multiprocessors: int

    @property
    def key(self) -> str:
        """Short text that tells apart GPUs that cannot share an engine.

        So a Jetson in another power mode, if nvpmodel switches off some of its multiprocessors there
        (``TPC_PG_MASK``): TensorRT holds their number against that of the build, and warns of the engine
        (https://docs.nvidia.com/deeplearning/tensorrt/11.1.0/inference-library/engine-compatibility.html).
        """
        chip = f"{self.name} sm_{self.capability[0]}{self.capability[1]}"
        return f"{chip} {self.memory >> 20} MiB {self.multiprocessors} SM"


class Resource:
    """Something of the device that must be given back: by ``free``, or when its device closes."""

    def __init__(self, owner: set[Resource]) -> None:
        self._owner = owner
        owner.add(self)

    def free(self) -> None:
        """Give it back; a second call does nothing."""
        if self in self._owner:
            self._owner.discard(self)
            self._release()

    def _release(self) -> None:
        raise NotImplementedError


class Stream(Protocol):
    """A queue of work."""

    @property
    def handle(self) -> int:
        """The ``CUstream``, as TensorRT takes it."""
        ...

    def synchronize(self) -> None:
        """Wait until all work in it is done."""
        ...

    def free(self) -> None:
        """Destroy it; a second call does nothing."""
        ...


class Event(Protocol):
    """A point in a stream."""

    def record(self, stream: Stream) -> None:
        """Put the event behind what is queued so far."""
        ...

    def done(self) -> bool:
        """Whether the device has passed it (does not wait)."""
        ...

    def synchronize(self) -> None:
        """Wait for it; the thread sleeps if the event was made ``blocking``."""
        ...

    def since(self, earlier: Event) -> float:
        """Milliseconds on the device from ``earlier`` to this event."""
        ...

    def free(self) -> None:
        """Destroy it; a second call does nothing."""
        ...


class DeviceMemory(Protocol):
    """Bytes on the device."""

    address: int
    size: int

    def free(self) -> None:
        """Give it back; a second call does nothing."""
        ...


class HostMemory(Protocol):
    """Page-locked memory of the host; ``address`` is its device address where it is mapped, else 0."""

    array: NDArray[Any]
    address: int

    def free(self) -> None:
        """Give it back; ``array`` must not be used any more."""
        ...


class Graph(Protocol):
    """Work that was captured once and is launched in one call."""

    def launch(self, stream: Stream) -> None:
        """Queue the whole of it."""
        ...

    def free(self) -> None:
        """Destroy it; a second call does nothing."""
        ...


class Device(Protocol):
    """One GPU, through its primary context. All methods but ``active`` need ``active``."""

    info: DeviceInfo
    library: str
    captures: bool

    def active(self) -> AbstractContextManager[None]:
        """Make the context current in this thread, for a block."""
        ...

    def stream(self) -> Stream:
        """Make a stream that does not wait for the default stream."""
        ...

    def event(self, blocking: bool = False, timing: bool = True) -> Event:
        """Make an event; a thread that waits for a ``blocking`` one sleeps instead of spinning."""
        ...

    def allocate(self, size: int) -> DeviceMemory:
        """Allocate ``size`` bytes on the device."""
        ...

    def pinned(self, shape: tuple[int, ...], dtype: np.dtype[Any], mapped: bool = False) -> HostMemory:
        """Allocate page-locked memory, zeroed; ``mapped`` gives it a device address too."""
        ...

    def copy_in(self, to: int, source: NDArray[Any], stream: Stream) -> None:
        """Queue a copy from page-locked memory to the device."""
        ...

    def copy_out(self, to: NDArray[Any], source: int, stream: Stream) -> None:
        """Queue a copy from the device to page-locked memory."""
        ...

    def copy_on(self, to: int, source: int, size: int, stream: Stream) -> None:
        """Queue a copy of ``size`` bytes within the device."""
        ...

    def clear(self, address: int, size: int, stream: Stream) -> None:
        """Queue zeroing ``size`` bytes."""
        ...

    def capture(self, stream: Stream, work: Callable[[], None]) -> Graph:
        """Record what ``work`` queues in ``stream`` (it does not run) as a graph.

        The same work must have run once before, and nothing may be freed meanwhile.
        """
        ...

    def memory(self) -> tuple[int, int]:
        """Bytes free and in all on the device."""
        ...

    def reset(self) -> None:
        """Destroy the primary context *for the whole process* after a sticky error; the device is closed."""
        ...

    def close(self) -> None:
        """Free what was allocated here and release the context; a second call does nothing."""
        ...


def available_libraries() -> tuple[str, ...]:
    """Names of the CUDA libraries that are installed, the default one first."""
    found = []
    if is_there("pycuda"):
        found.append("pycuda")
    # "cuda" alone is shared by other packages, and by any folder of that name
    if is_there("cuda.bindings.driver") or is_there("cuda.cuda"):
        found.append("cuda-python")
    return tuple(found)


def is_there(module: str) -> bool:
    """Whether a module can be imported, its parents included."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def open_device(index: int = 0, library: Library = "auto", graphs: bool = True) -> Device:
    """Open a GPU through its primary context.

    Parameters
    ----------
    index : int
        Which GPU.
    library : str
        ``auto`` takes cuda-python where it is there and ``graphs`` are wanted, else pycuda, else
        whichever is installed.
    graphs : bool
        Whether CUDA graphs are wanted.

    Raises
    ------
    BackendError
        No library, no driver or no such GPU.
    """
    found = available_libraries()
    wanted = choose_library(found, graphs) if library == "auto" else library
    if wanted is None or wanted not in found:
        name = "pycuda or cuda-python" if wanted is None else wanted
        raise BackendError(
            f"no GPU can be used: {name} is not installed (pip install 'edgeecg[jetson]'), {ADVICE}"
        )
    # device libraries are imported here and nowhere else
    if wanted == "pycuda":
        from edgeecg.runtime import cuda_pycuda

        return cuda_pycuda.open_device(index)
    from edgeecg.runtime import cuda_python

    return cuda_python.open_device(index)


def choose_library(found: tuple[str, ...], graphs: bool) -> str | None:
    """The library that ``auto`` means, given those installed."""
    if graphs and "cuda-python" in found:
        return "cuda-python"
    return found[0] if found else None
