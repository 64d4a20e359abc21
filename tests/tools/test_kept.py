"""Networks of folds that are kept: which recordings each never saw, and that none is taken for another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import kept as tool  # tools/
import pytest

from edgeecg.data.prepare import TrainingData
from edgeecg.errors import ConfigError
from edgeecg.model.checkpoint import load_checkpoint, save_checkpoint
from edgeecg.model.config import TrainConfig
from edgeecg.model.train import build_network
from tests.model.batches import some_records


def test_every_network_is_asked_about_those_that_it_never_saw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TrainConfig(preset="nano")
    for fold in range(2):
        meta = {"config": config.to_dict(), "thresholds": {"bias": {"S": -0.3}}}
        save_checkpoint(tmp_path / "kept" / f"fold{fold}" / "refined", build_network(config), meta)
    records = some_records()
    data = TrainingData(records, [], [], ())
    monkeypatch.setattr(tool, "load_training_data", lambda settings, seed: data)
    monkeypatch.setattr(tool, "hidden", lambda records, fold, folds: frozenset({fold}))
    told = tool.with_hidden(tmp_path / "kept", tmp_path / "work", tmp_path)
    assert told == ("nano", 2)
    for fold in range(2):
        meta = load_checkpoint(tmp_path / "work" / f"fold{fold}" / "refined").meta
        assert meta["validation"] == [records[fold].name]
        assert meta["thresholds"] == {"bias": {"S": -0.3}}
    tool.with_hidden(tmp_path / "kept", tmp_path / "work", tmp_path)  # once more: goes on
    save_checkpoint(tmp_path / "kept" / "fold1" / "refined", build_network(replace(config, seed=9)), {})
    with pytest.raises(ConfigError, match="another --work"):
        tool.with_hidden(tmp_path / "kept", tmp_path / "work", tmp_path)
    with pytest.raises(ConfigError, match="no networks"):
        tool.with_hidden(tmp_path / "nothing", tmp_path / "work", tmp_path)
