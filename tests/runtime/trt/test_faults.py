"""What a real device does and a kind stand-in does not: no room, refused captures, engines that live on."""

from __future__ import annotations

import hashlib
import importlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeecg.bundle import Bundle
from edgeecg.errors import BackendError, DeviceError
from edgeecg.pipeline.resident import ResidentRows
from edgeecg.runtime import cuda, trt
from edgeecg.runtime.ort import OrtExecutor
from edgeecg.runtime.trt import Options, open_executor, recipe, recipes, rtx
from edgeecg.runtime.trt.build import beat_recipe, configure, tensor_spec
from edgeecg.runtime.trt.executor import TrtExecutor
from edgeecg.runtime.trt.library import find_library
from tests.runtime.trt.conftest import Workshop, zeros_for
from tests.runtime.trt.fakes import FakeDevice, fake_library

Open = Callable[..., TrtExecutor]


def test_a_profile_without_memory_is_told(open_fake: Open, device: FakeDevice) -> None:
    """TensorRT's bindings raise a bare RuntimeError there."""
    executor = open_fake()
    device.full = True
    with pytest.raises(DeviceError, match="no memory for profile 0 of the engine"):
        executor.run(zeros_for(executor, 1, 64))
    device.full = False
    assert executor.run(zeros_for(executor, 1, 64))


@pytest.mark.parametrize("transfer", ["copy", "mapped"])
def test_no_memory_for_a_longer_step_leaves_the_shorter_ones_right(
    bundle: Bundle, open_fake: Open, device: FakeDevice, monkeypatch: pytest.MonkeyPatch, transfer: str
) -> None:
    executor = open_fake(graphs=False, transfer=transfer)
    rng = np.random.default_rng(0)
    short, long = (
        {
            name: rng.standard_normal(zero.shape).astype("f4")
            for name, zero in zeros_for(executor, 3, 8 * tokens).items()
        }
        for tokens in (20, 30)
    )

    def full(*arguments: Any) -> Any:
        raise cuda.CudaError("cuMemAlloc", "out of memory")

    with OrtExecutor(bundle.graph("token")) as reference:
        executor.run(short)
        with monkeypatch.context() as poor:
            poor.setattr(device, "allocate" if transfer == "copy" else "pinned", full)
            with pytest.raises(DeviceError, match="out of memory"):
                executor.run(long)
        for inputs in (short, long, short):
            got, wanted = executor.run(inputs), reference.run(inputs)
            for name, value in wanted.items():
                np.testing.assert_array_equal(got[name], value)


def test_a_lost_device_speaks_first(open_fake: Open, device: FakeDevice) -> None:
    executor = open_fake()
    device.full, device.lost = True, cuda.CudaError("cuStreamSynchronize", "an illegal memory access", True)
    with pytest.raises(cuda.CudaError, match="illegal memory access"):
        executor.run(zeros_for(executor, 1, 64))
    device.lost = None


def test_a_capture_that_is_refused_costs_speed_only(
    bundle: Bundle, open_fake: Open, device: FakeDevice, caplog: pytest.LogCaptureFixture
) -> None:
    device.capturable = False
    executor = open_fake(graphs=True)
    rng = np.random.default_rng(0)
    with OrtExecutor(bundle.graph("token")) as reference, caplog.at_level(logging.WARNING):
        for _ in range(4):
            inputs = {
                k: rng.standard_normal(v.shape).astype("f4") for k, v in zeros_for(executor, 1, 64).items()
            }
            got, wanted = executor.run(inputs), reference.run(inputs)
            for name, value in wanted.items():
                np.testing.assert_array_equal(got[name], value)
    assert not device.graphs
    assert sum("no CUDA graph of this engine" in record.message for record in caplog.records) == 1


def test_an_engine_goes_before_its_device(
    workshop: Workshop, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The traceback keeps the executor alive; the stand-in's device refuses to close under a context."""

    def refuse(executor: TrtExecutor, *rest: Any) -> float:
        executor.run(zeros_for(executor, 1, 64))
        raise BackendError("the new engine is wrong")

    workshop.devices[0].alone = True
    monkeypatch.setattr("edgeecg.runtime.trt.prove.prove", refuse)
    with pytest.raises(BackendError, match="the new engine is wrong"):
        open_executor(bundle, "token", "fp32", Options(cache=tmp_path))
    assert not workshop.devices[0].owned


@pytest.mark.parametrize("integrated", [True, False])
def test_no_memory_keeps_the_plan_that_was_built(
    workshop: Workshop, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, integrated: bool
) -> None:
    options = Options(cache=tmp_path)
    open_executor(bundle, "token", "fp32", options).close()
    poor, rich = FakeDevice(integrated=integrated), FakeDevice(integrated=integrated)
    poor.full = poor.alone = rich.alone = True
    use(poor, monkeypatch)
    if integrated:  # it runs once to measure how data comes there best
        with pytest.raises(DeviceError, match="no memory"):
            open_executor(bundle, "token", "fp32", options)
    else:
        open_executor(bundle, "token", "fp32", options).close()
    use(rich, monkeypatch)
    open_executor(bundle, "token", "fp32", options).close()
    assert len(workshop.built) == 1
    assert not poor.owned
    assert not rich.owned


def use(device: FakeDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the next engine be opened on a device of its own."""
    monkeypatch.setattr(trt, "open_device", lambda *arguments: device)
    monkeypatch.setattr(trt, "load_library", lambda: fake_library(device))


def test_a_plan_that_is_refused_is_built_on_the_device_that_is_open(
    workshop: Workshop, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = Options(cache=tmp_path)
    open_executor(bundle, "token", "fp32", options).close()
    plan, note = next(tmp_path.rglob("*.plan")), next(tmp_path.rglob("*.json"))
    plan.write_bytes(b"broken")
    told = json.loads(note.read_text())
    note.write_text(json.dumps({**told, "sha256": hashlib.sha256(b"broken").hexdigest()}))
    other = FakeDevice()
    other.alone = True
    use(other, monkeypatch)
    open_executor(bundle, "token", "fp32", options).close()
    assert len(workshop.built) == 2
    assert other.closed
    assert not other.owned


def test_state_fits_the_greatest_bucket(workshop: Workshop, bundle: Bundle, tmp_path: Path) -> None:
    options = Options(cache=tmp_path, buckets=(1, 4))
    rng = np.random.default_rng(0)
    with (
        open_executor(bundle, "token", "fp32", options) as executor,
        OrtExecutor(bundle.graph("token")) as cpu,
    ):
        rows = ResidentRows(executor, 10)
        assert len(rows) >= 10
        state = np.zeros((10, rows.read(0).size), np.float32)
        for _ in range(3):
            x = rng.standard_normal((10, 64)).astype(np.float32)
            wanted = cpu.run({"signal": x, "state": state})
            np.testing.assert_allclose(rows.run(x, slice(0, 10))["heads"], wanted["heads"], atol=1e-5)
            state = wanted["state_out"]
        del rows


def test_a_folder_called_cuda_is_no_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cuda").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(cuda, "find_spec", only(tmp_path))
    importlib.invalidate_caches()
    assert cuda.available_libraries() == ()


def only(folder: Path) -> Callable[[str], Any]:
    """``find_spec`` of an interpreter that has nothing but a folder."""
    from importlib.machinery import PathFinder

    def find(name: str) -> Any:
        if not folder.joinpath(*name.split(".")[:2]).exists():
            raise ModuleNotFoundError(f"No module named {name!r}")
        return PathFinder.find_spec(name, [str(folder)])

    return find


def test_fp32_is_not_rounded_by_the_builder() -> None:
    pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx")
    library = find_library(("tensorrt_rtx",))
    module: Any = library.module
    builder = module.Builder(library.logger)
    assert builder.create_builder_config().get_flag(module.BuilderFlag.TF32), "it is on by itself no more"
    model, bundle = Bundle.open("nano").graph("beat"), Bundle.open("nano")
    network = builder.create_network(1 << int(module.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    assert module.OnnxParser(network, library.logger).parse(model)
    inputs = tuple(tensor_spec(network.get_input(i)) for i in range(network.num_inputs))
    config: Any = configure(library.module, builder, recipes(bundle)["beat"], inputs)
    assert not config.get_flag(module.BuilderFlag.TF32)


def test_turing_is_named_to_rtx() -> None:
    module = pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx")
    builder = module.Builder(find_library(("tensorrt_rtx",)).logger)
    for capability, count in (((7, 5), 1), ((8, 7), 0)):
        config = builder.create_builder_config()
        before = config.num_compute_capabilities
        rtx.target(config, module, capability)
        assert config.num_compute_capabilities == (count or before)
    assert config.get_compute_capability(0) != module.ComputeCapability.SM75


def test_names_of_rtx_are_there_and_missed_where_they_are_not() -> None:
    module = pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx")
    assert rtx.lacking_names(module) == []
    assert "IExecutionContext.is_stream_capturable" in rtx.lacking_names(object())


def test_plans_of_other_builder_settings_are_built_again(monkeypatch: pytest.MonkeyPatch) -> None:
    before = beat_recipe().key
    monkeypatch.setattr(recipe, "SETTINGS", recipe.SETTINGS + 1)
    assert beat_recipe().key != before
