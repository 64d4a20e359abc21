"""Networks that teach each other: what is taught, who may teach, and the second stage of many at once."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from edgeecg.data.dataset import Windows
from edgeecg.data.prepare import DataSettings, load_training_data
from edgeecg.data.recording import TrainingRecord
from edgeecg.errors import ConfigError
from edgeecg.model.config import OptimSettings, TrainConfig
from edgeecg.model.losses import Objective, Teller
from edgeecg.model.many import Group, Member
from edgeecg.model.together import train_groups
from edgeecg.model.train import build_network, learning_rate, to_tensors

CONFIG = TrainConfig(preset="nano", optim=OptimSettings(steps=8, batch=4, seconds=10, checkpoint_every=4))
PUPIL = replace(CONFIG, seed=1, loss=replace(CONFIG.loss, taught=1.0))
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def records() -> list[TrainingRecord]:
    return load_training_data(DataSettings(synthetic_patients=6, synthetic_seconds=30), seed=0).training


def windows(records: list[TrainingRecord]) -> Windows:
    return Windows(
        records,
        [],
        build_network(CONFIG).spec,
        CONFIG.signal,
        CONFIG.augment,
        {"synthetic": 1.0},
        seconds=CONFIG.optim.seconds,
        batch=CONFIG.optim.batch,
    )


def test_a_lesson_draws_the_pupil_towards_its_teacher(records, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    batch = to_tensors(windows(records)(0))
    teacher = build_network(replace(CONFIG, seed=5)).eval()
    lesson = {name: value.detach()[None] for name, value in Teller(teacher)(batch).items()}
    loss = replace(CONFIG.loss, taught=1.0, beat=0, offset=0, shape=0, p_wave=0, rhythm=0, quality=0,
                   beat_class=0, beat_rhythm=0, weak=0)  # fmt: skip
    config = replace(CONFIG, optim=replace(CONFIG.optim, steps=400, rate=1e-2), loss=loss)
    group = Group(config, [Member("pupil", 1)], len(records), CPU)
    group.step = 200  # teachers are heard in full
    before = group.networks()["pupil"]
    for _ in range(40):
        group.train_step(batch, lesson)
    group.average = {name: value.detach() for name, value in group.weights.items()}
    after = group.networks()["pupil"]

    def distance(network: torch.nn.Module) -> float:
        said = Teller(network)(batch)["classes"]  # type: ignore[arg-type]
        return float((said - lesson["classes"][0]).abs()[batch["beat_present"] == 1].mean().detach())

    assert distance(after) < 0.5 * distance(before)


def test_teachers_teach_those_alone_that_ask_for_it(records, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """A teacher ends as if it had no pupil; the pupil ends elsewhere than without a teacher."""
    members = [Member("a", 0), Member("b", 0, frozenset({1}))]

    def trained(configs: list[TrainConfig], out: str) -> list[Group]:
        groups = [Group(config, members, len(records), CPU) for config in configs]
        list(train_groups(groups, windows(records), workers=0, out=tmp_path / out))
        return groups

    teacher, pupil = trained([CONFIG, PUPIL], "both")
    (alone,) = trained([CONFIG], "alone")
    (untaught,) = trained([replace(PUPIL, loss=CONFIG.loss)], "untaught")
    assert all(torch.equal(value, alone.weights[name]) for name, value in teacher.weights.items())
    assert not all(torch.equal(value, untaught.weights[name]) for name, value in pupil.weights.items())


def test_a_hidden_row_is_not_taught_either(records) -> None:  # type: ignore[no-untyped-def]
    batch = to_tensors(windows(records)(3))
    batch["record"][:2], batch["record"][2:], batch["fuse"][:] = 0, 1, 0
    said = Teller(build_network(replace(CONFIG, seed=5)).eval())(batch)
    outcome = []
    for scale in (1.0, 0.2):
        lesson = {name: torch.stack([value.detach()] * 2) for name, value in said.items()}
        for value in lesson.values():
            value[:, :2] *= scale
        group = Group(PUPIL, [Member("blind", 0, frozenset({0})), Member("sees", 0)], 2, CPU)
        group.step = 6
        group.train_step(batch, lesson)
        outcome.append(group.losses.clone())
    assert outcome[0][0] == outcome[1][0]
    assert outcome[0][1] != outcome[1][1]


def test_who_may_teach(records, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    blind, sees = [Member("a", 0, frozenset({1}))], [Member("a", 0)]

    def groups(*pairs: tuple[TrainConfig, list[Member]]) -> list[Group]:
        return [Group(config, members, len(records), CPU) for config, members in pairs]

    for refused, word in (
        (groups((PUPIL, sees)), "from labels alone"),
        (groups((CONFIG, sees), (PUPIL, blind)), "must hide the recordings"),
    ):
        with pytest.raises(ConfigError, match=word):
            train_groups(refused, windows(records), workers=0, out=tmp_path)
    with pytest.raises(ConfigError, match="lessons"):
        groups((PUPIL, sees))[0].train_step(to_tensors(windows(records)(0)))


def test_beat_encoders_alone_end_where_one_would(records, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """The second stage of two networks at once: tokens as they were, beats as by the loss of one."""
    frozen = replace(
        CONFIG,
        optim=replace(CONFIG.optim, freeze_tokens=True, rate=3e-3),
        loss=replace(CONFIG.loss, retain=0.5),
    )
    begun = [build_network(replace(CONFIG, seed=seed)) for seed in (0, 1)]
    with pytest.raises(ConfigError, match="finished tokens"):
        Group(frozen, [Member("a"), Member("b")], len(records), CPU)
    group = Group(frozen, [Member("a"), Member("b")], len(records), CPU, initial=begun)
    list(train_groups([group], windows(records), workers=0, out=tmp_path))
    for network, made in zip(begun, group.networks().values(), strict=True):
        for name, value in network.token.state_dict().items():
            assert torch.equal(value, made.token.state_dict()[name])
        alone = copy.deepcopy(network)
        alone.token.requires_grad_(False)
        objective = Objective(alone, frozen.loss, copy.deepcopy(network.beat).requires_grad_(False))
        optimizer = torch.optim.AdamW(alone.beat.parameters(), weight_decay=frozen.optim.decay)
        for step in range(frozen.optim.steps):
            optimizer.param_groups[0]["lr"] = learning_rate(step, frozen)
            objective(to_tensors(windows(records)(step)))["total"].backward()
            torch.nn.utils.clip_grad_norm_(alone.beat.parameters(), frozen.optim.clip)
            optimizer.step()
            optimizer.zero_grad()
        number = begun.index(network)
        for name, value in alone.beat.named_parameters():
            torch.testing.assert_close(
                group.weights[f"network.beat.{name}"][number], value, rtol=0, atol=1e-4
            )
