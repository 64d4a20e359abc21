"""A look inside an engine: all floating-point layers as outputs, built and run once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest

pytest.importorskip("torch", reason="needs the extra train")

from edgeecg.bundle import GRAPHS, PRECISIONS, Bundle, GraphName, Precision
from edgeecg.cli.main import main
from edgeecg.deploy.layers import load_model, run_exposed, show_floats
from edgeecg.runtime import trt
from edgeecg.runtime.ort import OrtExecutor
from edgeecg.runtime.trt.build import Extent, Plan, Recipe, build_plan
from edgeecg.runtime.trt.library import find_library
from tests.runtime.trt.fakes import FakeDevice, fake_library

Builder = Callable[..., Plan]


def step(model: bytes, rows: int = 3) -> dict[str, np.ndarray]:
    """A step of noise, its state not fresh."""
    rng = np.random.default_rng(0)
    length = {"signal": 64, "beats": 1}
    with OrtExecutor(model) as executor:
        return {
            spec.name: rng.standard_normal(
                (rows, *(n if isinstance(n, int) else length[spec.name] for n in spec.shape[1:]))
            ).astype(np.float32)
            for spec in executor.inputs
        }


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> FakeDevice:
    """TensorRT's stand-in, whose plans are the graphs themselves."""
    device = FakeDevice()

    def build(library: Any, model: bytes, recipe: Recipe, *rest: Any) -> Plan:
        with OrtExecutor(model) as read:
            return Plan(model, recipe, read.inputs, read.outputs)

    monkeypatch.setattr(trt, "open_device", lambda *arguments: device)
    monkeypatch.setattr(trt, "load_library", lambda: fake_library(device))
    monkeypatch.setattr(trt, "build_plan", build)
    return device


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", GRAPHS)
def test_every_floating_point_layer_is_shown(name: GraphName, precision: Precision) -> None:
    model = Bundle.open("nano").graph(name, precision)
    inputs = step(model)
    shown, outputs = show_floats(model)
    assert all(value.type.tensor_type.elem_type == 1 for value in load_model(shown).graph.output)
    with OrtExecutor(shown) as executor:
        found = executor.run(inputs)
    wanted = run_exposed(load_model(model), inputs, exact=False)
    fed = {layer for layer, value in wanted.items() if value.dtype.kind == "f"}
    assert set(outputs) <= fed
    assert len(outputs) > 0.8 * len(fed)  # the rest hangs on no input: tables, scales
    for layer, output in outputs.items():
        size = float(np.abs(wanted[layer].astype(np.float64)).max()) + 1e-6
        assert np.abs(found[output] - wanted[layer].astype(np.float32)).max() <= 0.02 * size, layer


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", GRAPHS)
def test_such_a_graph_is_built_by_a_real_builder(name: GraphName, precision: Precision) -> None:
    pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx")
    model = Bundle.open("nano").graph(name, precision)
    shown, outputs = show_floats(model)
    extents = {key: Extent(*[value.shape[1]] * 3) for key, value in step(model).items()}
    plan = build_plan(find_library(("tensorrt_rtx",)), shown, Recipe(extents, (3,)))
    assert {spec.name for spec in plan.outputs} == set(outputs.values())


@pytest.mark.parametrize("rows", [1, 3, 9])
def test_a_graph_is_run_once_and_nothing_is_left(gpu: FakeDevice, rows: int) -> None:
    model = Bundle.open("nano").graph("token")
    inputs = step(model, rows)
    shown, outputs = show_floats(model)
    found = trt.run_once(shown, inputs, trt.Options())
    with OrtExecutor(shown) as executor:
        wanted = executor.run(inputs)
    assert set(found) == set(outputs.values())
    for name, value in wanted.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    assert not gpu.owned
    assert gpu.depth == 0


def test_compare_names_the_layer_of_an_engine(
    gpu: FakeDevice, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Any
) -> None:
    """An engine one of whose kernels is wrong: a weight that only the builder sees."""
    build: Builder = vars(trt)["build_plan"]

    def wrong(library: Any, model: bytes, *rest: Any) -> Plan:
        parsed = onnx.load_model_from_string(model)
        weight = next(t for t in parsed.graph.initializer if t.name == "block0.shrink.weight")
        values = onnx.numpy_helper.to_array(weight)
        weight.CopyFrom(onnx.numpy_helper.from_array(-3 * values, weight.name))
        return build(library, parsed.SerializeToString(), *rest)

    monkeypatch.setattr(trt, "build_plan", wrong)
    monkeypatch.setattr("edgeecg.runtime.trt.prove.prove", lambda *arguments: None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    arguments = ["compare", "nano", "nano:fp32@tensorrt", "--graph", "token", "--steps", "3", "--layers"]
    assert main(arguments) in (0, 1)
    said = " ".join(capsys.readouterr().out.split())
    assert "First layer that departs: block0.shrink" in said
    assert not gpu.owned
