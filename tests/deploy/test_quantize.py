"""Quantized sets of graphs: evidence, overflow, and the way to a bundle."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgeecg.bundle import GRAPHS, Bundle, Precision, graph_part, write_bundle
from edgeecg.deploy.calibrate import Calibration
from edgeecg.deploy.costs import fp16_headroom, layer_rows
from edgeecg.deploy.golden import golden_inputs
from edgeecg.deploy.graphset import GraphSet, read_graphs, write_graphs
from edgeecg.deploy.precision import fp16_plan, rewrite
from edgeecg.deploy.quantize import Quantized, Wanted, plan_of, quantize_set
from edgeecg.errors import AccuracyError, BundleError, ConfigError
from edgeecg.runtime.engine import open_engine


@pytest.fixture(scope="module")
def made(graphs: GraphSet, calibration: Calibration) -> Quantized:
    return quantize_set(graphs, Wanted(("fp16", "int8", "mixed"), ("token/block0.out",)), calibration)


def test_all_precisions_are_made(made: Quantized) -> None:
    assert made.graphs.precisions == ("fp32", "fp16", "int8", "mixed")


def test_each_layer_has_a_row_with_its_noise_or_its_reason(
    graphs: GraphSet, calibration: Calibration
) -> None:
    rows = list(layer_rows(graphs, plan_of(graphs, "int8", ["token/block0.out"]), calibration))
    assert len({row.layer for row in rows}) == len(rows)
    for row in rows:
        if row.precision == "int8":
            assert row.reason == ""
            assert row.noise is not None
            assert row.weight_noise is not None
            assert 20 < row.noise < 80
            assert 30 < row.weight_noise < 80
        else:
            assert row.reason
            assert row.level is None
    left = next(row for row in rows if row.layer == "token/block0.out")
    assert (left.precision, "left out by the recipe" in left.reason) == ("fp32", True)


def test_tables_are_there_for_int8_and_mixed(made: Quantized) -> None:
    assert [table.title for table in made.tables] == [
        "layers of the int8 graphs",
        "layers of the mixed graphs",
    ]
    assert all(len(table.columns) == len(row) for table in made.tables for row in table.rows)


def test_the_evidence_goes_into_the_bundle(made: Quantized, calibration: Calibration, tmp_path: Path) -> None:
    path = write_bundle(tmp_path / "tiny.edgeecg", made.graphs.bundle("int8"))
    told = Bundle.open(path).manifest.provenance["quantization"]
    assert told["int8"]["token/block1.out"] == "int8"
    assert told["int8"]["token/block0.out"] == "fp32"
    assert told["mixed"]["token/block0.out"] == "fp16"
    assert told["calibration"]["windows"] == calibration.windows
    assert told["calibration"]["recipe"]["method"] == calibration.recipe.method


def test_every_precision_opens_and_proves_itself(made: Quantized) -> None:
    bundle = made.graphs.bundle("fp32", created="2026-01-01T00:00:00+00:00")
    for precision in bundle.precisions:
        with open_engine(bundle, "onnxruntime", precision) as engine:
            assert engine.precision == precision
    golden = bundle.golden()
    for name, output in (("token", "heads"), ("beat", "classes")):
        plain = golden[f"{name}.fp32.{output}"]
        errors = {p: float(np.abs(golden[f"{name}.{p}.{output}"] - plain).max()) for p in ("fp16", "int8")}
        assert 0 < errors["fp16"] < errors["int8"]


def test_a_bundle_holds_what_it_is_told_to(made: Quantized) -> None:
    assert made.graphs.bundle("int8", created="", keep=("fp32",)).precisions == ("fp32", "int8")
    assert made.graphs.bundle("fp32", created="", keep=()).precisions == ("fp32",)


def test_headroom_is_told(made: Quantized) -> None:
    for name in GRAPHS:
        room = made.headroom[name]
        assert room.largest * room.factor == pytest.approx(65504)
        assert room.factor > 10
        assert room.value.endswith(".half")


def test_a_planted_overflow_is_found(graphs: GraphSet) -> None:
    """ONNX Runtime computes FP16 in FP32 and shows nothing; the reference of the ONNX project does."""
    model = onnx.load_model_from_string(graphs.graph("token"))
    for key, factor in (("block0.grow.weight", 1e5), ("block0.shrink.weight", 1e-5)):
        tensor = next(t for t in model.graph.initializer if t.name == key)
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(factor), key))
    half = rewrite(model, fp16_plan(model)).SerializeToString()
    golden = golden_inputs(graphs.model, graphs.graph("token"), graphs.graph("beat"))
    feed = {"signal": golden["token.signal"], "state": golden["token.state"]}
    with pytest.raises(AccuracyError, match=r"block0\.\w+\.half overflows in FP16"):
        fp16_headroom(half, [feed])


def test_fp16_needs_no_calibration_and_int8_does(graphs: GraphSet) -> None:
    assert quantize_set(graphs, Wanted(("fp16",)), None).graphs.precisions == ("fp32", "fp16")
    with pytest.raises(ConfigError, match="run `edgeecg calibrate` first"):
        quantize_set(graphs, Wanted(("int8",)), None)


def test_a_graph_set_is_written_and_read(made: Quantized, tmp_path: Path) -> None:
    folder = write_graphs(tmp_path / "graphs", made.graphs)
    back = read_graphs(folder)
    assert back.graphs == made.graphs.graphs
    assert (back.model, back.signal, back.weights) == (
        made.graphs.model,
        made.graphs.signal,
        made.graphs.weights,
    )
    assert back.provenance["quantization"]["int8"] == made.graphs.provenance["quantization"]["int8"]


def test_a_bundle_is_a_graph_set_too(made: Quantized, tmp_path: Path) -> None:
    path = write_bundle(tmp_path / "tiny.edgeecg", made.graphs.bundle("fp32"))
    assert read_graphs(path).graphs == made.graphs.graphs
    with pytest.raises(ConfigError, match="no graphs at"):
        read_graphs(tmp_path / "nothing")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(BundleError, match="not a whole zip"):
        read_graphs(path)


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("export.json", None, "has no export.json"),
        ("weights.safetensors", None, "has no weights.safetensors"),
        ("export.json", "{", "export again"),
        ("export.json", '{"schema": 1}', "export again"),
        (graph_part("beat", "fp32"), None, "is missing: copy the folder again"),
        (graph_part("beat", "fp32"), "half", "is not what was written"),
        ("weights.safetensors", "half", "is not what was written"),
    ],
)
def test_a_damaged_folder_is_one_line(
    graphs: GraphSet, tmp_path: Path, file: str, text: str | None, words: str
) -> None:
    folder = write_graphs(tmp_path / "graphs", graphs)
    (folder / file).unlink() if text is None else (folder / file).write_text(text)
    with pytest.raises(ConfigError, match=words) as error:
        read_graphs(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_graphs_that_were_not_written_with_the_folder_are_refused(
    made: Quantized, graphs: GraphSet, tmp_path: Path, precision: Precision
) -> None:
    """Another network's graphs, or FP32 ones that are only called FP16, would be packed with these."""
    folder = write_graphs(tmp_path / "graphs", graphs)
    for name in GRAPHS:
        foreign = made.graphs.graph(name, "int8" if precision == "int8" else "fp32")
        (folder / graph_part(name, precision)).write_bytes(foreign)
    with pytest.raises(ConfigError, match=rf"{precision}.onnx was not written with this folder") as error:
        read_graphs(folder)
    assert "\n" not in str(error.value)


def test_a_folder_of_an_older_release_names_no_parts(made: Quantized, tmp_path: Path) -> None:
    folder = write_graphs(tmp_path / "graphs", made.graphs)
    said = json.loads((folder / "export.json").read_text())
    del said["parts"]
    (folder / "export.json").write_text(json.dumps(said))
    assert read_graphs(folder).graphs == made.graphs.graphs
