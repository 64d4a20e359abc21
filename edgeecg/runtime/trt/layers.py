"""What a built engine is made of, and how long each of its layers takes."""

from __future__ import annotations

import json
from typing import Any

from edgeecg.runtime.executor import Tensors
from edgeecg.runtime.trt.api import TensorRT
from edgeecg.runtime.trt.executor import TrtExecutor
from edgeecg.runtime.trt.library import TensorRTLibrary
from edgeecg.runtime.trt.settings import Settings

__all__ = ["engine_layers", "layer_times"]


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
        for context in watched.contexts():
            context.profiler = recorder
            context.enqueue_emits_profile = True
        for _ in range(runs):
            watched.run(inputs)
    times: dict[str, list[float]] = recorder.times
    return times


def engine_layers(library: TensorRTLibrary, executor: TrtExecutor) -> list[dict[str, Any]]:
    """Layers as the engine inspector tells them; names only unless the recipe was ``detailed``."""
    inspector = executor.engine().create_engine_inspector()
    text = inspector.get_engine_information(library.module.LayerInformationFormat.JSON)
    layers = json.loads(text).get("Layers", [])
    return [layer if isinstance(layer, dict) else {"Name": layer} for layer in layers]


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
