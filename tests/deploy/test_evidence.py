"""The evidence under ``calibration/`` belongs to the packaged bundles, and can be made again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgeecg.bundle import GRAPHS, Bundle, packaged_names
from edgeecg.deploy.calibrate import calibrate, network_hash, read_calibration, read_windows
from edgeecg.deploy.graphset import read_graphs
from edgeecg.deploy.precision import products
from edgeecg.deploy.windows import front_end_hash, load_windows

EVIDENCE = Path(__file__).parents[2] / "calibration"
QUANTIZED = [name for name in packaged_names() if "int8" in Bundle.open(name).precisions]


@pytest.mark.parametrize("name", QUANTIZED)
def test_scales_in_the_graphs_are_those_of_the_evidence(name: str) -> None:
    graphs, evidence = read_graphs(name), read_calibration(EVIDENCE / name)
    assert evidence.network == network_hash(graphs)
    assert evidence.windows == read_windows(EVIDENCE / name).digest
    for graph in GRAPHS:
        model = onnx.load_model_from_string(graphs.graph(graph, "int8"))
        values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        scaled = {
            node.input[0]: values[node.input[1]]
            for node in model.graph.node
            if node.op_type == "QuantizeLinear"
        }
        levels = evidence.levels(graph)
        assert scaled.keys() <= levels.keys()
        for value, scale in scaled.items():
            assert scale == np.float32(levels[value] / 127)
        plain = onnx.load_model_from_string(graphs.graph(graph))
        assert scaled.keys() == {
            p.reads
            for p in products(plain)
            if not p.reason and f"{graph}/{p.node}" not in evidence.recipe.float_layers
        }


@pytest.mark.parametrize("name", QUANTIZED)
def test_windows_passed_todays_front_end(name: str) -> None:
    assert read_windows(EVIDENCE / name).front_end == front_end_hash(Bundle.open(name).signal)


@pytest.mark.parametrize("name", QUANTIZED)
def test_the_manifest_names_its_windows(name: str) -> None:
    manifest, recipe = read_windows(EVIDENCE / name), read_calibration(EVIDENCE / name).recipe
    assert manifest.references == recipe.references
    assert manifest.seed == recipe.seed
    assert len(manifest.windows) == recipe.windows
    assert "DS2" not in "".join(manifest.references)  # what is kept back is never looked at


@pytest.mark.data
@pytest.mark.parametrize("name", QUANTIZED)
def test_scales_are_recomputed_from_the_recordings(name: str, data_root: Path) -> None:
    graphs, evidence = read_graphs(name), read_calibration(EVIDENCE / name)
    manifest = read_windows(EVIDENCE / name)
    pieces = load_windows(manifest, graphs.signal, data_root)  # every window by its hash
    again = calibrate(graphs, evidence.recipe, manifest, pieces)
    assert again.network == evidence.network
    for graph in GRAPHS:
        for value, reach in evidence.tensors[graph].items():
            found = again.tensors[graph][value]
            assert found.largest == pytest.approx(reach.largest, rel=1e-3), value
            assert found.level == pytest.approx(reach.level, rel=2e-2), (
                value
            )  # a histogram's bin more or less
