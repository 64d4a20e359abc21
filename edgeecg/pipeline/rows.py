"""State of one graph for many streams: a packed row each, beside the executor and never inside it."""

from __future__ import annotations

from typing import Union

import numpy as np
from numpy.typing import NDArray

from edgeecg.errors import BackendError
from edgeecg.runtime.executor import Executor

__all__ = ["Rows", "StateRows", "state_width"]

Rows = Union[NDArray[np.intp], slice]
"""Which rows take part in a step: distinct indices, or a range (then nothing is gathered)."""


def state_width(executor: Executor) -> int:
    """Floats per row of a graph's state; raises ``BackendError`` where it has none of a fixed width."""
    width = next((spec.shape[1] for spec in executor.inputs if spec.name == "state"), None)
    if not isinstance(width, int):
        raise BackendError(f"the graph has no state of a fixed width ({width}): export it again")
    return width


class StateRows:
    """A graph over ``rows`` streams. Zeros are a fresh stream.

    Parameters
    ----------
    executor : Executor
        A graph with the inputs ``state`` and one other, and the output ``state_out``.
    rows : int
        Streams that there is room for; :meth:`grow` makes more.
    """

    def __init__(self, executor: Executor, rows: int) -> None:
        self.executor = executor
        self._input = next(spec.name for spec in executor.inputs if spec.name != "state")
        self.values: NDArray[np.float32] = np.zeros((rows, state_width(executor)), np.float32)

    def __len__(self) -> int:
        return len(self.values)

    def read(self, row: int) -> NDArray[np.float32]:
        """State of one row."""
        return np.array(self.values[row])

    def write(self, row: int, state: NDArray[np.float32]) -> None:
        """Set the state of one row."""
        self.values[row] = state

    def grow(self, rows: int) -> None:
        """Make room for ``rows`` streams in all; those that are there keep their state."""
        more = np.zeros((rows - len(self.values), self.values.shape[1]), np.float32)
        self.values = np.concatenate([self.values, more])

    def reset(self, rows: Rows) -> None:
        """Make these rows fresh streams."""
        self.values[rows] = 0

    def run(self, x: NDArray[np.float32], rows: Rows) -> dict[str, NDArray[np.float32]]:
        """One step of the streams in ``rows``; the others stay as they are.

        Parameters
        ----------
        x : (rows, ...) float32
            What follows, in the order of ``rows``.

        Returns
        -------
        The graph's outputs but for the state.
        """
        everyone = isinstance(rows, slice) and rows == slice(0, len(self.values))
        out = self.executor.run({self._input: x, "state": self.values[rows]})
        state = out.pop("state_out")
        if (
            everyone
        ):  # the executor's fresh buffer is the new state: two buffers take turns, nothing is copied
            self.values = state
        else:
            self.values[rows] = state
        return out
