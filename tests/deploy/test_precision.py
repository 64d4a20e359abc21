"""Rewritten graphs: what INT8 and FP16 must look like, and how far they may depart."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgeecg.bundle import GRAPHS, GraphName, Precision, graph_part
from edgeecg.deploy.calibrate import Calibration
from edgeecg.deploy.golden import golden_inputs
from edgeecg.deploy.graphset import GraphSet
from edgeecg.deploy.layers import run_exposed
from edgeecg.deploy.precision import int8_plan, products, rewrite
from edgeecg.deploy.quantize import plan_of, quantize
from edgeecg.errors import ConfigError
from edgeecg.runtime.ort import OrtExecutor

CHANGED: tuple[Precision, ...] = ("fp16", "int8", "mixed")


@pytest.fixture(scope="module")
def made(graphs: GraphSet, calibration: Calibration) -> GraphSet:
    found = graphs
    for precision in CHANGED:
        found = found.adding(quantize(graphs, plan_of(graphs, precision), calibration, precision))
    return found


@pytest.fixture(params=[(g, p) for g in GRAPHS for p in CHANGED], ids="-".join)
def case(request: pytest.FixtureRequest) -> tuple[GraphName, Precision]:
    chosen: tuple[GraphName, Precision] = request.param
    return chosen


def model_of(made: GraphSet, name: GraphName, precision: Precision) -> onnx.ModelProto:
    return onnx.load_model_from_string(made.graph(name, precision))


def constants(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def test_inputs_outputs_and_names_stay(made: GraphSet, case: tuple[GraphName, Precision]) -> None:
    plain, changed = model_of(made, case[0], "fp32"), model_of(made, *case)
    assert list(changed.graph.input) == list(plain.graph.input)
    assert list(changed.graph.output) == list(plain.graph.output)
    assert changed.opset_import == plain.opset_import
    assert changed.ir_version == plain.ir_version
    given = {output for node in changed.graph.node for output in node.output}
    assert given >= {output for node in plain.graph.node for output in node.output}
    names = [node.name for node in changed.graph.node]
    assert len(set(names)) == len(names)


def test_quantization_is_symmetric_with_a_zero_point_of_zero(made: GraphSet) -> None:
    for name in GRAPHS:
        model = model_of(made, name, "int8")
        values = constants(model)
        pairs = [n for n in model.graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
        assert pairs
        for node in pairs:
            scale, zero = values[node.input[1]], values[node.input[2]]
            assert scale.dtype == np.float32
            assert np.all(scale > 0)
            assert zero.dtype == np.int8
            assert not zero.any()


def test_weights_have_a_scale_for_each_column(made: GraphSet) -> None:
    for name in GRAPHS:
        plain, values = constants(model_of(made, name, "fp32")), constants(model_of(made, name, "int8"))
        weights = [key for key in values if key.endswith(".weight.int8")]
        assert weights
        for key in weights:
            origin = key.removesuffix(".int8")
            integers, scale = values[key], values[f"{origin}.scale"]
            assert integers.dtype == np.int8
            assert integers.min() >= -127
            assert scale.shape == (integers.shape[1],)
            assert np.all(np.abs(integers).max(axis=0) == 127)  # every column uses its whole range
            np.testing.assert_allclose(integers * scale, plain[origin], atol=float(scale.max()) / 2 * 1.0001)


def test_no_bias_is_quantized(made: GraphSet) -> None:
    for name in GRAPHS:
        model = model_of(made, name, "int8")
        for node in model.graph.node:
            if node.op_type == "Gemm" and node.input[0].endswith(".dequantized"):
                assert len(node.input) == 2  # the bias follows as an FP32 sum
        assert not [
            key for key in constants(model) if "bias" in key and constants(model)[key].dtype == np.int8
        ]


def test_shared_activations_are_quantized_once(made: GraphSet) -> None:
    for name in GRAPHS:
        reads = [n.input[0] for n in model_of(made, name, "int8").graph.node if n.op_type == "QuantizeLinear"]
        assert len(set(reads)) == len(reads)


def test_clip_levels_are_those_of_the_calibration(made: GraphSet, calibration: Calibration) -> None:
    for name in GRAPHS:
        values = constants(model_of(made, name, "int8"))
        for value, level in calibration.levels(name).items():
            assert values[f"{value}.scale"] == np.float32(level / 127)


def test_fp16_holds_products_only(made: GraphSet) -> None:
    for name in GRAPHS:
        model = model_of(made, name, "fp16")
        feeds = golden_feed(made, name)
        kinds = {}
        outputs = run_exposed(model, feeds, exact=True)
        for node in model.graph.node:
            kinds.setdefault(node.op_type, set()).update(outputs[o].dtype for o in node.output)
        half = {kind for kind, types in kinds.items() if np.dtype(np.float16) in types}
        assert half == {"Cast", *{p.kind for p in products(model)}}
        assert kinds["LayerNormalization"] == kinds["Softmax"] == {np.dtype(np.float32)}


def golden_feed(made: GraphSet, name: GraphName) -> dict[str, np.ndarray]:
    golden = golden_inputs(made.model, made.graph("token"), made.graph("beat"))
    return {key.removeprefix(f"{name}."): value for key, value in golden.items() if key.startswith(name)}


def test_outputs_stay_near_fp32(made: GraphSet, case: tuple[GraphName, Precision]) -> None:
    name, precision = case
    allowed = 5e-3 if precision == "fp16" else 0.1
    feeds = golden_feed(made, name)
    with OrtExecutor(made.graph(name)) as plain, OrtExecutor(made.graph(name, precision)) as changed:
        wanted, got = plain.run(feeds), changed.run(feeds)
    for key, value in wanted.items():
        assert np.abs(got[key] - value).max() <= allowed * np.abs(value).max(), key
    assert any(not np.array_equal(got[key], wanted[key]) for key in wanted)  # it is another precision indeed


def test_int8_really_runs_in_integers(made: GraphSet, tmp_path: object) -> None:
    """ONNX Runtime fuses each quantized layer into an integer kernel, not into FP32 behind a disguise."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = f"{tmp_path}/optimized.onnx"
    ort.InferenceSession(made.graph("token", "int8"), options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(f"{tmp_path}/optimized.onnx").graph.node]
    wanted = sum(1 for p in products(model_of(made, "token", "fp32")) if not p.reason)
    assert kinds.count("QGemm") == wanted == 8
    assert "DequantizeLinear" not in kinds


def test_every_layer_is_quantized_or_says_why(made: GraphSet) -> None:
    for name in GRAPHS:
        found = products(model_of(made, name, "fp32"))
        plan = int8_plan(model_of(made, name, "fp32"))
        for product in found:
            assert (plan[product.node] == "int8") == (product.reason == "")


def test_layers_can_be_left_out(graphs: GraphSet, calibration: Calibration) -> None:
    plans = plan_of(graphs, "mixed", ["token/block0.out", "beat/block1.qkv"])
    assert plans["token"]["block0.out"] == plans["beat"]["block1.qkv"] == "fp16"
    assert plans["token"]["block1.out"] == "int8"
    model = onnx.load_model_from_string(
        quantize(graphs, plans, calibration, "mixed")[graph_part("token", "mixed")]
    )
    assert "block0.out.weight.half" in constants(model)


def test_wrong_plans_are_one_line(graphs: GraphSet, calibration: Calibration) -> None:
    model = onnx.load_model_from_string(graphs.graph("token"))
    for layer in ("block0.out", "tokens/block0.out", "token/"):
        with pytest.raises(ConfigError, match="write it as token/"):
            plan_of(graphs, "int8", [layer])
    with pytest.raises(ConfigError, match=r"block9\.out is no layer"):
        plan_of(graphs, "int8", ["token/block9.out"])
    with pytest.raises(ConfigError, match="norm is no layer"):
        rewrite(model, {"norm": "fp16"})
    with pytest.raises(ConfigError, match="multiplies two activations"):
        rewrite(model, {"block0.scores": "int8"})
    with pytest.raises(ConfigError, match=r"no calibration of block0\.attended"):
        rewrite(model, {"block0.out": "int8"}, {})
    with pytest.raises(ConfigError, match="needs a calibration"):
        quantize(graphs, plan_of(graphs, "int8"), None, "int8")


def test_a_weight_beyond_fp16_is_refused(graphs: GraphSet) -> None:
    model = onnx.load_model_from_string(graphs.graph("beat"))
    tensor = next(t for t in model.graph.initializer if t.name == "enter.weight")
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1e6), tensor.name))
    with pytest.raises(ConfigError, match="beyond FP16's 65504"):
        rewrite(model, {"enter": "fp16"})
