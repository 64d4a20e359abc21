"""The verbs export, calibrate, quantize and build, in line, as a user types them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from edgeecg.bundle import Bundle
from edgeecg.cli.main import main
from edgeecg.data.synthetic import SyntheticSettings, draw_patient, synthesize
from edgeecg.io.wfdb import write_wfdb
from edgeecg.model.checkpoint import save_checkpoint
from edgeecg.model.transformer import Network
from edgeecg.runtime.engine import open_engine
from tests.deploy.conftest import TINY, make_network


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint, and two short patients with their reference."""
    folder = tmp_path_factory.mktemp("verbs")
    meta = {
        "config": {"preset": "tiny", "signal": {"notch": 60.0}},
        "thresholds": {"beat": 0.4, "bias": {"S": 0.5}},
    }
    save_checkpoint(folder / "checkpoint", make_network(TINY), meta)
    for seed in (1, 2):
        patient = draw_patient("ventricular", seed)
        made = synthesize(SyntheticSettings(patient, seconds=25), seed)
        write_wfdb(made.record, folder / "patients")
    return folder


def run(place: Path, line: str) -> int:
    return main([word.replace("@", str(place) + "/") for word in line.split()])


@pytest.fixture(scope="module")
def walked(place: Path) -> Path:
    """The whole way, once."""
    steps = (
        "export @checkpoint --out @graphs --point bias.P=-1 --point noise=0.1",
        "calibrate @graphs --out @calibration -r @patients --windows 4 --seconds 10 --method percentile",
        "quantize @graphs -c @calibration --out @quantized -r @patients --keep token/block0.shrink",
        "build @quantized --out @plain.edgeecg --name ward --no-engine",
    )
    for step in steps:
        assert run(place, step) == 0, step
    return place


def test_only_the_packaged_bundle_is_called_as_it_is(walked: Path) -> None:
    assert run(walked, "build small --out @mine.edgeecg --no-engine") == 0
    assert Bundle.open(walked / "mine.edgeecg").name == "mine"
    assert run(walked, "build @graphs --out @other.edgeecg --no-engine") == 0
    assert Bundle.open(walked / "other.edgeecg").name == "tiny"  # as exported


def test_operating_points_are_set_one_by_one(walked: Path) -> None:
    points = "--point noise=0 --point bias.V=0.5 --point rhythm.enter=0.4 --point rhythm.beats=6"
    assert run(walked, f"build small --out @wary.edgeecg --no-engine {points}") == 0
    made, before = Bundle.open(walked / "wary.edgeecg"), Bundle.open("small")
    assert made.thresholds == replace(
        before.thresholds,
        noise=0.0,
        bias={**before.thresholds.bias, "V": 0.5},
        rhythm={"enter": 0.4, "beats": 6.0},
    )
    assert made.parts["graphs/beat.fp32.onnx"] == before.parts["graphs/beat.fp32.onnx"]


def test_the_way_from_checkpoint_to_bundle(walked: Path) -> None:
    bundle = Bundle.open(walked / "plain.edgeecg")
    assert bundle.name == "ward"
    assert bundle.spec == TINY
    assert bundle.signal.notch == 60.0
    assert (bundle.thresholds.beat, bundle.thresholds.noise) == (0.4, 0.1)
    assert bundle.thresholds.bias == {"S": 0.5, "P": -1.0}
    assert bundle.lead_policy == "fused"
    assert bundle.precisions == ("fp32", "fp16", "int8", "mixed")
    told = bundle.manifest.provenance
    assert told["training"]["config"]["preset"] == "tiny"
    assert told["quantization"]["int8"]["token/block0.shrink"] == "fp32"
    assert told["quantization"]["calibration"]["recipe"]["method"] == "percentile"
    with open_engine(bundle, "onnxruntime", "mixed") as engine:
        assert engine.precision == "mixed"


def test_what_is_not_made_without_calibration_is_said(
    walked: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(walked, "quantize @graphs --out @half -r @patients") == 0
    assert "INT8 needs --calibration" in capsys.readouterr().err
    assert run(walked, "quantize @graphs --out @asked -r @patients --precision fp16") == 0
    assert "INT8" not in capsys.readouterr().err


def test_the_evidence_names_its_windows(walked: Path) -> None:
    windows = json.loads((walked / "calibration" / "windows.json").read_text())["windows"]
    assert len(windows) == 4
    assert all(len(window["sha256"]) == 64 for window in windows)


def test_auto_measures_and_says_what_it_chose(walked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = "build @quantized -o @auto.edgeecg -p auto -r @patients --backend onnxruntime --agreement 0.5"
    assert run(walked, f"{line} --no-engine") == 0
    told = capsys.readouterr()
    assert "precision by measurement on onnxruntime" in told.out
    assert "chosen" in told.out
    assert Bundle.open(walked / "auto.edgeecg").manifest.default_precision in told.err


def test_a_precision_that_loses_too_much_is_refused(walked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = "build @quantized -o @never.edgeecg -p int8 -r @patients --agreement 1 --budget 0 --no-engine"
    assert run(walked, line) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "int8" in error
    assert not (walked / "never.edgeecg").exists()
    assert run(walked, line.replace("never", "forced") + " --no-check") == 0
    assert Bundle.open(walked / "forced.edgeecg").manifest.default_precision == "int8"


def test_the_engine_is_tried_and_what_came_of_it_is_said(
    walked: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(walked, "build @graphs -o @engine.edgeecg") == 0
    told = capsys.readouterr().err
    assert "engine" in told
    assert any(
        words in told for words in ("no TensorRT engine", "compile with", "proved by the golden vectors")
    )


def test_what_nobody_checks_is_made_all_the_same(walked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = "build @graphs -o @made.edgeecg -p int8 --no-check --no-engine"
    assert run(walked, line + " -c @calibration") == 0
    opened = Bundle.open(walked / "made.edgeecg")
    assert opened.manifest.default_precision == "int8"
    assert "int8" in opened.manifest.provenance["quantization"]
    again = line.replace("@graphs", "@quantized") + " -c @calibration"
    assert run(walked, again) == 2
    assert "made.edgeecg is there already: remove it or name another --out" in capsys.readouterr().err
    (walked / "made.edgeecg").unlink()
    assert run(walked, again) == 0
    assert "int8 is there already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("export @nowhere --out @x", "no checkpoint in"),
        ("export @checkpoint --out @x --lead-policy loudest", "choose first, best, fused"),
        ("export @checkpoint --out @x --point bias.X=1", "the labels are N, S, V, F, P"),
        ("export @checkpoint --out @x --point bias.S", "write NAME=NUMBER"),
        ("build @graphs --out @x.edgeecg --point confidence.S=1", "write NAME=NUMBER"),
        ("build @graphs --out @x.edgeecg --point beat=nan", "write NAME=NUMBER"),
        ("build @graphs --out @x.edgeecg --point beat=1.5", "must lie between 0 and 1"),
        ("build @graphs --out @x.edgeecg --point rhythm.entr=0.4", "there are smoothing, enter"),
        ("export @checkpoint --out @x --point rhythm.entr=0.4", "there are smoothing, enter"),
        ("build @graphs --out @x.edgeecg --point rhythm.enter=0.1", "rhythm needs 0 < leave <= enter"),
        ("export @patients --out @x", "weights.safetensors is missing"),
        ("calibrate @nowhere --out @x", "no graphs at"),
        ("calibrate @checkpoint --out @x", "has no export.json"),
        ("calibrate @graphs --out @x --method best", "choose minmax"),
        ("calibrate @graphs --out @x --recipe @none.toml", "no recipe at"),
        ("calibrate @graphs --out @x --recipe @patients", "patients cannot be read (Is a directory)"),
        (
            "calibrate @graphs --out @x --recipe @typo.toml",
            "typo.toml: block0.outt is no layer of this",
        ),
        ("calibrate @graphs --out @x -r nobody", "neither a record"),
        ("calibrate @graphs --out @x -r @patients --seconds 900", "is 900 s long"),
        ("quantize @graphs --out @x -p int8 -r @patients", "run `edgeecg calibrate` first"),
        ("quantize @graphs --out @x -p fp8", "choose fp16, int8, mixed"),
        ("quantize @graphs --out @x -c @nowhere", "no calibration at"),
        ("quantize @graphs --out @x -c @calibration --keep token/nothing", "is no layer of this graph"),
        ("build @graphs --out @x", "ends in .edgeecg"),
        ("build @graphs --out @x.edgeecg -p best", "is not one of"),
        ("build @graphs --out @x.edgeecg -p int8 -r @patients", "needs a calibration"),
        (
            "build @graphs --out @x.edgeecg -p int8 --no-check",
            "needs a calibration: run `edgeecg calibrate` first",
        ),
        ("build @graphs --out @x.edgeecg -p auto --backend cuda", "is not one of"),
    ],
)
def test_wrong_input_is_one_line_and_leaves_nothing(
    walked: Path, line: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (walked / "typo.toml").write_text('float_layers = ["token/block0.outt"]')
    before = sorted(walked.iterdir())
    assert run(walked, line) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ")
    assert words in error
    assert sorted(walked.iterdir()) == before


def test_a_checkpoint_of_other_sizes_is_one_line(walked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = save_checkpoint(walked / "odd", Network(TINY), {})
    settings = json.loads((folder / "checkpoint.json").read_text())
    settings["model"]["token"]["ffn"] = 48
    (folder / "checkpoint.json").write_text(json.dumps(settings))
    assert run(walked, "export @odd --out @y") == 2
    assert "do not fit the model's sizes" in capsys.readouterr().err
    (folder / "weights.safetensors").write_bytes(b"rubbish")
    assert run(walked, "export @odd --out @y") == 2
    assert "is not of this checkpoint" in capsys.readouterr().err
