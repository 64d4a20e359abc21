"""Networks trained together: each ends where it would alone, and learns nothing of whom it must not see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from many import TARGETS, Group, Member
from together import STATE, Batches, train_groups

from edgeecg.data.augment import AugmentSettings
from edgeecg.data.dataset import Windows
from edgeecg.data.recording import TrainingRecord
from edgeecg.errors import ConfigError, StateError
from edgeecg.model.config import OptimSettings, TrainConfig
from edgeecg.model.losses import COLUMN, Objective, fused
from edgeecg.model.train import build_network, learning_rate, to_tensors
from edgeecg.specs import HEADS
from tests.tools.batches import CPU, records, windows_of

__all__ = ["records"]

CONFIG = TrainConfig(
    preset="nano",
    optim=OptimSettings(steps=6, batch=4, seconds=10, rate=3e-3, checkpoint_every=3),
    augment=AugmentSettings(pair=0.5, tone=0.1),
)


def windows(records: list[TrainingRecord]) -> Windows:
    return windows_of(records, CONFIG)


def trained(records: list[TrainingRecord], members: list[Member], out: Path, steps: int = 6) -> Group:
    group = Group(CONFIG, members, len(records), CPU)
    for step in train_groups([group], windows(records), workers=0, out=out):
        if step == steps:
            break
    return group


def weights(group: Group, member: int) -> dict[str, torch.Tensor]:
    return {name: value[member].detach().clone() for name, value in group.weights.items()}


def same(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor], within: float) -> bool:
    return all(torch.allclose(value, other[name], rtol=0, atol=within) for name, value in one.items())


def test_one_network_begins_from_given_weights(records: list[TrainingRecord]) -> None:
    group = Group(CONFIG, [Member("a", 0), Member("b", 1)], len(records), CPU)
    drawn = weights(group, 0), weights(group, 1)
    given = {f"token.{n}": v for n, v in build_network(replace(CONFIG, seed=7)).token.state_dict().items()}
    group.begin(1, given)
    assert same(drawn[0], weights(group, 0), 0)
    begun, averaged = weights(group, 1), group.networks()["b"].state_dict()
    for name, value in given.items():
        torch.testing.assert_close(begun[f"network.{name}"], value, rtol=0, atol=0)
        torch.testing.assert_close(averaged[name], value, rtol=0, atol=0)
    others = {name: value for name, value in drawn[1].items() if ".beat." in name}
    assert others
    assert same(others, begun, 0)


def test_each_network_ends_where_it_would_have_ended_alone(records, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    group = trained(records, [Member("a", 0), Member("b", 1)], tmp_path)
    source = windows(records)
    for number, seed in enumerate((0, 1)):
        alone = Objective(build_network(replace(CONFIG, seed=seed)), CONFIG.loss)
        optimizer = torch.optim.AdamW(alone.parameters(), weight_decay=CONFIG.optim.decay)
        for step in range(6):
            for each in optimizer.param_groups:
                each["lr"] = learning_rate(step, CONFIG)
            alone(to_tensors(source(step)))["total"].backward()
            torch.nn.utils.clip_grad_norm_(alone.parameters(), CONFIG.optim.clip)
            optimizer.step()
            optimizer.zero_grad()
        assert same(dict(alone.named_parameters()), weights(group, number), 1e-4)
    assert not same(weights(group, 0), weights(group, 1), 1e-2)


def test_hidden_rows_teach_nothing_whatever_they_say(records, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Every target, signal and interval of hidden rows at random: not one bit of the step changes."""
    rng = np.random.default_rng(0)
    batch = windows(records)(3)
    batch["record"][:2], batch["record"][2:], batch["fuse"][:] = 0, 1, 0
    batch["weak_rhythm"][2:], batch["beat_weak"][2:] = 1, 1  # as a row of cinc2017 has them
    told = {name: value.copy() for name, value in batch.items()}
    for name in (*TARGETS, "signal", "beat_rr", "offset", "seen", "beat_present"):
        value = told[name][:2]
        real = value.dtype.kind == "f"
        told[name][:2] = rng.normal(size=value.shape) if real else rng.integers(0, 2, value.shape)
    outcome = []
    for each in (batch, told):
        group = Group(CONFIG, [Member("blind", 0, frozenset({0})), Member("sees", 0)], 2, CPU)
        group.train_step(to_tensors(each))
        outcome.append((group.losses.clone(), weights(group, 0), weights(group, 1)))
    (one, blind, sees), (other, blind2, sees2) = outcome
    assert one[0] == other[0]
    assert same(blind, blind2, 0.0)
    assert one[1] != other[1]
    assert not same(sees, sees2, 1e-6)


@pytest.mark.parametrize("name", TARGETS)
def test_every_target_counts(records, name: str) -> None:  # type: ignore[no-untyped-def]
    """What the list of hidden targets names is what the losses read."""
    batch = to_tensors(windows(records)(1))
    batch["weak_rhythm"][:], batch["beat_weak"][:] = 0, 0
    objective = Objective(build_network(CONFIG), CONFIG.loss)
    batch[name][:] = 0 if name != "weak_rhythm" else 1
    known = float(objective(batch)["total"].detach())
    batch[name][:] = -1
    assert float(objective(batch)["total"].detach()) != known


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_a_killed_run_goes_on_to_the_same_weights(records, dropout: float, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    config = replace(CONFIG, optim=replace(CONFIG.optim, dropout=dropout))
    members = [Member("a", 0), Member("b", 1, frozenset({1}))]

    def groups() -> list[Group]:
        return [
            Group(each, members, len(records), CPU)
            for each in (config, replace(config, loss=replace(config.loss, shape=1.0)))
        ]

    whole, part, resumed = groups(), groups(), groups()
    assert list(train_groups(whole, windows(records), workers=0, out=tmp_path / "whole")) == [
        1,
        2,
        3,
        4,
        5,
        6,
    ]
    for step in train_groups(part, windows(records), workers=0, out=tmp_path / "part"):
        if step == 4:  # the last kept state is that of step 3
            break
    assert list(train_groups(resumed, windows(records), workers=0, out=tmp_path / "part")) == [4, 5, 6]
    for one, other in zip(whole, resumed, strict=True):
        assert same(one.state(), other.state(), 0.0)
    assert list(train_groups(resumed, windows(records), workers=0, out=tmp_path / "part")) == []
    shipped = whole[0].networks()["b"].state_dict()
    assert all(torch.equal(shipped[n.removeprefix("network.")], v[1]) for n, v in whole[0].average.items())


@pytest.mark.parametrize(
    "members",
    [
        [Member("a", 1)],
        [Member("a", 0, frozenset({2}))],
        [Member("a", 0), Member("b", 0)],
    ],
)
def test_a_run_that_began_from_anything_else_is_refused(
    records, members: list[Member], tmp_path: Path
) -> None:  # type: ignore[no-untyped-def]
    trained(records, [Member("a", 0)], tmp_path)
    with pytest.raises(StateError, match="delete it to begin anew"):
        trained(records, members, tmp_path)
    with pytest.raises(StateError, match="delete it to begin anew"):
        trained(records[1:], [Member("a", 0)], tmp_path)


def test_networks_that_need_other_batches_are_refused(records, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    plain = build_network(CONFIG).spec
    for other in (replace(plain, delay=7), replace(plain, token=replace(plain.token, right=4))):
        group = Group(CONFIG, [Member("a", 0)], len(records), CPU, other)
        with pytest.raises(ConfigError, match="cannot share batches"):
            train_groups([group], windows(records), workers=0, out=tmp_path)


def test_a_damaged_state_is_named(records, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    trained(records, [Member("a", 0)], tmp_path)
    (tmp_path / STATE).write_bytes((tmp_path / STATE).read_bytes()[:-20])
    with pytest.raises(StateError, match=STATE):
        trained(records, [Member("a", 0)], tmp_path)


def test_a_loss_that_is_not_finite_is_never_kept(records, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    group = Group(CONFIG, [Member("a", 0)], len(records), CPU)
    with torch.no_grad():
        next(iter(group.weights.values())).fill_(float("nan"))
    with pytest.raises(ConfigError, match="not finite at step 3"):
        list(train_groups([group], windows(records), workers=0, out=tmp_path))
    assert not (tmp_path / STATE).exists()


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on a machine of one core
def test_batches_come_in_the_order_of_the_steps_whoever_prepares_them(records) -> None:  # type: ignore[no-untyped-def]
    source = windows(records)
    loader = torch.utils.data.DataLoader(Batches(source, 2, 7), batch_size=None, num_workers=2)
    for step, batch in enumerate(loader, 2):
        assert np.array_equal(batch["signal"].numpy(), source(step)["signal"])
    assert step == 6


def test_two_leads_of_a_record_come_one_after_the_other(records) -> None:  # type: ignore[no-untyped-def]
    batches = [windows(records)(step) for step in range(12)]
    fuse = np.stack([batch["fuse"] for batch in batches])
    assert {-1, 0, 1} == set(np.unique(fuse))
    for row, batch in zip(fuse, batches, strict=True):
        for first in np.flatnonzero(row == 1):
            assert row[first + 1] == -1
            for key in ("record", "beat_token", "beat_rr", "beat"):
                assert np.array_equal(batch[key][first], batch[key][first + 1])
            assert not np.array_equal(batch["signal"][first], batch["signal"][first + 1])


def test_fused_leads_weigh_as_they_can_be_read() -> None:
    heads = torch.zeros(3, 2, len(HEADS))
    heads[0, :, COLUMN["quality"]] = 9.0  # well readable beside a lead that is not
    heads[1, :, COLUMN["quality"]] = -9.0
    embedding = torch.arange(3.0)[:, None, None].expand(3, 2, 4)
    joined = fused(heads, embedding, torch.tensor([1, -1, 0]))
    torch.testing.assert_close(joined[:2], torch.zeros(2, 2, 4), atol=1e-3, rtol=0)
    assert torch.equal(joined[2], embedding[2])
