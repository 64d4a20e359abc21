"""A bundle opened: its two graphs in executors that have just reproduced the golden vectors."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Union

import numpy as np

from edgeecg.bundle import GRAPHS, PRECISIONS, Bundle, GraphName, Precision
from edgeecg.errors import BackendError, BundleError, ConfigError
from edgeecg.runtime.executor import Executor
from edgeecg.runtime.ort import OrtExecutor

if TYPE_CHECKING:
    from edgeecg.runtime.trt import Options

__all__ = ["BACKENDS", "TOLERANCE", "Backend", "Engine", "check_golden", "open_engine"]

Backend = Literal["onnxruntime", "tensorrt"]
BACKENDS: tuple[Backend, ...] = ("onnxruntime", "tensorrt")

log = logging.getLogger("edgeecg.engine")

TOLERANCE: dict[str, float] = {"fp32": 1e-3, "fp16": 3e-2, "int8": 1e-1, "mixed": 1e-1}
"""Largest error of a golden output, as a share of the output's largest absolute value.

Loose enough for another order of summation, tight enough for a wrong scale, layout or kernel."""


@dataclass(frozen=True)
class Engine:
    """Both graphs of a bundle, ready to run; it owns what the executors hold.

    Parameters
    ----------
    bundle : Bundle
        What it was opened from.
    token, beat : Executor
        The two graphs.
    backend : str
        ``onnxruntime`` or ``tensorrt``.
    precision : str
        Precision of the graphs.
    """

    bundle: Bundle
    token: Executor
    beat: Executor
    backend: Backend
    precision: Precision

    def close(self) -> None:
        """Close both executors; closing twice is fine."""
        self.token.close()
        self.beat.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_engine(
    bundle: Union[str, os.PathLike[str], Bundle],
    backend: Union[Backend, Literal["auto"]] = "auto",
    precision: Precision | None = None,
    threads: int = 1,
    *,
    tensorrt: Options | None = None,
) -> Engine:
    """Open a bundle and hold it against its golden vectors.

    Parameters
    ----------
    bundle : path, packaged name or Bundle
        What to open.
    backend : str
        ``auto`` takes TensorRT where it can be used, else ONNX Runtime; a GPU that TensorRT is installed
        for but refuses is told in the log.
    precision : str, optional
        ``fp32``, ``fp16``, ``int8`` or ``mixed``; the bundle's default where left out.
    threads : int
        CPU threads inside one operator.
    tensorrt : edgeecg.runtime.trt.Options, optional
        How TensorRT engines are built and run.

    Raises
    ------
    BundleError
        The bundle cannot be opened, or lacks the precision.
    BackendError
        The backend cannot be used here, or does not reproduce the golden vectors.
    """
    if backend not in (*BACKENDS, "auto"):
        raise ConfigError(f"no backend {backend!r}: choose auto, {' or '.join(BACKENDS)}")
    opened = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
    wanted = precision or opened.manifest.default_precision
    if wanted not in PRECISIONS:
        raise ConfigError(f"no precision {wanted!r}: choose one of {', '.join(opened.precisions)}")
    graphs = {name: opened.graph(name, wanted) for name in GRAPHS}
    chosen = _usable() if backend == "auto" else backend
    executors: tuple[Executor, Executor] | None = None
    if chosen == "tensorrt":
        executors = _on_gpu(opened, wanted, tensorrt, or_none=backend == "auto")
    if executors is None:
        chosen = "onnxruntime"
        executors = OrtExecutor(graphs["token"], threads), OrtExecutor(graphs["beat"], threads)
    engine = Engine(opened, *executors, chosen, wanted)
    try:
        check_golden(opened, "token", engine.token, wanted)
        check_golden(opened, "beat", engine.beat, wanted)
    except BaseException:
        engine.close()
        raise
    return engine


def check_golden(bundle: Bundle, name: GraphName, executor: Executor, precision: Precision) -> float:
    """Run the golden inputs of a graph and hold the outputs against what the bundle expects.

    Returns
    -------
    The largest error of any output, as a share of that output's largest absolute value.

    Raises
    ------
    BackendError
        An output departs by more than :data:`TOLERANCE`.
    BundleError
        The bundle's golden vectors are not those of this graph.
    """
    golden, worst = bundle.golden(), 0.0
    wanted = [f"{name}.{spec.name}" for spec in executor.inputs]
    wanted += [f"{name}.{precision}.{spec.name}" for spec in executor.outputs]
    if missing := [key for key in wanted if key not in golden]:
        raise BundleError(f"bundle {bundle.name} has no golden vectors {missing[0]}: build it again")
    outputs = executor.run({spec.name: golden[f"{name}.{spec.name}"] for spec in executor.inputs})
    for key, value in outputs.items():
        expected = golden[f"{name}.{precision}.{key}"]
        error = float(np.max(np.abs(value - expected)) / np.max(np.abs(expected)))
        if not error <= TOLERANCE[precision]:  # NaN fails, too
            raise BackendError(
                f"the {precision} {name} graph of bundle {bundle.name} gives a wrong {key} here (off by "
                f"{error:.1e} of its range, allowed {TOLERANCE[precision]:.0e}): "
                "open it with another backend or precision"
            )
        worst = max(worst, error)
    return worst


def _on_gpu(
    bundle: Bundle, precision: Precision, options: Options | None, or_none: bool
) -> tuple[Executor, Executor] | None:
    """TensorRT's executors; ``None`` in place of an error where another backend will do."""
    from edgeecg.runtime.trt import Options, open_executors

    try:
        return open_executors(bundle, precision, options or Options())
    except BackendError as error:
        if not or_none:
            raise
        log.warning("TensorRT is installed, but does not run here (%s): taking ONNX Runtime", error)
        return None


def _usable() -> Backend:
    from edgeecg.runtime.trt import why_not

    return "onnxruntime" if why_not() else "tensorrt"
