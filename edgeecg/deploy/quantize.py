"""FP32 graphs to FP16, INT8 and mixed ones, with the evidence of what was done to each layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from edgeecg.bundle import GRAPHS, HALF, GraphName, Precision, graph_part
from edgeecg.deploy.calibrate import Calibration, network_hash
from edgeecg.deploy.costs import SEPARATOR, Headroom, LayerRow, fp16_headroom, layer_rows, layer_table
from edgeecg.deploy.golden import golden_inputs
from edgeecg.deploy.graphset import GraphSet
from edgeecg.deploy.precision import Kind, fp16_plan, int8_plan, rewrite
from edgeecg.errors import ConfigError
from edgeecg.metrics.tables import Table
from edgeecg.runtime.executor import Tensors
from edgeecg.runtime.ort import OrtExecutor

__all__ = ["Quantized", "Wanted", "headroom_of", "plan_of", "provenance_with", "quantize", "quantize_set"]

PROBES = 4  # golden steps after one another that FP16's headroom is looked for in


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
    tables = []
    headroom: dict[GraphName, Headroom] = {}
    made = graphs
    for precision in wanted.precisions:
        plans = plan_of(graphs, precision, left_out)
        rows = list(layer_rows(graphs, plans, calibration))
        told = provenance_with(made, precision, rows, calibration)
        made = made.adding(quantize(graphs, plans, calibration, precision), quantization=told)
        rooms = headroom_of(made, precision) if precision in HALF else {}
        if precision == "fp16":
            headroom = rooms
        else:
            tables.append(layer_table(f"layers of the {precision} graphs", rows))
    return Quantized(made, tuple(tables), headroom)


def provenance_with(
    graphs: GraphSet, precision: Precision, rows: Sequence[LayerRow], calibration: Calibration | None
) -> dict[str, Any]:
    """What a bundle tells of its quantization: each layer of each precision, and the windows behind it."""
    said = graphs.provenance.get("quantization")
    told = dict(said) if isinstance(said, Mapping) else {}
    told[precision] = {row.layer: row.precision for row in rows}
    if calibration is not None:
        told["calibration"] = {"recipe": calibration.recipe, "windows": calibration.windows}
    return told


def headroom_of(graphs: GraphSet, precision: Precision) -> dict[GraphName, Headroom]:
    """How far the FP16 values of both graphs stay below the largest number, on the golden inputs.

    Raises
    ------
    AccuracyError
        One overflows: on a device the graph would say nothing but NaN, which ONNX Runtime's CPU, where FP16
        is computed in FP32, does not show.
    """
    return {name: fp16_headroom(graphs.graph(name, precision), _probes(graphs, name)) for name in GRAPHS}


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
