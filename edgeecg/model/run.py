"""A whole training run: data, split by patient, training, checkpoint."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.tensorboard import SummaryWriter

from edgeecg.data.prepare import TrainingData, load_training_data
from edgeecg.errors import ConfigError
from edgeecg.model.checkpoint import load_checkpoint, network_from_weights, save_checkpoint
from edgeecg.model.config import TrainConfig
from edgeecg.model.train import Trainer, build_network
from edgeecg.model.transformer import Network
from edgeecg.model.validate import validate

__all__ = ["RunReport", "train_run"]

CHECKPOINT = "checkpoint"
LOG_EVERY = 10


@dataclass(frozen=True)
class RunReport:
    """What a run left: the checkpoint's folder and the figures of the validation patients."""

    checkpoint: Path
    figures: dict[str, float]


class _Log:
    """Progress of a run to TensorBoard and to whoever shows it."""

    def __init__(self, folder: Path, show: Callable[[int, dict[str, float]], None]) -> None:
        self.writer = SummaryWriter(str(folder))
        self.show = show

    def step(self, step: int, values: dict[str, float]) -> None:
        """After every step."""
        self.show(step, values)
        for name, value in values.items():
            if "/" in name or step % LOG_EVERY == 0:
                self.writer.add_scalar(name if "/" in name else f"train/{name}", value, step)


def _initial(init: str | None, config: TrainConfig) -> Network | None:
    """Weights to fine-tune: of a checkpoint folder, or of a bundle."""
    if init is None:
        return None
    if (Path(init) / "checkpoint.json").exists():
        return load_checkpoint(init).network
    from edgeecg.bundle import Bundle

    bundle = Bundle.open(init)
    if bundle.signal != config.signal:
        raise ConfigError(
            f"{init} has another front end than this configuration's [signal]: take the bundle's values"
        )
    return network_from_weights(bundle.spec, bundle.weights())


def _meta(
    config: TrainConfig, data: TrainingData, trainer: Trainer, figures: dict[str, float], init: str | None
) -> dict[str, Any]:
    """Where a checkpoint comes from."""
    return {
        "config": config.to_dict(),
        "figures": figures,
        "init": init,
        "sets": data.counts(),
        "validation": sorted(record.name for record in data.validation),
        "attribution": list(data.attribution),
        "seconds": round(trainer.seconds, 1),
        "machine": f"{platform.machine()}, {trainer.fabric.device}, Python {platform.python_version()}",
        "parameters": trainer.average.parameter_count,
    }


def train_run(
    config: TrainConfig,
    out: Path,
    *,
    show: Callable[[int, dict[str, float]], None] = lambda step, values: None,
    say: Callable[[str], None] = lambda line: None,
    init: str | None = None,
) -> RunReport:
    """Train as the configuration says; a run that was interrupted goes on.

    Parameters
    ----------
    show : callable
        Told the step and its figures after every step.
    say : callable
        Told in a line what begins.
    init : str, optional
        Checkpoint folder or bundle whose weights to begin from.

    Raises
    ------
    ConfigError
        Settings that do not fit the data, or a run of other settings in ``out``.
    """
    torch.set_num_threads(config.threads)
    target = out / CHECKPOINT
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file: name a folder by --out")
    initial = _initial(init, config) or build_network(
        config
    )  # what is wrong here shows before the data is read
    say("preparing recordings")
    data = load_training_data(config.data, config.seed)
    say(
        f"training on {len(data.training)} recordings ({data.counts()}), "
        f"{len(data.validation)} held out for validation"
    )
    trainer = Trainer(config, data.training, data.noise, out, initial=initial)
    if data.validation:
        trainer.evaluate = lambda network: validate(network, trainer.windows, data.validation)
    if trainer.restore():
        say(f"going on at step {trainer.step} of {config.optim.steps}")
    log = _Log(out / "tensorboard", show)
    network = trainer.run(log)
    log.writer.close()
    figures = validate(network, trainer.windows, data.validation) if data.validation else {}
    save_checkpoint(target, network, _meta(config, data, trainer, figures, init))
    return RunReport(target, figures)
