"""Everything that a training run can be told, with its default; a TOML file changes what it names.

Read with msgspec: a misspelt key or a wrong type is an error that names its place.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec

from edgeecg.data.augment import AugmentSettings
from edgeecg.data.settings import DataSettings
from edgeecg.errors import ConfigError
from edgeecg.io.toml import read_toml
from edgeecg.model.losses import LossSettings
from edgeecg.ranges import AtLeastOne, Count, Few, NotNegative, Positive, Seed, Share, choices
from edgeecg.specs import Positions, SignalSpec

__all__ = ["DataSettings", "OptimSettings", "TrainConfig", "read_config"]


@dataclass(frozen=True)
class OptimSettings:
    """How long and how fast.

    Parameters
    ----------
    steps : int
        Batches in all; the schedule is fixed: no early stop.
    batch, seconds : int
        Windows a batch, and their length.
    rate, warmup, decay : float
        Peak learning rate (AdamW), share of the steps that it rises, weight decay.
    dropout : float
        Share of what each half of a block adds that is left out while training.
    average : float
        Decay of the running average of the weights, which is what is kept.
    clip : float
        Largest norm of the gradient.
    pseudo_every : int
        Steps between searches for beats in recordings that have none labelled; 0 for never.
    evaluate_every, checkpoint_every : int
        Steps between evaluations of the validation patients, and between checkpoints.
    rare : float
        Share of the windows laid around a beat that is not N.
    freeze_tokens : bool
        Train the beat encoder alone, on the tokens of the weights to begin from (``--init``): some minutes
        in place of hours, and beats are found as before.
    steady : bool
        Hold the network to what the weights to begin from (``--init``) say of each signal, while it hears
        it as other recorders would have it (``augment.recorder``). No label counts, nor does ``loss``.
    """

    steps: AtLeastOne = 4000
    batch: AtLeastOne = 16
    seconds: Annotated[int, msgspec.Meta(ge=5, le=600)] = 60
    rate: Positive = 3e-3
    warmup: Share = 0.05
    decay: NotNegative = 0.02
    dropout: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.0
    average: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.998
    clip: Positive = 1.0
    pseudo_every: Count = 1000
    evaluate_every: AtLeastOne = 500
    checkpoint_every: AtLeastOne = 250
    rare: Share = 0.5
    freeze_tokens: bool = False
    steady: bool = False


FABRIC_PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps")


@dataclass(frozen=True)
class TrainConfig:
    """One training run.

    Parameters
    ----------
    preset : str
        ``nano``, ``micro``, ``small`` or ``base``.
    positions : str
        ``rotary`` streams; ``sinusoidal``, ``learned`` and ``none`` are for comparison.
    seed : int
        Of weights, batches and augmentation.
    precision : str
        Of Fabric: ``32-true``, ``bf16-mixed`` or ``16-mixed`` (where the device has it).
    accelerator : str
        Of Fabric: ``auto``, ``cpu``, ``gpu``, ``cuda`` or ``mps``.
    devices : int
        How many devices of this machine (GPUs, or processes on a CPU); each draws batches of its own.
    nodes : int
        How many machines, each with as many devices.
    threads : int
        CPU threads of PyTorch: more than one gains little on networks this small.
    workers : int
        Processes that prepare batches.
    """

    preset: str = "small"
    positions: Positions = "rotary"
    seed: Seed = 0
    precision: str = "32-true"
    accelerator: str = "auto"
    devices: Few = 1
    nodes: Few = 1
    threads: Few = 1
    workers: Annotated[int, msgspec.Meta(ge=0, le=256)] = 1
    data: DataSettings = field(default_factory=DataSettings)
    optim: OptimSettings = field(default_factory=OptimSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    signal: SignalSpec = field(default_factory=SignalSpec)

    def __post_init__(self) -> None:
        for name, value, known in (
            ("precision", self.precision, FABRIC_PRECISIONS),
            ("accelerator", self.accelerator, ACCELERATORS),
        ):
            if value not in known:
                raise ConfigError(f"{name} {value!r}: choose {', '.join(known)}")
        if self.optim.rate * self.optim.decay > 1:
            raise ConfigError(
                f"optim.decay {self.optim.decay:g} takes more than all of a weight off it in a step, at "
                f"optim.rate {self.optim.rate:g}: lower one (0.01 to 0.1 and 0.001 to 0.01 are usual)"
            )
        if self.optim.steady and not self.augment.recorder:
            raise ConfigError("optim.steady learns from other recorders: give augment.recorder a share")
        if self.optim.steady and self.optim.freeze_tokens:
            raise ConfigError("optim.steady trains both encoders: leave out optim.freeze_tokens")
        if self.optim.steady and self.loss != LossSettings():
            raise ConfigError("with optim.steady no label counts: leave out [loss]")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def _known_keys(cls: type, values: dict[str, Any], place: str = "") -> None:
    """Refuse keys that mean nothing: msgspec lets them pass for dataclasses."""
    hints = {f.name: f for f in cls.__dataclass_fields__.values()}  # type: ignore[attr-defined]
    for key, value in values.items():
        if key not in hints:
            raise ConfigError(f"unknown key {place + key!r}: known there are {', '.join(hints)}")
        factory = hints[key].default_factory
        if isinstance(value, dict) and isinstance(factory, type):
            _known_keys(factory, value, f"{place}{key}.")


def read_config(path: Path | None) -> TrainConfig:
    """Read a TOML file; ``None`` gives the defaults.

    Raises
    ------
    ConfigError
        Missing file, bad TOML, unknown key, wrong type: says which and where.
    """
    if path is None:
        return TrainConfig()
    values = read_toml(path, "configuration")
    try:
        _known_keys(TrainConfig, values)
        return msgspec.convert(values, TrainConfig)
    except (msgspec.ValidationError, ConfigError) as error:
        raise ConfigError(f"{path}: {error}{choices(str(error), TrainConfig)}") from error
