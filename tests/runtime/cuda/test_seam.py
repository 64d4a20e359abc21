"""The seam over the real CUDA libraries, on a driver of host memory; and on a GPU where there is one.

``host_cuda.c`` stands in for NVIDIA's driver, not for pycuda or cuda-python: what is proved here is that
our calls are right by those libraries, that contexts are pushed and popped, and that all is freed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edgeecg.errors import BackendError
from edgeecg.runtime import cuda, cuda_python
from edgeecg.runtime.cuda import DeviceInfo, choose_library, open_device
from edgeecg.runtime.cuda_errors import STICKY, CudaError, is_sticky

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
MODULES = {"cuda-python": "cuda", "pycuda": "pycuda"}


def other_symbols(folder: Path) -> list[str]:
    """Sources for what else an installed pycuda must find to load; none of it is called."""
    spec = find_spec("pycuda")
    extensions = list(Path(str(spec.origin)).parent.glob("_driver*.so")) if spec else []
    if not extensions or shutil.which("nm") is None:
        return []
    listing = subprocess.run(
        ["nm", "-D", "-u", str(extensions[0])], capture_output=True, text=True, check=True
    )
    wanted = {line.split()[-1] for line in listing.stdout.splitlines()}
    ours = (HERE / "host_cuda.c").read_text()
    source = folder / "others.c"
    names = sorted(name for name in wanted if name.startswith("cu") and f"{name}(" not in ours)
    source.write_text("".join(f"int {name}(void) {{ return 801; }}\n" for name in names))
    return [str(source)]


@pytest.fixture(scope="module")
def host_driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    folder = tmp_path_factory.mktemp("driver")
    sources = [str(HERE / "host_cuda.c"), *other_symbols(folder)]
    target = ["-o", str(folder / "libcuda.so.1"), "-Wl,-soname,libcuda.so.1"]
    subprocess.run(
        [compiler, "-w", "-shared", "-fPIC", *target, *sources, "-ldl"], check=True, capture_output=True
    )
    return folder


@pytest.mark.parametrize("library", MODULES)
def test_the_seam_over_a_real_library(host_driver: Path, library: str) -> None:
    if find_spec(MODULES[library]) is None:
        pytest.skip(f"needs {library}")
    paths = {
        "LD_LIBRARY_PATH": f"{host_driver}:{os.environ.get('LD_LIBRARY_PATH', '')}",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [sys.executable, str(HERE / "seam.py"), library],
        capture_output=True, text=True, check=False, timeout=120, env=os.environ | paths,
    )  # fmt: skip
    assert done.stdout.endswith("seam ok\n"), done.stderr


@pytest.mark.parametrize(
    ("found", "graphs", "chosen"),
    [
        (("pycuda", "cuda-python"), False, "pycuda"),
        (("pycuda", "cuda-python"), True, "cuda-python"),
        (("pycuda",), True, "pycuda"),
        (("cuda-python",), False, "cuda-python"),
        ((), True, None),
    ],
)
def test_pycuda_is_the_default_unless_graphs_are_wanted(
    found: tuple[str, ...], graphs: bool, chosen: str | None
) -> None:
    assert choose_library(found, graphs) == chosen


@pytest.mark.parametrize("library", ["auto", "pycuda", "cuda-python"])
def test_a_missing_library_is_one_line_with_the_cpu_as_way_out(
    monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    monkeypatch.setattr(cuda, "available_libraries", lambda: ())
    with pytest.raises(BackendError) as caught:
        open_device(library=library)  # type: ignore[arg-type]
    text = str(caught.value)
    assert "\n" not in text
    assert "pip install 'edgeecg[jetson]'" in text
    assert "--backend onnxruntime" in text


@pytest.mark.parametrize(
    ("code", "reason", "sticky"),
    [
        (700, "", True),
        (719, "", True),
        (710, "", True),
        (0, "cuStreamSynchronize failed: device-side assert triggered", True),
        (2, "out of memory", False),
        (0, "cuStreamSynchronize failed: an illegal memory access was encountered", True),
        (0, "cuLaunchKernel failed: unspecified launch failure", True),
        (0, "cuEventQuery failed: tensor memory not completely freed", True),
        (0, "cuMemAlloc failed: out of memory", False),
    ],
)
def test_errors_that_take_the_context_with_them(code: int, reason: str, sticky: bool) -> None:
    assert is_sticky(code, reason) is sticky


def test_a_function_that_an_older_driver_lacks_is_told() -> None:
    def lacking() -> None:
        raise RuntimeError('Function "cuEventElapsedTime" not found')  # as cuda-python does

    calls = cuda_python._Calls(SimpleNamespace(cuEventElapsedTime=lacking))
    with pytest.raises(BackendError, match=r"newer than the driver .*not found.*'cuda-python<13'"):
        calls("cuEventElapsedTime")


def test_errors_that_leave_the_process_in_an_inconsistent_state_by_the_manual_are_sticky() -> None:
    driver = pytest.importorskip("cuda.bindings.driver", reason="needs cuda-python")
    told = {int(code) for code in driver.CUresult if "inconsistent state" in (code.__doc__ or "")}
    assert told - {911} <= set(STICKY)  # 911: of a device beside the GPU


def test_an_error_says_what_is_lost() -> None:
    assert str(CudaError("cuMemAlloc", "out of memory")) == "cuMemAlloc failed: out of memory"
    assert str(CudaError("cuX", "misaligned address", sticky=True)).endswith("must be opened anew")


def test_gpus_that_cannot_share_an_engine_have_other_keys() -> None:
    keys = {
        DeviceInfo(0, name, capability, True, memory, multiprocessors).key
        for name, capability, memory, multiprocessors in (
            ("Orin", (8, 7), 8 << 30, 8), ("Orin", (8, 7), 16 << 30, 8), ("Thor", (11, 0), 8 << 30, 8),
            ("Orin", (8, 7), 8 << 30, 4),  # in a power mode that switches half of it off
        )
    }  # fmt: skip
    assert len(keys) == 4


@pytest.mark.gpu
@pytest.mark.parametrize("library", MODULES)
def test_copies_and_events_on_a_gpu(library: str) -> None:
    if find_spec(MODULES[library]) is None:
        pytest.skip(f"needs {library}")
    device = open_device(library=library)  # type: ignore[arg-type]
    try:
        with device.active():
            stream = device.stream()
            size = 1 << 20
            host, back = (device.pinned((size,), np.dtype(np.float32)) for _ in range(2))
            there = device.allocate(4 * size)
            host.array[...] = np.random.default_rng(0).standard_normal(size)
            first, second = device.event(), device.event()
            first.record(stream)
            device.copy_in(there.address, host.array, stream)
            device.copy_out(back.array, there.address, stream)
            second.record(stream)
            stream.synchronize()
            np.testing.assert_array_equal(back.array, host.array)
            assert second.since(first) > 0
    finally:
        device.close()


@pytest.mark.gpu
def test_a_captured_graph_runs_on_a_gpu() -> None:
    if find_spec("cuda") is None:
        pytest.skip("needs cuda-python")
    device = open_device(library="cuda-python")
    try:
        with device.active():
            stream = device.stream()
            host, back = (device.pinned((64,), np.dtype(np.float32)) for _ in range(2))
            there = device.allocate(256)

            def queue() -> None:
                device.copy_in(there.address, host.array, stream)
                device.copy_out(back.array, there.address, stream)

            queue()
            stream.synchronize()
            graph = device.capture(stream, queue)
            for value in (3.0, 5.0):
                host.array[...] = value
                graph.launch(stream)
                stream.synchronize()
                assert (back.array == value).all()
    finally:
        device.close()
