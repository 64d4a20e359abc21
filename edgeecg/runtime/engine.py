"""A bundle opened: its two graphs in executors that have just reproduced the golden vectors."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Union

import numpy as np
from numpy.typing import NDArray

from edgeecg.bundle import GRAPHS, PRECISIONS, Bundle, GraphName, Precision
from edgeecg.errors import BackendError, BundleError, ConfigError, SignalError
from edgeecg.runtime import native
from edgeecg.runtime.executor import Executor, check_inputs
from edgeecg.runtime.native.constants import check_whole
from edgeecg.runtime.ort import OrtExecutor
from edgeecg.specs import BEAT_LABELS, HEADS, RHYTHM_LABELS

if TYPE_CHECKING:
    from edgeecg.runtime.trt import Options

__all__ = [
    "BACKENDS",
    "TOLERANCE",
    "Backend",
    "Engine",
    "check_fit",
    "check_golden",
    "departure",
    "golden_of",
    "open_engine",
]

Array = NDArray[np.float32]
TINY = 1e-12  # what a golden output of zeros is taken for

Backend = Literal["onnxruntime", "native", "tensorrt"]
BACKENDS: tuple[Backend, ...] = ("onnxruntime", "native", "tensorrt")

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
        ``onnxruntime``, ``native`` or ``tensorrt``.
    precision : str
        Precision of the graphs.
    """

    bundle: Bundle
    token: Executor
    beat: Executor
    backend: Backend
    precision: Precision

    def __repr__(self) -> str:
        return f"Engine({self.bundle!r}, backend={self.backend!r}, precision={self.precision!r})"

    def close(self) -> None:
        """Close both executors; closing twice is fine."""
        self.token.close()
        self.beat.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *error: object) -> None:
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
        for but refuses is told in the log. ``native`` compiles kernels for this processor, once (see
        :mod:`edgeecg.runtime.native`): the fastest on a CPU, where there is a C compiler.
    precision : str, optional
        ``fp32``, ``fp16``, ``int8`` or ``mixed``; the bundle's default where left out. ``native`` has
        ``fp32`` only, and takes it.
    threads : int
        CPU threads inside one operator; of ``native``, threads that share the rows of a run.
    tensorrt : edgeecg.runtime.trt.Options, optional
        How TensorRT engines are built and run.

    Raises
    ------
    BundleError
        The bundle cannot be opened, lacks the precision, or its graphs are not those of its manifest.
    BackendError
        The backend cannot be used here, or does not reproduce the golden vectors.
    ConfigError
        There is no such backend or precision, or ``threads`` is no whole number above 0.
    """
    if backend not in (*BACKENDS, "auto"):
        raise ConfigError(f"no backend {backend!r}: choose auto, {', '.join(BACKENDS)}")
    opened = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
    wanted = precision or (native.PRECISION if backend == "native" else opened.manifest.default_precision)
    if wanted not in PRECISIONS:
        raise ConfigError(f"no precision {wanted!r}: choose one of {', '.join(opened.precisions)}")
    graphs = {name: opened.graph(name, wanted) for name in GRAPHS}
    for graph in graphs.values():
        check_whole(graph)
    chosen = _usable() if backend == "auto" else backend
    executors: tuple[Executor, Executor] | None = None
    if chosen == "tensorrt":
        executors = _on_gpu(opened, wanted, tensorrt, or_none=backend == "auto")
    elif chosen == "native":
        executors = native.open_executors(opened, wanted, threads)
    if executors is None:
        chosen = "onnxruntime"
        executors = OrtExecutor(graphs["token"], threads), OrtExecutor(graphs["beat"], threads)
    engine = Engine(opened, *executors, chosen, wanted)
    try:
        for name, executor in zip(GRAPHS, executors, strict=True):
            check_fit(opened, name, executor)
            check_golden(opened, name, executor, wanted)
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
    inputs, expected = golden_of(bundle, name, executor, precision)
    worst = 0.0
    for key, value in executor.run(inputs).items():
        if value.shape != expected[key].shape:
            raise BundleError(
                f"bundle {bundle.name}: the golden {key} of its {name} graph has shape "
                f"{expected[key].shape}, not {value.shape}: build it again"
            )
        error = departure(value, expected[key])
        if not error <= TOLERANCE[precision]:  # NaN fails, too
            raise BackendError(
                f"the {precision} {name} graph of bundle {bundle.name} gives a wrong {key} here (off by "
                f"{error:.1e} of its range, allowed {TOLERANCE[precision]:.0e}): "
                "open it with another backend or precision"
            )
        worst = max(worst, error)
    return worst


def golden_of(
    bundle: Bundle, name: GraphName, executor: Executor, precision: Precision
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Golden inputs of a graph and the outputs that belong to them; ``BundleError`` where they are not."""
    golden = bundle.golden()
    wanted = {f"{name}.{spec.name}": len(spec.shape) for spec in executor.inputs}
    wanted |= {f"{name}.{precision}.{spec.name}": len(spec.shape) for spec in executor.outputs}
    for key, axes in wanted.items():
        array = golden.get(key)
        if array is None:
            raise BundleError(f"bundle {bundle.name} has no golden vectors {key}: build it again")
        if array.dtype != np.float32 or array.ndim != axes or not array.size:
            raise BundleError(
                f"bundle {bundle.name}: its golden vectors {key} are {array.dtype} of shape {array.shape}, "
                f"not float32 with {axes} axes: build it again"
            )
    inputs = {spec.name: golden[f"{name}.{spec.name}"] for spec in executor.inputs}
    try:
        check_inputs(executor.inputs, inputs)
    except SignalError as error:
        raise BundleError(
            f"bundle {bundle.name}: its golden vectors are not those of its {name} graph ({error}): "
            "build it again"
        ) from error
    return inputs, {spec.name: golden[f"{name}.{precision}.{spec.name}"] for spec in executor.outputs}


def departure(got: Array, expected: Array) -> float:
    """Largest error, as a share of the largest absolute value that is expected."""
    return float(np.max(np.abs(got - expected)) / max(float(np.max(np.abs(expected))), TINY))


def check_fit(bundle: Bundle, name: GraphName, executor: Executor) -> None:
    """Hold a graph's sizes against the bundle's manifest: golden vectors know nothing of that.

    Raises
    ------
    BundleError
        They are not those of the network that the manifest describes.
    """
    spec = bundle.spec
    if name == "token":
        state = spec.token.state_size(spec.stem_context)
        wanted = {"state": state, "heads": len(HEADS), "embedding": spec.token.dim, "state_out": state}
    else:
        state = spec.beat.state_size()
        wanted = {"beats": spec.beat_inputs, "state": state, "state_out": state}
        wanted |= {"classes": len(BEAT_LABELS), "rhythm": len(RHYTHM_LABELS)}
    found = {
        tensor.name: tensor.shape[-1] for tensor in (*executor.inputs, *executor.outputs) if tensor.shape
    }
    for key, size in wanted.items():
        if found.get(key) != size:
            raise BundleError(
                f"bundle {bundle.name}: the {key} of its {name} graph has {found.get(key, 'no')} columns, "
                f"where its manifest says {size}: they are of two networks, build it again"
            )


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
