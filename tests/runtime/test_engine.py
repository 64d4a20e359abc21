"""Opening a bundle: the right backend and precision, and never without its golden vectors."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeecg.bundle import Bundle, make_bundle
from edgeecg.errors import BackendError, BundleError, ConfigError
from edgeecg.runtime import engine as module
from edgeecg.runtime.engine import Engine, check_golden, open_engine
from tests.contract.engines import make_bundle as build
from tests.contract.engines import nano

__all__ = ["nano"]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("engine"), "nano")


def with_part(bundle: Bundle, part: str, data: bytes) -> Bundle:
    """The bundle with another part, its hashes right."""
    parts = {key: value for key, value in bundle.parts.items() if key != "manifest.json"}
    made = {"name": bundle.name, "created": bundle.manifest.created, "model": bundle.spec}
    return make_bundle(**made, parts={**parts, part: data})


def with_golden(bundle: Bundle, **changes: np.ndarray) -> Bundle:
    """The bundle with other golden vectors, its hashes right."""
    arrays = {**bundle.golden(), **{key.replace("__", "."): value for key, value in changes.items()}}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return with_part(bundle, "golden.npz", buffer.getvalue())


def with_token(bundle: Bundle, change: Callable[[Any], None]) -> Bundle:
    """The bundle with another token graph, its hashes right, as a forger would make it."""
    onnx = pytest.importorskip("onnx")
    model = onnx.load_from_string(bundle.graph("token"))
    change(model)
    return with_part(bundle, "graphs/token.fp32.onnx", model.SerializeToString())


def test_it_opens_by_path_and_as_a_bundle(path: Path) -> None:
    for source in (path, str(path), Bundle.open(path)):
        with open_engine(source, "onnxruntime") as engine:
            assert (engine.backend, engine.precision) == ("onnxruntime", "fp32")
            assert engine.bundle.name == "nano"


def test_auto_takes_tensorrt_only_where_it_can_be_used(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeecg.runtime.trt.why_not", lambda *_: "there is no GPU")
    with open_engine(path) as engine:
        assert engine.backend == "onnxruntime"
    monkeypatch.setattr("edgeecg.runtime.trt.why_not", lambda *_: None)
    assert module._usable() == "tensorrt"


def test_tensorrt_without_a_gpu_is_one_line(path: Path) -> None:
    from edgeecg.runtime.trt import why_not

    if why_not() is None:
        pytest.skip("TensorRT can be used here")
    with pytest.raises(BackendError) as error:
        open_engine(path, "tensorrt")
    assert "\n" not in str(error.value)
    assert "onnxruntime" in str(error.value)


def test_closing_closes_both_executors(path: Path) -> None:
    engine = open_engine(path, "onnxruntime")
    engine.close()
    engine.close()
    for executor in (engine.token, engine.beat):
        with pytest.raises(BackendError, match="closed"):
            executor.run({})


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"backend": "cuda"}, ConfigError, "choose auto, onnxruntime, native, tensorrt"),
        ({"precision": "fp8"}, ConfigError, "choose one of fp32"),
        ({"precision": "int8"}, BundleError, "it has fp32"),
        ({"threads": 0}, ConfigError, "threads = 0"),
    ],
)
def test_wrong_options_are_one_line(
    path: Path, options: dict[str, object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        open_engine(path, **{"backend": "onnxruntime", **options})  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("graph", ["token", "beat"])
@pytest.mark.parametrize("value", [2.0, np.nan])
def test_a_graph_that_does_not_reproduce_its_golden_vectors_is_refused(
    nano: Engine, graph: str, value: float
) -> None:
    key = "heads" if graph == "token" else "classes"
    wrong = nano.bundle.golden()[f"{graph}.fp32.{key}"].copy()
    wrong[0, 0, 0] += value * np.max(np.abs(wrong))
    bundle = with_golden(nano.bundle, **{f"{graph}__fp32__{key}": wrong})
    with pytest.raises(BackendError, match=f"the fp32 {graph} graph of bundle nano gives a wrong {key}"):
        open_engine(bundle, "onnxruntime")


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("token__signal", lambda x: x[:, :-3]),
        ("token__signal", lambda x: x.astype(np.float64)),
        ("beat__beats", lambda x: x[..., :-1]),
        ("token__fp32__heads", lambda x: x[:, :-1]),
        ("beat__fp32__classes", lambda x: x.astype(np.complex64)),
        ("beat__fp32__classes", lambda x: x.astype(str)),
        ("beat__fp32__classes", lambda x: x[:0]),
    ],
)
def test_golden_vectors_of_another_shape_or_kind_are_refused(nano: Engine, key: str, change: Any) -> None:
    bundle = with_golden(nano.bundle, **{key: change(nano.bundle.golden()[key.replace("__", ".")])})
    with pytest.raises(BundleError, match="build it again"):
        open_engine(bundle, "onnxruntime")


@pytest.mark.parametrize("change", [{"right": 4}, {"layers": 2}, {"left": 20}, {"dim": 32}, {"heads": 4}])
@pytest.mark.parametrize("graph", ["token", "beat"])
def test_graphs_of_another_network_than_the_manifest_says_are_refused(
    nano: Engine, graph: str, change: dict[str, int]
) -> None:
    """Their golden vectors are right, and every hash."""
    stack = replace(getattr(nano.bundle.spec, graph), **change)
    manifest = replace(nano.bundle.manifest, model=replace(nano.bundle.spec, **{graph: stack}))
    with pytest.raises(BundleError, match="they are of two networks"):
        open_engine(replace(nano.bundle, manifest=manifest), "onnxruntime")


@pytest.mark.parametrize("backend", ["onnxruntime", "native"])
@pytest.mark.parametrize("place", ["initializer", "constant", "inner graph"])
def test_a_graph_runs_no_weights_from_a_file_beside_it(
    nano: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, backend: Any
) -> None:
    """Whoever can write to the folder that a gateway starts in would change its model, and no hash would."""
    onnx = pytest.importorskip("onnx")
    monkeypatch.chdir(tmp_path)

    def move_out(model: Any) -> None:
        tensor = next(t for t in model.graph.initializer if t.name == "block0.grow.weight")
        Path("weights.bin").write_bytes(tensor.raw_data)
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="weights.bin")
        if place != "initializer":
            node = onnx.helper.make_node("Constant", [], ["unused"], value=tensor)
            model.graph.initializer.remove(tensor)
            inner = onnx.helper.make_graph([node], "inner", [], [])
            attribute = {"then_branch": inner, "else_branch": inner}
            outer = onnx.helper.make_node("If", ["yes"], ["unused"], **attribute)
            model.graph.node.append(node if place == "constant" else outer)

    bundle = with_token(nano.bundle, move_out)
    with pytest.raises(BundleError, match=r"tensor block0\.grow\.weight of its graph lies in another file"):
        open_engine(bundle, backend)


def _longest(model: Any, value: str) -> None:
    next(prop for prop in model.metadata_props if prop.key == "longest").value = value


def _length(model: Any, word: str) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = word


@pytest.mark.parametrize(
    "change",
    [
        lambda model: _longest(model, "many"),
        lambda model: _longest(model, ""),
        lambda model: model.graph.ClearField("output"),
    ],
)
def test_what_a_graph_says_of_itself_is_no_traceback(nano: Engine, change: Any) -> None:
    """Nothing else happens to a bundle that was made with ill will than to one that is damaged."""
    with pytest.raises((BackendError, BundleError)):
        open_engine(with_token(nano.bundle, change), "onnxruntime")


@pytest.mark.parametrize("length", ["0*tokens", "²*tokens", "*"])
def test_a_length_with_a_name_that_says_nothing_is_any_length(nano: Engine, length: str) -> None:
    forged = with_token(nano.bundle, lambda model: _length(model, length))
    feed = {
        "signal": np.zeros((1, 64), np.float32),
        "state": np.zeros((1, int(nano.token.inputs[-1].shape[1])), np.float32),
    }
    with open_engine(forged, "onnxruntime") as engine:
        got, wanted = engine.token.run(feed), nano.token.run(feed)
    np.testing.assert_allclose(got["heads"], wanted["heads"], rtol=0, atol=1e-5)


def test_golden_vectors_see_a_state_that_is_not_carried(nano: Engine) -> None:
    """Half of the rows are warm, so an executor that forgets its state is found out."""

    class Forgetful:
        inputs, outputs = nano.token.inputs, nano.token.outputs

        def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            return nano.token.run({**inputs, "state": np.zeros_like(inputs["state"])})

    assert check_golden(nano.bundle, "token", nano.token, "fp32") <= 1e-5
    with pytest.raises(BackendError, match="gives a wrong"):
        check_golden(nano.bundle, "token", Forgetful(), "fp32")  # type: ignore[arg-type]


def test_a_gpu_that_tensorrt_refuses_leaves_auto_on_the_cpu(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise BackendError("tensorrt_rtx 1.7 does not load the plan: unsupported SM 9.0")

    monkeypatch.setattr("edgeecg.runtime.trt.why_not", lambda *_: None)
    monkeypatch.setattr("edgeecg.runtime.trt.open_executors", refuse)
    with open_engine(path) as engine:
        assert engine.backend == "onnxruntime"
    assert "unsupported SM 9.0" in caplog.text
    with pytest.raises(BackendError, match=r"unsupported SM 9\.0"):
        open_engine(path, "tensorrt")
