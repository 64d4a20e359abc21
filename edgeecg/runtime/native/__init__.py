"""The network on the CPU as fused kernels, compiled on the device: several times the speed of ONNX Runtime.

A step of a compact network is small: ONNX Runtime spends more than half of it between the products, in
operators that each read and write every token once. Here a group of patients passes a whole layer while it
lies in the cache. Numbers and state are those of the FP32 graph, to a millionth of their range, so that a
snapshot goes on under either backend. Needs a C compiler on the device, once; importing this needs none.
"""

from __future__ import annotations

from pathlib import Path

from edgeecg.bundle import GRAPHS, Bundle, GraphName, Precision
from edgeecg.errors import BackendError, BundleError
from edgeecg.runtime.executor import check_threads
from edgeecg.runtime.native.constants import read_constants
from edgeecg.runtime.native.executor import NativeExecutor
from edgeecg.runtime.native.library import find_compiler, open_library
from edgeecg.runtime.native.weights import pack_weights, sizes_of

__all__ = ["PRECISION", "find_compiler", "open_executor", "open_executors"]

PRECISION: Precision = "fp32"
"""What the kernels compute in; on a CPU fewer bits gain a network of this size nothing."""


def open_executors(
    bundle: Bundle, precision: Precision, threads: int
) -> tuple[NativeExecutor, NativeExecutor]:
    """Token and beat graph of a bundle; raises as :func:`open_executor`."""
    token, beat = (open_executor(bundle, name, precision, threads) for name in GRAPHS)
    return token, beat


def open_executor(
    bundle: Bundle,
    name: GraphName,
    precision: Precision = PRECISION,
    threads: int = 1,
    cache: Path | None = None,
) -> NativeExecutor:
    """Compile the kernels for one graph, or take those that are kept, and give them its weights.

    Parameters
    ----------
    bundle : Bundle
        Where sizes and weights are from.
    name : str
        ``token`` or ``beat``.
    precision : str
        ``fp32``; there are no kernels of another.
    threads : int
        Threads that share the rows of a run.
    cache : Path, optional
        Folder of compiled kernels; ``EDGEECG_CACHE`` or the user's cache folder where left out.

    Raises
    ------
    BackendError
        Another precision, no C compiler, or a graph that the kernels do not take.
    BundleError
        The bundle has no such graph.
    """
    check_threads(threads)
    if precision != PRECISION:
        raise BackendError(
            f"the native backend computes in {PRECISION}, not {precision}: leave the precision out, or take "
            "the backend onnxruntime"
        )
    model = bundle.graph(name, PRECISION)
    try:
        constants = read_constants(model)
        sizes = sizes_of(bundle.spec, name, constants)
        weights = pack_weights(bundle.spec, name, constants)
        return NativeExecutor(name, open_library(sizes, cache), sizes, weights, threads)
    except BundleError as error:  # which another backend may take
        raise BackendError(f"bundle {bundle.name}: {error}") from error
