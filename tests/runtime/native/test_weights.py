"""Weights come out of the graph as the `onnx` package reads them, and a graph of another kind is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edgeecg.bundle import GRAPHS, Bundle, GraphName
from edgeecg.errors import BundleError
from edgeecg.runtime.native.constants import read_constants
from edgeecg.runtime.native.weights import pack_weights, sizes_of
from edgeecg.specs import StackSpec


@pytest.mark.parametrize("name", GRAPHS)
def test_constants_are_those_that_onnx_reads(name: GraphName) -> None:
    onnx = pytest.importorskip("onnx")
    model = Bundle.open("nano").graph(name, "fp32")
    wanted = {
        tensor.name: onnx.numpy_helper.to_array(tensor)
        for tensor in onnx.load_from_string(model).graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT
    }
    found = read_constants(model)
    assert set(found) == set(wanted)
    for key, value in wanted.items():
        np.testing.assert_array_equal(found[key], value)


def test_values_that_are_not_raw_are_read() -> None:
    onnx = pytest.importorskip("onnx")
    tensor = onnx.helper.make_tensor("x", onnx.TensorProto.FLOAT, (2, 3), range(6))
    model = onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [], [tensor]))
    np.testing.assert_array_equal(read_constants(model.SerializeToString())["x"], [[0, 1, 2], [3, 4, 5]])


@pytest.mark.parametrize("cut", [0.3, 0.9])
def test_half_a_model_is_refused(cut: float) -> None:
    model = Bundle.open("nano").graph("token", "fp32")
    with pytest.raises(BundleError, match="no ONNX model"):
        read_constants(model[: int(cut * len(model))])


def test_a_tensor_that_is_cut_short_is_refused() -> None:
    onnx = pytest.importorskip("onnx")
    tensor = onnx.helper.make_tensor("x", onnx.TensorProto.FLOAT, (2, 3), range(6))
    tensor.dims[0] = 5
    model = onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [], [tensor]))
    with pytest.raises(BundleError, match="tensor x of its graph is cut short"):
        read_constants(model.SerializeToString())


def test_a_graph_without_a_weight_is_refused() -> None:
    bundle = Bundle.open("nano")
    constants = read_constants(bundle.graph("token", "fp32"))
    del constants["block0.grow.weight"]
    with pytest.raises(BundleError, match=r"no block0\.grow\.weight.*build the bundle again"):
        pack_weights(bundle.spec, "token", constants)


@pytest.mark.parametrize(
    "other",
    [
        {"stem": (2, 8)},
        {"stem": (4, 32)},
        {"token": StackSpec(dim=32, layers=1, heads=1, ffn=32, left=48, right=8)},
        {"token": StackSpec(dim=16, layers=1, heads=1, ffn=48, left=48, right=8)},
        {"token": StackSpec(dim=16, layers=2, heads=1, ffn=32, left=48, right=8)},
        {"token": StackSpec(dim=16, layers=1, heads=1, ffn=32, left=48, right=600)},
    ],
    ids=str,
)
def test_a_manifest_of_another_network_is_refused(other: dict[str, Any]) -> None:
    bundle = Bundle.open("nano")
    constants = read_constants(bundle.graph("token", "fp32"))
    spec = replace(bundle.spec, **other)
    with pytest.raises(BundleError, match="two networks or versions"):
        pack_weights(spec, "token", constants)


def test_a_table_of_no_shape_is_refused() -> None:
    bundle = Bundle.open("nano")
    constants = {**read_constants(bundle.graph("token", "fp32")), "turns.table": np.float32(1.0)[()]}
    with pytest.raises(BundleError, match=r"turns\.table"):
        sizes_of(bundle.spec, "token", {k: np.asarray(v) for k, v in constants.items()})


@pytest.mark.parametrize(("raw", "dims"), [(b"12345", (1,)), (b"1234", (-1,)), (b"12345678", (-1, -2))])
def test_values_that_are_none_are_refused(raw: bytes, dims: tuple[int, ...]) -> None:
    onnx = pytest.importorskip("onnx")
    tensor = onnx.TensorProto(name="x", data_type=onnx.TensorProto.FLOAT, dims=dims, raw_data=raw)
    model = onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [], [tensor]))
    with pytest.raises(BundleError, match="cut short"):
        read_constants(model.SerializeToString())
