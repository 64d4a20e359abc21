"""Pre-training looks at signals and at nothing else."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
import torch
from pretraining import SHARE, hide, pretrain  # tools/

from edgeecg.data.augment import AugmentSettings
from edgeecg.data.dataset import Windows
from edgeecg.data.prepare import load_training_data
from edgeecg.data.settings import DataSettings
from edgeecg.model.config import TrainConfig
from edgeecg.model.train import build_network


@pytest.fixture(scope="module")
def windows() -> Windows:
    config = TrainConfig(
        preset="nano",
        data=DataSettings(sets={"synthetic": 1.0}, synthetic_patients=16, synthetic_seconds=30),
    )
    made = load_training_data(config.data, 0)
    spec = build_network(config).spec
    return Windows(
        made.training, [], spec, config.signal, AugmentSettings(noise=0.0), {"synthetic": 1.0},
        seconds=10, batch=4, rare=0.0,
    )  # fmt: skip


def test_whole_spans_are_hidden() -> None:
    hidden = hide(50, 160, np.random.default_rng(0))
    assert SHARE <= hidden.mean() < SHARE + 0.08
    edges = np.diff(hidden.astype(int), axis=1)
    assert (edges != 0).sum() < 0.3 * hidden.sum()  # single patches would have two edges each


def test_nothing_but_signals_is_looked_at(windows: Windows) -> None:
    class Signals:
        """No labels."""

        seed = windows.seed

        def __call__(self, step: int) -> dict[str, np.ndarray]:
            return {"signal": windows(step)["signal"]}

    config = TrainConfig(preset="nano")
    weights, _ = pretrain(build_network(config), windows, 3)
    others, _ = pretrain(build_network(config), Signals(), 3)  # type: ignore[arg-type]
    assert weights.keys() == {n for n in build_network(config).state_dict() if n.startswith("token.")}
    for name, value in weights.items():
        torch.testing.assert_close(value, others[name], rtol=0, atol=0)


def test_what_is_hidden_is_learnt(windows: Windows) -> None:
    _, losses = pretrain(build_network(TrainConfig(preset="nano")), windows, 250, rate=1e-2)
    assert np.mean(losses[-50:]) < 0.96 * np.mean(losses[:50])
