"""Stands in for TensorRT on a GPU that TensorRT-RTX does not take: PyTorch's kernels, our runtime.

What runs on the device through it is all of ``edgeecg.runtime`` (contexts, streams, pinned and mapped
buffers, copies, captured graphs, state that stays on the device, recovery); only the engine itself is not
TensorRT's. Figures made with it say nothing about TensorRT's kernels.

As a pytest plugin (``EDGEECG_GPU`` is ``rtx``, ``rtx-current`` or ``stand-in``; see ``probe.py``)::

    EDGEECG_GPU=stand-in PYTHONPATH=. python -m pytest -p tools.gpu.standin -m gpu tests/runtime

and in front of a verb or a script: ``python -m tools.gpu.standin doctor``.
``EDGEECG_CUDA`` names the CUDA library that is taken where the caller leaves the choice open.
"""

from __future__ import annotations

import os
import runpy
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from edgeecg.runtime.ort import OrtExecutor
from edgeecg.runtime.trt.build import Plan, Recipe
from edgeecg.runtime.trt.library import TensorRTLibrary
from tools.gpu.onnx_torch import TorchGraph

__all__ = ["StandInContext", "install", "library"]


class Memory:
    """Raw device memory as PyTorch takes it."""

    def __init__(self, address: int, shape: tuple[int, ...]) -> None:
        self.__cuda_array_interface__ = {
            "shape": shape, "typestr": "<f4", "data": (address, False), "version": 3, "strides": None,
        }  # fmt: skip


class StandInContext:
    """``IExecutionContext`` over PyTorch."""

    def __init__(self, engine: StandInEngine) -> None:
        self._engine = engine
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}
        self._views: dict[tuple[int, tuple[int, ...]], torch.Tensor] = {}
        self._sizes: dict[str, tuple[int, ...]] = {}
        self._fresh = True
        self.profiler: Any = None
        self.enqueue_emits_profile = False

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        """Any shape goes: there are no profiles."""
        return True

    def set_input_shape(self, name: str, shape: Sequence[int]) -> bool:
        """Remember a shape."""
        self._shapes[name] = tuple(shape)
        self._sizes.clear()
        self._fresh = True
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        """Shape of an input, or of an output as a run of zeros on the CPU gives it."""
        if name in self._shapes:
            return self._shapes[name]
        if not self._sizes:
            zeros = {key: np.zeros(shape, np.float32) for key, shape in self._shapes.items()}
            self._sizes = {key: value.shape for key, value in self._engine.reference.run(zeros).items()}
        return self._sizes[name]

    def set_tensor_address(self, name: str, memory: int) -> bool:
        """Remember an address."""
        self._addresses[name] = memory
        return memory != 0

    def execute_async_v3(self, stream_handle: int) -> bool:
        """Queue the graph's kernels."""
        graph = self._engine.graph
        with torch.cuda.stream(torch.cuda.ExternalStream(stream_handle)):
            inputs = {name: self._view(name) for name in graph.inputs}
            if self._fresh:  # once more, so that PyTorch's pools hold all that a captured run will ask for
                graph.run(inputs)
                self._fresh = False
            for name, value in graph.run(inputs, self._watch()).items():
                self._view(name).copy_(value)
        return True

    def _view(self, name: str) -> torch.Tensor:
        key = self._addresses[name], tuple(self.get_tensor_shape(name))
        if key not in self._views:
            self._views[key] = torch.as_tensor(Memory(*key), device="cuda")
        return self._views[key]

    def _watch(self) -> Any:
        """What tells the profiler of each node; with one set, the device is waited for after every node."""
        if self.profiler is None:
            return lambda name: None
        last = [time.perf_counter()]

        def told(name: str) -> None:
            torch.cuda.current_stream().synchronize()
            now = time.perf_counter()
            self.profiler.report_layer_time(name, 1e3 * (now - last[0]))
            last[0] = time.perf_counter()

        return told


class StandInEngine:
    """``ICudaEngine`` whose plan is the ONNX model itself."""

    def __init__(self, model: bytes) -> None:
        self.graph = TorchGraph(model, "cuda")
        self.reference = OrtExecutor(model)
        self.names = [spec.name for spec in (*self.reference.inputs, *self.reference.outputs)]
        self.num_io_tensors = len(self.names)

    def get_tensor_name(self, index: int) -> str:
        """Name of an input or output."""
        return self.names[index]

    def get_tensor_dtype(self, name: str) -> str:
        """All of ours are float32."""
        return "float32"

    def create_execution_context(self, strategy: Any) -> StandInContext:
        """A context; contexts share the weights."""
        return StandInContext(self)


class Profiler:
    """Base of ``IProfiler``."""

    def __init__(self) -> None:
        """TensorRT's has an initializer that is called by name."""


def library() -> TensorRTLibrary:
    """A library whose runtime takes ONNX for plans."""
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    module = SimpleNamespace(
        Runtime=lambda logger: SimpleNamespace(deserialize_cuda_engine=StandInEngine),
        DataType=SimpleNamespace(FLOAT="float32"),
        ExecutionContextAllocationStrategy=SimpleNamespace(ON_PROFILE_CHANGE=1),
        IProfiler=Profiler,
    )
    logger = SimpleNamespace(complaint="a stand-in has nothing to say")
    return TensorRTLibrary(module, "stand-in", f"PyTorch {torch.__version__}", logger)  # type: ignore[arg-type]


def plan(_: TensorRTLibrary, model: bytes, recipe: Recipe, *__: Any) -> Plan:
    """What ``build_plan`` gives: the model, unbuilt."""
    with OrtExecutor(model) as reference:
        return Plan(model, recipe, reference.inputs, reference.outputs)


def install(mode: str) -> None:
    """Make every ``tensorrt`` of this process what ``mode`` says."""
    import edgeecg.profile.collect
    import edgeecg.runtime.trt

    if wanted := os.environ.get("EDGEECG_CUDA"):
        choose_library(wanted)
    if mode == "stand-in":
        found = library()
        for owner in (edgeecg.runtime.trt, edgeecg.profile.collect):
            owner.load_library = lambda: found
        edgeecg.runtime.trt.build_plan = plan
    elif mode == "rtx-current":
        build_for_this_gpu()


def choose_library(wanted: str) -> None:
    """Take this CUDA library where any would do."""
    import edgeecg.runtime.trt

    opens = edgeecg.runtime.trt.open_device

    def chosen(index: int = 0, library: str = "auto", graphs: bool = True) -> Any:
        return opens(index, wanted if library == "auto" else library, graphs)  # type: ignore[arg-type]

    edgeecg.runtime.trt.open_device = chosen


def build_for_this_gpu() -> None:
    """Have TensorRT-RTX build for the GPU at hand instead of those that it is portable to."""
    import edgeecg.runtime.trt.build as build

    configure = build.configure

    def current(trt: Any, *arguments: Any) -> Any:
        config: Any = configure(trt, *arguments)
        config.num_compute_capabilities = 1
        config.set_compute_capability(trt.ComputeCapability.CURRENT, 0)
        return config

    build.configure = current


def pytest_configure() -> None:
    """As a plugin."""
    install(os.environ.get("EDGEECG_GPU", "rtx"))


def main() -> None:
    """Run a script or a verb of ``edgeecg`` with it."""
    install(os.environ.get("EDGEECG_GPU", "stand-in"))
    if sys.argv[1].endswith(".py"):
        del sys.argv[0]
        sys.path.insert(0, str(Path(sys.argv[0]).parent))
        runpy.run_path(sys.argv[0], run_name="__main__")
        return
    from edgeecg.cli.main import run

    sys.argv[0] = "edgeecg"
    run()


if __name__ == "__main__":
    main()
