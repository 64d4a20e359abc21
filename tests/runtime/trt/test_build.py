"""Our graphs compile with a real TensorRT builder: TensorRT-RTX's needs no GPU.

This proves that the graphs are valid and strongly typed, not that they are fused well or fast.
"""

from __future__ import annotations

import dataclasses
import os
import signal

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeecg.bundle import Bundle
from edgeecg.errors import BackendError
from edgeecg.runtime.executor import TensorSpec
from edgeecg.runtime.trt import recipes
from edgeecg.runtime.trt.build import Extent, Recipe, beat_recipe, build_plan, token_recipe
from edgeecg.runtime.trt.library import TensorRTLibrary, find_library
from edgeecg.runtime.trt.plans import PlanKey, PlanStore


@pytest.fixture(scope="module")
def library() -> TensorRTLibrary:
    pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx")
    return find_library(("tensorrt_rtx",))


def small(recipe: Recipe) -> Recipe:
    return Recipe(recipe.extents, (1, 4))


@pytest.mark.parametrize("name", ["token", "beat"])
def test_the_graphs_of_a_bundle_compile(library: TensorRTLibrary, bundle: Bundle, name: str) -> None:
    phases: list[tuple[str, int, int]] = []

    def progress(phase: str, step: int, steps: int) -> bool:
        phases.append((phase, step, steps))
        return True

    recipe = small(recipes(bundle)[name])  # type: ignore[index]
    plan = build_plan(library, bundle.graph(name), recipe, progress)  # type: ignore[arg-type]
    assert len(plan.data) > 10_000
    assert [spec.name for spec in plan.inputs] == ["signal" if name == "token" else "beats", "state"]
    assert plan.outputs[-1].name == "state_out"
    assert plan.inputs[0].shape[0] == "rows"
    assert phases
    assert all(0 <= step <= steps for _, step, steps in phases)
    assert any(step == steps for _, step, steps in phases)


def candidate(model: bytes, precision: str) -> bytes:
    """A graph in another precision, as ``edgeecg quantize`` writes it; the scales are guessed."""
    from edgeecg.deploy.precision import fp16_plan, int8_plan, products, rewrite

    parsed = onnx.load_model_from_string(model)
    plan = {"fp16": fp16_plan, "int8": int8_plan, "mixed": lambda model: int8_plan(model, "fp16")}[precision](
        parsed
    )
    return rewrite(parsed, plan, {product.reads: 6.0 for product in products(parsed)}).SerializeToString()


@pytest.mark.parametrize(("name", "precision"), [("token", "fp16"), ("token", "int8"), ("beat", "mixed")])
def test_every_precision_compiles(
    library: TensorRTLibrary, bundle: Bundle, name: str, precision: str
) -> None:
    recipe = Recipe(recipes(bundle)[name].extents, (1,))  # type: ignore[index]
    assert build_plan(library, candidate(bundle.graph(name), precision), recipe).data  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8", "mixed"])
@pytest.mark.parametrize("size", ["nano", "micro", "small", "base"])
def test_every_preset_compiles_in_every_precision(
    library: TensorRTLibrary, size: str, precision: str
) -> None:
    import torch

    from edgeecg.deploy.export import export
    from edgeecg.model.presets import preset
    from edgeecg.model.transformer import Network

    torch.manual_seed(0)
    network = Network(preset(size))
    graphs = export(network)
    for model, recipe in ((graphs.token, token_recipe(network.spec)), (graphs.beat, beat_recipe())):
        data = model if precision == "fp32" else candidate(model, precision)
        assert build_plan(library, data, Recipe(recipe.extents, (1, 4))).data


def test_a_build_can_be_stopped(library: TensorRTLibrary, bundle: Bundle) -> None:
    with pytest.raises(BackendError, match="cannot build the graph"):
        build_plan(library, bundle.graph("token"), small(recipes(bundle)["token"]), lambda *_: False)


def test_ctrl_c_ends_a_build(
    library: TensorRTLibrary, bundle: Bundle, request: pytest.FixtureRequest
) -> None:
    """Raised in a callback of TensorRT's it was printed there, and forgotten."""
    was = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored under nohup
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, was))
    sent: list[str] = []

    def interrupt(phase: str, step: int, steps: int) -> bool:
        if not sent:
            sent.append(phase)
            os.kill(os.getpid(), signal.SIGINT)
        return True

    with pytest.raises(KeyboardInterrupt):
        build_plan(library, bundle.graph("token"), small(recipes(bundle)["token"]), interrupt)


def quantized_model(zero: int = 0) -> bytes:
    """One linear layer with explicit Q/DQ, in the form that our quantizer writes."""
    weight = np.random.default_rng(0).integers(-127, 128, (16, 32)).astype(np.int8)
    constants = [
        numpy_helper.from_array(np.float32(0.05), "scale"),
        numpy_helper.from_array(np.int8(zero), "zero"),
        numpy_helper.from_array(weight, "weight"),
        numpy_helper.from_array(np.full(32, 0.01, np.float32), "weight_scale"),
        numpy_helper.from_array(np.zeros(32, np.int8), "weight_zero"),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "scale", "zero"], ["xd"]),
        helper.make_node("DequantizeLinear", ["weight", "weight_scale", "weight_zero"], ["wd"], axis=1),
        helper.make_node("MatMul", ["xd", "wd"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "qdq",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", "n", 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", "n", 32])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=10)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def test_explicit_int8_compiles(library: TensorRTLibrary) -> None:
    recipe = Recipe({"x": Extent(1, 8, 64)}, (1, 2))
    assert build_plan(library, quantized_model(), recipe).data


@pytest.mark.filterwarnings("ignore:Use Deprecated in TensorRT-RTX:DeprecationWarning")
@pytest.mark.parametrize("member", ["create_timing_cache", "set_timing_cache"])
def test_timings_that_the_builder_refuses_are_made_anew(
    library: TensorRTLibrary, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, member: str
) -> None:
    """RTX's real builder in the place of TensorRT's, which keeps timings; its refusals are played."""
    owner = library.module.IBuilderConfig  # type: ignore[attr-defined]
    honest, refusals = getattr(owner, member), [None]

    def refuse_once(*arguments: object) -> object:
        return refusals.pop() if refusals else honest(*arguments)

    monkeypatch.setattr(owner, member, refuse_once)
    tuning = dataclasses.replace(library, flavour="tensorrt")
    recipe = Recipe({"x": Extent(1, 8, 64)}, (1,))
    plan = build_plan(tuning, quantized_model(), recipe, timing=b"of another device")
    assert plan.data
    assert plan.timing
    assert "building takes longer" in caplog.text


def test_an_asymmetric_zero_point_is_refused_with_the_node(library: TensorRTLibrary) -> None:
    recipe = Recipe({"x": Extent(1, 8, 64)}, (1, 2))
    with pytest.raises(BackendError) as caught:
        build_plan(library, quantized_model(zero=3), recipe)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_onnx_are_refused(library: TensorRTLibrary) -> None:
    with pytest.raises(BackendError, match="cannot take the graph"):
        build_plan(library, b"not a model", Recipe({}))


def test_a_dynamic_length_must_be_named(library: TensorRTLibrary, bundle: Bundle) -> None:
    with pytest.raises(BackendError, match="signal has a dynamic length"):
        build_plan(library, bundle.graph("token"), Recipe({"beats": Extent(1, 1, 8)}))


def test_a_dla_core_that_is_not_there_is_told(library: TensorRTLibrary, bundle: Bundle) -> None:
    recipe = Recipe(recipes(bundle)["token"].extents, (1,), dla=0)
    with pytest.raises(BackendError, match="no DLA core 0"):
        build_plan(library, bundle.graph("token"), recipe)


def test_a_real_plan_goes_through_the_store(library: TensorRTLibrary, tmp_path: object) -> None:
    recipe = Recipe({"x": Extent(1, 8, 64)}, (1,))
    plan = build_plan(library, quantized_model(), recipe)
    store, key = PlanStore(tmp_path), PlanKey("b", "g", library.key, "gpu", recipe.key)  # type: ignore[arg-type]
    store.save(key, plan)
    again = store.load(key, recipe)
    assert again is not None
    assert (again.data, again.inputs, again.outputs) == (plan.data, plan.inputs, plan.outputs)


def test_shapes_of_the_profiles(bundle: Bundle) -> None:
    recipe = token_recipe(bundle.spec, hop_tokens=8, buckets=(1, 4))
    signal, state = TensorSpec("signal", ("rows", "samples")), TensorSpec("state", ("rows", 50))
    assert recipe.shapes(signal, 1) == ((4, 64), (4, 64), (4, 64))
    assert recipe.shapes(signal, 2) == ((1, 8), (1, 2048), (8, 4096))
    assert recipe.shapes(state, 2) == ((1, 50), (1, 50), (8, 50))
    beats = TensorSpec("beats", ("rows", "n", 40))
    assert beat_recipe().shapes(beats, 0) == ((1, 1, 40),) * 3


@pytest.mark.parametrize("buckets", [(), (4, 1), (0, 2), (2, 2)])
def test_buckets_must_ascend(buckets: tuple[int, ...]) -> None:
    with pytest.raises(BackendError, match="ascending"):
        Recipe({}, buckets)
