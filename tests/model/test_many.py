"""Networks trained together: each ends where it would alone, and learns nothing of whom it must not see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from edgeecg.data.augment import AugmentSettings
from edgeecg.data.dataset import TrainingRecord, Windows
from edgeecg.data.prepare import DataSettings, load_training_data
from edgeecg.errors import StateError
from edgeecg.model.config import OptimSettings, TrainConfig
from edgeecg.model.losses import COLUMN, Objective, fused
from edgeecg.model.many import Batches, Group, Member, train_groups
from edgeecg.model.train import build_network, learning_rate, to_tensors
from edgeecg.specs import HEADS

CONFIG = TrainConfig(
    preset="nano",
    optim=OptimSettings(steps=6, batch=4, seconds=10, rate=3e-3, checkpoint_every=3),
    augment=AugmentSettings(pair=0.5, tone=0.1),
)
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


def test_a_hidden_patient_teaches_nothing(records, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Other labels of a recording change the network that sees it, and not a bit of the one that must not."""
    drawn = {int(n) for step in range(6) for n in windows(records)(step)["record"]}
    which = next(n for n in drawn if (records[n].labels > 0).any())
    members = [Member("sees", 0), Member("blind", 0, frozenset({which}))]
    labels = records[which].labels
    told = list(records)  # S, V, F in turn: windows are laid around the same beats as before
    told[which] = replace(records[which], labels=np.where(labels > 0, 1 + labels % 3, 0))
    one, other = (trained(each, members, tmp_path / str(n)) for n, each in enumerate((records, told)))
    assert same(weights(one, 1), weights(other, 1), 0.0)
    assert not same(weights(one, 0), weights(other, 0), 1e-5)


def test_a_killed_run_goes_on_to_the_same_weights(records, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    members = [Member("a", 0), Member("b", 1, frozenset({1}))]
    whole = trained(records, members, tmp_path / "whole")
    trained(records, members, tmp_path / "part", steps=4)  # the last kept state is that of step 3
    resumed = Group(CONFIG, members, len(records), CPU)
    steps = list(train_groups([resumed], windows(records), workers=0, out=tmp_path / "part"))
    assert steps == [4, 5, 6]
    for member in (0, 1):
        assert same(weights(whole, member), weights(resumed, member), 0.0)
    finished = list(train_groups([resumed], windows(records), workers=0, out=tmp_path / "part"))
    assert finished == []


def test_a_run_of_other_networks_is_refused(records, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    trained(records, [Member("a", 0)], tmp_path)
    with pytest.raises(StateError, match="other networks"):
        trained(records, [Member("a", 0), Member("b", 0)], tmp_path)


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
