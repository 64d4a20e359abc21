"""What is run: the packaged model's token graph on a step or a window, and how many operations that takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeecg.bundle import Bundle
from edgeecg.model.checkpoint import network_from_weights
from edgeecg.model.transformer import Network
from edgeecg.specs import HEADS, ModelSpec

__all__ = ["Answer", "Call", "Case", "Subject", "operations"]

Answer = dict[str, NDArray[np.float32]]
Call = Callable[[], Answer]
"""Arrays in to arrays out: ``heads`` and ``embedding``."""

TOKENS = {"step": 8, "window": 160}
"""Half a second of one patient with the state of what came before; ten seconds anew."""


@dataclass(frozen=True)
class Case:
    """A kind of input and its rows.

    Parameters
    ----------
    kind : str
        ``step`` or ``window``.
    signal : (rows, 8 tokens) float32
        Noise: the time does not depend on what is in it.
    state : (rows, size) float32
        Of a stream that has run for a while; zeros for a window.
    """

    kind: str
    signal: NDArray[np.float32]
    state: NDArray[np.float32]

    @property
    def rows(self) -> int:
        """Patients."""
        return len(self.signal)

    @property
    def tokens(self) -> int:
        """Tokens of a row."""
        return TOKENS[self.kind]


class Subject:
    """A bundle, as graphs and as the PyTorch network with the same weights."""

    def __init__(self, name: str) -> None:
        self.bundle = Bundle.open(name)
        self.spec = self.bundle.spec
        self.network: Network = network_from_weights(self.spec, self.bundle.weights())
        self.network.requires_grad_(False)

    def case(self, kind: str, rows: int) -> Case:
        """Input of a kind; the state of a step is that of fresh streams until it is filled."""
        rng = np.random.default_rng(rows)
        signal = rng.standard_normal((rows, self.spec.patch * TOKENS[kind])).astype(np.float32)
        return Case(kind, signal, np.zeros((rows, self.state_size), np.float32))

    @property
    def state_size(self) -> int:
        """Floats of a row of state of the token graph."""
        from edgeecg.runtime.ort import OrtExecutor

        with OrtExecutor(self.bundle.graph("token", "fp32")) as graph:
            return int(graph.inputs[1].shape[1])


def operations(spec: ModelSpec, case: Case) -> float:
    """Floating-point operations that the case cannot do without: products alone, attention over the band.

    A product and its sum count as two. LayerNorm, softmax, Gelu and rotary turns are not counted.
    """
    stack = spec.token
    first, second = spec.stem
    patch = 4 * 7 * first + 2 * 5 * first * second + 5 * second * stack.dim
    linear = 4 * stack.dim**2 + 2 * stack.dim * stack.ffn
    attention = 2 * stack.dim * (stack.span + 1)
    token = patch + stack.layers * (linear + attention) + stack.dim * len(HEADS)
    return 2.0 * token * case.tokens * case.rows
