"""What all tests share: the real recordings, and the conditions of the marks."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import tempfile
from pathlib import Path

import hypothesis
import pytest

hypothesis.settings.register_profile("edgeecg", deadline=None, print_blob=True)
hypothesis.settings.load_profile("edgeecg")

TORCH = importlib.util.find_spec("torch") is not None
collect_ignore = [] if TORCH else ["model", "deploy", "explain", "profile", "runtime/trt/test_build.py"]


def pytest_report_header() -> str | None:
    return None if TORCH else f"no torch (extra train): left out are {', '.join(collect_ignore)}"


def pytest_configure(config: pytest.Config) -> None:
    """Kernels and plans of the tests go to a folder of their own, which all workers share."""
    if "EDGEECG_CACHE" not in os.environ:
        folder = os.environ["EDGEECG_CACHE"] = tempfile.mkdtemp(prefix="edgeecg-tests-")
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests marked slow too")


def _recordings() -> Path | None:
    """Root of the real recordings; a root that is named but not there is a mistake, not a skip."""
    named = os.environ.get("EDGEECG_DATA")
    if not named:
        return None
    if not Path(named).is_dir():
        raise pytest.UsageError(f"EDGEECG_DATA={named} is not a folder: unset it or unpack the recordings")
    return Path(named)


def _cuda_device() -> bool:
    """Whether the NVIDIA driver is here and sees a device."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int(0)
    return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    reasons = {
        "data": None if _recordings() else "needs real recordings: set EDGEECG_DATA",
        "gpu": None if _cuda_device() else "needs a CUDA device",
        "slow": None if config.getoption("--slow") else "slow: run with --slow",
    }
    for item in items:
        for mark, reason in reasons.items():
            if reason and item.get_closest_marker(mark):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder that holds ``mitdb``, ``svdb``, ``cinc2017``, ``nstdb`` and ``polar_h10``."""
    root = _recordings()
    if root is None:
        pytest.skip("needs real recordings: set EDGEECG_DATA")
    return root
