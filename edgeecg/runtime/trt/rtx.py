"""What TensorRT-RTX needs beside TensorRT: it compiles kernels when they first run.

Inside a captured CUDA graph it must do neither that nor allocate, and a graph keeps the kernels that it was
captured with. So engines use only memory that their context has, kernels for a new shape are compiled before
the first run ends, and a context is asked whether it can be captured. These names are RTX's alone, so they
are not in ``api``; a test holds them to the installed library. They have run on no GPU yet.
"""

from __future__ import annotations

from typing import Any

from edgeecg.runtime.trt.api import IExecutionContext

__all__ = ["allow_capture", "can_be_captured", "create_context", "lacking_names", "target"]

NAMES = (
    "BuilderFlag.REQUIRE_USER_ALLOCATION",
    "ComputeCapability.SM75",
    "DynamicShapesKernelSpecializationStrategy.EAGER",
    "IBuilderConfig.num_compute_capabilities",
    "IBuilderConfig.set_compute_capability",
    "ICudaEngine.create_runtime_config",
    "IExecutionContext.is_stream_capturable",
)
"""What is touched here; some of it came with 1.2."""

TURING = (7, 5)


def lacking_names(rtx: Any) -> list[str]:
    """Names of ``NAMES`` that a module lacks."""
    pairs = [(name, name.split(".")) for name in NAMES]
    return [name for name, (owner, member) in pairs if not hasattr(getattr(rtx, owner, None), member)]


def target(config: Any, rtx: Any, capability: tuple[int, int]) -> None:
    """Build for a GPU that portable engines leave out: by default they run from Ampere on."""
    if capability == TURING:
        config.num_compute_capabilities = 1
        config.set_compute_capability(rtx.ComputeCapability.SM75, 0)


def allow_capture(config: Any, rtx: Any) -> None:
    """Builder settings of an engine whose runs can be captured."""
    config.set_flag(rtx.BuilderFlag.REQUIRE_USER_ALLOCATION)


def create_context(engine: Any, rtx: Any, strategy: Any) -> IExecutionContext | None:
    """A context that compiles the kernels of a shape in its first run, not some time later."""
    settings = engine.create_runtime_config()
    settings.set_execution_context_allocation_strategy(strategy)
    settings.dynamic_shapes_kernel_specialization_strategy = (
        rtx.DynamicShapesKernelSpecializationStrategy.EAGER
    )
    context: IExecutionContext | None = engine.create_execution_context(settings)
    return context


def can_be_captured(context: Any, stream_handle: int) -> bool:
    """Whether a run of this context may become part of a CUDA graph."""
    return bool(context.is_stream_capturable(stream_handle))
