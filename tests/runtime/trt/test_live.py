"""Live verbs on a TensorRT engine: built for the steps that they run. On the fake device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeecg.bundle import Bundle
from edgeecg.cli.main import main
from edgeecg.io import Record, write_wfdb
from edgeecg.runtime.engine import open_engine
from edgeecg.runtime.trt import Options
from edgeecg.runtime.trt.cohort import Cohort
from edgeecg.stream.sinks.lines import EventLine, read_lines
from tests.contract.engines import assert_same_events, heart
from tests.runtime.trt.conftest import Workshop

FS = 250.0


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEECG_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def resident(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Lengths of the signal steps whose state was on the device."""
    lengths: list[int] = []
    honest = Cohort.step

    def step(self: Cohort, inputs: Any, active: Any = None) -> dict[str, np.ndarray]:
        lengths.extend(array.shape[1] for name, array in inputs.items() if name == "signal")
        return honest(self, inputs, active)

    monkeypatch.setattr(Cohort, "step", step)
    return lengths


@pytest.mark.parametrize(
    ("options", "step", "kept"),
    [
        ([], 64, {64}),
        (["--hop", "0.25"], 32, {32}),
        (["--hop", "1"], 128, {128}),
        (["--mode", "window"], 1280, set()),  # a window begins from a fresh state
    ],
)
def test_stream_builds_the_engine_for_its_steps(
    workshop: Workshop,
    resident: list[int],
    tiny: Path,
    tmp_path: Path,
    options: list[str],
    step: int,
    kept: set[int],
) -> None:
    write_wfdb(Record("r", heart(15, FS), FS, ("MLII",)), tmp_path)
    told = []
    for backend in ("tensorrt", "onnxruntime"):
        sink = tmp_path / f"{backend}.jsonl"
        line = ["stream", str(tmp_path / "r"), "-b", str(tiny), "--backend", backend, "--speed", "0", "-q"]
        assert main([*line, *options, "--sink", f"jsonl:{sink}"]) == 0
        told.append([item.event for item in read_lines(sink) if isinstance(item, EventLine)])
    assert_same_events(*told)
    (extent,) = (recipe.extents["signal"] for recipe in workshop.recipes if "signal" in recipe.extents)
    assert extent.step == step
    assert set(resident) == kept


def test_serve_builds_the_engine_for_its_hop(workshop: Workshop, tiny: Path, tmp_path: Path) -> None:
    file = tmp_path / "ward.toml"
    patient = '[[patients]]\nname = "bed-1"\nsource = "synthetic:1"\n'
    file.write_text(f'bundle = "{tiny}"\nbackend = "tensorrt"\nhop = 0.25\n{patient}')
    assert main(["serve", str(file), "--check"]) == 0
    assert workshop.recipes[0].extents["signal"].step == 32


def test_the_packaged_bundle_is_proved_at_another_hop(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Golden vectors are of half a second; an engine for other steps must still reproduce them."""
    small = Bundle.open("small")
    shop = Workshop(small, monkeypatch)
    device = shop.devices[0]
    monkeypatch.setattr("edgeecg.runtime.trt.open_device", lambda *arguments: device)
    with open_engine(small, "tensorrt", "fp32", tensorrt=Options(hop_tokens=2)) as engine:
        assert engine.backend == "tensorrt"
    assert not device.owned
