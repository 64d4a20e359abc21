"""The state of a step graph, a row of floats a stream: one Split takes it apart, one Concat joins it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from edgeecg.deploy.graph import GraphWriter
from edgeecg.specs import StackSpec

__all__ = ["State", "StateTable", "pack", "unpack"]


@dataclass(frozen=True)
class StateTable:
    """Layout of a graph's state: the parts of a row, one after the other.

    ``head``
        Count of positions seen (it stops growing once every cache is full), the last ``context``
        samples, and the phase (cosine - 1, sine: zeros are a fresh stream).
    ``pending``
        Of each layer, the inputs of the ``right`` positions that wait for their look-ahead.
    ``caches``
        Of each layer the rotated keys of ``left`` positions by head, then of each layer the values.
    """

    spec: StackSpec
    context: int

    @property
    def width(self) -> int:
        """Floats of one head."""
        return self.spec.dim // self.spec.heads

    @property
    def head(self) -> dict[str, int]:
        """Floats of count, samples and phase; a part that does not exist is left out."""
        sizes = {"seen": 1, "samples": self.context, "phase": self.width}
        return {name: size for name, size in sizes.items() if size}

    @property
    def pending(self) -> list[int]:
        """Floats that wait in each layer; empty where nothing does."""
        return [self.spec.right * self.spec.dim] * (self.spec.layers if self.spec.right else 0)

    @property
    def caches(self) -> list[int]:
        """Floats of each layer's keys, then of each layer's values."""
        return [self.spec.left * self.spec.dim] * (2 * self.spec.layers)

    @property
    def size(self) -> int:
        """Floats in all."""
        return self.spec.state_size(self.context)


class State(NamedTuple):
    """Values of a state taken apart: ``(B, 1, H, left, c)`` caches, ``(B, 1, right, d)`` pending inputs."""

    seen: str
    samples: str
    phase: str
    pending: list[str]
    keys: list[str]
    values: list[str]


def unpack(g: GraphWriter, table: StateTable, packed: str) -> State:
    """Take the state ``(B, size)`` apart."""
    spec, layers = table.spec, range(table.spec.layers)
    waiting = [f"block{layer}.pending" for layer in layers] if table.pending else []
    kept = [f"block{layer}.{kind}.cached" for kind in ("keys", "values") for layer in layers]
    names = [f"state.{part}" for part in table.head] + [f"{name}.flat" for name in (*waiting, *kept)]
    sizes = [*table.head.values(), *table.pending, *table.caches]
    parts = g.split(packed, sizes, 1, names)
    head, rest = dict(zip(table.head, parts, strict=False)), parts[len(table.head) :]
    pending = [
        g.reshape(part, (0, 1, spec.right, spec.dim), name) for part, name in zip(rest, waiting, strict=False)
    ]
    caches = [
        g.reshape(part, (0, 1, spec.heads, spec.left, table.width), name)
        for part, name in zip(rest[len(waiting) :], kept, strict=True)
    ]
    keys, values = caches[: spec.layers], caches[spec.layers :]
    return State(head["seen"], head.get("samples", ""), head["phase"], pending, keys, values)


def pack(g: GraphWriter, table: StateTable, state: State) -> str:
    """Join the parts of a state to ``(B, size)``."""
    parts = [part for part in (state.seen, state.samples, state.phase) if part]
    sizes = [*table.pending, *table.caches]
    for value, size in zip((*state.pending, *state.keys, *state.values), sizes, strict=True):
        parts.append(g.reshape(value, (0, size), f"{value}.flat"))
    return g.op("Concat", parts, "state.new", axis=1)
