"""The front end's output to token scores, by either of two roads that give the same numbers.

*Incremental*: every token is computed once, from the packed state of what came before. *Window*: the
same graph over the last ten seconds from a fresh state, of which only the settled zone is kept.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from edgeecg.errors import ConfigError
from edgeecg.pipeline.intake import hop_samples
from edgeecg.pipeline.resident import open_rows
from edgeecg.pipeline.rows import Rows, state_width
from edgeecg.runtime.executor import Executor
from edgeecg.signal.block import PATCH
from edgeecg.signal.ring import Ring
from edgeecg.specs import MODEL_FS, ModelSpec

__all__ = [
    "WINDOW_SECONDS",
    "IncrementalTokens",
    "Mode",
    "TokenGraph",
    "Tokens",
    "WindowTokens",
    "open_tokens",
    "step_tokens",
]

Mode = Literal["incremental", "window"]
WINDOW_SECONDS = 10


class Tokens(NamedTuple):
    """Scores of the tokens of one step.

    ``heads`` (rows, T, 10) logits, ``embedding`` (rows, T, d); column j of a step that began at token n
    belongs to token ``n + j - lag``.
    """

    heads: NDArray[np.float32]
    embedding: NDArray[np.float32]


class TokenGraph(Protocol):
    """What both roads offer."""

    def step(self, signal: NDArray[np.float32], rows: Rows) -> Tokens:
        """Take ``(rows, 8 T)`` samples of the model grid that follow those before."""

    def reset(self, rows: Rows) -> None:
        """Make these rows fresh streams."""

    def grow(self, rows: int) -> None:
        """Make room for ``rows`` streams in all."""

    def snapshot(self, row: int) -> dict[str, NDArray[Any]]:
        """State of one row as plain arrays."""

    def restore(self, row: int, saved: dict[str, NDArray[Any]]) -> None:
        """Put a :meth:`snapshot` into a row."""


def open_tokens(mode: Mode, executor: Executor, spec: ModelSpec, rows: int, hop: int) -> TokenGraph:
    """The road that ``mode`` names; raises ``ConfigError`` where there is none, or a window is too short."""
    if mode == "incremental":
        return IncrementalTokens(executor, rows)
    if mode == "window":
        return WindowTokens(executor, spec, rows, hop)
    raise ConfigError(f"no mode {mode!r}: choose incremental or window")


def step_tokens(hop: float, mode: Mode = "incremental") -> int:
    """Tokens that a stream gives to the token graph at once: those of a hop in seconds, or of a window.

    It is what a TensorRT engine should be built for; see ``edgeecg.runtime.trt.Options``.

    Raises
    ------
    ConfigError
        If there is no such hop.
    """
    samples = hop_samples(hop)
    return (samples if mode == "incremental" else WINDOW_SECONDS * MODEL_FS) // PATCH


class IncrementalTokens:
    """Every token once; see :class:`TokenGraph`."""

    def __init__(self, executor: Executor, rows: int) -> None:
        self._state = open_rows(executor, rows)

    def step(self, signal: NDArray[np.float32], rows: Rows) -> Tokens:
        """Take ``(rows, 8 T)`` samples of the model grid that follow those before."""
        out = self._state.run(signal, rows)
        return Tokens(out["heads"], out["embedding"])

    def reset(self, rows: Rows) -> None:
        """Make these rows fresh streams."""
        self._state.reset(rows)

    def grow(self, rows: int) -> None:
        """Make room for ``rows`` streams in all."""
        self._state.grow(rows)

    def snapshot(self, row: int) -> dict[str, NDArray[Any]]:
        """State of one row as plain arrays."""
        return {"state": self._state.read(row)}

    def restore(self, row: int, saved: dict[str, NDArray[Any]]) -> None:
        """Put a :meth:`snapshot` into a row."""
        self._state.write(row, saved["state"])


class WindowTokens:
    """The last ten seconds anew at every hop; see :class:`TokenGraph`.

    Each stream keeps its samples in a mirrored ring, so its window is one contiguous view. Streams that
    have not yet filled it run by themselves from their first sample.
    """

    def __init__(self, executor: Executor, spec: ModelSpec, rows: int, hop: int) -> None:
        length = WINDOW_SECONDS * MODEL_FS
        needed = spec.window(hop // spec.patch) * spec.patch
        if needed > length:
            raise ConfigError(
                f"a window of {WINDOW_SECONDS} s is too short for this model with hop {hop}: it needs "
                f"{needed / MODEL_FS:.1f} s; take a shorter hop or mode='incremental'"
            )
        self._executor = executor
        self._width = state_width(executor)
        self._length = length
        self._rings: list[Ring[np.float32]] = []
        self.grow(rows)

    def step(self, signal: NDArray[np.float32], rows: Rows) -> Tokens:
        """Take ``(rows, 8 T)`` samples of the model grid that follow those before."""
        rings = self._rings[rows] if isinstance(rows, slice) else [self._rings[row] for row in rows]
        for ring, samples in zip(rings, signal, strict=True):
            ring.push(samples[None])
        spans = np.array([min(ring.total, self._length) for ring in rings])
        tokens = signal.shape[1] // 8
        parts: dict[int, Tokens] = {}
        for span in np.unique(spans):
            chosen = np.flatnonzero(spans == span)
            windows = np.concatenate([rings[i].window(int(span)) for i in chosen])
            out = self._executor.run(
                {"signal": windows, "state": np.zeros((len(chosen), self._width), np.float32)}
            )
            settled = Tokens(out["heads"][:, -tokens:], out["embedding"][:, -tokens:])
            if len(chosen) == len(rings):
                return settled
            parts |= {int(i): Tokens(h, e) for i, h, e in zip(chosen, *settled, strict=True)}
        ordered = [parts[i] for i in range(len(rings))]
        return Tokens(np.stack([p.heads for p in ordered]), np.stack([p.embedding for p in ordered]))

    def reset(self, rows: Rows) -> None:
        """Make these rows fresh streams."""
        for ring in self._rings[rows] if isinstance(rows, slice) else [self._rings[row] for row in rows]:
            ring.clear()

    def grow(self, rows: int) -> None:
        """Make room for ``rows`` streams in all."""
        self._rings += [Ring(1, self._length) for _ in range(rows - len(self._rings))]

    def snapshot(self, row: int) -> dict[str, NDArray[Any]]:
        """State of one row as plain arrays."""
        return self._rings[row].snapshot()

    def restore(self, row: int, saved: dict[str, NDArray[Any]]) -> None:
        """Put a :meth:`snapshot` into a row."""
        self._rings[row].restore(saved)
