"""compare, profile and doctor as a user calls them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra train")
import onnx
import torch
from onnx import numpy_helper

import edgeecg
from edgeecg.bundle import Bundle
from edgeecg.cli.main import main
from edgeecg.cli.sides import parse_side
from edgeecg.deploy.precision import fp16_plan, rewrite
from edgeecg.errors import MissingExtra
from edgeecg.runtime import native, trt
from edgeecg.runtime.ort import OrtExecutor

QUICK = ["--runs", "20", "--warmup", "2", "--batches", "1,2", "--pace-seconds", "0.2", "--speed", "20",
         "--energy-seconds", "0", "--backend", "onnxruntime"]  # fmt: skip


needs_compiler = pytest.mark.skipif(not native.find_compiler(), reason="no C compiler")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    from edgeecg.deploy.build import build_bundle
    from edgeecg.model.presets import preset
    from edgeecg.model.transformer import Network

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("bundle") / "tiny.edgeecg"
    build_bundle(Network(preset("nano")), path, "tiny")
    return str(path)


@pytest.fixture(scope="module")
def wrong_graph(bundle: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The token graph of the bundle, and the same with one weight scaled."""
    folder = tmp_path_factory.mktemp("graphs")
    model = onnx.load_model_from_string(Bundle.open(bundle).graph("token"))
    good, bad = folder / "good.onnx", folder / "bad.onnx"
    onnx.save(model, good)
    constants = {constant.name: constant for constant in model.graph.initializer}
    products = [
        node for node in model.graph.node if node.op_type in ("MatMul", "Gemm") and node.input[1] in constants
    ]
    product = products[2]
    constant = constants[product.input[1]]
    constant.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(constant) * np.float32(3), constant.name))
    onnx.save(model, bad)
    return str(good), f"{bad}|{product.output[0]}"


def one_error(capsys: pytest.CaptureFixture[str]) -> str:
    shown = capsys.readouterr().err.strip()
    assert shown.count("\n") == 0
    assert shown.startswith("error: ")
    return shown


def test_graphs_of_other_sizes_are_told_apart_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "small", "nano", "--graph", "token", "--steps", "2"]) == 1
    assert "inputs of different sizes" in " ".join(capsys.readouterr().err.split())
    assert main(["compare", "small", "nano", "--graph", "beat", "--steps", "2"]) == 2
    assert "--graph token compares heads and labels" in one_error(capsys)


def test_a_bundle_agrees_with_the_reference(
    bundle: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "found.json"
    assert main(["compare", bundle, f"{bundle}:fp32@reference", "--steps", "3", "--json", str(out)]) == 0
    found = json.loads(out.read_text())
    assert set(found) == {"token", "beat"}
    assert (
        found["token"]["labels"]["beat or not"]["equal"]
        == found["token"]["labels"]["beat or not"]["of"]
        == 96
    )
    assert found["token"]["outputs"]["heads"]["relative"] < 1e-5
    assert found["token"]["layers"] == {}
    assert "token graph, 3 steps" in capsys.readouterr().out


def test_both_graphs_are_compared_where_layers_cannot_be(
    bundle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A board without onnx: nobody asked for the layers, and all else that was found is told."""

    def missing(*_: object) -> None:
        raise MissingExtra("onnx", "train", "looking into layers")

    monkeypatch.setattr("edgeecg.cli.compare.look_inside", missing)
    monkeypatch.setattr("edgeecg.cli.compare.Comparison.agree", property(lambda _: False))
    out = tmp_path / "found.json"
    line = ["compare", bundle, f"{bundle}:fp32@onnxruntime", "--steps", "2", "--json", str(out)]
    assert main(line) == 1
    assert set(json.loads(out.read_text())) == {"token", "beat"}
    assert "note: looking into layers needs onnx" in " ".join(capsys.readouterr().err.split())
    assert main([*line, "--layers"]) == 2


def test_a_wrong_graph_is_taken_apart(wrong_graph: tuple[str, str], tmp_path: Path) -> None:
    good, (bad, layer) = wrong_graph[0], wrong_graph[1].split("|")
    out = tmp_path / "found.json"
    assert main(["compare", good, bad, "--steps", "4", "--layers", "--json", str(out)]) in (0, 1)
    found = json.loads(out.read_text())
    assert list(found) == ["token"]
    assert found["token"]["first_departure"]["layer"] == layer
    assert found["token"]["first_departure"]["kind"] in ("MatMul", "Gemm")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere.onnx", "nowhere.onnx"], "no graph nowhere.onnx"),
        (["BUNDLE@abacus", "BUNDLE"], "no executor 'abacus'"),
        (["BUNDLE:int8", "BUNDLE"], "no token graph in int8"),
        (["BUNDLE", "BUNDLE", "--graph", "heart"], "--graph 'heart'"),
        (["BUNDLE@tensorrt", "BUNDLE"], "--backend onnxruntime"),
    ],
)
def test_compare_says_what_is_wrong(
    bundle: str, arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if "tensorrt" in arguments[0]:
        from edgeecg.runtime.trt import why_not

        if why_not() is None:
            pytest.skip("there is a GPU here")
    assert main(["compare", *(word.replace("BUNDLE", bundle) for word in arguments)]) == 2
    assert says in one_error(capsys)


@pytest.mark.parametrize(
    ("text", "precision", "executor"),
    [
        ("ward@3/n.edgeecg", "fp32", "onnxruntime"),
        ("ward@3/n.edgeecg:fp16@onnxruntime", "fp16", "onnxruntime"),
        ("ward@3/n.edgeecg:fp16", "fp16", "reference"),
        ("n@reference", "fp32", "onnxruntime"),
        ("n:fp16", "fp32", "onnxruntime"),
    ],
)
def test_names_may_have_what_parts_a_side(
    text: str, precision: str, executor: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is there under the whole name is that."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ward@3").mkdir()
    packaged = Path(edgeecg.__file__).parent / "zoo" / "nano.edgeecg"
    for name in ("ward@3/n.edgeecg", "n@reference", "n:fp16"):
        shutil.copy(packaged, tmp_path / name)
    side = parse_side(text)
    assert side.bundle is not None
    assert (side.bundle.name, side.precision, side.executor) == ("nano", precision, executor)


def test_an_overflow_in_a_file_is_seen_without_asking(
    bundle: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """ONNX Runtime's CPU would compute it in FP32 and show nothing."""
    good = Bundle.open(bundle).graph("token")
    model = onnx.load_model_from_string(good)
    for key, factor in (("block0.grow.weight", 1e5), ("block0.shrink.weight", 1e-5)):
        tensor = next(t for t in model.graph.initializer if t.name == key)
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(factor), key))
    plain, half = tmp_path / "plain.onnx", tmp_path / "half.onnx"
    plain.write_bytes(model.SerializeToString())
    half.write_bytes(rewrite(model, fp16_plan(model)).SerializeToString())
    assert main(["compare", str(plain), str(half), "--steps", "2", "--rows", "1"]) == 1
    assert "block0.grow" in capsys.readouterr().out
    assert main(["compare", str(plain), f"{half}@onnxruntime", "--steps", "2", "--rows", "1"]) == 0


def test_an_engine_that_departs_from_its_own_graph_is_named(
    bundle: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Shifted(OrtExecutor):
        """An engine with wrong kernels."""

        def run(self, inputs):  # type: ignore[no-untyped-def]
            found = super().run(inputs)
            return {name: -value if name in ("heads", "classes") else value for name, value in found.items()}

    def opened(bundle, name, precision, options):  # type: ignore[no-untyped-def]
        return Shifted(bundle.graph(name, precision))

    def once(model, inputs, options):  # type: ignore[no-untyped-def]
        with OrtExecutor(model) as executor:
            return executor.run(inputs)

    monkeypatch.setattr(trt, "open_executor", opened)
    monkeypatch.setattr(trt, "run_once", once)
    assert main(["compare", bundle, f"{bundle}@tensorrt", "--steps", "2", "--graph", "token"]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert f"With every layer kept apart {bundle}@tensorrt agrees" in said


def test_a_profile_is_written_and_held_against(
    bundle: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report, page = tmp_path / "before.json", tmp_path / "before.html"
    assert main(["profile", "-b", bundle, *QUICK, "--json", str(report), "--html", str(page)]) == 0
    shown = capsys.readouterr().out
    assert "Time of a hop" in shown
    assert "Slowest layers" in shown
    assert page.read_text().startswith("<!doctype html>")
    again = ["profile", "-b", bundle, *QUICK, "--against", str(report)]
    assert main([*again, "--max-regression", "9000%"]) == 0
    shown = capsys.readouterr()
    assert "Against" in shown.out
    assert "another bundle" not in shown.err
    fast = json.loads(report.read_text())
    fast["subject"] |= {"bundle": "other", "digest": "0" * 64}
    for stage in fast["stages"].values():
        stage["p50"] = stage["p99"] = 1e-6
    report.write_text(json.dumps(fast))
    assert main([*again, "--max-regression", "10%"]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "slower by more than 10%" in said
    assert "the earlier profile is of another bundle, other (000000000000), this one of " in said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--mode", "sideways"], "--mode 'sideways'"),
        (["--wait", "patiently"], "--wait 'patiently'"),
        (["--batches", "1,x"], "--batches '1,x'"),
        (["--batches", "100000000"], "from 1 to 4096"),
        (["--against", "nowhere.json"], "cannot read"),
        (["--max-regression", "10%"], "--against FILE"),
        (["--speed", "0"], "finite speed above 0"),
        (["--speed", "nan"], "finite speed above 0"),
        (["--speed", "inf"], "finite speed above 0"),
        (["nowhere.hea"], "nowhere"),
        (["--dla", "0", "--backend", "onnxruntime"], "leave --dla out"),
        (["--dla", "0"], "asks TensorRT for a DLA core"),
    ],
)
def test_profile_says_what_is_wrong(
    bundle: str, arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["profile", "-b", bundle, *arguments]) == 2
    assert says in one_error(capsys)


def test_tensorrt_without_a_gpu_is_one_line(bundle: str, capsys: pytest.CaptureFixture[str]) -> None:
    from edgeecg.runtime.trt import why_not

    if why_not() is None:
        pytest.skip("there is a GPU here")
    assert main(["profile", "-b", bundle, "--backend", "tensorrt"]) == 2
    assert "--backend onnxruntime" in one_error(capsys)


def test_the_doctor_tells_the_machine_and_the_backends(
    bundle: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "health.json"
    assert main(["doctor", "--bundle", bundle, "--json", str(out)]) == 0
    health = json.loads(out.read_text())
    assert health["machine"]["cores"] >= 1
    states = {finding["what"]: finding["state"] for finding in health["findings"]}
    assert states["onnxruntime"] == "well"
    shown = capsys.readouterr().out
    assert "machine" in shown
    assert "onnxruntime" in shown


@needs_compiler
def test_of_native_the_outputs_are_compared_and_no_layers(
    bundle: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", f"{bundle}@native", bundle, "--steps", "2", "--layers"]) == 0
    told = capsys.readouterr()
    assert "what its layers give cannot be seen" in " ".join(told.err.split())
    assert "No layer departs" not in told.out
    assert main(["compare", "small:int8@native", "small"]) == 2
    assert "computes in fp32, not int8" in one_error(capsys)


@needs_compiler
def test_native_is_profiled_without_layers(bundle: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "-b", bundle, *QUICK, "--backend", "native"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "Slowest layers" not in told
    assert "backend native is one function" in told


def test_the_doctor_fails_where_what_is_needed_does_not_work(
    bundle: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGEECG_CACHE", str(tmp_path))
    monkeypatch.setenv("CC", "no-such-compiler")
    assert main(["doctor", "--bundle", bundle]) == 0
    assert main(["doctor", "--bundle", bundle, "--need", "native"]) == 1
    assert main(["doctor", "--need", "cuda"]) == 2
    assert "CC names no-such-compiler" in " ".join(capsys.readouterr().out.split())


def test_inspect_tells_what_a_bundle_is(
    bundle: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "told.json"
    assert main(["inspect", "small", "--json", str(told)]) == 0
    shown = capsys.readouterr().out
    small = Bundle.open("small")
    for words in ("fused", "P -1", "trained on", "95201", "int8", "Moody GB"):
        assert words in shown
    assert small.digest in "".join(shown.split())
    read = json.loads(told.read_text())
    assert list(read["precisions"]) == list(small.precisions)
    assert read["digest"] == small.digest
    assert main(["inspect", bundle]) == 0
    opened = Bundle.open(bundle)
    spoiled = dict(opened.parts) | {"graphs/beat.fp32.onnx": opened.parts["graphs/beat.fp32.onnx"][:-50]}
    monkeypatch.setattr(Bundle, "open", lambda *_: replace(opened, parts=spoiled))
    assert main(["inspect", bundle]) == 1
    assert "is no ONNX model" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("said", ["by hand", {"sets": ["mitdb"], "attribution": "Moody GB"}, None])
def test_inspect_takes_whatever_was_written_about_a_training(
    bundle: str, said: object, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Bundle.open(bundle)
    manifest = replace(opened.manifest, provenance={"training": said})
    monkeypatch.setattr(Bundle, "open", lambda *_: replace(opened, manifest=manifest))
    assert main(["inspect", bundle]) == 0
    assert ("Moody GB" in capsys.readouterr().out) == isinstance(said, dict)


def test_inspect_shows_what_others_wrote_as_text(
    bundle: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bundle is inspected before it is trusted: it must not steer the terminal."""
    opened = Bundle.open(bundle)
    said = {"sets": {"\x1b[2Jmitdb": 1}, "attribution": ["\x1b]0;x\x07Moody GB"]}
    manifest = replace(opened.manifest, provenance={"training": said})
    monkeypatch.setattr(Bundle, "open", lambda *_: replace(opened, manifest=manifest))
    assert main(["inspect", bundle]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "?[2Jmitdb" in shown


def test_a_bundle_and_an_engine_say_in_a_line_what_they_are(bundle: str) -> None:
    opened = Bundle.open(bundle)
    assert opened.digest[:12] in repr(opened)
    with edgeecg.open_engine(opened, "onnxruntime") as engine:
        assert "onnxruntime" in repr(engine)
        assert len(repr(engine)) < 200
