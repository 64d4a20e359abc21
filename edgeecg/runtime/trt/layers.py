"""How long each layer of a built engine takes."""

from __future__ import annotations

from typing import Any

from edgeecg.runtime.executor import Tensors
from edgeecg.runtime.trt.api import TensorRT
from edgeecg.runtime.trt.executor import TrtExecutor
from edgeecg.runtime.trt.library import TensorRTLibrary
from edgeecg.runtime.trt.settings import Settings

__all__ = ["layer_times"]


def layer_times(
    library: TensorRTLibrary, executor: TrtExecutor, inputs: Tensors, runs: int
) -> dict[str, list[float]]:
    """Milliseconds of each layer in each of ``runs`` runs, in the order of execution.

    TensorRT waits after every layer meanwhile, so the sum is more than a run takes. The plan is loaded once
    more for it, without CUDA graphs: a graph tells no layers, and a context that was profiled stays slow.
    """
    recorder = make_recorder(library.module)
    with executor.again(Settings(graphs=False, transfer=executor.transfer)) as watched:
        watched.run(inputs)
        watched.watch(recorder)
        for _ in range(runs):
            watched.run(inputs)
    times: dict[str, list[float]] = recorder.times
    return times


def make_recorder(trt: TensorRT) -> Any:
    """Instance of TensorRT's profiler class that keeps all times in ``times``."""

    class Recorder(trt.IProfiler):  # type: ignore[misc,name-defined]
        """Called once per layer and run."""

        def __init__(self) -> None:
            trt.IProfiler.__init__(self)
            self.times: dict[str, list[float]] = {}

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            self.times.setdefault(layer_name, []).append(ms)

    return Recorder()
