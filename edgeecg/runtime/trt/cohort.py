"""Stream state that stays on the device: two buffers that take turns as input and output.

Only new samples go in and scores come out. Each direction of the turn is a CUDA graph of its own,
since a graph remembers addresses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgeecg.errors import BackendError, SignalError
from edgeecg.runtime.executor import STATE, STATE_OUT, Tensors, check_inputs
from edgeecg.runtime.trt.lane import FLOAT

if TYPE_CHECKING:
    from edgeecg.runtime.trt.executor import TrtExecutor

__all__ = ["Cohort"]


class Cohort:
    """State of ``rows`` streams on the device; zeros at first, as fresh streams have.

    Parameters
    ----------
    executor : TrtExecutor
        Engine of a graph with ``state`` and ``state_out``; it must stay open as long as the cohort.
    rows : int
        Streams, at most the greatest batch bucket.

    Raises
    ------
    BackendError
        The graph has no state, or the rows do not fit a bucket.
    """

    def __init__(self, executor: TrtExecutor, rows: int) -> None:
        recipe = executor.plan.recipe
        sizes = [spec.shape[1] for spec in executor.inputs if spec.name == STATE]
        if not sizes or not isinstance(sizes[0], int):
            raise BackendError(
                f"the graph has no input {STATE} of a fixed size: it keeps nothing from step to step"
            )
        if not 1 <= rows <= recipe.buckets[-1]:
            raise BackendError(
                f"a cohort of {rows} rows: the engine takes 1 to {recipe.buckets[-1]}, make several"
            )
        self.rows = rows
        self._executor = executor
        self._profile = next(i for i, size in enumerate(recipe.buckets) if size >= rows)
        self._bucket = recipe.buckets[self._profile]
        self._row_bytes = sizes[0] * FLOAT.itemsize
        self._specs = [spec for spec in executor.inputs if spec.name != STATE]
        self._key = object()
        self._turn = 0
        with executor.locked() as device:
            self._sides = [device.allocate(self._bucket * self._row_bytes) for _ in range(2)]
            self._staging = device.pinned((self._bucket, sizes[0]), FLOAT)
        self.clear()

    def step(
        self, inputs: Tensors, active: NDArray[np.bool_] | None = None
    ) -> dict[str, NDArray[np.float32]]:
        """Run one step of all rows.

        Parameters
        ----------
        inputs : mapping
            All inputs but the state, one step long, ``rows`` rows.
        active : (rows,) bool, optional
            Rows that take the step; the state of the others stays, and their outputs mean nothing.

        Returns
        -------
        All outputs but the state.
        """
        check_inputs(self._specs, inputs)
        if any(len(array) != self.rows for array in inputs.values()):
            raise SignalError(f"the cohort has {self.rows} rows: give every input as many")
        executor = self._executor
        with executor.locked() as device:
            like = {**inputs, STATE: self._staging.array}
            lane = executor.lane(self._profile, self._bucket, like)
            for name, array in inputs.items():
                lane.host(name)[: self.rows] = array
            now, following = self._sides[self._turn].address, self._sides[1 - self._turn].address
            executor.launch(lane, (self._key, self._turn), {STATE: now, STATE_OUT: following})
            for row in [] if active is None else np.flatnonzero(~active):
                offset = int(row) * self._row_bytes
                device.copy_on(following + offset, now + offset, self._row_bytes, executor.stream)
            executor.wait()
            self._turn = 1 - self._turn
            names = [spec.name for spec in executor.outputs if spec.name != STATE_OUT]
            return {name: lane.host(name)[: self.rows].copy() for name in names}

    def save(self) -> NDArray[np.float32]:
        """State of all rows, ``(rows, size)``."""
        with self._executor.locked() as device:
            device.copy_out(self._staging.array, self._sides[self._turn].address, self._executor.stream)
            self._executor.wait()
            saved: NDArray[np.float32] = self._staging.array[: self.rows].copy()
        return saved

    def load(self, state: NDArray[np.float32], row: int = 0) -> None:
        """Set the state of the rows from ``row`` on, ``(any number of rows, size)``."""
        if state.ndim != 2 or state.shape[1] != self._staging.array.shape[1] or row + len(state) > self.rows:
            raise SignalError(f"state of shape {state.shape} from row {row} does not fit {self.rows} rows")
        with self._executor.locked() as device:
            part = self._staging.array[: len(state)]
            part[...] = state
            address = self._sides[self._turn].address + row * self._row_bytes
            device.copy_in(address, part, self._executor.stream)
            self._executor.wait()

    def clear(self) -> None:
        """Make all rows fresh."""
        with self._executor.locked() as device:
            for side in self._sides:
                device.clear(side.address, side.size, self._executor.stream)
            self._executor.wait()

    def close(self) -> None:
        """Free the buffers and the graphs that know them."""
        with self._executor.locked():
            self._executor.forget_graphs(self._profile, self._key)
            for side in self._sides:
                side.free()
            self._staging.free()
