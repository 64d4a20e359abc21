"""Networks of folds that are kept: which recordings each never saw, and that none is taken for another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import stages as tool  # tools/
import train_release  # tools/
import typer
from held_out import network_of  # tools/
from recipes import RECIPES, read_config  # tools/

from edgeecg.data.prepare import TrainingData
from edgeecg.data.settings import DataSettings
from edgeecg.errors import ConfigError
from edgeecg.model.checkpoint import load_checkpoint, save_checkpoint
from edgeecg.model.config import TrainConfig
from edgeecg.model.train import build_network
from tests.tools.batches import some_records


@pytest.mark.parametrize("stage", ["checkpoint", "refined"])
def test_every_network_is_asked_about_those_that_it_never_saw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    config = TrainConfig(preset="nano", data=DataSettings(sets={"mitdb": 1.0}))
    for fold in range(2):
        meta = {"config": config.to_dict(), "thresholds": {"bias": {"S": -0.3}}}
        save_checkpoint(tmp_path / "kept" / f"fold{fold}" / stage, build_network(config), meta)
    records = some_records()
    data = TrainingData(records, [], [], ())
    monkeypatch.setattr(tool, "load_training_data", lambda settings, seed: data)
    monkeypatch.setattr(tool, "hidden", lambda records, fold, folds: frozenset({fold}))
    told = tool.with_hidden(tmp_path / "kept", tmp_path / "work", tmp_path, stage)
    assert told == ("nano", 2)
    for fold in range(2):
        meta = load_checkpoint(tmp_path / "work" / f"fold{fold}" / stage).meta
        assert meta["validation"] == [records[fold].name]
        assert meta["thresholds"] == {"bias": {"S": -0.3}}
    tool.with_hidden(tmp_path / "kept", tmp_path / "work", tmp_path, stage)  # once more: goes on
    save_checkpoint(tmp_path / "kept" / "fold1" / stage, build_network(replace(config, seed=9)), {})
    with pytest.raises(ConfigError, match="another --work"):
        tool.with_hidden(tmp_path / "kept", tmp_path / "work", tmp_path, stage)
    with pytest.raises(ConfigError, match="no networks"):
        tool.with_hidden(tmp_path / "nothing", tmp_path / "work", tmp_path, stage)


def test_other_recordings_than_those_of_the_training_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one less, patients lie in other folds, and figures of known ones would be called out of fold."""
    config = TrainConfig(preset="nano", data=DataSettings(sets={"mitdb": 1.0}))
    records = [replace(r, source="mitdb") for r in some_records()]
    counts = {"mitdb": len(records), "synthetic": 288, "svdb": 39}  # what is not asked for need not be here
    for fold in range(2):
        meta = {"config": config.to_dict(), "sets": counts}
        save_checkpoint(tmp_path / "kept" / f"fold{fold}" / "refined", build_network(config), meta)
    monkeypatch.setattr(tool, "hidden", lambda records, fold, folds: frozenset({fold}))
    kept, run = tmp_path / "kept", tmp_path / "kept" / "fold1"
    less, more = records[1:], [*records, records[0]]
    for other in (less, more):
        told = f"trained with {len(records)} recordings of mitdb, here are {len(other)}"
        some = TrainingData(other, [], [], ())
        monkeypatch.setattr(tool, "load_training_data", lambda settings, seed, some=some: some)
        with pytest.raises(ConfigError, match=told):
            tool.with_hidden(kept, tmp_path / "work", tmp_path)
        with pytest.raises(ConfigError, match=told):
            network_of(run, other)
    assert not (tmp_path / "work").exists()
    network_of(run, records)
    same = TrainingData(records, [], [], ())
    monkeypatch.setattr(tool, "load_training_data", lambda settings, seed: same)
    assert tool.with_hidden(kept, tmp_path / "work", tmp_path) == ("nano", 2)


def test_a_later_stage_is_not_trained_on_other_recordings_than_the_first(tmp_path: Path) -> None:
    config = read_config(RECIPES / "nano.toml")
    records = [replace(r, source="mitdb") for r in some_records()]
    meta = {"config": config.to_dict(), "sets": {"mitdb": len(records) + 1}}
    save_checkpoint(tmp_path / "nano" / "all" / "checkpoint", build_network(config), meta)
    data = TrainingData(records, [], [], ())
    with pytest.raises(ConfigError, match="folds hold other patients"):
        tool.go_on("second", "checkpoint", {"nano": config}, data, tmp_path, ["all"], 0)


def test_the_folds_begin_where_kept_networks_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the preset that is named, and beside the release, never in its place."""
    config = TrainConfig(preset="nano", data=DataSettings(sets={"mitdb": 1.0}))
    for fold in range(3):
        save_checkpoint(
            tmp_path / "kept" / f"fold{fold}" / "checkpoint",
            build_network(config),
            {"config": config.to_dict()},
        )
    data = TrainingData(some_records(), [], [], ())
    monkeypatch.setattr(tool, "load_training_data", lambda settings, seed: data)
    kept, work = tmp_path / "kept", tmp_path / "work"
    assert train_release.begun(kept, ["nano"], 0, work, tmp_path) == 3
    assert (work / "nano" / "fold2" / "checkpoint").is_dir()
    with pytest.raises(ConfigError, match="are nano, not small"):
        train_release.begun(kept, ["small"], 0, tmp_path / "other", tmp_path)
    for presets, where in ((["nano", "micro"], work), (["nano"], train_release.WORK)):
        with pytest.raises(ConfigError, match="makes no release"):
            train_release.begun(kept, presets, 0, where, tmp_path)
    with pytest.raises(ConfigError, match="give --seed 0"):
        train_release.begun(kept, ["nano"], 1, tmp_path / "third", tmp_path)
    with pytest.raises(typer.Exit):
        train_release.release(data=tmp_path, presets=["nano"], begin=kept, work=work, pretrain_steps=2)
    (kept / "fold1").rename(kept / "fold7")
    with pytest.raises(ConfigError, match="fold0 to fold2"):
        train_release.begun(kept, ["nano"], 0, tmp_path / "fourth", tmp_path)
