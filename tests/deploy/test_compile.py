"""FP16, INT8 and mixed graphs compile strongly typed with a TensorRT builder; TensorRT-RTX's needs no GPU.

This proves that the graphs are valid, not that they are fused well or fast.
"""

from __future__ import annotations

import pytest

from edgeecg.bundle import GraphName, Precision
from edgeecg.deploy.calibrate import Calibration
from edgeecg.deploy.graphset import GraphSet
from edgeecg.deploy.quantize import plan_of, quantize
from edgeecg.runtime.trt.build import Recipe, beat_recipe, build_plan, token_recipe
from edgeecg.runtime.trt.library import find_library


@pytest.mark.parametrize(("name", "precision"), [("token", "fp16"), ("token", "int8"), ("beat", "mixed")])
def test_it_compiles(
    graphs: GraphSet, calibration: Calibration, name: GraphName, precision: Precision
) -> None:
    pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx")
    library = find_library(("tensorrt_rtx",))
    made = graphs.adding(quantize(graphs, plan_of(graphs, precision), calibration, precision))
    wanted = token_recipe(graphs.model) if name == "token" else beat_recipe()
    plan = build_plan(library, made.graph(name, precision), Recipe(wanted.extents, (4,), effort=0))
    assert len(plan.data) > 10_000
    assert [spec.name for spec in plan.outputs][-1] == "state_out"
