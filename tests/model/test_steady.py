"""A network held to what it said of a signal while it hears what another recorder makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from edgeecg.bundle import Bundle
from edgeecg.data.augment import AugmentSettings
from edgeecg.data.prepare import TrainingData, load_training_data
from edgeecg.data.settings import DataSettings
from edgeecg.errors import ConfigError
from edgeecg.model.checkpoint import network_from_weights
from edgeecg.model.config import OptimSettings, TrainConfig
from edgeecg.model.run import train_run
from edgeecg.model.steady import Steadiness
from edgeecg.model.train import Trainer, build_network, to_tensors, training_windows
from edgeecg.model.transformer import Network

STEADY = TrainConfig(
    preset="nano",
    workers=0,
    data=DataSettings(synthetic_patients=6, synthetic_seconds=40),
    optim=OptimSettings(steps=30, batch=8, seconds=20, rate=3e-3, average=0.9, steady=True, pseudo_every=0),
    augment=AugmentSettings(recorder=1.0, pair=0.5),
)


@pytest.fixture(scope="module")
def data() -> TrainingData:
    return load_training_data(STEADY.data, 0)


def begun() -> Network:
    """Weights that know something: those of the packaged ``nano``."""
    bundle = Bundle.open("nano")
    return network_from_weights(bundle.spec, bundle.weights())


def batches(data: TrainingData, config: TrainConfig = STEADY, count: int = 4) -> Iterator[dict[str, Tensor]]:
    windows = training_windows(config, data.training, data.noise, build_network(config).spec, seed=9)
    return (to_tensors(windows(step)) for step in range(1000, 1000 + count))


def loss(network: Network, beside: Network, data: TrainingData) -> float:
    """How far a network departs from another, on windows that no training here draws."""
    objective = Steadiness(beside)
    objective.network = network.eval()
    with torch.no_grad():
        return sum(float(objective(batch)["total"]) for batch in batches(data))


def test_on_the_plain_signal_it_says_what_it_said(data: TrainingData) -> None:
    for batch in batches(data):
        assert not torch.equal(batch["plain"], batch["signal"])
        objective = Steadiness(begun().eval())
        with torch.no_grad():
            parts, there = objective({**batch, "signal": batch["plain"]}), objective(batch)
        assert all(float(value) == pytest.approx(0, abs=1e-6) for value in parts.values())
        assert all(float(value) > 1e-6 for value in there.values())


def test_plain_windows_are_those_without_another_recorder(data: TrainingData) -> None:
    """So a seed shows a network the same patients, whether they come from elsewhere or not."""
    home = replace(
        STEADY, augment=replace(STEADY.augment, recorder=0.0), optim=OptimSettings(batch=8, seconds=20)
    )
    for here, there in zip(batches(data, home, 1), batches(data, count=1), strict=True):
        assert torch.equal(here["signal"], there["plain"])
        assert "plain" not in here
        assert torch.equal(here["beat_class"], there["beat_class"])


def test_what_no_recording_fills_counts_for_nothing(data: TrainingData) -> None:
    batch = next(batches(data))
    batch["seen"][:], batch["beat_present"][:] = 0, 0
    with torch.no_grad():
        assert float(Steadiness(begun())(batch)["total"]) == 0


def test_it_comes_closer(data: TrainingData, tmp_path: Path) -> None:
    whole = Trainer(STEADY, data.training, data.noise, tmp_path, initial=begun()).run()
    assert loss(whole, begun(), data) < 0.97 * loss(begun(), begun(), data)


def test_it_goes_on_after_a_kill(data: TrainingData, tmp_path: Path) -> None:
    """Beside the weights to begin from, not beside those that it had come to."""

    class Killed:
        def step(self, step: int, values: dict[str, float]) -> None:
            assert set(values) >= {"embedding", "heads", "offset", "beat_class", "beat_rhythm", "total"}
            if step == 5:
                raise KeyboardInterrupt

    optim = replace(STEADY.optim, steps=8, checkpoint_every=3, dropout=0.1, rate=0.02, pseudo_every=2)
    config = replace(STEADY, optim=optim)

    def trainer(name: str) -> Trainer:
        """With a recording whose beats nobody labelled: they are found as by the weights to begin from."""
        blank = replace(data.training[0], complete=False, weak_label="N")
        blank.beats, blank.labels = np.empty(0), np.empty(0, np.int64)
        records = [blank, *data.training[1:]]
        return Trainer(config, records, data.noise, tmp_path / name, initial=begun())

    whole = trainer("whole").run()
    with pytest.raises(KeyboardInterrupt):
        trainer("cut").run(Killed())
    again = trainer("cut")
    assert again.restore()
    resumed = again.run()
    assert len(again.unlabelled[0].beats) > 20
    assert all(torch.equal(v, resumed.state_dict()[name]) for name, v in whole.state_dict().items())


@pytest.mark.parametrize(
    ("optim", "recorder", "told"),
    [
        ({}, 0.0, r"give augment\.recorder a share"),
        ({"freeze_tokens": True}, 0.5, r"leave out optim\.freeze_tokens"),
    ],
)
def test_settings_that_contradict_it_are_refused(optim: dict[str, bool], recorder: float, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        replace(
            STEADY,
            optim=replace(STEADY.optim, **optim),
            augment=replace(STEADY.augment, recorder=recorder),
        )


def test_it_needs_weights_that_said_something(data: TrainingData, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--init"):
        train_run(STEADY, tmp_path / "run")
    with pytest.raises(ConfigError, match="weights to begin from"):
        Trainer(STEADY, data.training, data.noise, tmp_path / "run")


def test_losses_of_labels_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"leave out \[loss\]"):
        replace(STEADY, loss=replace(STEADY.loss, beat=1.0))
