"""A new engine is held against the bundle's golden vectors in every profile, before it is kept.

Each profile has kernels of its own, so each must prove itself: the golden rows are repeated to fill a
bucket, and the open profile runs the golden step in pieces with the state carried over. Buckets for another
step than the golden one run it in theirs, if that is shorter; a longer one is held against pieces of the
open profile, which is proved by then. Pieces agree with the whole only in rows that are warm: what a fresh
stream says of the time before its first sample means nothing, and depends on the length of the step.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgeecg.bundle import Bundle, GraphName, Precision
from edgeecg.errors import BackendError
from edgeecg.runtime.engine import TOLERANCE, departure, golden_of
from edgeecg.runtime.executor import STATE, STATE_OUT
from edgeecg.runtime.trt.executor import TrtExecutor

__all__ = ["prove"]

Arrays = dict[str, NDArray[np.float32]]


def prove(executor: TrtExecutor, bundle: Bundle, name: GraphName, precision: Precision) -> float:
    """Run the golden vectors through all profiles.

    Returns
    -------
    The largest error, as a share of its output's largest absolute value.

    Raises
    ------
    BackendError
        A profile does not reproduce them.
    """
    inputs, wanted = golden_of(bundle, name, executor, precision)
    ((given, extent),) = executor.plan.recipe.extents.items()
    length, step = inputs[given].shape[1], extent.step
    warm = np.flatnonzero(inputs[STATE].any(axis=1))
    if step != length and not len(warm):
        raise BackendError(
            f"{name} graph: no golden vector has a history, so steps of {step} prove nothing: "
            "build the bundle again"
        )
    worst = 0.0
    piece = length if step != length else length // 2 // extent.shortest * extent.shortest
    if piece and len(warm):
        error = furthest(in_pieces(executor, chosen(inputs, warm), piece), chosen(wanted, warm))
        worst = allow(error, f"{name} graph in its open profile", precision)
    if step != length:
        inputs, wanted = chosen(inputs, warm), chosen(wanted, warm)
    if step > length:
        inputs = {**inputs, given: longer(inputs[given], step)}
        wanted = in_pieces(executor, inputs, length)
    for rows in executor.plan.recipe.buckets if len(inputs[STATE]) else ():
        error = furthest(in_pieces(executor, fill(inputs, rows), step), fill(wanted, rows))
        worst = max(worst, allow(error, f"{name} graph in its profile of {rows} rows", precision))
    return worst


def chosen(arrays: Arrays, rows: NDArray[np.intp]) -> Arrays:
    """Some rows of all arrays."""
    return {key: array[rows] for key, array in arrays.items()}


def fill(arrays: Arrays, rows: int) -> Arrays:
    """Repeat the rows of all arrays until there are as many."""
    return {key: array[np.arange(rows) % len(array)] for key, array in arrays.items()}


def longer(array: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """Repeat an input in time until it is so long."""
    return array[:, np.arange(length) % array.shape[1]]


def in_pieces(executor: TrtExecutor, inputs: Arrays, length: int) -> Arrays:
    """Outputs of a step that is run in parts of a length, with the state carried over."""
    ((given, _),) = executor.plan.recipe.extents.items()
    state, parts = inputs[STATE], list[Arrays]()
    for piece in np.split(inputs[given], range(length, inputs[given].shape[1], length), axis=1):
        parts.append(executor.run({given: piece, STATE: state}))
        state = parts[-1][STATE_OUT]
    names = [name for name in parts[0] if name != STATE_OUT]
    joined = {name: np.concatenate([part[name] for part in parts], axis=1) for name in names}
    return {**joined, STATE_OUT: state}


def furthest(got: Arrays, wanted: Arrays) -> float:
    """Largest error of any output, as a share of its largest absolute value."""
    return max(departure(got[key], value) for key, value in wanted.items())


def allow(error: float, what: str, precision: Precision) -> float:
    """Pass an error on, or raise where it is too large (NaN is)."""
    if not error <= TOLERANCE[precision]:
        raise BackendError(
            f"the new {precision} engine of the {what} is wrong (off by {error:.1e} of its range, allowed "
            f"{TOLERANCE[precision]:.0e}): open it with another precision or --backend onnxruntime"
        )
    return error
