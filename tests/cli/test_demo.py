"""The whole way in small: every verb's output is the next one's input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgeecg.bundle import Bundle
from edgeecg.cli.main import main
from edgeecg.cli.strip import busiest, draw_strip
from edgeecg.data.synthetic import SyntheticSettings, draw_patient, synthesize
from edgeecg.specs import Beat, Rhythm

pytest.importorskip("torch", reason="needs the extra train")
matplotlib_image = pytest.importorskip("matplotlib.image", reason="needs the extra plot")


def test_demo_in_small(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / 'a "demo"'
    assert main(["demo", "--out", str(out), "--steps", "4", "--patients", "20"]) == 0
    said = capfd.readouterr().err
    bundle = Bundle.open(out / "demo.edgeecg")
    assert {"fp32", "fp16", "int8"} <= set(bundle.precisions)
    lines = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    assert lines[0]["edgeecg"] == "header"
    assert lines[0]["digest"] == bundle.digest
    for precision in ("fp32", "int8"):
        report = json.loads((out / f"scores-{precision}.json").read_text())
        assert report["system"]["digest"] == bundle.digest
        assert report["system"]["precision"] == precision
        truth = report["groups"][0]["beats"][0]["classes"]["QRS"]["gross"]
        assert truth["hits"] + truth["misses"] > 300
    assert json.loads((out / "latency.json").read_text())
    assert matplotlib_image.imread(out / "strip.png").std() > 0.05
    assert str(out / "strip.png") in said.replace("\n", "")
    for verb in ("data synth", "train", "export", "calibrate", "quantize", "build", "evaluate", "stream"):
        assert f"$ edgeecg {verb} " in said
    assert main(["demo", "--out", str(out), "--steps", "4", "--patients", "20"]) == 0, "given again"
    again = capfd.readouterr().err
    assert "are used again" in again
    assert "this run is finished" in again
    assert Bundle.open(out / "demo.edgeecg").weights() == bundle.weights()


def test_demo_leaves_other_folders_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.tex").write_text("")
    assert main(["demo", "--out", str(tmp_path)]) == 2
    assert "holds other things" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def beat(sample: int, label: str = "N") -> Beat:
    return Beat(sample, label, 0.9, 1.0, None)


def test_busiest_shows_the_most_kinds() -> None:
    beats = [beat(100), beat(5000, "V"), beat(5400, "V"), beat(5800, "V"), beat(9000, "S"), beat(9300, "V")]
    start = busiest(beats, 20_000, 1000)
    assert start <= 9000
    assert start + 1000 > 9300
    assert busiest([beat(100)], 20_000, 1000) == 9500
    assert busiest([], 500, 1000) == 0


@pytest.mark.parametrize("kind", ["ventricular", "fibrillation"])
def test_strip_shows_what_was_found(kind: str, tmp_path: Path) -> None:
    made = synthesize(SyntheticSettings(draw_patient(kind, 2), seconds=20), seed=2)
    beats = [beat(int(s), str(label)) for s, label in zip(made.beats, made.labels, strict=True)]
    rhythms = [Rhythm(start, None, "AFIB", 0.9) for start, _, label in made.rhythms if label == "AFIB"]
    pictures = []
    for name, events in (("with", [*beats, *rhythms]), ("without", [])):
        draw_strip(made.record, events, tmp_path / f"{name}.png", start=100, seconds=8)
        pictures.append(matplotlib_image.imread(tmp_path / f"{name}.png"))
    assert pictures[0].shape == pictures[1].shape
    assert np.any(pictures[0] != pictures[1])
