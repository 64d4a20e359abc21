"""What a precision costs each layer: the table of layers, and how far an FP16 graph is from overflow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from edgeecg.bundle import GRAPHS, GraphName
from edgeecg.deploy.calibrate import Calibration
from edgeecg.deploy.graphset import GraphSet
from edgeecg.deploy.layers import run_exposed
from edgeecg.deploy.precision import Kind, products
from edgeecg.deploy.ranges import LEVELS
from edgeecg.errors import AccuracyError
from edgeecg.metrics.tables import Table
from edgeecg.runtime.executor import Tensors

__all__ = ["SEPARATOR", "Headroom", "LayerRow", "fp16_headroom", "layer_rows", "layer_table"]

SEPARATOR = "/"
"""Between a graph and its layer: ``token/block0.out``."""


@dataclass(frozen=True)
class LayerRow:
    """What was done to one layer.

    Parameters
    ----------
    layer : str
        As ``token/block0.out``.
    kind : str
        Its operator.
    weights : int
        Parameters of its weight.
    precision : str
        ``fp32``, ``fp16`` or ``int8``.
    level, noise : float, optional
        Clip level of its activation, and that activation's signal-to-noise ratio in INT8, dB.
    weight_noise : float, optional
        Signal-to-noise ratio of its weight in INT8, dB.
    reason : str
        Why it is not INT8, where it is not.
    """

    layer: str
    kind: str
    weights: int
    precision: Kind
    level: float | None
    noise: float | None
    weight_noise: float | None
    reason: str


@dataclass(frozen=True)
class Headroom:
    """How near an FP16 graph comes to overflow: its largest value, where, and FP16's largest over it."""

    value: str
    largest: float
    factor: float


def layer_rows(
    graphs: GraphSet, plans: Mapping[GraphName, Mapping[str, Kind]], calibration: Calibration | None
) -> Iterator[LayerRow]:
    """A row for every layer of both graphs."""
    quantized = any(kind == "int8" for plan in plans.values() for kind in plan.values())
    for name in GRAPHS:
        model = onnx.load_model_from_string(graphs.graph(name))
        weights = {tensor.name: tensor for tensor in model.graph.initializer}
        nodes = {node.name: node for node in model.graph.node}
        reach = calibration.of(name) if calibration is not None else {}
        for product in products(model):
            kind = plans[name].get(product.node, "fp32")
            seen = reach.get(product.reads) if kind == "int8" else None
            weight = weights.get(nodes[product.node].input[1])
            noise = _weight_noise(weight, product.kind) if weight is not None and kind == "int8" else None
            told = product.reason or "loses too much: measured, or left out by the recipe"
            yield LayerRow(
                f"{name}{SEPARATOR}{product.node}",
                product.kind,
                product.weights,
                kind,
                seen.level if seen else None,
                seen.signal_to_noise if seen else None,
                noise,
                told if quantized and kind != "int8" else "",
            )


def layer_table(title: str, rows: Sequence[LayerRow]) -> Table:
    """The rows for people."""
    heads = (
        "layer",
        "operator",
        "weights",
        "precision",
        "clips at",
        "activation dB",
        "weight dB",
        "why not INT8",
    )
    return Table(
        title,
        heads,
        tuple(
            (
                row.layer,
                row.kind,
                str(row.weights or "-"),
                row.precision,
                _cell(row.level, ".3g"),
                _cell(row.noise, ".1f"),
                _cell(row.weight_noise, ".1f"),
                row.reason,
            )
            for row in rows
        ),
        words=(0, 1, 3, len(heads) - 1),
    )


def fp16_headroom(model: bytes, feeds: Sequence[Tensors]) -> Headroom:
    """Run an FP16 graph by ``onnx.reference``, which computes FP16 as FP16, and look for overflow.

    Parameters
    ----------
    feeds : sequence of mappings
        All inputs of each step, the state included.

    Raises
    ------
    AccuracyError
        A value is not finite.
    """
    parsed = onnx.load_model_from_string(model)
    largest, where = 0.0, ""
    limit = float(np.finfo(np.float16).max)
    for feed in feeds:
        for value, array in run_exposed(parsed, feed, exact=True).items():
            if array.dtype != np.float16 or not array.size:
                continue
            top = float(np.max(np.abs(array.astype(np.float64))))
            if not np.isfinite(top):
                raise AccuracyError(
                    f"{value} overflows in FP16: keep its layer in FP32, or use another precision"
                )
            if top > largest:
                largest, where = top, value
    return Headroom(where, largest, limit / largest if largest else np.inf)


def _weight_noise(weight: onnx.TensorProto, kind: str) -> float:
    array: NDArray[np.float64] = numpy_helper.to_array(weight).astype(np.float64)
    axis = 0 if kind == "Conv" else 1
    others = tuple(i for i in range(array.ndim) if i != axis)
    scale = np.max(np.abs(array), axis=others, keepdims=True) / LEVELS
    error = array - np.rint(array / np.where(scale > 0, scale, 1.0)) * scale
    power, lost = float(np.sum(np.square(array))), float(np.sum(np.square(error)))
    return float(10 * np.log10(power / lost)) if lost > 0 and power > 0 else 200.0


def _cell(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
