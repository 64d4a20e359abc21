"""Every name of TensorRT's Python module that our code touches, as protocols.

mypy holds the code of this package to these protocols, and a test holds the protocols to the names in
the published bindings of each supported TensorRT. So a name that one of the versions lacks cannot slip
in. A protocol is called as the class is in TensorRT.
"""

# TensorRT's own names, which its documentation explains
# ruff: noqa: A002, D102, N802, N815

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, Protocol

__all__ = [
    "CLASSES",
    "DEFINED",
    "MEMBERS",
    "Builder",
    "IBuilderConfig",
    "ICudaEngine",
    "IExecutionContext",
    "INetworkDefinition",
    "IOptimizationProfile",
    "ITensor",
    "ITimingCache",
    "OnnxParser",
    "ParserError",
    "Runtime",
    "TensorRT",
    "missing_names",
    "required_names",
]


class ITensor(Protocol):
    """A tensor of a network."""

    name: str
    shape: Sequence[int]

    def get_dimension_name(self, index: int) -> str: ...


class INetworkDefinition(Protocol):
    """A parsed network."""

    num_inputs: int
    num_outputs: int
    num_layers: int

    def get_input(self, index: int) -> ITensor: ...
    def get_output(self, index: int) -> ITensor: ...
    def get_layer(self, index: int) -> Any: ...


class ParserError(Protocol):
    """What the ONNX parser complains about."""

    def desc(self) -> str: ...
    def node_name(self) -> str: ...
    def node_operator(self) -> str: ...


class OnnxParser(Protocol):
    """ONNX to network."""

    num_errors: int

    def parse(self, model: bytes) -> bool: ...
    def get_error(self, index: int) -> ParserError: ...


class IOptimizationProfile(Protocol):
    """Shapes that an engine is built for."""

    def set_shape(
        self,
        input: str,
        min: Sequence[int],
        opt: Sequence[int],
        max: Sequence[int],
    ) -> None: ...


class ITimingCache(Protocol):
    """Kernel timings kept from one build to the next."""

    def serialize(self) -> memoryview: ...


class IBuilderConfig(Protocol):
    """Settings of a build."""

    progress_monitor: Any
    builder_optimization_level: int
    default_device_type: Any
    DLA_core: int

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int: ...
    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None: ...
    def set_flag(self, flag: Any) -> None: ...
    def clear_flag(self, flag: Any) -> None: ...
    def can_run_on_DLA(self, layer: Any) -> bool: ...
    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache | None: ...
    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool: ...
    def get_timing_cache(self) -> ITimingCache | None: ...


class Builder(Protocol):
    """Network to plan."""

    num_DLA_cores: int

    def create_network(self, flags: int) -> INetworkDefinition: ...
    def create_builder_config(self) -> IBuilderConfig: ...
    def create_optimization_profile(self) -> IOptimizationProfile: ...
    def build_serialized_network(
        self, network: INetworkDefinition, config: IBuilderConfig
    ) -> memoryview | None: ...


class IExecutionContext(Protocol):
    """One way of running an engine: a profile, its shapes and addresses."""

    profiler: Any
    enqueue_emits_profile: bool

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool: ...
    def set_input_shape(self, name: str, shape: Sequence[int]) -> bool: ...
    def get_tensor_shape(self, name: str) -> Sequence[int]: ...
    def set_tensor_address(self, name: str, memory: int) -> bool: ...
    def execute_async_v3(self, stream_handle: int) -> bool: ...


class ICudaEngine(Protocol):
    """A plan that has been loaded."""

    num_io_tensors: int

    def get_tensor_name(self, index: int) -> str: ...
    def get_tensor_dtype(self, name: str) -> Any: ...
    def create_execution_context(self, strategy: Any) -> IExecutionContext | None: ...


class Runtime(Protocol):
    """Plan to engine."""

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None: ...


class TensorRT(Protocol):
    """The module ``tensorrt`` or ``tensorrt_rtx``."""

    Builder: Callable[[Any], Builder]
    OnnxParser: Callable[[INetworkDefinition, Any], OnnxParser]
    Runtime: Callable[[Any], Runtime]
    NetworkDefinitionCreationFlag: Any
    BuilderFlag: Any
    MemoryPoolType: Any
    DeviceType: Any
    DataType: Any
    ExecutionContextAllocationStrategy: Any
    ILogger: Any
    IProfiler: Any
    IProgressMonitor: Any


CLASSES = (
    Builder,
    IBuilderConfig,
    ICudaEngine,
    IExecutionContext,
    INetworkDefinition,
    IOptimizationProfile,
    ITensor,
    ITimingCache,
    OnnxParser,
    ParserError,
    Runtime,
)
"""Protocols whose members are TensorRT's own."""

MEMBERS = {
    "NetworkDefinitionCreationFlag": ("STRONGLY_TYPED",),
    "BuilderFlag": ("GPU_FALLBACK", "TF32"),
    "MemoryPoolType": ("WORKSPACE",),
    "DeviceType": ("DLA",),
    "DataType": ("FLOAT",),
    "ExecutionContextAllocationStrategy": ("ON_PROFILE_CHANGE",),
    "ILogger": ("ERROR", "INFO", "INTERNAL_ERROR", "VERBOSE", "WARNING"),
}
"""Members of enumerations that our code names."""

DEFINED = {
    "ILogger": ("log",),
    "IProfiler": ("report_layer_time",),
    "IProgressMonitor": ("phase_start", "step_complete", "phase_finish"),
}
"""Methods that TensorRT calls on classes of ours."""


def required_names() -> dict[str, tuple[str, ...]]:
    """Names by class that a TensorRT must have; ``""`` is the module itself."""
    names: dict[str, tuple[str, ...]] = {"": tuple(sorted(_members(TensorRT)))}
    for protocol in CLASSES:
        names[protocol.__name__] = tuple(sorted(_members(protocol)))
    for table in (MEMBERS, DEFINED):
        for owner, members in table.items():
            names[owner] = (*names.get(owner, ()), *members)
    return names


def missing_names(module: ModuleType) -> list[str]:
    """Names that a TensorRT module lacks, such as ``IExecutionContext.execute_async_v3``."""
    lacking = []
    for owner, members in required_names().items():
        thing = getattr(module, owner, None) if owner else module
        lacking += [f"{owner}.{member}".lstrip(".") for member in members if not hasattr(thing, member)]
    return lacking


def _members(protocol: type) -> set[str]:
    return {name for name in (*protocol.__annotations__, *vars(protocol)) if not name.startswith("_")}
