"""Which TensorRT is taken, and what is said where none can be."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from edgeecg.errors import BackendError
from edgeecg.runtime.trt import Options, why_not
from edgeecg.runtime.trt.build import Recipe, build_plan
from edgeecg.runtime.trt.library import (
    FLAVOURS,
    TensorRTLibrary,
    check_module,
    find_library,
    load_library,
    on_jetson,
)


def module_of(version: str) -> ModuleType:
    module = ModuleType("tensorrt")
    module.__version__ = version  # type: ignore[attr-defined]
    return module


def one_line(error: BaseException) -> str:
    text = str(error)
    assert "\n" not in text
    return text


@pytest.mark.parametrize(("jetson", "advice"), [(True, "JetPack 6.1"), (False, "TensorRT to 10.3")])
def test_tensorrt_8_is_refused_with_advice(jetson: bool, advice: str) -> None:
    with pytest.raises(BackendError) as caught:
        check_module(module_of("8.6.2.3"), "tensorrt", jetson)
    assert advice in one_line(caught.value)
    assert "--backend onnxruntime" in one_line(caught.value)
    assert ("pip" in str(caught.value)) is False


def test_a_10_that_lacks_names_tells_which() -> None:
    with pytest.raises(BackendError, match=r"lacks .*10.3 or newer"):
        check_module(module_of("10.0.1"), "tensorrt", jetson=False)


def test_a_jetson_is_never_told_to_pip_install_tensorrt() -> None:
    with pytest.raises(BackendError) as caught:
        find_library(("tensorrt_of_nowhere",), jetson=True)
    text = one_line(caught.value)
    assert "pip" not in text
    assert "nvidia-jetpack" in text
    assert "--system-site-packages" in text


def test_elsewhere_the_extra_is_named() -> None:
    with pytest.raises(BackendError, match=r"not installed: pip install 'edgeecg\[tensorrt\]'"):
        find_library(("tensorrt_of_nowhere",), jetson=False)


def test_a_library_that_does_not_load_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_trt.py").write_text(
        "raise ImportError('libnvinfer.so.10: cannot open shared object')"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(BackendError, match=r"broken_trt does not load \(libnvinfer.so.10"):
        find_library(("broken_trt",), jetson=False)
    sys.modules.pop("broken_trt", None)


@pytest.mark.parametrize(
    "make", [lambda library: build_plan(library, b"", Recipe({})), lambda library: library.runtime()]
)
def test_a_driver_that_is_too_old_for_its_cuda_is_told(make: Any) -> None:
    """TensorRT logs error 35 and makes nothing, of which its bindings make a bare TypeError."""

    def refuse(logger: object) -> None:
        raise TypeError("pybind11::init(): factory function returned nullptr")

    logger = SimpleNamespace(complaint="CUDA initialization failure with error: 35")
    module: Any = SimpleNamespace(Builder=refuse, Runtime=refuse)
    with pytest.raises(BackendError, match=r"error: 35.*driver is new enough") as caught:
        make(TensorRTLibrary(module, "tensorrt", "10.16.1", logger))
    assert "--backend onnxruntime" in one_line(caught.value)


def test_a_jetson_is_known_by_its_release_file(tmp_path: Path) -> None:
    assert not on_jetson(tmp_path)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/nv_tegra_release").write_text("# R36 (release), REVISION: 4.3")
    assert on_jetson(tmp_path)


def test_tensorrt_is_tried_before_rtx() -> None:
    assert FLAVOURS == ("tensorrt", "tensorrt_rtx")


def test_without_a_gpu_the_answer_is_one_line_with_the_cpu_as_way_out() -> None:
    reason = why_not(Options())
    if reason is None:
        pytest.skip("there is a GPU here")
    assert "\n" not in reason
    assert "--backend onnxruntime" in reason


def test_tensorrts_own_words_go_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx")
    library = load_library()
    severity = library.module.ILogger
    long = f"no\nmemory {400 * 'x'}"
    with caplog.at_level(logging.DEBUG, logger="edgeecg.tensorrt"):
        library.logger.log(severity.WARNING, "slow tactic")
        library.logger.log(severity.ERROR, long)
        library.logger.log(severity.VERBOSE, "chatter")
    assert ("edgeecg.tensorrt", logging.WARNING, "slow tactic") in caplog.record_tuples
    assert "chatter" not in caplog.text
    assert library.complaint().startswith("no memory x")
    assert len(library.complaint()) == 300
