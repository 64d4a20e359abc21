"""The release's own splits and recipes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import typer

from edgeecg.bundle import Bundle
from edgeecg.data.prepare import load_training_data
from edgeecg.data.recording import TrainingRecord
from edgeecg.data.settings import DataSettings
from edgeecg.data.split import hold_out
from edgeecg.errors import ConfigError

pytest.importorskip("torch")
import recipes  # tools/
import stages  # tools/
import torch
import train_release as tool  # tools/
from held_out import REFINED, Told, by_beat_label, confidence, corrected, network_of  # tools/
from many import Group, Member

from edgeecg.model.checkpoint import load_checkpoint, save_checkpoint
from edgeecg.model.config import TrainConfig
from edgeecg.model.train import build_network


def record(source: str, number: int, person: int) -> TrainingRecord:
    signal = np.zeros((1, 100), np.float32)
    patient = f"{source}/{person}"
    return TrainingRecord(f"{source}/{number}", patient, source, signal, np.empty(0), np.empty(0, np.int64))


def test_hidden_recordings_are_those_that_a_fold_holds_out() -> None:
    records = [record(source, n, n // 2) for source in ("mitdb", "svdb", "cinc2017") for n in range(30)]
    for fold in range(5):
        _, held = hold_out(records, DataSettings(folds=5, fold=fold))
        assert {records[n].name for n in stages.hidden(records, fold, 5)} == {r.name for r in held}


def test_recipes_share_their_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    configs = recipes.recipes(tool.PRESETS, Path("data"), 1)
    assert {config.preset for config in configs.values()} == set(tool.PRESETS)
    read = recipes.read_config
    monkeypatch.setattr(
        recipes, "read_config", lambda path: replace(read(path), seed=1 if "nano" in path.name else 0)
    )
    with pytest.raises(ConfigError, match="may differ in"):
        recipes.recipes(tool.PRESETS, Path("data"), 1)


def test_a_recipe_is_known_by_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the data lie; a rehearsal, or a file that was edited meanwhile, is another one."""
    here, there = (recipes.recipes(["nano"], tmp_path / name, 0)["nano"] for name in "ab")
    assert recipes.recipe_of(here) == recipes.recipe_of(there)
    short = recipes.recipes(["nano"], tmp_path, 0, steps=20)["nano"]
    assert short.optim.steps == 20
    assert recipes.recipe_of(short) != recipes.recipe_of(here)
    with pytest.raises(ConfigError, match="at least one"):
        recipes.recipes(["nano"], tmp_path, 0, steps=0)
    as_it_was = recipes.recipe_of(here)
    monkeypatch.setitem(recipes.POINTS, "nano", {})
    assert recipes.recipe_of(here) != as_it_was
    monkeypatch.undo()
    assert recipes.recipe_of(here) == as_it_was
    monkeypatch.setitem(recipes.SHARE["nano"], "fourth", 1.0)
    assert recipes.recipe_of(here) != as_it_was


@pytest.mark.parametrize("last", [1.0, 0.0])
def test_the_later_stages_train_on_what_the_first_was_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: float
) -> None:
    monkeypatch.setitem(recipes.SHARE["nano"], "refined", last)
    settings = DataSettings(synthetic_patients=8, synthetic_seconds=40)
    data = load_training_data(settings, 0)
    network = build_network(TrainConfig(preset="nano"))
    for name in ("fold0", "all"):
        meta = {"config": {"preset": "nano"}, "member": name}
        save_checkpoint(tmp_path / "nano" / name / "checkpoint", network, meta)
    read = recipes.read_config

    def short(path: Path) -> TrainConfig:
        config: TrainConfig = read(path)
        optim = replace(config.optim, steps=2, batch=2, seconds=20)
        return replace(config, workers=0, optim=optim)

    hides: list[list[frozenset[int]]] = []

    class Watched(Group):
        def __init__(self, config, members, *rest, **more) -> None:  # type: ignore[no-untyped-def]
            hides.append([member.hidden for member in members])
            super().__init__(config, members, *rest, **more)

    monkeypatch.setattr(recipes, "read_config", short)
    monkeypatch.setattr(stages, "Group", Watched)
    monkeypatch.setattr(stages, "hidden", lambda records, fold, folds: frozenset({3}))
    names = ["fold0", "all"]
    recipe = replace(read(recipes.RECIPES / "nano.toml"), data=settings)
    with pytest.raises(ConfigError, match="must have the"):
        stages.go_on("second", "checkpoint", {"nano": recipe}, data, tmp_path, names, 1)
    recipe = replace(short(recipes.RECIPES / "refine.toml"), preset="nano")
    for stage, before in zip(recipes.LATER, ("checkpoint", *recipes.LATER), strict=False):
        stages.go_on(stage, before, {"nano": recipe}, data, tmp_path, names, 1)
    assert hides == [[frozenset({3}), frozenset()]] * 4
    weights = network.state_dict()
    for name in names:
        stage = [load_checkpoint(tmp_path / "nano" / name / stage) for stage in recipes.LATER]
        meta = stage[-1].meta
        assert meta["member"] == name
        assert [meta[key]["augment"]["insert"] > 0 for key in recipes.LATER] == [False, True, True, True]
        assert [meta[f"{key}_share"] for key in recipes.LATER] == list(recipes.SHARE["nano"].values())
        points = [each.meta.get("thresholds") for each in stage]
        assert points == [None, None, None, recipes.POINTS["nano"]]
        for stage_name, made in zip(recipes.LATER, stage, strict=True):
            for weight, value in made.network.state_dict().items():
                same = np.array_equal(value.numpy(), weights[weight].numpy())
                frozen = weight.startswith("token.") and meta[stage_name]["optim"]["freeze_tokens"]
                kept = frozen or not meta[f"{stage_name}_share"]
                assert same if kept else not same or value.numel() == 1
            weights = made.network.state_dict()
        weights = network.state_dict()


@pytest.mark.parametrize("bias", [0.0, -0.3])
def test_a_network_of_a_fold_is_heard_with_its_bias(tmp_path: Path, bias: float) -> None:
    network = build_network(TrainConfig(preset="nano"))
    save_checkpoint(tmp_path / REFINED, network, {"thresholds": {"bias": {"S": bias}}} if bias else {})
    beats = torch.randn(1, 3, network.spec.beat_inputs)
    before, heard = (one.eval().beat(beats)[0] for one in (network, network_of(tmp_path)))
    assert torch.allclose(heard - before, torch.tensor([0.0, bias, 0.0, 0.0, 0.0]), atol=1e-6)


def test_a_stage_goes_part_of_the_way() -> None:
    begin, end = (build_network(TrainConfig(preset="nano", seed=seed)) for seed in (0, 1))
    before = {name: value.clone() for name, value in end.state_dict().items()}
    made = stages.part_way(begin, end, 0.5).state_dict()
    for name, value in begin.state_dict().items():
        torch.testing.assert_close(made[name], (value + before[name]) / 2)
    assert recipes.SHARE.keys() == recipes.POINTS.keys()
    assert all(share.keys() == recipes.LATER.keys() for share in recipes.SHARE.values())


@pytest.mark.parametrize("preset", sorted(recipes.POINTS))
def test_what_is_shipped_has_its_operating_points(preset: str) -> None:
    shipped = Bundle.open(preset).thresholds
    assert {"bias": shipped.bias, "noise": shipped.noise} == recipes.POINTS[preset]


def test_a_fold_is_corrected_by_the_other_folds_only() -> None:
    rng = np.random.default_rng(0)

    def told(fold: str, right: float) -> Told:
        true = np.where(rng.random(2000) < right, "S", "N")
        return Told("svdb", fold, np.full(2000, 0.9), np.full(2000, "S"), true)

    one, two = corrected([told("fold0", 0.5), told("fold1", 0.7)])
    np.testing.assert_allclose(one.probability, 0.7, atol=0.03)
    np.testing.assert_allclose(two.probability, 0.5, atol=0.03)


def test_a_paced_beat_is_corrected_as_one() -> None:
    aami = np.array(["Q", "N", "Q"])
    label = by_beat_label(aami)
    assert label.tolist() == ["P", "N", "P"]
    paced = Told(
        "mitdb paced", "fold0", np.full(600, 0.9), np.repeat(label[:1], 600), np.repeat(label[:1], 600)
    )
    assert set(confidence([paced])) == {"P"}


def test_nothing_to_fit_is_told() -> None:
    with pytest.raises(ConfigError, match="no beat of a held-out patient"):
        confidence([])


def test_what_former_networks_made_goes_with_them(tmp_path: Path) -> None:
    (tmp_path / "nano" / "fold3" / "refined").mkdir(parents=True)  # trained alone
    for stale in ("annotations/101.edg", "fold0/annotated", "fold0/refined/checkpoint.json", "all/final/x"):
        (tmp_path / "nano" / stale).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "nano" / stale).touch()
    data = load_training_data(DataSettings(synthetic_patients=3, synthetic_seconds=40), 0)
    config = TrainConfig(preset="nano")
    group = Group(config, [Member("fold0"), Member("all")], len(data.training), torch.device("cpu"))
    stages.keep(tmp_path / "nano", group, data, 1.0)
    assert sorted(path.name for path in (tmp_path / "nano").iterdir()) == ["all", "fold0", "fold3"]
    for name in ("fold0", "all"):
        assert [path.name for path in (tmp_path / "nano" / name).iterdir()] == ["checkpoint"]


def test_pre_training_is_kept_and_knows_nobody_who_is_held_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = load_training_data(DataSettings(synthetic_patients=4, synthetic_seconds=40), 0)
    records = [replace(r, source="svdb") for r in made.training[:4]]
    data = replace(made, training=records)
    config = TrainConfig(preset="nano", data=DataSettings(sets={"svdb": 0.5, "synthetic": 0.5}))
    member, given = Member("fold0", 0, frozenset({1})), []
    pretrain = stages.pretrain

    def watched(network, windows, steps):  # type: ignore[no-untyped-def]
        given.append([record.name for record in windows.records])
        return pretrain(network, replace(windows, batch=2, seconds=10), steps)

    monkeypatch.setattr(stages, "pretrain", watched)
    first = stages.first_weights(config, member, data, tmp_path, 2)
    assert given == [[records[n].name for n in (0, 2, 3)]]
    again = stages.first_weights(config, member, data, tmp_path, 2)
    assert len(given) == 1
    assert all(torch.equal(value, again[name]) for name, value in first.items())


def test_networks_of_another_release_are_not_gone_on_with(tmp_path: Path) -> None:
    facts = {"seed": 0, "folds": 5, "finder": "small 0123456789ab", "pretrain": 0, "recipe": "ba9876543210"}
    for _ in range(2):
        recipes.same_release(tmp_path / "nano.origin.json", facts)
    with pytest.raises(ConfigError, match="were made with seed 0, folds 5: name another --work"):
        recipes.same_release(tmp_path / "nano.origin.json", {**facts, "seed": 1, "folds": 3})


def test_a_rehearsal_leaves_the_release_alone(tmp_path: Path) -> None:
    for wrong in ({"folds": 0, "work": tmp_path}, {"folds": 5, "work": tool.WORK}):
        with pytest.raises(typer.Exit):
            tool.release(data=tmp_path, presets=["nano"], finder="small", steps=2, **wrong)
    assert not list(tmp_path.iterdir())


def test_a_fold_alone_hides_whom_it_hides_among_all() -> None:
    records = load_training_data(DataSettings(synthetic_patients=12, synthetic_seconds=40), 0).training
    data: Any = SimpleNamespace(training=[replace(record, source="svdb") for record in records])
    every = stages.members_of(data, stages.names_of(5, (), shipped=True), 5, 7)
    assert [member.name for member in every] == ["fold0", "fold1", "fold2", "fold3", "fold4", "all"]
    assert not every[-1].hidden
    assert frozenset().union(*(member.hidden for member in every)) == frozenset(range(12))
    assert stages.members_of(data, stages.names_of(5, (4, 2, 4), shipped=False), 5, 7) == [every[2], every[4]]
    with pytest.raises(ConfigError, match="--fold 5: of 5 folds there are 0 to 4"):
        stages.names_of(5, (0, 5), shipped=False)


@pytest.mark.parametrize("wrong", [{}, {"work": Path("elsewhere"), "begin": Path("kept")}])
def test_a_fold_alone_needs_a_folder_of_its_own(tmp_path: Path, wrong: dict[str, Path]) -> None:
    with pytest.raises(ConfigError, match="name a --work of its own"):
        tool.check(**{"work": tool.WORK, "begin": None, **wrong}, folds=5, pretrain=0, fold=[1], steps=None)  # type: ignore[arg-type]
