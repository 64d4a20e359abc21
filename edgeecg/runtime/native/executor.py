"""One graph of a bundle on kernels that were compiled for its sizes."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from edgeecg.bundle import GraphName
from edgeecg.errors import BackendError, BundleError
from edgeecg.runtime.executor import (
    ROWS,
    STATE,
    STATE_OUT,
    Executor,
    InputCheck,
    Tensors,
    TensorSpec,
    check_threads,
)
from edgeecg.specs import BEAT_LABELS, HEADS, RHYTHM_LABELS

__all__ = ["NativeExecutor", "decided"]

Array = NDArray[np.float32]

TOGETHER = 40
"""Positions of all rows that pass a layer together: its weights are read once for so many, and what is
worked on stays in the second cache."""


class NativeExecutor(Executor):
    """One graph, a call of ``step.c`` a run.

    Parameters
    ----------
    name : str
        ``token`` or ``beat``.
    library : ctypes.CDLL
        The kernels of these sizes.
    sizes : mapping
        What they were compiled with.
    weights : (n,) float32
        In the order of ``struct network``.
    threads : int
        Threads that share the rows of a run.

    Raises
    ------
    BundleError
        There are not as many weights as the kernels read.
    """

    def __init__(
        self,
        name: GraphName,
        library: ctypes.CDLL,
        sizes: Mapping[str, int],
        weights: Array,
        threads: int = 1,
    ) -> None:
        check_threads(threads)
        if library.floats() != weights.size:
            raise BundleError(
                f"its {name} graph has {weights.size} weights, where the network of its manifest has "
                f"{library.floats()}: build the bundle again"
            )
        self._name, self._sizes = name, dict(sizes)
        self._library: ctypes.CDLL | None = library
        self._weights = np.ascontiguousarray(weights)
        self._threads = threads
        self._pool = os.getpid(), ThreadPoolExecutor(threads, "edgeecg-native")  # it begins threads as needed
        self._unit = sizes.get("PATCH", 1)  # samples of a token; beats have no parts
        self._inputs, self._outputs = _tensors(name, sizes, library.state_floats())
        self._check = InputCheck(self._inputs, sizes["LONGEST"])

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What :meth:`run` takes."""
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What :meth:`run` gives."""
        return self._outputs

    def run(self, inputs: Tensors) -> dict[str, Array]:
        """Run the graph once; threads may call it side by side."""
        library = self._live()
        self._check(inputs)
        given, state = (np.ascontiguousarray(inputs[spec.name]) for spec in self._inputs)
        rows, tokens = len(state), given.shape[1] // self._unit
        heads = np.empty((rows, tokens, self._sizes["OUTPUTS"]), np.float32)
        embedding = np.empty((rows, tokens, self._sizes["DIM"]), np.float32)
        after = np.empty_like(state)
        parts = (given, state, heads, embedding, after)
        if self._threads == 1 or rows == 1:
            self._step(library, tokens, *parts)
        else:
            edges = [rows * i // self._threads for i in range(self._threads + 1)]
            shares = [[part[a:b] for part in parts] for a, b in pairwise(edges) if a < b]
            self._side_by_side(lambda share: self._step(library, tokens, *share), shares)
        if self._name == "token":
            return {"heads": heads, "embedding": embedding, STATE_OUT: after}
        return {**decided(heads), STATE_OUT: after}

    def _step(
        self,
        library: ctypes.CDLL,
        tokens: int,
        given: Array,
        state: Array,
        heads: Array,
        embedding: Array,
        after: Array,
    ) -> None:
        """Run some rows; all arrays are contiguous."""
        rows = len(state)
        together = min(rows, max(1, TOGETHER // tokens))
        work = np.empty(library.scratch(together, tokens), np.float32)
        arrays = (given, state, heads, embedding, after, work)
        library.step(_address(self._weights), rows, together, tokens, *map(_address, arrays))

    def _side_by_side(self, step: Callable[[list[Array]], None], shares: list[list[Array]]) -> None:
        """Run shares of the rows in threads; those of a parent process are not there in its child."""
        if self._pool[0] != os.getpid():
            self._pool = os.getpid(), ThreadPoolExecutor(self._threads, "edgeecg-native")
        try:
            list(self._pool[1].map(step, shares))
        except RuntimeError:
            self._live()  # says that somebody closed it meanwhile
            raise

    def close(self) -> None:
        """Give back what the executor holds; closing twice is fine."""
        self._library = None
        if self._pool[0] == os.getpid():
            self._pool[1].shutdown()

    def _live(self) -> ctypes.CDLL:
        if self._library is None:
            raise BackendError("the executor is closed: open the engine again")
        return self._library


def _address(array: Array) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


def _tensors(
    name: GraphName, sizes: Mapping[str, int], state: int
) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs and outputs, as the ONNX graph has them."""
    if name == "token":
        inputs = (TensorSpec("signal", (ROWS, f"{sizes['PATCH']}*tokens")), TensorSpec(STATE, (ROWS, state)))
        outputs = (
            TensorSpec("heads", (ROWS, "tokens", len(HEADS))),
            TensorSpec("embedding", (ROWS, "tokens", sizes["DIM"])),
        )
    else:
        inputs = (TensorSpec("beats", (ROWS, "count", sizes["INPUTS"])), TensorSpec(STATE, (ROWS, state)))
        outputs = (
            TensorSpec("classes", (ROWS, "count", len(BEAT_LABELS))),
            TensorSpec("rhythm", (ROWS, "count", len(RHYTHM_LABELS))),
        )
    return inputs, (*outputs, TensorSpec(STATE_OUT, (ROWS, state)))


def decided(told: Array) -> dict[str, Array]:
    """Classes and rhythm of the beat encoder: what speaks for fibrillation is taken off S."""
    labels = len(BEAT_LABELS)
    against = np.maximum(told[..., -labels:], 0)
    return {
        "classes": told[..., :labels] - against,
        "rhythm": np.ascontiguousarray(told[..., labels:-labels]),
    }
