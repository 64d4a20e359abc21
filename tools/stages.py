"""The stages that the networks of a release go through, all folds and presets at once.

The first trains both encoders, the next three (`LATER` of recipes.py) the beat encoders alone, the last both.
"""

from __future__ import annotations

import platform
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from held_out import REFINED, same_recordings  # beside this file
from many import Group, Member  # beside this file
from pretraining import pretrain  # beside this file
from recipes import LATER, POINTS, SHARE, later, recipe_of, same_release  # beside this file
from rich.progress import track
from safetensors.torch import load_file, save_file
from together import train_groups  # beside this file
from torch import Tensor

from edgeecg.bundle import Bundle
from edgeecg.data.catalog import patient_folds
from edgeecg.data.dataset import Windows
from edgeecg.data.prepare import TrainingData, load_training_data
from edgeecg.data.recording import TrainingRecord
from edgeecg.data.settings import DataSettings
from edgeecg.errors import ConfigError
from edgeecg.io.atomic import atomic_path
from edgeecg.model.checkpoint import SETTINGS, WEIGHTS, load_checkpoint, network_from_weights, save_checkpoint
from edgeecg.model.config import TrainConfig
from edgeecg.model.train import build_network, find_pseudo_beats, training_windows
from edgeecg.model.transformer import Network

FIRST = "checkpoint"
"""Folder of a network's checkpoint after the first stage."""


def hidden(records: Sequence[TrainingRecord], fold: int, folds: int) -> frozenset[int]:
    """Numbers of the recordings of a fold's patients; synthetic ones are everybody's.

    Patients are dealt by rank: for a network that was trained before, ask `same_recordings` first.
    """
    held: set[str] = set()
    for source in {record.source for record in records} - {"synthetic"}:
        people = patient_folds((r.patient for r in records if r.source == source), folds)
        held |= {person for person, number in people.items() if number == fold}
    return frozenset(number for number, record in enumerate(records) if record.patient in held)


def add_pseudo_beats(data: TrainingData, config: TrainConfig, finder: str) -> None:
    """Give recordings without labelled beats those that a finished network finds; their class is open."""
    bundle = Bundle.open(finder)
    network = network_from_weights(bundle.spec, bundle.weights())
    windows = Windows(
        data.training, data.noise, network.spec, config.signal, config.augment, config.data.sets
    )
    find_pseudo_beats(network, windows, [record for record in data.training if not record.complete])


def names_of(folds: int, only: Sequence[int], shipped: bool) -> list[str]:
    """The networks of a preset: those of all folds or of ``only`` some, and the one that is shipped."""
    if strange := sorted(set(only) - set(range(folds))):
        raise ConfigError(f"--fold {strange[0]}: of {folds} folds there are 0 to {folds - 1}")
    return [f"fold{fold}" for fold in sorted(set(only)) or range(folds)] + (["all"] if shipped else [])


def train(
    configs: Mapping[str, TrainConfig],
    work: Path,
    folds: int,
    names: Sequence[str],
    finder: str,
    pretrained: int,
) -> None:
    """Every network of every preset, stage after stage, all on the same batches."""
    wanted = [work / preset / name for preset in configs for name in names]
    first = next(iter(configs.values()))
    found_by = f"{finder} {Bundle.open(finder).digest[:12]}"
    for preset, config in configs.items():
        facts = {"seed": first.seed, "folds": folds, "finder": found_by, "pretrain": pretrained}
        same_release(work / f"{preset}.origin.json", {**facts, "recipe": recipe_of(config)})
    if all((run / REFINED / SETTINGS).exists() for run in wanted):
        return
    torch.set_float32_matmul_precision("high")
    torch.set_num_threads(first.threads)
    data = load_training_data(first.data, first.seed)
    add_pseudo_beats(data, first, finder)
    if not all((run / FIRST / SETTINGS).exists() for run in wanted):
        train_together(configs, data, work, names, folds, pretrained)
    before = FIRST
    for stage in LATER:
        if not all((run / stage / SETTINGS).exists() for run in wanted):
            go_on(stage, before, configs, data, work, names, folds)
        before = stage


def train_together(
    configs: Mapping[str, TrainConfig],
    data: TrainingData,
    work: Path,
    names: Sequence[str],
    folds: int,
    pretrained: int,
) -> None:
    """The first stage, after a pre-training of so many batches."""
    first = next(iter(configs.values()))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    members = members_of(data, names, folds, first.seed)
    groups = [Group(config, members, len(data.training), device) for config in configs.values()]
    if pretrained:
        for group in groups:
            for number, member in enumerate(members):
                group.begin(number, first_weights(group.config, member, data, work, pretrained))
    seconds = advance("training", groups, first, data, state_of(work, "networks", names, folds))
    for preset, group in zip(configs, groups, strict=True):
        keep(work / preset, group, data, seconds)


def go_on(
    stage: str,
    before: str,
    configs: Mapping[str, TrainConfig],
    data: TrainingData,
    work: Path,
    names: Sequence[str],
    folds: int,
) -> None:
    """A later stage, from what the stage before left; every network's own patients stay hidden from it."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    groups, begun = [], {}
    for preset, recipe in configs.items():
        config = later(stage, recipe)
        begun[preset] = [load_checkpoint(work / preset / name / before) for name in names]
        for name, each in zip(names, begun[preset], strict=True):
            same_recordings(work / preset / name, each.meta, data.training)
        members = members_of(data, names, folds, recipe.seed)
        networks = [each.network for each in begun[preset]]
        groups.append(Group(config, members, len(data.training), device, initial=networks))
    out = state_of(work, f"{stage}-networks", names, folds)
    seconds = advance(stage, groups, groups[0].config, data, out)
    for (preset, first), group in zip(begun.items(), groups, strict=True):
        for each, (name, network) in zip(first, group.networks().items(), strict=True):
            facts = {**each.meta, stage: recorded(group.config), f"{stage}_seconds": seconds}
            share = facts[f"{stage}_share"] = SHARE[preset][stage]
            if stage == REFINED:
                facts["thresholds"] = POINTS[preset]
            save_checkpoint(work / preset / name / stage, part_way(each.network, network, share), facts)


def recorded(config: TrainConfig) -> dict[str, Any]:
    """Settings as a checkpoint tells them: where the data lay is nobody's business."""
    return replace(config, data=replace(config.data, root="")).to_dict()


def state_of(work: Path, what: str, names: Sequence[str], folds: int) -> Path:
    """Where the state of networks that are being trained lies; of some folds alone, apart from others'."""
    return work / (what if len(names) >= folds else "-".join([what, *names]))


def part_way(begin: Network, end: Network, share: float) -> Network:
    """The network whose weights lie so far on the way from one to the other."""
    end.load_state_dict(
        {name: value.lerp(end.state_dict()[name], share) for name, value in begin.state_dict().items()}
    )
    return end


def members_of(data: TrainingData, names: Sequence[str], folds: int, seed: int) -> list[Member]:
    """A network of each fold, and the one that is shipped."""
    return [
        Member(
            name,
            seed,
            hidden(data.training, int(name.removeprefix("fold")), folds) if name != "all" else frozenset(),
        )
        for name in names
    ]


def advance(told: str, groups: Sequence[Group], config: TrainConfig, data: TrainingData, out: Path) -> float:
    """Train all groups to the end of a stage; the seconds that it took."""
    windows = training_windows(config, data.training, data.noise, groups[0].spec, config.seed)
    clock = time.monotonic()
    steps: Iterable[int] = train_groups(groups, windows, workers=config.workers, out=out)
    for _ in track(steps, told, total=config.optim.steps - groups[0].step):
        pass
    return round(time.monotonic() - clock, 1)


def first_weights(
    config: TrainConfig, member: Member, data: TrainingData, work: Path, steps: int
) -> dict[str, Tensor]:
    """A token encoder that knows what ECG looks like, from the signals that its network may see; kept."""
    path = work / "pretrained" / f"{config.preset}-{member.name}-{steps}.safetensors"
    if path.exists():
        return load_file(path)
    network = build_network(replace(config, seed=member.seed))
    share = {name: part for name, part in config.data.sets.items() if name != "synthetic"}
    seen = [
        record
        for number, record in enumerate(data.training)
        if record.source in share and number not in member.hidden
    ]
    windows = Windows(
        seen, data.noise, network.spec, config.signal, config.augment, share,
        seconds=30, batch=32, rare=0.0, seed=member.seed,
    )  # fmt: skip
    weights, _ = pretrain(network, windows, steps)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        save_file({name: value.contiguous() for name, value in weights.items()}, temporary)
    return weights


def keep(work: Path, group: Group, data: TrainingData, seconds: float) -> None:
    """A checkpoint of each network of a preset, in place of all that was made from former ones; other folds,
    which were trained alone, stay.
    """
    mine = {member.name for member in group.members}
    for path in work.glob("*"):
        if path.name in mine or not path.name.startswith("fold"):
            shutil.rmtree(path)
    for member, network in zip(group.members, group.networks().values(), strict=True):
        meta = {
            "config": recorded(group.config),
            "member": member.name,
            "sets": data.counts(),
            "validation": sorted(data.training[number].name for number in member.hidden),
            "attribution": list(data.attribution),
            "seconds": seconds,
            "machine": f"{platform.machine()}, {group.device.type}, Python {platform.python_version()}",
            "parameters": network.parameter_count,
        }
        save_checkpoint(work / member.name / FIRST, network, meta)


def with_hidden(kept: Path, work: Path, data: Path, stage: str = REFINED) -> tuple[str, int]:
    """Kept networks of a stage again, each with the names of the recordings that it never saw; preset, and
    how many.
    """
    runs = sorted(path.parent for path in kept.glob(f"fold*/{stage}"))
    if not runs:
        raise ConfigError(f"no networks of folds in {kept}: name a folder with fold0/{stage} and its like")
    if [run.name for run in runs] != [f"fold{number}" for number in range(len(runs))]:
        raise ConfigError(
            f"{kept} lacks folds: with {len(runs)} of them there are fold0 to fold{len(runs) - 1}"
        )
    networks = [load_checkpoint(run / stage) for run in runs]
    sets = networks[0].meta["config"]["data"]["sets"]
    settings = DataSettings(root=str(data), sets={name: 1.0 for name in sets if name != "synthetic"})
    records = load_training_data(settings, 0).training
    for fold, (run, checkpoint) in enumerate(zip(runs, networks, strict=True)):
        same_recordings(run, checkpoint.meta, records)
        unseen = sorted(records[number].name for number in hidden(records, fold, len(runs)))
        target, meta = work / run.name / stage, {**checkpoint.meta, "validation": unseen}
        if not (target / SETTINGS).exists():
            save_checkpoint(target, checkpoint.network, meta)
            continue
        same = (target / WEIGHTS).read_bytes() == (run / stage / WEIGHTS).read_bytes()
        if not same or load_checkpoint(target).meta != meta:
            raise ConfigError(f"{target} holds another network: name another --work")
    return networks[0].meta["config"]["preset"], len(runs)
