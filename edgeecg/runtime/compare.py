"""Two executors on the same inputs: do their labels agree, and how far apart are their numbers?

Each runs with its own state, as it would in the field, so errors that add up over time are seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeecg.errors import SignalError
from edgeecg.runtime.executor import STATE, STATE_OUT, Executor, Tensors
from edgeecg.specs import BEAT_LABELS, HEADS

__all__ = [
    "Agreement",
    "Comparison",
    "Departure",
    "Difference",
    "Layer",
    "compare_executors",
    "departures",
    "labels_of",
]

SHAPES = slice(HEADS.index(f"shape_{BEAT_LABELS[0]}"), HEADS.index(f"shape_{BEAT_LABELS[-1]}") + 1)


@dataclass(frozen=True)
class Agreement:
    """Labels of one kind: how many are equal, of how many; ``scored`` is 0 where there was none."""

    what: str
    equal: int
    scored: int


@dataclass(frozen=True)
class Difference:
    """One output over all steps.

    Parameters
    ----------
    name : str
        Of the output.
    worst : float
        Largest absolute difference; infinite where one is not finite and the other is.
    relative : float
        ``worst`` as a share of the left output's largest absolute value.
    step : int
        Where it was.
    """

    name: str
    worst: float
    relative: float
    step: int


@dataclass(frozen=True)
class Comparison:
    """What a comparison found.

    ``worst_inputs`` are the left executor's inputs, state included, at the step with the largest
    relative difference: where to look into the layers.
    """

    steps: int
    differences: tuple[Difference, ...]
    agreements: tuple[Agreement, ...]
    worst_inputs: Tensors

    @property
    def agree(self) -> bool:
        """Whether all labels are equal."""
        return all(agreement.equal == agreement.scored for agreement in self.agreements)


def labels_of(outputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Decisions that follow from the outputs of a graph, by kind; -1 where there is none to make."""
    labels: dict[str, NDArray[Any]] = {}
    if "heads" in outputs:
        heads = outputs["heads"]
        beat = heads[..., 0] > 0
        labels["beat or not"] = beat.astype(int)
        labels["shape of the beat"] = np.where(beat, heads[..., SHAPES].argmax(axis=-1), -1)
    labels |= {name: outputs[name].argmax(axis=-1) for name in ("classes", "rhythm") if name in outputs}
    return labels


def compare_executors(left: Executor, right: Executor, feeds: Iterable[Tensors]) -> Comparison:
    """Run both over the same steps.

    Parameters
    ----------
    feeds : iterable of mappings
        Inputs of each step without the state, which begins at zeros and is carried by each on its own.

    Raises
    ------
    SignalError
        The executors do not take the same inputs or give the same outputs, or there was no step.
    """
    check_alike(left, right)
    finder = _Finder()
    states: list[NDArray[np.float32] | None] = [None, None]
    for feed in feeds:
        sides = []
        for index, executor in enumerate((left, right)):
            inputs = {**feed, **carried(executor, feed, states[index])}
            outputs = executor.run(inputs)
            states[index] = outputs.get(STATE_OUT)
            sides.append((inputs, outputs))
        finder.take(sides[0][0], sides[0][1], sides[1][1])
    return finder.comparison()


def check_alike(left: Executor, right: Executor) -> None:
    """Hold both executors' inputs and outputs against each other."""
    for side in ("inputs", "outputs"):
        ours = {spec.name for spec in getattr(left, side)}
        theirs = {spec.name for spec in getattr(right, side)}
        if ours != theirs:
            only = ", ".join(sorted(ours ^ theirs))
            raise SignalError(
                f"the graphs do not have the same {side} (only one has {only}): compare like with like"
            )


def carried(
    executor: Executor, feed: Tensors, state: NDArray[np.float32] | None
) -> dict[str, NDArray[np.float32]]:
    """The state input of a step, where the graph has one."""
    sizes = [spec.shape[1] for spec in executor.inputs if spec.name == STATE]
    if not sizes:
        return {}
    rows = len(next(iter(feed.values())))
    return {STATE: np.zeros((rows, int(sizes[0])), np.float32) if state is None else state}


class _Finder:
    """Keeps the worst of everything while steps go by."""

    def __init__(self) -> None:
        self._steps = 0
        self._worst: dict[str, Difference] = {}
        self._equal: dict[str, list[int]] = {}
        self._inputs: Tensors | None = None
        self._relative = -1.0

    def take(self, inputs: Tensors, left: Tensors, right: Tensors) -> None:
        for name, value in left.items():
            worst, relative = difference(value, right[name])
            known = self._worst.get(name)
            if known is None or worst > known.worst:
                self._worst[name] = Difference(name, worst, relative, self._steps)
            if relative > self._relative:
                self._relative, self._inputs = relative, dict(inputs)
        ours, theirs = labels_of(left), labels_of(right)
        for what, labels in ours.items():
            scored = (labels >= 0) | (theirs[what] >= 0)
            count = self._equal.setdefault(what, [0, 0])
            count[0] += int((labels == theirs[what])[scored].sum())
            count[1] += int(scored.sum())
        self._steps += 1

    def comparison(self) -> Comparison:
        if self._inputs is None:
            raise SignalError("nothing was compared: give at least one step")
        agreements = tuple(Agreement(what, *count) for what, count in self._equal.items())
        return Comparison(self._steps, tuple(self._worst.values()), agreements, self._inputs)


def difference(left: NDArray[Any], right: NDArray[Any]) -> tuple[float, float]:
    """Largest absolute difference, and as a share of the left's largest absolute value."""
    ours, theirs = left.astype(np.float64), right.astype(np.float64)
    if not np.array_equal(np.isfinite(ours), np.isfinite(theirs)):
        return np.inf, np.inf
    finite = np.isfinite(ours)
    if not finite.any():
        return 0.0, 0.0
    worst = float(np.abs(ours - theirs)[finite].max())
    return worst, worst / max(float(np.abs(ours)[finite].max()), 1e-12)


@dataclass(frozen=True)
class Layer:
    """A node: the tensor that it makes, its kind, and the tensors that it reads."""

    output: str
    kind: str
    inputs: tuple[str, ...]


@dataclass(frozen=True)
class Departure:
    """A layer's output on both sides.

    Parameters
    ----------
    layer : Layer
        Which.
    error : float
        Root mean square of the difference over that of the left.
    inherited : float
        The largest such error among what the layer reads.
    """

    layer: Layer
    error: float
    inherited: float


def departures(
    left: Mapping[str, NDArray[Any]], right: Mapping[str, NDArray[Any]], layers: Sequence[Layer]
) -> list[Departure]:
    """Error of every layer that both sides have, in the order of execution.

    Layers that only one side has (casts, quantizers) pass their inputs' error on.
    """
    errors: dict[str, float] = {}
    found = []
    for layer in layers:
        inherited = max((errors.get(name, 0.0) for name in layer.inputs), default=0.0)
        ours, theirs = left.get(layer.output), right.get(layer.output)
        if ours is None or theirs is None or ours.shape != theirs.shape or ours.dtype.kind != "f":
            errors[layer.output] = inherited
            continue
        error = spread(ours.astype(np.float64), theirs.astype(np.float64))
        errors[layer.output] = error
        found.append(Departure(layer, error, inherited))
    return found


def spread(left: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    """Root mean square difference over the left's root mean square; infinite where only one is finite."""
    if not np.array_equal(np.isfinite(left), np.isfinite(right)):
        return np.inf
    finite = np.isfinite(left)
    power = float(np.square(left[finite]).mean()) if finite.any() else 0.0
    error = float(np.square(left[finite] - right[finite]).mean()) if finite.any() else 0.0
    return float(np.sqrt(error / power)) if power > 0 else float(np.sqrt(error))
