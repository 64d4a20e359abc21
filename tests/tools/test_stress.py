"""What `tools/stress.py` makes, and what it says of it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from edgeecg.runtime.engine import Engine, open_engine

PATH = Path(__file__).parents[2] / "tools" / "stress.py"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("stress", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["stress"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def nano() -> Engine:
    return open_engine("nano", "onnxruntime")


def test_shares_are_what_their_rows_say(tool: ModuleType, nano: Engine) -> None:
    assert tool.fast_sinus(nano, 0, 75) < 0.05  # a slow heart has next to no S
    assert tool.lasting(nano, 2, 140) > 0.9
    assert tool.standstill(nano, 0, 0) > 0.9  # without P waves asystole is told all the while


def test_a_patient_without_v_is_not_asked(
    tool: ModuleType, nano: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tool.settings
    monkeypatch.setattr(tool, "settings", lambda kind, *rest: made("normal", *rest, ventricular=0.0))
    assert tool.lasting(nano, 1, 140) is None
