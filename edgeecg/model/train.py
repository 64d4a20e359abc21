"""The training loop: Fabric carries it to other devices, a fixed schedule ends it, a kill does not."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from edgeecg.data.dataset import UNKNOWN, TrainingRecord, Windows
from edgeecg.errors import ConfigError
from edgeecg.model.annotate import annotate_grid
from edgeecg.model.config import TrainConfig
from edgeecg.model.losses import Objective
from edgeecg.model.presets import preset
from edgeecg.model.resume import load_run, save_run
from edgeecg.model.transformer import Network
from edgeecg.signal.filter import BandPass

__all__ = ["Trainer", "build_network", "find_pseudo_beats", "learning_rate"]


class Progress(Protocol):
    """Who is told how the training goes (a progress bar, TensorBoard, a test)."""

    def step(self, step: int, values: dict[str, float]) -> None:
        """After every step."""


def build_network(config: TrainConfig) -> Network:
    """The untrained network of a configuration, seeded."""
    torch.manual_seed(config.seed)
    return Network(replace(preset(config.preset), positions=config.positions))


def learning_rate(step: int, config: TrainConfig) -> float:
    """Linear warm-up, then a cosine to zero."""
    optim = config.optim
    warm = max(1, round(optim.warmup * optim.steps))
    if step < warm:
        return optim.rate * (step + 1) / warm
    return optim.rate * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, optim.steps - warm)))


def find_pseudo_beats(network: Network, windows: Windows, records: Sequence[TrainingRecord]) -> None:
    """Give recordings without beat labels the beats that the network itself finds in them."""
    network.eval()
    shift = BandPass(windows.signal).latency
    for record in records:
        found = annotate_grid(network, windows.front_end(record.signal[:1].astype(np.float64))[0])
        record.beats = np.maximum(found.place - shift, 0.0)
        record.labels = np.full(len(found.place), UNKNOWN)
        record.power = ()
        record.__post_init__()


class _Batches(Dataset[dict[str, NDArray[Any]]]):
    """Batch by step."""

    def __init__(self, windows: Windows, begin: int, end: int) -> None:
        self.windows, self.begin, self.end = windows, begin, end

    def __len__(self) -> int:
        return self.end - self.begin

    def __getitem__(self, index: int) -> dict[str, NDArray[Any]]:
        return self.windows(self.begin + index)


def _to_tensors(batch: Any) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in batch.items()}


class Trainer:
    """One run.

    Parameters
    ----------
    config : TrainConfig
    records : sequence of TrainingRecord
        Training patients only.
    noise : sequence of float32 arrays
        Recorded noise at 128 Hz.
    out : Path
        Folder of the run; a run that is already there goes on.
    evaluate : callable, optional
        Called with the averaged network every ``evaluate_every`` steps; returns figures to report.
    initial : Network, optional
        Weights to begin from (fine-tuning).
    """

    def __init__(
        self,
        config: TrainConfig,
        records: Sequence[TrainingRecord],
        noise: Sequence[NDArray[np.float32]],
        out: Path,
        evaluate: Callable[[Network], dict[str, float]] | None = None,
        initial: Network | None = None,
    ) -> None:
        self.config, self.out, self.evaluate = config, out, evaluate
        self.fabric = Fabric(
            accelerator=config.accelerator,
            devices=config.devices,
            precision=config.precision,  # type: ignore[arg-type]
        )
        self.network = initial if initial is not None else build_network(config)
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        # finds the beats of unlabelled recordings; part of the run's state, so a resumed run finds the same
        self.finder = copy.deepcopy(self.average)
        optim = config.optim
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=optim.rate, weight_decay=optim.decay)
        self.windows = Windows(
            records=records,
            noise=noise,
            spec=self.network.spec,
            signal=config.signal,
            augment=config.augment,
            share=config.data.sets,
            seconds=optim.seconds,
            batch=optim.batch,
            rare=optim.rare,
            seed=config.seed,
        )
        self.unlabelled = [record for record in records if not record.complete]
        self.step = 0
        self.seconds = 0.0

    @property
    def modules(self) -> dict[str, Network]:
        """Every set of weights that the next step depends on."""
        return {"network": self.network, "average": self.average, "finder": self.finder}

    def restore(self) -> bool:
        """Go on with a run that is already in ``out``; whether there was one."""
        facts = load_run(self.out, self.modules, self.optimizer)
        if facts is None:
            return False
        if facts["config"] != json.loads(json.dumps(self.config.to_dict())):
            raise ConfigError(f"the run in {self.out} has other settings: choose another --out, or delete it")
        self.step, self.seconds = int(facts["step"]), float(facts["seconds"])
        return True

    def save(self) -> None:
        """Keep the run."""
        save_run(
            self.out,
            self.modules,
            self.optimizer,
            {"step": self.step, "seconds": self.seconds, "config": self.config.to_dict()},
        )

    def phases(self) -> Iterator[tuple[int, int]]:
        """Stretches of steps between two searches for pseudo-beats."""
        steps, every = self.config.optim.steps, self.config.optim.pseudo_every
        if not every or not self.unlabelled:
            yield self.step, steps
            return
        while self.step < steps:
            yield self.step, min(steps, (self.step // every + 1) * every)

    def run(self, progress: Progress) -> Network:
        """Train to the end of the schedule; returns the averaged network."""
        objective, optimizer = self.fabric.setup(Objective(self.network, self.config.loss), self.optimizer)
        for begin, end in self.phases():
            every = self.config.optim.pseudo_every
            if every and self.unlabelled and begin >= every:
                if begin % every == 0:
                    self.finder.load_state_dict(self.average.state_dict())
                find_pseudo_beats(self.finder, self.windows, self.unlabelled)
            loader = DataLoader(
                _Batches(self.windows, begin, end),
                batch_size=None,
                num_workers=self.config.workers,
                collate_fn=_to_tensors,
                prefetch_factor=4 if self.config.workers else None,
            )
            clock = time.monotonic()
            for batch in loader:
                self.seconds += time.monotonic() - clock
                clock = time.monotonic()
                values = self.train_step(self.fabric.to_device(batch), objective, optimizer)
                progress.step(self.step, values)
        self.save()
        return self.average

    def train_step(self, batch: dict[str, Tensor], objective: Any, optimizer: Any) -> dict[str, float]:
        """One batch: losses, gradient, average, and what is due after it."""
        optim = self.config.optim
        rate = learning_rate(self.step, self.config)
        for group in optimizer.param_groups:
            group["lr"] = rate
        self.network.train()
        parts = objective(batch)
        self.fabric.backward(parts["total"])
        norm = self.fabric.clip_gradients(objective, optimizer, max_norm=optim.clip)
        optimizer.step()
        optimizer.zero_grad()
        self.step += 1
        keep = min(optim.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for mean, value in zip(self.average.parameters(), self.network.parameters(), strict=True):
                mean.lerp_(value.detach().to(mean.device), 1 - keep)
        values = {name: float(part.detach()) for name, part in parts.items()} | {
            "rate": rate,
            "norm": float(norm if norm is not None else 0.0),
        }
        if self.evaluate is not None and self.step % optim.evaluate_every == 0:
            values |= self.evaluate(self.average)
        if self.step % optim.checkpoint_every == 0:
            self.save()
        return values
