"""ONNX to plan: strongly typed, with the profiles of a recipe.

Precision is written in the graph, so nothing of it is asked of the builder; TF32, which it would use by
itself and which rounds FP32 to ten bits, is switched off.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from edgeecg.errors import BackendError
from edgeecg.runtime.executor import TensorSpec
from edgeecg.runtime.trt.api import Builder, IBuilderConfig, INetworkDefinition, ITensor, OnnxParser, TensorRT
from edgeecg.runtime.trt.library import TensorRTLibrary
from edgeecg.runtime.trt.recipe import BUCKETS, Extent, Recipe, beat_recipe, token_recipe
from edgeecg.runtime.trt.rtx import allow_capture, target

__all__ = ["BUCKETS", "Extent", "Plan", "Progress", "Recipe", "beat_recipe", "build_plan", "token_recipe"]

Progress = Callable[[str, int, int], bool]
"""Told phase, step and number of steps of the phase; a false answer ends the build."""

log = logging.getLogger("edgeecg.tensorrt")


@dataclass(frozen=True)
class Plan:
    """A built engine, with what must be known to run it.

    Parameters
    ----------
    data : bytes
        The serialized engine: executable code for one GPU and one TensorRT.
    recipe : Recipe
        What it was built for.
    inputs, outputs : tuple of TensorSpec
        As the graph names them.
    fallback : tuple of str
        Layers that a DLA could not take.
    timing : bytes
        Timing cache after the build; empty where there is none.
    """

    data: bytes = field(repr=False)
    recipe: Recipe
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    fallback: tuple[str, ...] = ()
    timing: bytes = field(default=b"", repr=False)


def build_plan(
    library: TensorRTLibrary,
    model: bytes,
    recipe: Recipe,
    progress: Progress | None = None,
    timing: bytes = b"",
    capability: tuple[int, int] | None = None,
    active: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Plan:
    """Build an ONNX graph, in a thread of its own: Ctrl-C ends the build with its present step.

    TensorRT-RTX builds on any machine, without a GPU too; TensorRT only on the GPU that will run it. In the
    thread that is interrupted their bindings would meet that in a callback, print it, and build on.

    Parameters
    ----------
    model : bytes
        Serialized ONNX model; its precision is what is built.
    progress : callable, optional
        Told of the builder's phases.
    timing : bytes
        Timing cache of an earlier build, or nothing.
    capability : (major, minor), optional
        Of the GPU that is to run it, where there is one.
    active : callable
        Makes its context current in a thread, for a block: ``Device.active``.

    Raises
    ------
    BackendError
        TensorRT cannot use CUDA, or the graph does not parse, does not fit the recipe, or the builder gives
        up or is stopped.
    """
    stopped = threading.Event()

    def told(phase: str, step: int, steps: int) -> bool:
        return not stopped.is_set() and (progress is None or progress(phase, step, steps))

    def build() -> Plan:
        with active():
            return _build(library, model, recipe, told, timing, capability)

    with ThreadPoolExecutor(1, "tensorrt") as thread:
        try:
            return thread.submit(build).result()
        except BaseException:
            stopped.set()
            raise


def _build(
    library: TensorRTLibrary,
    model: bytes,
    recipe: Recipe,
    progress: Progress,
    timing: bytes,
    capability: tuple[int, int] | None,
) -> Plan:
    trt = library.module
    builder = library.builder()
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, library.logger)
    if not parser.parse(model):
        raise BackendError(f"{library.key} cannot take the graph: {parse_errors(parser)}")
    inputs = tuple(tensor_spec(network.get_input(i)) for i in range(network.num_inputs))
    outputs = tuple(tensor_spec(network.get_output(i)) for i in range(network.num_outputs))
    config = configure(trt, builder, recipe, inputs)
    if library.rtx:
        allow_capture(config, trt)
        if capability is not None:
            target(config, trt, capability)
    fallback = use_dla(trt, builder, config, network, recipe.dla) if recipe.dla is not None else ()
    config.progress_monitor = make_monitor(trt, progress)
    cached = not library.rtx  # RTX tunes at run time: its builder has no timings to keep
    if cached and not use_timings(config, timing):
        log.warning("timings of earlier builds do not fit this GPU as it is set: building takes longer")
        use_timings(config, b"")
    data = builder.build_serialized_network(network, config)
    if data is None:
        raise BackendError(f"{library.key} cannot build the graph: {library.complaint()}")
    timings = config.get_timing_cache() if cached else None
    kept = bytes(timings.serialize()) if timings is not None else b""
    return Plan(bytes(data), recipe, inputs, outputs, fallback, kept)


def use_timings(config: IBuilderConfig, timing: bytes) -> bool:
    """Give the builder a timing cache; false where it is damaged or of other properties of the device.

    The builder then has none (``IBuilderConfig.set_timing_cache`` in TensorRT's documentation).
    """
    cache = config.create_timing_cache(timing)
    return cache is not None and config.set_timing_cache(cache, False)


def configure(
    trt: TensorRT, builder: Builder, recipe: Recipe, inputs: tuple[TensorSpec, ...]
) -> IBuilderConfig:
    """Builder settings with all profiles of a recipe."""
    unknown = [
        spec.name for spec in inputs
        if spec.name not in recipe.extents and any(isinstance(size, str) for size in spec.shape[1:])
    ]  # fmt: skip
    if unknown:
        raise BackendError(f"input {unknown[0]} has a dynamic length that the recipe does not name")
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, recipe.workspace)
    config.builder_optimization_level = recipe.effort
    config.clear_flag(trt.BuilderFlag.TF32)
    for index in range(len(recipe.buckets) + 1):
        profile = builder.create_optimization_profile()
        refused = BackendError(f"TensorRT refuses the shapes of profile {index}: check the recipe's lengths")
        try:
            for spec in inputs:
                profile.set_shape(spec.name, *recipe.shapes(spec, index))
        except RuntimeError as error:
            raise refused from error
        if config.add_optimization_profile(profile) != index:
            raise refused
    return config


def use_dla(
    trt: TensorRT, builder: Builder, config: IBuilderConfig, network: INetworkDefinition, core: int
) -> tuple[str, ...]:
    """Prefer a DLA core; names of the layers that it cannot run and the GPU will."""
    if core >= builder.num_DLA_cores:
        raise BackendError(
            f"there is no DLA core {core}: TensorRT sees {builder.num_DLA_cores} here (up to 10.7 it knows "
            "Orin's, 11.4.1 those of AGX Orin with JetPack 7.2.2, what lies between none): leave --dla out"
        )
    config.default_device_type = trt.DeviceType.DLA
    config.DLA_core = core
    config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    return tuple(layer.name for layer in layers if not config.can_run_on_DLA(layer))


def tensor_spec(tensor: ITensor) -> TensorSpec:
    """Name and shape of a network's input or output, dynamic dimensions by their names."""
    shape = tuple(
        tensor.get_dimension_name(i) or f"size{i}" if size < 0 else int(size)
        for i, size in enumerate(tensor.shape)
    )
    return TensorSpec(tensor.name, shape)


def parse_errors(parser: OnnxParser) -> str:
    """The parser's first complaint, with the node that it is about."""
    if not parser.num_errors:
        return "the parser gave no reason"
    error = parser.get_error(0)
    node = f" at {error.node_operator()} {error.node_name()}" if error.node_name() else ""
    return " ".join(f"{error.desc()}{node}".split())[:300]


def make_monitor(trt: TensorRT, progress: Progress) -> Any:
    """Instance of TensorRT's progress monitor that tells ``progress`` of the outermost phases."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc,name-defined]
        """TensorRT calls this from its builder's threads."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._outer: dict[str, int] = {}
            self._depth: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._depth[phase_name] = self._depth.get(parent_phase or "", -1) + 1
            if self._depth[phase_name] <= 1:
                self._outer[phase_name] = num_steps
                progress(phase_name, 0, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            if phase_name in self._outer:
                return progress(phase_name, step + 1, self._outer[phase_name])
            return True

        def phase_finish(self, phase_name: str) -> None:
            steps = self._outer.pop(phase_name, None)
            if steps is not None:
                progress(phase_name, steps, steps)

    return Monitor()
