"""The state of a step graph: one table a row, which one Split takes apart and one Concat joins again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from edgeecg.deploy.graph import GraphWriter
from edgeecg.specs import StackSpec

__all__ = ["State", "StateTable", "pack", "unpack"]


@dataclass(frozen=True)
class StateTable:
    """Layout of a graph's state: ``(heads, rows, width)`` floats, in this order along ``rows``.

    ``head``
        Count of positions seen (it stops growing once every cache is full), the last ``context``
        samples, the phase (cosine - 1, sine: zeros are a fresh stream), and what fills up the last row.
    ``pending``
        Of each layer, the inputs of the ``right`` positions that wait for their look-ahead.
    ``cache``
        Of each layer the rotated keys of ``left`` positions, then of each layer the values.
    """

    spec: StackSpec
    context: int

    @property
    def width(self) -> int:
        """Floats of one head."""
        return self.spec.dim // self.spec.heads

    @property
    def head(self) -> tuple[int, ...]:
        """Floats of count, samples, phase and filling."""
        used = 1 + self.context + self.width
        return 1, self.context, self.width, -used % self.spec.dim

    @property
    def rows(self) -> tuple[int, ...]:
        """Rows of head, pending, and each cache; a part that does not exist is left out."""
        spec = self.spec
        pending = [spec.layers * spec.right] if spec.right else []
        return sum(self.head) // spec.dim, *pending, *[spec.left] * (2 * spec.layers)

    @property
    def size(self) -> int:
        """Floats in all."""
        return sum(self.rows) * self.spec.dim


class State(NamedTuple):
    """Values of a state taken apart: ``(B, 1, H, left, c)`` caches, ``(B, 1, right, d)`` pending inputs."""

    seen: str
    samples: str
    phase: str
    filling: list[str]
    pending: list[str]
    keys: list[str]
    values: list[str]


def unpack(g: GraphWriter, table: StateTable, packed: str) -> State:
    """Take the state ``(B, size)`` apart."""
    spec, width = table.spec, table.width
    layers = range(spec.layers)
    cube = g.reshape(packed, (0, 1, spec.heads, -1, width), "state.table")
    names = ["state.head", *(["state.pending"] if spec.right else [])]
    names += [f"block{layer}.{kind}.cached" for kind in ("keys", "values") for layer in layers]
    head, *rest = g.split(cube, table.rows, 3, names)
    pending: list[str] = []
    if spec.right:
        block = g.reshape(rest.pop(0), (0, spec.layers, spec.right, spec.dim), "state.pending.rows")
        pending = g.split(block, [1] * spec.layers, 1, [f"block{layer}.pending" for layer in layers])
    sizes = dict(zip(("seen", "samples", "phase", "filling"), table.head, strict=True))
    present = {kind: size for kind, size in sizes.items() if size}
    flat = g.reshape(head, (0, sum(table.head)), "state.head.flat")
    parts = dict(
        zip(present, g.split(flat, list(present.values()), 1, [f"state.{k}" for k in present]), strict=True)
    )
    filling = [parts["filling"]] if "filling" in parts else []
    keys, values = rest[: spec.layers], rest[spec.layers :]
    return State(parts["seen"], parts.get("samples", ""), parts["phase"], filling, pending, keys, values)


def pack(g: GraphWriter, table: StateTable, state: State) -> str:
    """Join the parts of a state to ``(B, size)``."""
    spec, rows = table.spec, table.rows
    head = [part for part in (state.seen, state.samples, state.phase, *state.filling) if part]
    parts = [
        g.reshape(
            g.op("Concat", head, "head.new", axis=1), (0, 1, spec.heads, rows[0], table.width), "head.table"
        )
    ]
    if spec.right:
        joined = g.op("Concat", state.pending, "pending.new", axis=1)
        parts.append(g.reshape(joined, (0, 1, spec.heads, rows[1], table.width), "pending.table"))
    cube = g.op("Concat", [*parts, *state.keys, *state.values], "state.table.new", axis=3)
    return g.reshape(cube, (0, table.size), "state.new")
