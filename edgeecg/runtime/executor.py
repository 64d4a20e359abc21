"""The seam: one graph, named tensors in and out.

Everything above (engine, pipeline, profile, compare) talks to this protocol and to nothing else, so an
executor may be ONNX Runtime or compiled kernels on a CPU, TensorRT on a GPU, or a fake in a test.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, TypeVar, Union, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from edgeecg.errors import ConfigError, SignalError

__all__ = [
    "ROWS",
    "STATE",
    "STATE_OUT",
    "Executor",
    "InputCheck",
    "TensorSpec",
    "Tensors",
    "check_inputs",
    "check_threads",
    "run_in_pieces",
    "unit_of",
]

ROWS = "rows"

SHAPES = 64
"""Most shapes that are remembered as right."""

STATE, STATE_OUT = "state", "state_out"
"""Input and output of a graph that goes on where the last step ended."""

Tensors = Mapping[str, NDArray[np.float32]]
"""Arrays by the name of their graph input or output; always float32."""

Self = TypeVar("Self", bound="Executor")


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a graph.

    Parameters
    ----------
    name : str
        Name in the graph.
    shape : tuple of int or str
        A number is fixed; a word is a dynamic dimension, and equal words are equal numbers in a call;
        ``8*tokens`` is a whole number of eights.
    """

    name: str
    shape: tuple[Union[int, str], ...]

    def __str__(self) -> str:
        return f"{self.name} ({', '.join(map(str, self.shape))})"


@runtime_checkable
class Executor(Protocol):
    """Runs one graph. Holds no stream state: state is an input and an output like any other."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What :meth:`run` takes."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What :meth:`run` gives."""

    def run(self, inputs: Tensors) -> dict[str, NDArray[np.float32]]:
        """Run the graph once.

        Raises
        ------
        SignalError
            An input is missing, unknown, not float32 or of a wrong shape.
        BackendError
            The executor is closed.
        DeviceError
            The device failed while running.
        """

    def close(self) -> None:
        """Give back what the executor holds; closing twice is fine."""

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def check_threads(threads: int) -> None:
    """Refuse what is no number of threads; raises ``ConfigError``."""
    try:
        whole = operator.index(threads)
    except TypeError:
        whole = 0
    if whole < 1:
        raise ConfigError(f"threads = {threads}: give a whole number, 1 or more")


def check_inputs(specs: Sequence[TensorSpec], inputs: Tensors, longest: int = 0) -> None:
    """Hold the inputs of a call against the graph's; raises ``SignalError`` in one line.

    Parameters
    ----------
    longest : int
        Most tokens or beats that the graph takes at once; 0 where it does not say.
    """
    if len(inputs) != len(specs) or any(spec.name not in inputs for spec in specs):
        wanted, given = ", ".join(spec.name for spec in specs), ", ".join(map(str, inputs)) or "nothing"
        raise SignalError(f"the graph takes the inputs {wanted}, but was given {given}")
    sizes: dict[str, int] = {}
    for spec in specs:
        array = inputs[spec.name]
        if not isinstance(array, np.ndarray) or array.dtype != np.float32:
            kind = getattr(array, "dtype", type(array).__name__)
            raise SignalError(f"input {spec.name} is {kind}: convert it with np.asarray(x, np.float32)")
        fits = array.ndim == len(spec.shape) and all(
            _fits(size, want, sizes) for size, want in zip(array.shape, spec.shape, strict=True)
        )
        if not fits:
            known = f" with {', '.join(f'{k} = {v}' for k, v in sizes.items())}" if sizes else ""
            raise SignalError(f"input {spec.name} has shape {array.shape}, but the graph takes {spec}{known}")
        if 0 in array.shape:
            raise SignalError(
                f"input {spec.name} has shape {array.shape}: nothing to run on, leave the call out"
            )
    most = max((size for name, size in sizes.items() if name != ROWS), default=0)
    if longest and most > longest:
        raise SignalError(
            f"a step of {most} is too long: this graph takes at most {longest}, cut it in several"
        )


class InputCheck:
    """:func:`check_inputs` of one graph; shapes that passed once need no second look, which costs a small
    step 4 %.

    Parameters
    ----------
    specs : sequence of TensorSpec
        The graph's inputs.
    longest : int
        Most tokens or beats that it takes at once; 0 where it does not say.
    """

    def __init__(self, specs: Sequence[TensorSpec], longest: int) -> None:
        self._specs, self._longest = specs, longest
        self._names = [spec.name for spec in specs]
        self._passed: set[tuple[object, ...]] = set()

    def __call__(self, inputs: Tensors) -> None:
        """Raises ``SignalError`` where the inputs are not the graph's."""
        try:
            kinds = tuple([(x.shape, x.dtype, type(x)) for x in map(inputs.__getitem__, self._names)])
            passed = kinds in self._passed and len(inputs) == len(kinds)
        except (KeyError, AttributeError, TypeError):  # missing, no array, or something that is like one
            kinds, passed = (), False
        if not passed:
            check_inputs(self._specs, inputs, self._longest)
            if len(self._passed) < SHAPES:
                self._passed.add(kinds)


def run_in_pieces(
    run: Callable[[Tensors], dict[str, NDArray[np.float32]]],
    inputs: Tensors,
    name: str,
    unit: int,
    most: int,
) -> dict[str, NDArray[np.float32]]:
    """Run a long step in pieces of about equal length, each from the state that the one before left.

    Parameters
    ----------
    name : str
        The input that is cut along its second dimension; it and ``state`` are all inputs.
    unit : int
        Samples of a position.
    most : int
        Positions of a piece.
    """
    positions = inputs[name].shape[1] // unit
    count = -(-positions // most)
    edges = [unit * (i * positions // count) for i in range(1, count)]
    state, parts = inputs[STATE], []
    for piece in np.split(inputs[name], edges, axis=1):
        parts.append(run({name: piece, STATE: state}))
        state = parts[-1].pop(STATE_OUT)
    joined = {key: np.concatenate([part[key] for part in parts], axis=1) for key in parts[0]}
    return {**joined, STATE_OUT: state}


def _fits(size: int, want: Union[int, str], sizes: dict[str, int]) -> bool:
    """Whether a dimension is as wanted; takes down the number that a word stands for."""
    if isinstance(want, int):
        return size == want
    unit, name = unit_of(want)
    return size % unit == 0 and size // unit == sizes.setdefault(name, size // unit)


@lru_cache(maxsize=64)
def unit_of(word: str) -> tuple[int, str]:
    """``8*tokens`` taken apart; 1 where no number is in front."""
    head, star, tail = word.partition("*")
    unit = int(head) if star and head.isdecimal() else 0
    return (unit, tail) if unit else (1, word)
