"""A new engine is held against the bundle's golden vectors in every profile, before it is kept.

Each profile has kernels of its own, so each must prove itself: the golden rows are repeated to fill a
bucket, and the open profile runs the golden step in two halves with the state carried over. Halves agree
with the whole only in rows that are warm: what a fresh stream says of the time before its first sample
means nothing, and depends on the length of the step.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgeecg.bundle import Bundle, GraphName, Precision
from edgeecg.errors import BackendError
from edgeecg.runtime.engine import TOLERANCE
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
    golden = bundle.golden()
    inputs = {spec.name: golden[f"{name}.{spec.name}"] for spec in executor.inputs}
    wanted = {spec.name: golden[f"{name}.{precision}.{spec.name}"] for spec in executor.outputs}
    recipe = executor.plan.recipe
    whole = all(inputs[key].shape[1] == extent.step for key, extent in recipe.extents.items())
    worst = 0.0
    for rows in recipe.buckets if whole else ():
        error = departure(executor.run(fill(inputs, rows)), fill(wanted, rows))
        worst = max(worst, allow(error, f"{name} graph in its profile of {rows} rows", precision))
    warm = inputs[STATE].any(axis=1)
    halves = in_halves(executor, {key: array[warm] for key, array in inputs.items()}) if warm.any() else None
    if halves is not None:
        error = departure(halves, {key: array[warm] for key, array in wanted.items()})
        worst = max(worst, allow(error, f"{name} graph in its open profile", precision))
    return worst


def fill(arrays: Arrays, rows: int) -> Arrays:
    """Repeat the rows of all arrays until there are as many."""
    return {key: array[np.arange(rows) % len(array)] for key, array in arrays.items()}


def in_halves(executor: TrtExecutor, inputs: Arrays) -> Arrays | None:
    """Outputs of a step that is run in two parts; ``None`` where it cannot be cut."""
    extents = executor.plan.recipe.extents
    if any(inputs[key].shape[1] % (2 * extent.shortest) for key, extent in extents.items()):
        return None
    state = inputs[STATE]
    parts = []
    for half in (0, 1):
        piece = {key: np.split(inputs[key], 2, axis=1)[half] for key in extents}
        outputs = executor.run({**piece, STATE: state})
        state = outputs[STATE_OUT]
        parts.append(outputs)
    joined = {
        key: np.concatenate([part[key] for part in parts], axis=1) for key in parts[0] if key != STATE_OUT
    }
    return {**joined, STATE_OUT: state}


def departure(got: Arrays, wanted: Arrays) -> float:
    """Largest error of any output, as a share of its largest absolute value."""
    return max(
        float(np.max(np.abs(got[key] - value)) / max(float(np.max(np.abs(value))), 1e-12))
        for key, value in wanted.items()
    )


def allow(error: float, what: str, precision: Precision) -> float:
    """Pass an error on, or raise where it is too large (NaN is)."""
    if not error <= TOLERANCE[precision]:
        raise BackendError(
            f"the new {precision} engine of the {what} is wrong (off by {error:.1e} of its range, allowed "
            f"{TOLERANCE[precision]:.0e}): open it with another precision or --backend onnxruntime"
        )
    return error
