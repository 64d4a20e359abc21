"""From a bundle to running executors: build, prove, keep, load; on the fake device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgeecg.bundle import Bundle
from edgeecg.errors import BackendError, ConfigError
from edgeecg.runtime import trt
from edgeecg.runtime.engine import open_engine
from edgeecg.runtime.trt import Options, open_executor, open_executors, why_not
from edgeecg.runtime.trt.build import Plan
from tests.runtime.trt.conftest import Workshop, zeros_for
from tests.runtime.trt.fakes import FakeDevice, fake_library


def test_what_is_built_is_kept_and_loaded(workshop: Workshop, bundle: Bundle, tmp_path: Path) -> None:
    options = Options(cache=tmp_path)
    for _ in range(3):
        with open_executor(bundle, "token", "fp32", options) as executor:
            executor.run(zeros_for(executor, 1, 64))
    assert len(workshop.built) == 1
    assert not workshop.devices[0].owned


def test_other_options_are_another_plan(workshop: Workshop, bundle: Bundle, tmp_path: Path) -> None:
    for options in (Options(cache=tmp_path), Options(cache=tmp_path, buckets=(1, 8))):
        open_executor(bundle, "token", "fp32", options).close()
    assert len(workshop.built) == 2


def test_timings_of_one_build_help_the_next(workshop: Workshop, bundle: Bundle, tmp_path: Path) -> None:
    options = Options(cache=tmp_path)
    open_executor(bundle, "token", "fp32", options).close()
    open_executor(bundle, "beat", "fp32", options).close()
    assert workshop.timings == [b"", b"timings"]


def test_a_folder_that_cannot_be_made_costs_the_next_start_a_build(
    workshop: Workshop, bundle: Bundle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "tensorrt").write_text("a file")
    with open_executor(bundle, "token", "fp32", Options(cache=tmp_path)) as executor:
        executor.run(zeros_for(executor, 1, 64))
    assert "name another folder by EDGEECG_CACHE" in caplog.text


def test_where_the_second_graph_is_refused_the_first_gives_its_device_back(
    workshop: Workshop, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = workshop.build

    def refuse(library: Any, model: bytes, *rest: Any) -> Plan:
        if model == bundle.graph("beat"):
            raise BackendError("this library cannot build the graph")
        return build(library, model, *rest)

    monkeypatch.setattr("edgeecg.runtime.trt.build_plan", refuse)
    with pytest.raises(BackendError, match="cannot build the graph"):
        open_executors(bundle, "fp32", Options(cache=tmp_path))
    assert not workshop.devices[0].owned


@pytest.mark.parametrize("damage", ["flip", "truncate", "broken"])
def test_a_damaged_plan_is_built_again(
    workshop: Workshop, bundle: Bundle, tmp_path: Path, damage: str
) -> None:
    options = Options(cache=tmp_path)
    open_executor(bundle, "token", "fp32", options).close()
    path = next(tmp_path.rglob("*.plan"))
    data = path.read_bytes()
    path.write_bytes({"flip": data[:-1] + b"!", "truncate": data[:100], "broken": b"broken"}[damage])
    open_executor(bundle, "token", "fp32", options).close()
    assert len(workshop.built) == 2
    assert path.read_bytes() == data


def test_a_plan_that_the_library_refuses_is_built_again(
    workshop: Workshop, bundle: Bundle, tmp_path: Path
) -> None:
    """Its hash fits, but TensorRT says no: another driver, say."""
    import hashlib
    import json

    options = Options(cache=tmp_path)
    open_executor(bundle, "token", "fp32", options).close()
    next(tmp_path.rglob("*.plan")).write_bytes(b"broken")
    note = next(tmp_path.rglob("*.json"))
    found = json.loads(note.read_text())
    note.write_text(json.dumps({**found, "sha256": hashlib.sha256(b"broken").hexdigest()}))
    open_executor(bundle, "token", "fp32", options).close()
    assert len(workshop.built) == 2


def test_an_engine_that_fails_its_golden_vectors_is_not_kept(
    bundle: Bundle, workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Louder(FakeDevice):
        """Adds to what it copies back."""

        def copy_out(self, to: Any, source: int, stream: Any) -> None:
            super().copy_out(to, source, stream)
            stream.put(lambda: to.__iadd__(1.0))

    loud = Louder()
    workshop.devices.append(loud)
    monkeypatch.setattr(trt, "open_device", lambda *arguments: loud)
    with pytest.raises(BackendError, match="engine of the token graph in its open profile is wrong"):
        open_executor(bundle, "token", "fp32", Options(cache=tmp_path))
    assert not list(tmp_path.rglob("*.plan"))
    assert not loud.owned, "what was opened must be freed"


def test_both_graphs_open_and_run(workshop: Workshop, bundle: Bundle, tmp_path: Path) -> None:
    token, beat = open_executors(bundle, "fp32", Options(cache=tmp_path))
    with token, beat:
        assert [spec.name for spec in token.inputs] == ["signal", "state"]
        assert [spec.name for spec in beat.inputs] == ["beats", "state"]
    assert len(workshop.built) == 2


def test_a_tensorrt_that_cannot_use_cuda_leaves_the_cpu(
    workshop: Workshop, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(logger: object) -> None:
        raise TypeError("pybind11::init(): factory function returned nullptr")

    open_executor(bundle, "token", "fp32", Options(cache=tmp_path)).close()
    kept = list(tmp_path.rglob("*.plan"))
    library = fake_library(workshop.devices[0])
    monkeypatch.setattr(library.module, "Runtime", refuse)
    monkeypatch.setattr(trt, "load_library", lambda: library)
    with open_engine(bundle, "auto", tensorrt=Options(cache=tmp_path)) as engine:
        assert engine.backend == "onnxruntime"
    assert not workshop.devices[0].owned
    assert list(tmp_path.rglob("*.plan")) == kept, "the plan is as good as it was"


def test_without_a_gpu_the_engine_says_so_in_one_line(bundle: Bundle) -> None:
    if why_not() is None:
        pytest.skip("there is a GPU here")
    with pytest.raises(BackendError) as caught:
        open_engine(bundle, "tensorrt")
    assert "\n" not in str(caught.value)
    assert "--backend onnxruntime" in str(caught.value)
    with open_engine(bundle, "auto") as engine:
        assert engine.backend == "onnxruntime"


def test_a_policy_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="no on_device_error 'rais': choose raise, rebuild, cpu"):
        Options(on_device_error="rais")  # type: ignore[arg-type]
