"""State of one graph for many streams: a packed row each, beside the executor and never inside it."""

from __future__ import annotations

from itertools import pairwise
from typing import Union

import numpy as np
from numpy.typing import NDArray

from edgeecg.errors import BackendError
from edgeecg.runtime.executor import Executor

__all__ = ["SHELF", "Rows", "StateRows", "batches", "compact", "state_width"]

Rows = Union[NDArray[np.intp], slice]
"""Which rows take part in a step: ascending indices, or a range with both ends."""

SHELF = 64
"""Rows that step together, at most: what more of them work on would not fit the caches."""


def state_width(executor: Executor) -> int:
    """Floats per row of a graph's state; raises ``BackendError`` where it has none of a fixed width."""
    width = next((spec.shape[1] for spec in executor.inputs if spec.name == "state"), None)
    if not isinstance(width, int):
        raise BackendError(f"the graph has no state of a fixed width ({width}): export it again")
    return width


class StateRows:
    """A graph over ``rows`` streams. Zeros are a fresh stream.

    The rows stand on *shelves* of ``SHELF``. Where a whole shelf steps, the executor's fresh output is the
    new shelf: two buffers take turns, and nothing is copied.

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
        self._width, self._size = state_width(executor), min(SHELF, rows)
        self._shelves: list[NDArray[np.float32]] = []
        self.grow(rows)

    def __len__(self) -> int:
        return len(self._shelves) * self._size

    def read(self, row: int) -> NDArray[np.float32]:
        """State of one row."""
        return np.array(self._shelves[row // self._size][row % self._size])

    def write(self, row: int, state: NDArray[np.float32]) -> None:
        """Set the state of one row."""
        self._shelves[row // self._size][row % self._size] = state

    def grow(self, rows: int) -> None:
        """Make room for ``rows`` streams in all; those that are there keep their state."""
        if 0 < len(self) < SHELF and len(self) < rows:  # a shelf that is not full size yet
            few = self._shelves.pop()
            self._size = min(SHELF, rows)
            self._shelves.append(np.zeros((self._size, self._width), np.float32))
            self._shelves[0][: len(few)] = few
        while len(self) < rows:
            self._shelves.append(np.zeros((self._size, self._width), np.float32))

    def reset(self, rows: Rows) -> None:
        """Make these rows fresh streams."""
        for shelf, _, places in self._places(rows):
            shelf[places] = 0

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
        if isinstance(rows, slice) and rows.stop - rows.start == self._size and not rows.start % self._size:
            number = rows.start // self._size
            out = self.executor.run({self._input: x, "state": self._shelves[number]})
            self._shelves[number] = out.pop("state_out")
            return out
        state = np.empty((len(x), self._width), np.float32)
        places = self._places(rows)
        for shelf, its, there in places:
            np.take(shelf, there, axis=0, out=state[its], mode="clip")  # the other modes buffer
        out = self.executor.run({self._input: x, "state": state})
        state = out.pop("state_out")
        for shelf, its, there in places:
            shelf[there] = state[its]
        return out

    def _places(self, rows: Rows) -> list[tuple[NDArray[np.float32], slice, NDArray[np.intp]]]:
        """Of each shelf that holds some of ``rows``: itself, which of them, and their places on it."""
        index = np.arange(rows.start, rows.stop) if isinstance(rows, slice) else rows
        number, place = np.divmod(index, self._size)
        begins = [0, *(np.flatnonzero(np.diff(number)) + 1).tolist(), len(index)]
        its = [slice(begin, end) for begin, end in pairwise(begins)]
        return [(self._shelves[number[part.start]], part, place[part]) for part in its]


def batches(slots: NDArray[np.intp], size: int) -> list[tuple[int, int]]:
    """Ranges of ascending slots that step together: a whole shelf of ``size`` by itself, else as many."""
    if len(slots) <= size:
        return [(0, len(slots))]
    begins = np.flatnonzero(np.diff(slots // size, prepend=-1)).tolist()
    ranges: list[tuple[int, int]] = []
    for begin, end in zip(begins, [*begins[1:], len(slots)], strict=True):
        if ranges and end - ranges[-1][0] <= size:
            ranges[-1] = ranges[-1][0], end
        else:
            ranges.append((begin, end))
    return ranges


def compact(index: NDArray[np.intp]) -> Rows:
    """Ascending indices as a range where they are one."""
    first, last = int(index[0]), int(index[-1])
    return slice(first, last + 1) if last - first + 1 == len(index) else index
