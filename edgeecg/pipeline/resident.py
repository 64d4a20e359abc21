"""State of one graph for many streams, kept on the executor's device.

Only new samples go there and only scores come back. A device can be lost, and what was on it; so of every
``KEPT`` steps one leaves a copy of the state behind, and the inputs of the steps since are kept: from these
the state is computed again, and no stream notices.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from edgeecg.errors import BackendError, EdgeECGError
from edgeecg.pipeline.rows import SHELF, Rows, StateRows, state_width
from edgeecg.runtime.cuda import CudaError
from edgeecg.runtime.executor import Executor, Tensors

__all__ = ["DeviceState", "Keeper", "ResidentRows", "open_rows"]

KEPT = 64

T = TypeVar("T")


class DeviceState(Protocol):
    """Rows of state on a device, as ``TrtExecutor.cohort`` makes them."""

    def step(
        self, inputs: Tensors, active: NDArray[np.bool_] | None = None
    ) -> dict[str, NDArray[np.float32]]:
        """One step of the active rows."""

    def save(self) -> NDArray[np.float32]:
        """All rows' state."""

    def load(self, state: NDArray[np.float32], row: int = 0) -> None:
        """Set the state of the rows from ``row`` on."""

    def close(self) -> None:
        """Free the memory."""


@runtime_checkable
class Keeper(Protocol):
    """An executor that can keep state on its device."""

    @property
    def most_rows(self) -> int:
        """Rows that :meth:`cohort` takes at most."""

    @property
    def step_length(self) -> int:
        """Second dimension of the input that :meth:`cohort` was built for."""

    def cohort(self, rows: int) -> DeviceState:
        """Fresh state of so many streams."""


def open_rows(executor: Executor, rows: int) -> StateRows | ResidentRows:
    """State on the device where the executor can keep it there, else beside it."""
    if isinstance(_now(executor), Keeper):
        return ResidentRows(executor, rows)
    return StateRows(executor, rows)


def _now(executor: Executor) -> Any:
    """What runs the graph at present, where the executor is one that survives a lost device."""
    return getattr(executor, "current", executor)


class ResidentRows:
    """The same as :class:`StateRows`, with the state on the device.

    Parameters
    ----------
    executor : Executor
        A :class:`Keeper`, or a recovering executor of one.
    rows : int
        Streams that there is room for; :meth:`grow` makes more.
    """

    def __init__(self, executor: Executor, rows: int) -> None:
        self.executor = executor
        spec = next(spec for spec in executor.inputs if spec.name != "state")
        self._input = spec.name
        keeper: Keeper = _now(executor)
        rest = [size for size in spec.shape[2:] if isinstance(size, int)]
        self._probe = np.zeros((1, keeper.step_length, *rest), np.float32)
        self._width = state_width(executor)
        self._most = min(SHELF, keeper.most_rows)
        self._size = min(self._most, rows)
        self._lodges: list[Lodge] = []
        self.grow(rows)
        weakref.finalize(self, _free, self._lodges)

    def __len__(self) -> int:
        return len(self._lodges) * self._size

    def grow(self, rows: int) -> None:
        """Make room for ``rows`` streams in all; those that are there keep their state."""
        if 0 < len(self) < rows and self._size < self._most:  # one that is not full size yet
            (few,) = self._lodges
            more = np.zeros((min(self._most, rows), self._width), np.float32)
            more[: self._size] = self._settled(few)
            _free(self._lodges)
            self._size, self._lodges[:] = len(more), [Lodge(more)]
            self._lodges[0].move_in(self._keeper())
        while len(self) < rows:
            lodge = Lodge(np.zeros((self._size, self._width), np.float32))
            lodge.move_in(self._keeper())
            self._lodges.append(lodge)

    def reset(self, rows: Rows) -> None:
        """Make these rows fresh streams."""
        for row in np.arange(len(self))[rows].tolist():
            self.write(row, np.zeros(self._width, np.float32))

    def read(self, row: int) -> NDArray[np.float32]:
        """State of one row."""
        return np.array(self._settled(self._lodges[row // self._size])[row % self._size])

    def write(self, row: int, state: NDArray[np.float32]) -> None:
        """Set the state of one row."""
        lodge, place = self._lodges[row // self._size], row % self._size
        self._settled(lodge)[place] = state
        self._safely(lodge, lambda: lodge.put(place))

    def run(self, x: NDArray[np.float32], rows: Rows) -> dict[str, NDArray[np.float32]]:
        """One step of the streams in ``rows``, ``(rows, ...)`` in their order; see :class:`StateRows`."""
        index = np.arange(len(self))[rows]
        out: dict[str, NDArray[np.float32]] = {}
        for number in np.unique(index // self._size).tolist():
            its = index // self._size == number
            part = self._step(self._lodges[number], x[its], index[its] % self._size)
            for name, values in part.items():
                if name not in out:
                    out[name] = np.empty((len(index), *values.shape[1:]), np.float32)
                out[name][its] = values
        return out

    def _step(
        self, lodge: Lodge, x: NDArray[np.float32], places: NDArray[np.intp]
    ) -> dict[str, NDArray[np.float32]]:
        out = self._safely(lodge, lambda: self._step_there(lodge, x, places))
        if out is not None:
            lodge.steps.append((x, places))
            if len(lodge.steps) >= KEPT:
                self._settled(lodge)
            return {name: values[places] for name, values in out.items()}
        state = self._settled(lodge)
        out = self.executor.run({self._input: x, "state": state[places]})
        state[places] = out.pop("state_out")
        self._safely(lodge, lodge.put)
        return out

    def _step_there(
        self, lodge: Lodge, x: NDArray[np.float32], places: NDArray[np.intp]
    ) -> dict[str, NDArray[np.float32]] | None:
        """A step on the device; ``None`` where there is none, or it was built for another length."""
        keeper = self._keeper()
        if lodge.device is None or keeper is None or x.shape[1] != keeper.step_length:
            return None
        whole = np.zeros((self._size, *x.shape[1:]), np.float32)
        whole[places] = x
        active = np.zeros(self._size, bool)
        active[places] = True
        return lodge.device.step({self._input: whole}, None if active.all() else active)

    def _settled(self, lodge: Lodge) -> NDArray[np.float32]:
        return self._safely(lodge, lodge.settle)

    def _safely(self, lodge: Lodge, call: Callable[[], T]) -> T:
        """What a call to a lodge's device gives; if the device is lost, once more after all is made again.

        Somebody else on the device may have found out before: then its executor is closed, or another one.
        """
        if not self._left_behind(lodge):
            try:
                return call()
            except BackendError as error:
                if isinstance(error, CudaError) and error.lost:
                    self._leave()
                elif not self._left_behind(lodge):
                    raise
        self._rebuild()
        return call()

    def _leave(self) -> None:
        """The device was lost, with all that is on it."""
        for lodge in self._lodges:
            lodge.lost = True

    def _left_behind(self, lodge: Lodge) -> bool:
        return lodge.lost or lodge.keeper is not self._keeper()

    def _rebuild(self) -> None:
        """The device was lost: compute every state again, on what the executor runs on now.

        It may fail at any place, for want of memory or because that is lost as well. A lodge is then as it
        was, or its states are those of now, and it stays left behind until it has moved in: the next call
        goes on.
        """
        fresh = np.zeros((1, self._width), np.float32)
        self.executor.run({self._input: self._probe, "state": fresh})  # here it finds something to run on
        for lodge in self._lodges:
            if self._left_behind(lodge):
                lodge.move_out(self._replayed(lodge))
        keeper = self._keeper()
        for lodge in self._lodges:
            if self._left_behind(lodge):
                lodge.move_in(keeper)

    def _replayed(self, lodge: Lodge) -> NDArray[np.float32]:
        """A lodge's state after its steps, which are done again beside it: half-way it may not be seen."""
        state: NDArray[np.float32] = lodge.state.copy()
        for x, places in lodge.steps:
            out = self.executor.run({self._input: x, "state": state[places]})
            state[places] = out["state_out"]
        return state

    def _keeper(self) -> Keeper | None:
        now = _now(self.executor)
        return now if isinstance(now, Keeper) else None


class Lodge:
    """``SHELF`` rows: on the device, and what is needed to make them again.

    Attributes
    ----------
    state : (rows, width)
        The state before ``steps``; the state itself where there is no ``device``.
    steps : list of (x, places)
        Inputs since then.
    """

    def __init__(self, state: NDArray[np.float32]) -> None:
        self.state = state
        self.steps: list[tuple[NDArray[np.float32], NDArray[np.intp]]] = []
        self.device: DeviceState | None = None
        self.keeper: Keeper | None = None  # that made it
        self.lost = False  # whether it is gone, whatever the keeper

    def settle(self) -> NDArray[np.float32]:
        """The state as it is now; nothing is left to be done again."""
        if self.device is not None and self.steps:
            self.state = self.device.save()
            self.steps.clear()
        return self.state

    def move_out(self, state: NDArray[np.float32]) -> None:
        """The device is lost, and this is the state as it would be there now."""
        self.state, self.device = state, None
        self.steps.clear()

    def move_in(self, keeper: Keeper | None) -> None:
        """Make room on a device, if there is one, and put the state there; an error changes nothing."""
        device = None
        if keeper is not None:
            device = keeper.cohort(len(self.state))
            try:
                device.load(self.state)
            except EdgeECGError:
                _close(device)
                raise
        self.device, self.keeper, self.lost = device, keeper, False

    def put(self, place: int | None = None) -> None:
        """Put the state, or one row of it, onto the device."""
        if self.device is not None and place is None:
            self.device.load(self.state)
        elif self.device is not None and place is not None:
            self.device.load(self.state[place : place + 1], place)


def _free(lodges: list[Lodge]) -> None:
    """Nobody uses the rows any more."""
    for lodge in lodges:
        if lodge.device is not None:
            _close(lodge.device)


def _close(device: DeviceState) -> None:
    with suppress(EdgeECGError):  # the executor is closed, and the device's memory with it
        device.close()
