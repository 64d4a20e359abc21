"""The release's own splits and recipes."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from edgeecg.data.prepare import DataSettings, hold_out
from edgeecg.data.recording import TrainingRecord
from edgeecg.errors import ConfigError

pytest.importorskip("torch")
TOOL = Path(__file__).parents[2] / "tools" / "train_release.py"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("train_release", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def record(source: str, number: int, person: int) -> TrainingRecord:
    signal = np.zeros((1, 100), np.float32)
    patient = f"{source}/{person}"
    return TrainingRecord(f"{source}/{number}", patient, source, signal, np.empty(0), np.empty(0, np.int64))


def test_hidden_recordings_are_those_that_a_fold_holds_out(tool: ModuleType) -> None:
    records = [record(source, n, n // 2) for source in ("mitdb", "svdb", "cinc2017") for n in range(30)]
    for fold in range(5):
        _, held = hold_out(records, DataSettings(folds=5, fold=fold))
        assert {records[n].name for n in tool.hidden(records, fold, 5)} == {r.name for r in held}


def test_recipes_share_their_batches(tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    configs = tool.recipes(tool.PRESETS, Path("data"))
    assert {config.preset for config in configs.values()} == set(tool.PRESETS)
    read = tool.read_config
    monkeypatch.setattr(
        tool, "read_config", lambda path: replace(read(path), seed=1 if "nano" in path.name else 0)
    )
    with pytest.raises(ConfigError, match="may differ in"):
        tool.recipes(tool.PRESETS, Path("data"))
