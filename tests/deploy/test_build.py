"""From a network to a bundle in one call, and the engine of this machine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from edgeecg.bundle import Bundle, Thresholds
from edgeecg.deploy.build import build_bundle, build_engine
from edgeecg.deploy.golden import heartbeats
from edgeecg.deploy.graph import LAST, GraphWriter
from edgeecg.deploy.graphset import GraphSet
from edgeecg.errors import BackendError, ConfigError
from edgeecg.model.checkpoint import network_from_weights
from edgeecg.model.transformer import Network
from edgeecg.runtime.engine import open_engine
from edgeecg.runtime.ort import OrtExecutor
from edgeecg.specs import SignalSpec


def test_a_network_becomes_a_bundle(network: Network, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "tiny.edgeecg"
    made = build_bundle(
        network,
        path,
        "tiny",
        signal=SignalSpec(notch=60.0),
        lead_policy="first",
        thresholds=Thresholds(0.3),
        provenance={"data": "none"},
    )
    bundle = Bundle.open(path)
    assert bundle == made
    assert (bundle.signal.notch, bundle.lead_policy, bundle.thresholds.beat) == (60.0, "first", 0.3)
    assert bundle.manifest.provenance["data"] == "none"
    assert bundle.manifest.created.endswith("+00:00")
    with open_engine(path, "onnxruntime"):
        pass


def test_the_weights_in_a_bundle_are_the_networks(network: Network, tmp_path: Path) -> None:
    bundle = build_bundle(network, tmp_path / "tiny.edgeecg", "tiny", created="2026-01-01T00:00:00+00:00")
    back = network_from_weights(bundle.spec, bundle.weights())
    again = build_bundle(back, tmp_path / "again.edgeecg", "tiny", created="2026-01-01T00:00:00+00:00")
    assert again.graph("token") == bundle.graph("token")
    assert (tmp_path / "again.edgeecg").read_bytes() == (tmp_path / "tiny.edgeecg").read_bytes()


def test_without_tensorrt_it_says_so(graphs: GraphSet, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        raise BackendError("there is none")

    monkeypatch.setattr(
        "edgeecg.runtime.trt.why_not", lambda *_: "TensorRT is not installed: use onnxruntime"
    )
    monkeypatch.setattr("edgeecg.runtime.trt.library.find_library", missing)
    told = build_engine(graphs.bundle(), "fp32")
    assert told == "no TensorRT engine: TensorRT is not installed: use onnxruntime"


def test_a_gpu_that_tensorrt_refuses_is_told_and_the_bundle_stays(
    graphs: GraphSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise BackendError("tensorrt_rtx 1.7 does not load the plan: unsupported SM 9.0")

    monkeypatch.setattr("edgeecg.runtime.trt.why_not", lambda *_: None)
    monkeypatch.setattr("edgeecg.runtime.trt.open_executors", refuse)
    told = build_engine(graphs.bundle(), "fp32")
    assert told == "no TensorRT engine: tensorrt_rtx 1.7 does not load the plan: unsupported SM 9.0"


@pytest.mark.gpu
def test_on_a_gpu_the_engine_is_kept(
    graphs: GraphSet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert "kept" in build_engine(graphs.bundle(), "fp32")


def test_golden_signals_look_like_heart_beats() -> None:
    x = heartbeats(3, 128 * 20, seed=1)
    assert x.dtype == np.float32
    assert x.shape == (3, 2560)
    peaks = (x > 3).sum(axis=1)
    assert np.all(peaks > 20)  # some twenty beats in 20 s, a few samples wide each
    assert np.abs(np.median(x)) < 0.5
    np.testing.assert_array_equal(x, heartbeats(3, 2560, seed=1))


def test_the_pen_writes_what_it_is_told() -> None:
    g = GraphWriter("test")
    x = g.input("x", ("rows", 4))
    assert g.constant([1, 2, 3, 4], "c") == g.constant([1, 2, 3, 4], "c") == "c"
    assert g.constant([4, 3, 2, 1], "c") != "c"  # another array of the same name gets its own
    total = g.op("Add", [x, "c"], "sum")
    again = g.op("Add", [total, "c"], "sum")
    assert total != again
    length = g.op("Shape", [x], "length", start=0, end=1)
    tall = g.reshape(g.slice(again, 1, LAST, 1, "tail"), (length, 3, 1), "tall")
    g.output(tall, "y", ("rows", 3, 1))
    model = g.model("doc", longest="9")
    assert model.graph.node[-1].name == "y"
    assert {p.key: p.value for p in model.metadata_props} == {"longest": "9"}
    assert len({node.name for node in model.graph.node}) == len(model.graph.node)
    with OrtExecutor(model.SerializeToString()) as executor:
        got = executor.run({"x": np.zeros((2, 4), np.float32)})["y"]
    np.testing.assert_array_equal(got[..., 0], [[4, 6, 8]] * 2)


def test_a_wrong_graph_does_not_leave_the_pen() -> None:
    g = GraphWriter("test")
    g.output(g.op("Nonsense", [g.input("x", ("rows",))], "y0"), "y", ("rows",))
    with pytest.raises(onnx.checker.ValidationError):
        g.model("doc")


def test_a_precision_that_is_not_there_is_said(graphs: GraphSet) -> None:
    with pytest.raises(ConfigError, match="no int8 graphs here, only fp32: run quantize first"):
        graphs.bundle("int8")
