"""Verbs on a TensorRT engine of the fake device: built for their steps, and the GPU lost half-way."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgeecg.bundle import Bundle, GraphName
from edgeecg.cli.main import main
from edgeecg.errors import DeviceError
from edgeecg.io import Record, read_annotations, write_wfdb
from edgeecg.runtime import engine, trt
from edgeecg.runtime.cuda import CudaError
from edgeecg.runtime.engine import open_engine
from edgeecg.runtime.trt import Options
from edgeecg.runtime.trt.cohort import Cohort
from edgeecg.runtime.trt.recover import OnDeviceError
from edgeecg.specs import Event
from edgeecg.stream import workers
from edgeecg.stream.archive import ArchiveSettings, Outcome
from edgeecg.stream.gateway import Gateway
from edgeecg.stream.gateway_config import read_gateway_config
from edgeecg.stream.jobs import Job
from edgeecg.stream.sinks.lines import EventLine, read_lines
from tests.contract.engines import assert_same_events, heart
from tests.runtime.trt.conftest import Workshop
from tests.runtime.trt.fakes import FakeDevice

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


def told(path: Path) -> list[Event]:
    return [item.event for item in read_lines(path) if isinstance(item, EventLine)]


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
    found = []
    for backend in ("tensorrt", "onnxruntime"):
        sink = tmp_path / f"{backend}.jsonl"
        line = ["stream", str(tmp_path / "r"), "-b", str(tiny), "--backend", backend, "--speed", "0", "-q"]
        assert main([*line, *options, "--sink", f"jsonl:{sink}"]) == 0
        found.append(told(sink))
    assert_same_events(*found)
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


LOST = CudaError("cuStreamSynchronize", "an illegal memory access was encountered", sticky=True)


class Mortal(FakeDevice):
    """Is lost after so many calls; a reset brings it back."""

    life: int | None = None

    def check(self, call: str) -> None:
        if self.life is not None:
            self.life -= 1
            self.lost = LOST if self.life < 0 else None
        super().check(call)

    def reset(self) -> None:
        super().reset()
        self.life = self.lost = None


@pytest.fixture
def mortal(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> Mortal:
    """The device that engines are opened on; lost a few calls after the first one has been opened."""
    shop, device = Workshop(bundle, monkeypatch), Mortal()
    shop.devices[:] = [device]
    monkeypatch.setattr(trt, "open_device", lambda *arguments: device)

    honest = engine.check_golden

    def check_golden(bundle: Bundle, name: GraphName, *rest: Any) -> float:
        error = honest(bundle, name, *rest)
        if name == "beat":
            device.life = 12
        return error

    monkeypatch.setattr(engine, "check_golden", check_golden)
    return device


def stream_verb(tiny: Path, folder: Path, backend: str, policy: OnDeviceError) -> tuple[int, list[Event]]:
    sink = folder / f"{backend}.jsonl"
    line = ["stream", str(folder / "r"), "-b", str(tiny), "--backend", backend, "--speed", "0", "-q"]
    code = main([*line, "--sink", f"jsonl:{sink}", "--on-device-error", policy])
    return code, told(sink)


def annotate_verb(tiny: Path, folder: Path, backend: str, policy: OnDeviceError) -> tuple[int, list[Any]]:
    out = folder / backend
    line = ["annotate", str(folder / "r"), "-b", str(tiny), "--backend", backend, "-o", str(out)]
    code = main([*line, "--on-device-error", policy])
    found = read_annotations(out / "r", "edg") if code == 0 else None
    return code, [] if found is None else list(zip(found.sample.tolist(), found.symbol, strict=True))


@pytest.mark.parametrize("policy", ["rebuild", "cpu", "raise"])
@pytest.mark.parametrize("verb", [stream_verb, annotate_verb])
def test_a_lost_gpu_is_met_as_the_user_chose(
    mortal: Mortal,
    tiny: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    verb: Any,
    policy: OnDeviceError,
) -> None:
    write_wfdb(Record("r", heart(15, FS), FS, ("MLII",)), tmp_path)
    code, found = verb(tiny, tmp_path, "tensorrt", policy)
    shown = capsys.readouterr().err.strip().splitlines()
    if policy == "raise":
        assert code == 2
        assert "an illegal memory access" in shown[-1]
        assert "went on" not in caplog.text
        return
    assert code == 0, shown
    assert mortal.resets >= 1
    assert f"went on with {'tensorrt' if policy == 'rebuild' else 'onnxruntime'}" in caplog.text
    mortal.life = None
    expected = verb(tiny, tmp_path, "onnxruntime", policy)[1]
    assert len(expected) > 5
    if verb is stream_verb:
        assert_same_events(found, expected)
    else:
        assert found == expected


@pytest.mark.parametrize("policy", ["rebuild", "cpu", "raise"])
def test_a_gateway_meets_a_lost_gpu_as_its_file_says(
    mortal: Mortal, tiny: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, policy: OnDeviceError
) -> None:
    write_wfdb(Record("r", heart(15, FS), FS, ("MLII",)), tmp_path)
    file, sink = tmp_path / "ward.toml", tmp_path / "events.jsonl"
    patient = f'[[patients]]\nname = "bed-1"\nsource = "{tmp_path / "r"}?speed=0"\n'
    file.write_text(f'on_device_error = "{policy}"\nsinks = ["jsonl:{sink}"]\n{patient}')
    config = read_gateway_config(file)
    with open_engine(tiny, "tensorrt", tensorrt=config.tensorrt) as opened:
        gateway = Gateway(config, opened)
        if policy == "raise":
            with pytest.raises(DeviceError, match="illegal memory access"):
                gateway.run(threading.Event())
            return
        gateway.run(threading.Event())
    assert f"went on with {'tensorrt' if policy == 'rebuild' else 'onnxruntime'}" in caplog.text
    assert_same_events(told(sink), stream_verb(tiny, tmp_path, "onnxruntime", policy)[1])


def test_a_worker_whose_device_failed_leaves_without_a_traceback(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The line is closed with it, by which its employer knows to hire another."""

    def fail(*arguments: object) -> Iterator[Outcome]:
        raise LOST
        yield

    monkeypatch.setattr(workers, "annotate_jobs", fail)
    monkeypatch.setattr(signal, "signal", lambda *arguments: None)
    sent = iter(
        [ArchiveSettings(bundle, "onnxruntime", on_device_error="raise"), [Job(Path("r"), Path("r"))]]
    )
    workers._work(SimpleNamespace(recv=lambda: next(sent)))  # type: ignore[arg-type]
    assert "another process goes on" in caplog.text
