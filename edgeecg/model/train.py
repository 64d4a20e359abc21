"""The training loop: Fabric carries it to other devices, a fixed schedule ends it, a kill does not."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from edgeecg.data.dataset import Windows
from edgeecg.data.recording import UNKNOWN, TrainingRecord
from edgeecg.errors import ConfigError
from edgeecg.model.annotate import annotate_records
from edgeecg.model.config import TrainConfig
from edgeecg.model.losses import Objective
from edgeecg.model.origin import check_origin, origin_of
from edgeecg.model.presets import preset
from edgeecg.model.resume import TENSORS, load_run, read_facts, read_run, save_run
from edgeecg.model.steady import Steadiness
from edgeecg.model.team import Team
from edgeecg.model.transformer import Network
from edgeecg.specs import ModelSpec

__all__ = [
    "Trainer",
    "build_network",
    "build_objective",
    "find_pseudo_beats",
    "learning_rate",
    "seed_step",
    "to_tensors",
    "training_windows",
    "with_dropout",
]


class Progress(Protocol):
    """Who is told how the training goes (a progress bar, TensorBoard, a test)."""

    def step(self, step: int, values: dict[str, float]) -> None:
        """After every step."""


def build_network(config: TrainConfig, spec: ModelSpec | None = None) -> Network:
    """The untrained network of a configuration, seeded; of other sizes where they are given."""
    torch.manual_seed(config.seed)
    spec = spec or replace(preset(config.preset), positions=config.positions)
    return with_dropout(Network(spec), config)


def with_dropout(network: Network, config: TrainConfig) -> Network:
    """The network, set to leave out what the configuration says while it trains."""
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = config.optim.dropout
    return network


def build_objective(network: Network, config: TrainConfig) -> Objective | Steadiness:
    """What a network is asked, beside itself as it is now where the configuration says so."""
    if config.optim.steady:
        return Steadiness(network)
    teacher = copy.deepcopy(network.beat) if config.optim.freeze_tokens else None
    return Objective(network, config.loss, teacher)


def training_windows(
    config: TrainConfig,
    records: Sequence[TrainingRecord],
    noise: Sequence[NDArray[np.float32]],
    spec: ModelSpec,
    seed: int,
) -> Windows:
    """The batches that a configuration trains on."""
    return Windows(
        records=records,
        noise=noise,
        spec=spec,
        signal=config.signal,
        augment=config.augment,
        share=config.data.sets,
        seconds=config.optim.seconds,
        batch=config.optim.batch,
        rare=config.optim.rare,
        seed=seed,
    )


def learning_rate(step: int, config: TrainConfig) -> float:
    """Linear warm-up, then a cosine to zero."""
    optim = config.optim
    warm = max(1, round(optim.warmup * optim.steps))
    if step < warm:
        return optim.rate * (step + 1) / warm
    return optim.rate * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, optim.steps - warm)))


def seed_step(seed: int, step: int) -> None:
    """Draw the step's dropout from its number alone, so that a resumed run draws the same."""
    torch.manual_seed(int(np.random.SeedSequence([seed, step]).generate_state(1)[0]))


def find_pseudo_beats(network: Network, windows: Windows, records: Sequence[TrainingRecord]) -> None:
    """Give recordings without beat labels the beats that the network itself finds in them."""
    for record, found in zip(records, annotate_records(network, windows, records), strict=True):
        record.beats = found.place
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


def to_tensors(batch: Any) -> dict[str, Tensor]:
    """A batch for PyTorch."""
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
    team : Team, optional
        The run's processes, where they have been started already.
    """

    def __init__(
        self,
        config: TrainConfig,
        records: Sequence[TrainingRecord],
        noise: Sequence[NDArray[np.float32]],
        out: Path,
        evaluate: Callable[[Network], dict[str, float]] | None = None,
        initial: Network | None = None,
        team: Team | None = None,
    ) -> None:
        if config.optim.steady and initial is None:
            raise ConfigError("optim.steady holds a network to what it said: give weights to begin from")
        self.config, self.out, self.evaluate = config, out, evaluate
        self.team = team if team is not None else Team(config)
        self.fabric = self.team.fabric
        self.origin = origin_of(config, initial, records, noise)
        self.network = with_dropout(initial, config) if initial is not None else build_network(config)
        if config.optim.freeze_tokens:
            self.network.token.requires_grad_(False)
        # equal in every process, since each takes the same steps
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        # finds the beats of unlabelled recordings; part of the run's state, so a resumed run finds the same
        self.finder = copy.deepcopy(self.average)
        optim = config.optim
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=optim.rate, weight_decay=optim.decay)
        # before the state is restored: the optimizer's moments go to where its parameters are
        self._objective, self._optimizer = self.fabric.setup(
            build_objective(self.network, config), self.optimizer
        )
        seed = self.team.seed(config.seed)
        self.windows = training_windows(config, records, noise, self.network.spec, seed)
        self.unlabelled = [record for record in records if not record.complete]
        self.step = 0
        self.seconds = 0.0

    @property
    def modules(self) -> dict[str, Network]:
        """Every set of weights that the next step depends on."""
        return {"network": self.network, "average": self.average, "finder": self.finder}

    def restore(self) -> bool:
        """Go on with a run that is already in ``out``; whether there was one.

        Raises
        ------
        ConfigError
            It began from other settings, weights or recordings.
        StateError
            It is damaged, or of another network.
        """
        data = self.team.first(lambda: read_run(self.out))
        if data is None:
            return False
        facts = self.team.each(lambda: self._restore(data))
        self.step, self.seconds = int(facts["step"]), float(facts["seconds"])
        return True

    def _restore(self, data: bytes) -> dict[str, Any]:
        facts = read_facts(data, self.out / TENSORS)
        check_origin(self.out, facts, self.origin)
        load_run(data, self.out, self.modules, self.optimizer)
        self.fabric.strategy.precision.load_state_dict(facts.get("precision", {}))
        return facts

    def save(self) -> None:
        """Keep the run; only the first process writes."""
        facts = {
            **self.origin.to_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "precision": self.fabric.strategy.precision.state_dict(),  # of 16-mixed: the scale of the losses
        }
        self.team.first(lambda: save_run(self.out, self.modules, self.optimizer, facts))

    @property
    def found_once(self) -> bool:
        """Whether pseudo-beats are, to the end, those that the weights to begin from find."""
        return self.config.optim.freeze_tokens or self.config.optim.steady

    @property
    def pseudo_every(self) -> int:
        """Steps between two searches for pseudo-beats; 0 for never."""
        return 0 if self.found_once else self.config.optim.pseudo_every

    def phases(self) -> Iterator[tuple[int, int]]:
        """Stretches of steps between two searches for pseudo-beats."""
        steps, every = self.config.optim.steps, self.pseudo_every
        if not every or not self.unlabelled:
            yield self.step, steps
            return
        while self.step < steps:
            yield self.step, min(steps, (self.step // every + 1) * every)

    def run(self, progress: Progress | None = None) -> Network:
        """Train to the end of the schedule; returns the averaged network.

        Only the first process tells its progress.
        """
        every = self.pseudo_every
        if self.found_once:
            blank = [record for record in self.unlabelled if not len(record.beats)]
            find_pseudo_beats(self.finder, self.windows, blank)
        for begin, end in self.phases():
            if every and self.unlabelled and begin >= every:
                if begin % every == 0:
                    self.finder.load_state_dict(self.average.state_dict())
                find_pseudo_beats(self.finder, self.windows, self.unlabelled)
            loader = DataLoader(
                _Batches(self.windows, begin, end),
                batch_size=None,
                num_workers=self.config.workers,
                collate_fn=to_tensors,
                prefetch_factor=4 if self.config.workers else None,
            )
            clock = time.monotonic()
            for batch in loader:
                self.seconds += time.monotonic() - clock
                clock = time.monotonic()
                values = self.train_step(self.fabric.to_device(batch))
                if progress is not None and self.team.leads:
                    progress.step(self.step, values)
        self.save()
        return self.average.eval()

    def train_step(self, batch: dict[str, Tensor]) -> dict[str, float]:
        """One batch: losses, gradient, average, and what is due after it."""
        optim = self.config.optim
        rate = learning_rate(self.step, self.config)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self.network.train()
        if optim.freeze_tokens:
            self.network.token.eval()
        seed_step(self.windows.seed, self.step)
        parts = self._objective(batch)
        self.fabric.backward(parts["total"])
        norm = self._clip()
        self._optimizer.step()
        self._optimizer.zero_grad()
        self.step += 1
        keep = min(optim.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for mean, value in zip(self.average.parameters(), self.network.parameters(), strict=True):
                mean.lerp_(value.detach().to(mean.device), 1 - keep)
        values = {name: float(part.detach()) for name, part in parts.items()} | {"rate": rate, "norm": norm}
        if self.evaluate is not None and self.team.leads and self.step % optim.evaluate_every == 0:
            values |= self.evaluate(self.average)
        if self.step % optim.checkpoint_every == 0:
            self.save()
        return values

    def _clip(self) -> float:
        """Norm of the gradient, before it is cut down to the largest that is allowed."""
        norm = self.fabric.clip_gradients(
            self._objective, self._optimizer, max_norm=self.config.optim.clip, error_if_nonfinite=False
        )
        value = float(norm) if norm is not None else 0.0
        # in 16-mixed an overflow is a step left out, from which its scaler learns
        if not math.isfinite(value) and self.config.precision != "16-mixed":
            self.team.stop(
                ConfigError(
                    f"the gradient was not finite at step {self.step}: lower optim.rate and start anew"
                )
            )
        return value
