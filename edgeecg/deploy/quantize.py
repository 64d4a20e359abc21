"""FP32 graphs to FP16, INT8 and mixed ones, with the evidence of what was done to each layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from edgeecg.bundle import GRAPHS, GraphName, Precision, graph_part
from edgeecg.deploy.calibrate import Calibration, network_hash
from edgeecg.deploy.golden import golden_inputs
from edgeecg.deploy.graphset import GraphSet
from edgeecg.deploy.layers import run_exposed
from edgeecg.deploy.precision import Kind, fp16_plan, int8_plan, products, rewrite
from edgeecg.deploy.ranges import LEVELS
from edgeecg.errors import AccuracyError, ConfigError
from edgeecg.metrics.tables import Table
from edgeecg.runtime.executor import Tensors
from edgeecg.runtime.ort import OrtExecutor

__all__ = [
    "Headroom",
    "LayerRow",
    "Quantized",
    "Wanted",
    "fp16_headroom",
    "layer_rows",
    "layer_table",
    "plan_of",
    "quantize",
    "quantize_set",
]

SEPARATOR = "/"
PROBES = 4  # golden steps after one another that FP16's headroom is looked for in


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


@dataclass(frozen=True)
class Wanted:
    """What to make: precisions, and layers to leave out of INT8 beyond those of the calibration's recipe."""

    precisions: tuple[Precision, ...]
    float_layers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Quantized:
    """What was made.

    Parameters
    ----------
    graphs : GraphSet
        With the new graphs.
    tables : tuple of Table
        Layer by layer, for each precision with INT8 in it.
    headroom : mapping of graph to Headroom
        Where FP16 was made.
    """

    graphs: GraphSet
    tables: tuple[Table, ...]
    headroom: Mapping[GraphName, Headroom]


def quantize_set(graphs: GraphSet, wanted: Wanted, calibration: Calibration | None) -> Quantized:
    """All wanted precisions, with the evidence; it also goes into the provenance.

    Raises
    ------
    ConfigError
        INT8 without a calibration of this network, or a layer that does not exist.
    AccuracyError
        FP16 overflows.
    """
    left_out = (*(calibration.recipe.float_layers if calibration is not None else ()), *wanted.float_layers)
    tables, told = [], dict(graphs.provenance.get("quantization", {}))
    headroom: dict[GraphName, Headroom] = {}
    made = graphs
    for precision in wanted.precisions:
        plans = plan_of(graphs, precision, left_out)
        made = made.adding(quantize(graphs, plans, calibration, precision))
        rows = list(layer_rows(graphs, plans, calibration))
        told[precision] = {row.layer: row.precision for row in rows}
        if precision == "fp16":
            for name in GRAPHS:
                headroom[name] = fp16_headroom(made.graph(name, "fp16"), _probes(graphs, name))
        else:
            tables.append(layer_table(f"layers of the {precision} graphs", rows))
    if calibration is not None:
        told["calibration"] = {"recipe": calibration.recipe, "windows": calibration.windows}
    return Quantized(made.adding({}, quantization=told), tuple(tables), headroom)


def _probes(graphs: GraphSet, name: GraphName) -> list[Tensors]:
    """Steps that follow one another from the golden inputs on, the signal ten times as large at the end."""
    golden = golden_inputs(graphs.model, graphs.graph("token"), graphs.graph("beat"))
    probes: list[Tensors] = []
    with OrtExecutor(graphs.graph(name)) as executor:
        feed = {spec.name: golden[f"{name}.{spec.name}"] for spec in executor.inputs}
        for step in range(PROBES):
            first = executor.inputs[0].name
            grown = {**feed, first: feed[first] * np.float32(10 if step == PROBES - 1 else 1)}
            probes.append(grown)
            feed = {**feed, "state": executor.run(grown)["state_out"]}
    return probes


def plan_of(
    graphs: GraphSet, precision: Precision, float_layers: Sequence[str] = ()
) -> dict[GraphName, dict[str, Kind]]:
    """Precision of every layer of both graphs.

    Parameters
    ----------
    precision : str
        ``fp16``; ``int8`` (the rest FP32); ``mixed`` (INT8, the rest FP16).
    float_layers : sequence of str
        Layers to leave out of INT8, as ``token/block0.out``.

    Raises
    ------
    ConfigError
        A layer that does not exist.
    """
    named: dict[str, list[str]] = {name: [] for name in GRAPHS}
    for layer in float_layers:
        graph, _, node = layer.partition(SEPARATOR)
        if graph not in named or not node:
            raise ConfigError(f"layer {layer!r}: write it as token/block0.out or beat/block0.out")
        named[graph].append(node)
    plans: dict[GraphName, dict[str, Kind]] = {}
    for name in GRAPHS:
        model = onnx.load_model_from_string(graphs.graph(name))
        if precision == "fp32":
            plans[name] = {}
        elif precision == "fp16":
            plans[name] = fp16_plan(model)
        else:
            plans[name] = int8_plan(model, "fp16" if precision == "mixed" else "fp32", named[name])
    return plans


def quantize(
    graphs: GraphSet,
    plans: Mapping[GraphName, Mapping[str, Kind]],
    calibration: Calibration | None,
    precision: Precision,
) -> dict[str, bytes]:
    """Both graphs rewritten, by their path in the bundle.

    Parameters
    ----------
    calibration : Calibration, optional
        Needed where a plan holds INT8.
    precision : str
        Under which name they go into the bundle.

    Raises
    ------
    ConfigError
        INT8 without a calibration, or with another network's.
    """
    if any(kind == "int8" for plan in plans.values() for kind in plan.values()):
        if calibration is None:
            raise ConfigError("INT8 needs a calibration: run `edgeecg calibrate` first, or ask for fp16")
        if calibration.network != network_hash(graphs):
            raise ConfigError(
                "the calibration belongs to other weights: run `edgeecg calibrate` on these graphs"
            )
    made = {}
    for name in GRAPHS:
        levels = calibration.levels(name) if calibration is not None else {}
        model = rewrite(onnx.load_model_from_string(graphs.graph(name)), plans[name], levels)
        made[graph_part(name, precision)] = model.SerializeToString()
    return made


def layer_rows(
    graphs: GraphSet, plans: Mapping[GraphName, Mapping[str, Kind]], calibration: Calibration | None
) -> Iterator[LayerRow]:
    """A row for every layer of both graphs."""
    quantized = any(kind == "int8" for plan in plans.values() for kind in plan.values())
    for name in GRAPHS:
        model = onnx.load_model_from_string(graphs.graph(name))
        weights = {tensor.name: tensor for tensor in model.graph.initializer}
        nodes = {node.name: node for node in model.graph.node}
        reach = calibration.tensors[name] if calibration is not None else {}
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
