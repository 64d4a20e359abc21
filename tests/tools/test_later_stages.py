"""The later stages of many networks at once: beat encoders on frozen tokens, or all held to what was said."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from many import Group, Member
from together import train_groups

from edgeecg.data.dataset import Windows
from edgeecg.data.recording import TrainingRecord
from edgeecg.errors import ConfigError
from edgeecg.model.config import OptimSettings, TrainConfig
from edgeecg.model.losses import Objective
from edgeecg.model.steady import Steadiness
from edgeecg.model.train import build_network, learning_rate, to_tensors
from tests.tools.batches import CPU, records, windows_of

__all__ = ["records"]

CONFIG = TrainConfig(preset="nano", optim=OptimSettings(steps=8, batch=4, seconds=10, checkpoint_every=4))
FROZEN = replace(
    CONFIG, optim=replace(CONFIG.optim, freeze_tokens=True), loss=replace(CONFIG.loss, retain=0.5)
)


STEADY = replace(
    CONFIG,
    optim=replace(CONFIG.optim, steady=True, steps=4),
    augment=replace(CONFIG.augment, recorder=1.0, pair=0.5),
)


def windows(records: list[TrainingRecord]) -> Windows:
    return windows_of(records, CONFIG)


def test_hidden_rows_teach_a_beat_encoder_nothing(records: list[TrainingRecord]) -> None:
    """Not even to go on saying what it says: other signals and beats of theirs change no bit."""
    batch = windows(records)(3)
    batch["record"][:2], batch["record"][2:], batch["fuse"][:] = 0, 1, 0
    other = {name: value.copy() for name, value in batch.items()}
    for name in ("signal", "beat_rr", "beat_present", "beat_retained", "beat_class"):
        other[name][:2] = other[name][1::-1]
    outcome = []
    for each in (batch, other):
        begun = [build_network(CONFIG)] * 2
        members = [Member("blind", 0, frozenset({0})), Member("sees")]
        group = Group(FROZEN, members, 2, CPU, initial=begun)
        group.train_step(to_tensors(each))
        outcome.append({name: value.detach().clone() for name, value in group.weights.items()})
    one, two = outcome
    assert all(torch.equal(value[0], two[name][0]) for name, value in one.items())
    assert not all(torch.equal(value[1], two[name][1]) for name, value in one.items())


def test_a_rhythm_that_was_made_is_not_held_to_what_the_network_said(records: list[TrainingRecord]) -> None:
    """It takes S in bigeminy for fibrillation, say: that is what it is to unlearn."""
    for share in (0.0, 1.0):
        made = windows_of(records, replace(CONFIG, augment=replace(CONFIG.augment, retime=share)))
        batch = to_tensors(made(3))
        assert torch.equal(batch["beat_retained"], batch["beat_present"] * int(share == 0))
        network = build_network(CONFIG)
        teacher = copy.deepcopy(network.beat)
        with torch.no_grad():
            teacher.rhythm.bias += torch.tensor([0.0, 9.0])
        loss = Objective(network, FROZEN.loss, teacher)(batch)["retain"]
        assert (loss > 0.1) if share == 0 else (loss == 0)


def test_beat_encoders_alone_end_where_one_would(records, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """The second stage of two networks at once: tokens as they were, beats as by the loss of one."""
    begun = [build_network(replace(CONFIG, seed=seed)) for seed in (0, 1)]
    with pytest.raises(ConfigError, match="finished tokens"):
        Group(FROZEN, [Member("a"), Member("b")], len(records), CPU)
    group = Group(FROZEN, [Member("a"), Member("b")], len(records), CPU, initial=begun)
    list(train_groups([group], windows(records), workers=0, out=tmp_path))
    for network, made in zip(begun, group.networks().values(), strict=True):
        for name, value in network.token.state_dict().items():
            assert torch.equal(value, made.token.state_dict()[name])
        alone = copy.deepcopy(network)
        alone.token.requires_grad_(False)
        objective = Objective(alone, FROZEN.loss, copy.deepcopy(network.beat).requires_grad_(False))
        optimizer = torch.optim.AdamW(alone.beat.parameters(), weight_decay=FROZEN.optim.decay)
        for step in range(FROZEN.optim.steps):
            optimizer.param_groups[0]["lr"] = learning_rate(step, FROZEN)
            objective(to_tensors(windows(records)(step)))["total"].backward()
            torch.nn.utils.clip_grad_norm_(alone.beat.parameters(), FROZEN.optim.clip)
            optimizer.step()
            optimizer.zero_grad()
        number = begun.index(network)
        for name, value in alone.beat.named_parameters():
            torch.testing.assert_close(
                group.weights[f"network.beat.{name}"][number], value, rtol=0, atol=1e-4
            )


def test_networks_held_to_what_they_said_end_where_one_would(records, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    begun = [build_network(replace(CONFIG, seed=seed)) for seed in (0, 1)]
    with pytest.raises(ConfigError, match="what it says"):
        Group(STEADY, [Member("a"), Member("b")], len(records), CPU)
    group = Group(STEADY, [Member("a"), Member("b")], len(records), CPU, initial=begun)
    shown = windows_of(records, STEADY)
    list(train_groups([group], shown, workers=0, out=tmp_path))
    for number, network in enumerate(begun):
        objective = Steadiness(copy.deepcopy(network))
        optimizer = torch.optim.AdamW(objective.network.parameters(), weight_decay=STEADY.optim.decay)
        for step in range(STEADY.optim.steps):
            optimizer.param_groups[0]["lr"] = learning_rate(step, STEADY)
            objective(to_tensors(shown(step)))["total"].backward()
            torch.nn.utils.clip_grad_norm_(objective.network.parameters(), STEADY.optim.clip)
            optimizer.step()
            optimizer.zero_grad()
        for name, value in objective.network.named_parameters():
            torch.testing.assert_close(group.weights[f"network.{name}"][number], value, rtol=0, atol=1e-4)


def test_whom_a_network_must_not_see_it_is_not_held_to(records: list[TrainingRecord]) -> None:
    batch = windows_of(records, STEADY)(3)
    batch["record"][:2], batch["record"][2:], batch["fuse"][:] = 0, 1, 0
    other = {name: value.copy() for name, value in batch.items()}
    rng = np.random.default_rng(0)
    for name in ("signal", "plain", "beat_rr"):
        other[name][:2] = rng.normal(size=other[name][:2].shape)
    outcome = []
    for each in (batch, other):
        members = [Member("blind", 0, frozenset({0})), Member("sees")]
        group = Group(STEADY, members, 2, CPU, initial=[build_network(CONFIG)] * 2)
        group.train_step(to_tensors(each))
        outcome.append({name: value.detach().clone() for name, value in group.weights.items()})
    one, two = outcome
    assert all(torch.equal(value[0], two[name][0]) for name, value in one.items())
    assert not all(torch.equal(value[1], two[name][1]) for name, value in one.items())
    before = build_network(CONFIG).state_dict()
    assert not all(torch.equal(value[0], before[n.removeprefix("network.")]) for n, value in one.items())
