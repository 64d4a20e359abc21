"""What goes through the graphs while recordings go through the whole pipeline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import onnx
from numpy.typing import NDArray

from edgeecg.bundle import GRAPHS, GraphName
from edgeecg.deploy.graphset import GraphSet
from edgeecg.io.record import Record
from edgeecg.pipeline import annotate
from edgeecg.runtime.engine import Engine
from edgeecg.runtime.executor import Executor, Tensors, TensorSpec
from edgeecg.runtime.ort import OrtExecutor

__all__ = ["Tell", "WatchedExecutor", "collect_feeds", "watch_windows"]

Tell = Callable[[int, int], None]
"""Told how many are done, of how many."""

Seen = Callable[[Tensors, Tensors], None]
"""Told the inputs of a run, and the outputs and the watched values."""


class WatchedExecutor(Executor):
    """A graph on ONNX Runtime that shows inner values to a function while it runs.

    Parameters
    ----------
    model : bytes
        The graph.
    values : sequence of str
        Inner values to show.
    seen : callable
        Told inputs and values of every run.
    """

    def __init__(self, model: bytes, values: Sequence[str], seen: Seen) -> None:
        parsed = onnx.load_model_from_string(model)
        self._names = [value.name for value in parsed.graph.output]
        self._seen = seen
        for value in values:
            if value not in self._names:
                parsed.graph.output.append(onnx.ValueInfoProto(name=value))
        self._inner = OrtExecutor(parsed.SerializeToString())

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What :meth:`run` takes."""
        return self._inner.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What :meth:`run` gives."""
        return tuple(spec for spec in self._inner.outputs if spec.name in self._names)

    def run(self, inputs: Tensors) -> dict[str, NDArray[np.float32]]:
        """Run the graph once, and show."""
        values = self._inner.run(inputs)
        self._seen(inputs, values)
        return {name: values[name] for name in self._names}

    def close(self) -> None:
        """Free the session."""
        self._inner.close()


def watch_windows(
    graphs: GraphSet,
    pieces: Sequence[Record],
    seen: Callable[[GraphName, Tensors, Tensors], None],
    values: Mapping[GraphName, Sequence[str]] | None = None,
    tell: Tell | None = None,
) -> None:
    """Send records of one lead through the pipeline in FP32, and show every run of both graphs.

    Parameters
    ----------
    seen : callable
        Told the graph, its inputs, and its outputs with the watched values.
    values : mapping of graph to names, optional
        Inner values to show.
    """
    # whatever is taken for a beat in noise at any operating point shall be seen
    graphs = replace(graphs, thresholds=replace(graphs.thresholds, noise=0.0))
    bundle = graphs.bundle("fp32", created="", keep=("fp32",))
    token, beat = (
        WatchedExecutor(graphs.graph(name), (values or {}).get(name, ()), partial(seen, name))
        for name in GRAPHS
    )
    with Engine(bundle, token, beat, "onnxruntime", "fp32") as engine:
        for done, piece in enumerate(pieces, start=1):
            annotate(engine, piece, lead_policy="first", withhold=False)
            if tell is not None:
                tell(done, len(pieces))


def collect_feeds(
    graphs: GraphSet, pieces: Sequence[Record]
) -> dict[GraphName, list[tuple[Tensors, Tensors]]]:
    """Inputs (the state included) and FP32 outputs of every run of both graphs."""
    feeds: dict[GraphName, list[tuple[Tensors, Tensors]]] = {name: [] for name in GRAPHS}

    def keep(name: GraphName, inputs: Tensors, values: Tensors) -> None:
        copied = {key: array.copy() for key, array in inputs.items()}  # callers reuse their buffers
        feeds[name].append((copied, {key: array.copy() for key, array in values.items()}))

    watch_windows(graphs, pieces, keep)
    return feeds
