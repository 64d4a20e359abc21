"""Which layers suffer from INT8?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeecg.bundle import GRAPHS, GraphName, graph_part
from edgeecg.deploy.calibrate import Calibration
from edgeecg.deploy.costs import SEPARATOR
from edgeecg.deploy.graphset import GraphSet
from edgeecg.deploy.precision import Kind
from edgeecg.deploy.quantize import plan_of, quantize
from edgeecg.deploy.watch import collect_feeds
from edgeecg.errors import BackendError
from edgeecg.io.record import Record
from edgeecg.runtime.executor import Tensors
from edgeecg.runtime.ort import OrtExecutor

__all__ = ["sensitivity"]


def sensitivity(graphs: GraphSet, calibration: Calibration, pieces: Sequence[Record]) -> dict[str, float]:
    """Error that each layer makes when it alone is INT8: RMS of the logits' change over their RMS.

    Returns
    -------
    Layers as ``token/block0.out``, the worst first.
    """
    feeds = collect_feeds(graphs, pieces)
    plans = plan_of(graphs, "int8", calibration.recipe.float_layers)
    found: dict[str, float] = {}
    for name in GRAPHS:
        for node, kind in plans[name].items():
            if kind != "int8":
                continue
            alone: dict[GraphName, dict[str, Kind]] = {other: {} for other in GRAPHS}
            alone[name] = {node: "int8"}
            model = quantize(graphs, alone, calibration, "int8")[graph_part(name, "int8")]
            found[f"{name}{SEPARATOR}{node}"] = _logit_error(model, feeds[name])
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _logit_error(model: bytes, feeds: Sequence[tuple[Tensors, Tensors]]) -> float:
    lost = power = 0.0
    with OrtExecutor(model) as executor:
        for inputs, expected in feeds:
            for key, value in executor.run(inputs).items():
                if key in ("heads", "classes", "rhythm"):
                    lost += float(np.square(value - expected[key], dtype=np.float64).sum())
                    power += float(np.square(expected[key], dtype=np.float64).sum())
    if not power:
        raise BackendError("no logits to compare: calibrate on records in which beats are found")
    return float(np.sqrt(lost / power))
