"""What compare finds: agreement, worst errors, and the first layer that departs, on planted faults."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="needs the extra train")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from edgeecg.deploy.layers import (  # noqa: E402
    ReferenceExecutor,
    expose,
    layers_of,
    load_model,
    run_exposed,
)
from edgeecg.errors import BackendError, SignalError  # noqa: E402
from edgeecg.runtime.compare import (  # noqa: E402
    Departure,
    compare_executors,
    departures,
    labels_of,
)
from edgeecg.runtime.ort import OrtExecutor  # noqa: E402

WIDTH, STATE, HIDDEN = 12, 6, 16


def weights(gain: float = 1.0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "enter": rng.standard_normal((WIDTH, HIDDEN)).astype(np.float32) / 3,
        "deep": gain * rng.standard_normal((HIDDEN, HIDDEN)).astype(np.float32) / 4,
        "leave": rng.standard_normal((HIDDEN, 5)).astype(np.float32),
        "tell": rng.standard_normal((HIDDEN, 2)).astype(np.float32),
        "keep": rng.standard_normal((HIDDEN, STATE)).astype(np.float32) / 4,
        "recall": rng.standard_normal((STATE, HIDDEN)).astype(np.float32) / 4,
    }


def beat_graph(arrays: dict[str, np.ndarray], half: bool = False) -> bytes:
    """A small recurrent beat graph with the inputs and outputs of the contract, in FP32 or FP16."""
    kind = np.float16 if half else np.float32
    number = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    node = helper.make_node
    nodes = [
        node("Cast", ["beats"], ["x"], to=number),
        node("Cast", ["state"], ["before"], to=number),
        node("MatMul", ["x", "enter"], ["entered"]),
        node("MatMul", ["before", "recall"], ["recalled"]),
        node("Unsqueeze", ["recalled", "one"], ["context"]),
        node("Add", ["entered", "context"], ["mixed"]),
        node("MatMul", ["mixed", "deep"], ["deepened"]),
        node("Tanh", ["deepened"], ["squashed"]),
        node("MatMul", ["squashed", "leave"], ["left"]),
        node("MatMul", ["squashed", "tell"], ["told"]),
        node("ReduceMean", ["squashed", "one"], ["pooled"], keepdims=0),
        node("MatMul", ["pooled", "keep"], ["kept"]),
        node("Cast", ["left"], ["classes"], to=TensorProto.FLOAT),
        node("Cast", ["told"], ["rhythm"], to=TensorProto.FLOAT),
        node("Cast", ["kept"], ["state_out"], to=TensorProto.FLOAT),
    ]
    value = helper.make_tensor_value_info
    constants = [numpy_helper.from_array(array.astype(kind), name) for name, array in arrays.items()]
    constants.append(numpy_helper.from_array(np.array([1]), "one"))
    inputs = [
        value("beats", TensorProto.FLOAT, ["rows", "n", WIDTH]),
        value("state", TensorProto.FLOAT, ["rows", STATE]),
    ]
    outputs = [
        value("classes", TensorProto.FLOAT, ["rows", "n", 5]),
        value("rhythm", TensorProto.FLOAT, ["rows", "n", 2]),
        value("state_out", TensorProto.FLOAT, ["rows", STATE]),
    ]
    graph = helper.make_graph(nodes, "beat", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=10)
    onnx.checker.check_model(model)
    return model.SerializeToString()  # type: ignore[no-any-return]


def feeds(steps: int = 6, scale: float = 1.0) -> Iterator[dict[str, np.ndarray]]:
    rng = np.random.default_rng(3)
    for _ in range(steps):
        yield {"beats": (scale * rng.standard_normal((4, 3, WIDTH))).astype(np.float32)}


def look(left: bytes, right: bytes, inputs: Any, exact: bool = False) -> list[Departure]:
    ours, theirs = load_model(left), load_model(right)
    values = run_exposed(ours, inputs, exact=False), run_exposed(theirs, inputs, exact)
    return departures(*values, layers_of(theirs))


def test_a_graph_agrees_with_itself() -> None:
    model = beat_graph(weights())
    with OrtExecutor(model) as left, OrtExecutor(model) as right:
        found = compare_executors(left, right, feeds())
    assert found.agree
    assert found.steps == 6
    assert {item.name for item in found.differences} == {"classes", "rhythm", "state_out"}
    assert all(item.worst == 0 for item in found.differences)
    assert {item.what: item.scored for item in found.agreements} == {"classes": 72, "rhythm": 72}


def test_the_reference_agrees_with_onnx_runtime() -> None:
    model = beat_graph(weights())
    with OrtExecutor(model) as left, ReferenceExecutor(model) as right:
        found = compare_executors(left, right, feeds())
    assert found.agree
    assert max(item.relative for item in found.differences) < 1e-5


def test_a_planted_wrong_scale_is_found_where_it_is() -> None:
    wrong = weights()
    wrong["deep"] = wrong["deep"] * np.float32(1.9)
    right_model, wrong_model = beat_graph(weights()), beat_graph(wrong)
    with OrtExecutor(right_model) as left, OrtExecutor(wrong_model) as right:
        found = compare_executors(left, right, feeds())
    assert not found.agree
    inside = look(right_model, wrong_model, found.worst_inputs)
    first = next(item for item in inside if item.error > 1e-3)
    assert (first.layer.output, first.layer.kind) == ("deepened", "MatMul")
    assert first.error == pytest.approx(0.9, rel=1e-3)
    assert first.inherited < 1e-6
    later = {item.layer.output: item for item in inside}
    assert later["squashed"].inherited == first.error


def test_state_is_carried_by_each_side_on_its_own() -> None:
    """A fault in the state shows from the second step on only."""
    wrong = weights()
    wrong["keep"] = wrong["keep"] * 0
    with OrtExecutor(beat_graph(weights())) as left, OrtExecutor(beat_graph(wrong)) as right:
        one = compare_executors(left, right, feeds(1))
        more = compare_executors(left, right, feeds(4))
    by_name = {item.name: item for item in one.differences}
    assert by_name["classes"].worst == 0
    assert by_name["state_out"].worst > 0
    assert {item.name: item for item in more.differences}["classes"].step >= 1


def test_an_fp16_overflow_is_found_where_it_begins() -> None:
    loud = weights(gain=2e4)  # its products go beyond 65504
    full, half = beat_graph(loud), beat_graph(loud, half=True)
    inputs = {**next(feeds(1, scale=30.0)), "state": np.zeros((4, STATE), np.float32)}
    inside = look(full, half, inputs, exact=True)
    first = next(item for item in inside if not np.isfinite(item.error))
    assert first.layer.output == "deepened"
    assert all(np.isfinite(item.error) for item in inside if item.layer.output in ("entered", "mixed"))


def test_layers_that_only_one_side_has_pass_their_error_on() -> None:
    from edgeecg.runtime.compare import Layer

    left = {"a": np.ones(4), "c": np.ones(4)}
    right = {"a": np.full(4, 1.5), "cast": np.full(4, 1.5), "c": np.full(4, 1.5)}
    layers = [Layer("a", "Add", ("x",)), Layer("cast", "Cast", ("a",)), Layer("c", "Mul", ("cast",))]
    found = departures(left, right, layers)
    assert [(item.layer.output, item.error, item.inherited) for item in found] == [
        ("a", 0.5, 0.0),
        ("c", 0.5, 0.5),
    ]


def test_labels_of_the_token_graph() -> None:
    heads = np.full((1, 3, 10), -5.0, np.float32)
    heads[0, 1, 0] = 2.0
    heads[0, 1, 4] = 1.0  # shape V
    labels = labels_of({"heads": heads})
    assert labels["beat or not"].tolist() == [[0, 1, 0]]
    assert labels["shape of the beat"].tolist() == [[-1, 2, -1]]


def test_graphs_of_other_inputs_are_not_compared() -> None:
    other = load_model(beat_graph(weights()))
    other.graph.output[1].name = other.graph.node[-2].output[0] = "tempo"
    left, right = OrtExecutor(beat_graph(weights())), OrtExecutor(other.SerializeToString())
    with left, right, pytest.raises(SignalError, match=r"same outputs \(only one has rhythm, tempo\)"):
        compare_executors(left, right, feeds())


def test_no_step_is_no_comparison() -> None:
    with OrtExecutor(beat_graph(weights())) as left, pytest.raises(SignalError, match="at least one step"):
        compare_executors(left, left, [])


@pytest.mark.parametrize("data", [b"not onnx at all", b"\xff" * 40])
def test_other_files_are_no_models(data: bytes) -> None:
    with pytest.raises(BackendError, match="ONNX"):
        load_model(data)


def test_a_model_with_a_hole_is_refused() -> None:
    model = load_model(beat_graph(weights()))
    model.graph.node[3].input[0] = "nowhere"
    with pytest.raises(BackendError, match="not a valid ONNX model"):
        load_model(model.SerializeToString())


def test_exposing_shows_every_layer_and_leaves_the_model_alone() -> None:
    model = load_model(beat_graph(weights()))
    before = model.SerializeToString()
    shown = {value.name for value in expose(model).graph.output}
    assert {"entered", "squashed", "classes", "state_out"} <= shown
    assert model.SerializeToString() == before
    values = run_exposed(model, {**next(feeds(1)), "state": np.zeros((4, STATE), np.float32)}, exact=False)
    assert values["squashed"].shape == (4, 3, HIDDEN)


def test_the_reference_checks_its_inputs(tmp_path: Path) -> None:
    with (
        ReferenceExecutor(beat_graph(weights())) as executor,
        pytest.raises(SignalError, match="beats, state"),
    ):
        executor.run({"beats": np.zeros((1, 1, WIDTH), np.float32)})


def test_a_planted_wrong_scale_in_a_real_int8_graph_is_found() -> None:
    torch = pytest.importorskip("torch", reason="needs the extra train")
    from edgeecg.deploy.export import export
    from edgeecg.deploy.precision import int8_plan, products, rewrite
    from edgeecg.model.presets import preset
    from edgeecg.model.transformer import Network

    torch.manual_seed(0)
    data = export(Network(preset("nano"))).token
    model = onnx.load_model_from_string(data)
    quantized = [product for product in products(model) if not product.reason]
    victim = quantized[len(quantized) // 2]
    levels = {product.reads: 8.0 for product in products(model)}
    good = rewrite(model, int8_plan(model), levels).SerializeToString()
    bad = rewrite(model, int8_plan(model), {**levels, victim.reads: 0.01}).SerializeToString()
    rng = np.random.default_rng(0)
    with OrtExecutor(data) as reference:
        state = np.zeros((2, int(reference.inputs[1].shape[1])), np.float32)
    inputs = {"signal": rng.standard_normal((2, 64)).astype(np.float32), "state": state}
    limit = 0.5
    assert all(item.error < limit for item in look(data, good, inputs) if item.layer.kind == "MatMul")
    first = next(item for item in look(data, bad, inputs) if item.error > limit >= item.inherited)
    assert first.layer.output.startswith(victim.node.split(".")[0]), first
    readers = [node for node in model.graph.node if victim.reads in node.input]
    assert any(first.layer.output.startswith(node.name) for node in readers), first
