"""Nobody is told of a patient, or of the machine, who was not named."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import edgeecg, numpy as np
with edgeecg.open_engine("nano", backend="onnxruntime") as engine:
    edgeecg.Stream(engine, fs=250).push(np.zeros(2500))
"""


def run(home: Path, program: str, **more: str) -> list[str]:
    """Run a program with a home of its own; what it has left there."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "XDG_"))}
    environment |= {"HOME": str(home), "PYTHONPATH": os.pathsep.join(sys.path), **more}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True, timeout=120)
    return sorted(path.name for path in home.rglob("*") if path.is_file())


@pytest.mark.skipif(sys.platform != "linux", reason="it is the wheels for Linux that report")
def test_onnxruntime_keeps_no_record_and_no_device_id(tmp_path: Path) -> None:
    assert run(tmp_path, PROGRAM) == []


def test_who_wants_the_reports_may_have_them(tmp_path: Path) -> None:
    told = "import os, edgeecg; assert os.environ['ORT_DISABLE_TELEMETRY'] == '0'"
    assert run(tmp_path, told, ORT_DISABLE_TELEMETRY="0") == []
