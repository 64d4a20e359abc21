"""The token graph over patients of several leads, in batches of rows and steps of tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeecg.pipeline.rows import SHELF, Rows, batches, compact
from edgeecg.pipeline.tokens import TokenGraph, Tokens
from edgeecg.specs import HEADS, ModelSpec

__all__ = ["TokenRows"]

STEP = 48
"""Tokens in a step of the token graph, at most: its attention grows with their square."""


class TokenRows:
    """The stage for patients of ``leads`` leads each, whose rows stand together in the graph.

    Parameters
    ----------
    graph : TokenGraph
        With its state, of ``leads`` rows a patient.
    spec : ModelSpec
    leads : int
    """

    def __init__(self, graph: TokenGraph, spec: ModelSpec, leads: int) -> None:
        self.graph, self.spec, self.leads = graph, spec, leads

    def grow(self, slots: int) -> None:
        """Make room for ``slots`` patients in all."""
        self.graph.grow(slots * self.leads)

    def reset(self, slot: int) -> None:
        """The next tokens of this slot are the first of a segment."""
        self.graph.reset(self._rows(np.array([slot])))

    def step(self, network: NDArray[np.float32], slots: NDArray[np.intp], skip: NDArray[np.int64]) -> Tokens:
        """Scores ``(slots * leads, T, ...)`` of what follows, zeros where the network has not begun.

        Parameters
        ----------
        network : (slots * leads, 8 T) float32
            Samples of the model grid, in the order of ``slots``.
        slots : (slots,)
            Ascending.
        skip : (slots,)
            Tokens of each slot behind which the network begins.
        """
        return self._begun(network, slots, skip) if skip.any() else self._score(network, slots)

    def _begun(
        self, network: NDArray[np.float32], slots: NDArray[np.intp], skip: NDArray[np.int64]
    ) -> Tokens:
        """As :meth:`_score`, but for each slot's first ``skip`` tokens: the network begins behind them."""
        rows, count = len(network), network.shape[1] // self.spec.patch
        heads = np.zeros((rows, count, len(HEADS)), np.float32)
        embedding = np.zeros((rows, count, self.spec.token.dim), np.float32)
        for tokens in np.unique(skip[skip < count]).tolist():
            its = np.flatnonzero(skip == tokens)
            places = (its[:, None] * self.leads + np.arange(self.leads)).reshape(-1)
            scored = self._score(network[places, tokens * self.spec.patch :], slots[its])
            heads[places, tokens:], embedding[places, tokens:] = scored
        return Tokens(heads, embedding)

    def _score(self, network: NDArray[np.float32], slots: NDArray[np.intp]) -> Tokens:
        """The token graph over all rows, in batches of rows and steps of tokens."""
        parts = []
        for begin, end in batches(slots, max(1, SHELF // self.leads)):
            some = network[begin * self.leads : end * self.leads]
            rows, size = self._rows(slots[begin:end]), STEP * self.spec.patch
            steps = [some[:, at : at + size] for at in range(0, some.shape[1], size)]
            parts.append(_joined([self.graph.step(step, rows) for step in steps], axis=1))
        return _joined(parts, axis=0)

    def _rows(self, slots: NDArray[np.intp]) -> Rows:
        """Rows of the token graph that belong to these slots."""
        if self.leads == 1:
            return compact(slots)
        return compact((slots[:, None] * self.leads + np.arange(self.leads)).reshape(-1))

    def snapshot(self, slot: int) -> dict[str, dict[str, NDArray[Any]]]:
        """State of each lead of one slot, by ``tokens0``, ``tokens1``, ..., as plain arrays."""
        first = slot * self.leads
        return {f"tokens{lead}": self.graph.snapshot(first + lead) for lead in range(self.leads)}

    def restore(self, slot: int, saved: Mapping[str, dict[str, NDArray[Any]]]) -> None:
        """Put a :meth:`snapshot` into a slot."""
        for lead in range(self.leads):
            self.graph.restore(slot * self.leads + lead, saved[f"tokens{lead}"])


def _joined(parts: list[Tokens], axis: int) -> Tokens:
    if len(parts) == 1:
        return parts[0]
    heads, embedding = (np.concatenate(arrays, axis=axis) for arrays in zip(*parts, strict=True))
    return Tokens(heads, embedding)
