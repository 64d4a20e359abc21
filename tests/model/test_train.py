"""Training: learns, resumes to the bit after a kill, refuses what does not fit, never picks by validation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from edgeecg.data.dataset import TrainingRecord
from edgeecg.data.prepare import DataSettings, load_training_data
from edgeecg.errors import ConfigError, StateError
from edgeecg.model.config import OptimSettings, TrainConfig, read_config
from edgeecg.model.run import train_run
from edgeecg.model.train import Trainer, learning_rate
from edgeecg.model.transformer import Network

TINY = TrainConfig(
    preset="nano",
    workers=0,
    data=DataSettings(synthetic_patients=6, synthetic_seconds=40, folds=3),
    optim=OptimSettings(steps=6, batch=2, seconds=20, evaluate_every=3, checkpoint_every=2),
)


class Silent:
    def step(self, step: int, values: dict[str, float]) -> None:
        """Nothing to show."""


@pytest.fixture(scope="module")
def data():  # type: ignore[no-untyped-def]
    return load_training_data(TINY.data, seed=0)


def weights(network: Network) -> torch.Tensor:
    return torch.cat([value.flatten() for value in network.state_dict().values()])


def test_the_loss_falls(data, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    config = replace(TINY, optim=replace(TINY.optim, steps=40, evaluate_every=1000))
    seen: list[float] = []

    class Log:
        def step(self, step: int, values: dict[str, float]) -> None:
            seen.append(values["beat"])

    Trainer(config, data.training, data.noise, tmp_path).run(Log())
    assert len(seen) == 40
    assert np.mean(seen[-5:]) < 0.7 * np.mean(seen[:5])


def test_a_killed_run_goes_on_to_the_same_weights(data, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    whole = Trainer(TINY, data.training, data.noise, tmp_path / "whole").run(Silent())

    class Kill:
        def step(self, step: int, values: dict[str, float]) -> None:
            if step == 5:  # one step after the checkpoint at 4: that step is done again
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Trainer(TINY, data.training, data.noise, tmp_path / "killed").run(Kill())
    again = Trainer(TINY, data.training, data.noise, tmp_path / "killed")
    assert again.restore()
    assert again.step == 4
    resumed = again.run(Silent())
    assert torch.equal(weights(whole), weights(resumed))


def test_a_resumed_run_finds_the_same_beats_in_unlabelled_recordings(data, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    config = replace(TINY, optim=replace(TINY.optim, steps=7, pseudo_every=3, checkpoint_every=5))

    def recordings() -> list[TrainingRecord]:
        silent = replace(
            data.training[0],
            complete=False,
            beats=np.empty(0),
            labels=np.empty(0, np.int64),
            weak_label="N",
        )
        return [silent, *data.training[1:]]

    class Kill:
        def step(self, step: int, values: dict[str, float]) -> None:
            if step == 5:  # in the middle of the second phase, right after a checkpoint
                raise KeyboardInterrupt

    complete = recordings()
    whole = Trainer(config, complete, data.noise, tmp_path / "whole").run(Silent())
    with pytest.raises(KeyboardInterrupt):
        Trainer(config, recordings(), data.noise, tmp_path / "killed").run(Kill())
    resumed = recordings()
    again = Trainer(config, resumed, data.noise, tmp_path / "killed")
    assert again.restore()
    assert torch.equal(weights(whole), weights(again.run(Silent())))
    np.testing.assert_array_equal(complete[0].beats, resumed[0].beats)


def test_validation_is_watched_but_chooses_nothing(data, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Known false road: picking the checkpoint by a score. Whatever is said of a network, the end is kept."""
    calls: list[int] = []

    def flatter(network: Network) -> dict[str, float]:
        calls.append(len(calls))
        return {"mitdb/V F1": 1.0 - len(calls) / 10}  # the first is the best

    watched = Trainer(TINY, data.training, data.noise, tmp_path / "a", evaluate=flatter).run(Silent())
    alone = Trainer(TINY, data.training, data.noise, tmp_path / "b").run(Silent())
    assert len(calls) == 2
    assert torch.equal(weights(watched), weights(alone))


def test_a_run_of_other_settings_is_refused(data, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    Trainer(TINY, data.training, data.noise, tmp_path).save()
    other = replace(TINY, optim=replace(TINY.optim, rate=1e-4))
    with pytest.raises(ConfigError, match="other settings"):
        Trainer(other, data.training, data.noise, tmp_path).restore()
    with pytest.raises(StateError, match="another network"):
        Trainer(replace(TINY, preset="micro"), data.training, data.noise, tmp_path).restore()


def test_a_whole_run_leaves_a_checkpoint_that_says_where_it_comes_from(tmp_path: Path) -> None:
    from edgeecg.model.checkpoint import load_checkpoint

    report = train_run(TINY, tmp_path)
    checkpoint = load_checkpoint(report.checkpoint)
    assert checkpoint.network.parameter_count == checkpoint.meta["parameters"]
    assert checkpoint.meta["validation"]
    assert set(checkpoint.meta["sets"]) == {"synthetic"}
    assert any(name.startswith("synthetic/") for name in report.figures)
    assert list((tmp_path / "tensorboard").iterdir())
    fine = train_run(replace(TINY, seed=1), tmp_path / "fine", init=str(report.checkpoint))
    moved = weights(load_checkpoint(fine.checkpoint).network) - weights(checkpoint.network)
    assert 0 < float(moved.abs().mean()) < 0.1, "fine-tuning begins from the weights that it was given"


def test_the_schedule_warms_up_and_ends_at_zero() -> None:
    config = replace(TINY, optim=replace(TINY.optim, steps=100, warmup=0.1, rate=1.0))
    rates = [learning_rate(step, config) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0)
    assert rates[-1] < 0.001
    assert rates[10:] == sorted(rates[10:], reverse=True)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("presett = 'nano'", "presett"),
        ("[optim]\nstep = 3", "optim.step"),
        ("[optim]\nsteps = 'many'", "steps"),
        ("preset = ", "not TOML"),
        ("positions = 'spiral'", "positions"),
    ],
)
def test_a_wrong_configuration_names_the_place(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=complaint):
        read_config(path)


def test_a_configuration_is_read(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text("preset = 'micro'\n[data.sets]\nmitdb = 0.5\nmine = 0.5\n[optim]\nsteps = 7\n")
    config = read_config(path)
    assert (config.preset, config.optim.steps, config.data.sets) == ("micro", 7, {"mitdb": 0.5, "mine": 0.5})
    assert read_config(None) == TrainConfig()
    with pytest.raises(ConfigError, match="no configuration"):
        read_config(tmp_path / "absent.toml")


def test_an_unknown_preset_lists_the_names(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nano, micro, small, base"):
        train_run(replace(TINY, preset="huge"), tmp_path)
