"""Weights to fine-tune: where they are, what they were trained on, and whom they know."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edgeecg.bundle import Bundle, packaged_names
from edgeecg.data.recording import TrainingRecord
from edgeecg.data.settings import SYNTHETIC
from edgeecg.data.shown import PARENT, trainings, was_shown
from edgeecg.errors import ConfigError, StateError
from edgeecg.model.checkpoint import CHECKPOINT, SETTINGS, load_checkpoint, network_from_weights
from edgeecg.model.config import TrainConfig
from edgeecg.model.presets import PRESETS
from edgeecg.model.resume import LOCK, TENSORS, read_facts
from edgeecg.model.transformer import Network
from edgeecg.specs import ModelSpec

__all__ = ["Initial", "as_initial", "begun_from", "check_finished"]

KEPT = ("sets", "validation", "attribution", PARENT)
"""Facts of a training that stay with what is made of its weights."""


@dataclass(frozen=True)
class Initial:
    """Weights to begin from.

    Parameters
    ----------
    name : str
        As it was given.
    network : Network
    training : mapping
        What their checkpoint or bundle tells of their own training.
    """

    name: str
    network: Network
    training: Mapping[str, Any] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """What a checkpoint that is made of them keeps of their training."""
        return {"name": self.name, **{key: self.training[key] for key in KEPT if key in self.training}}

    def attribution(self) -> list[str]:
        """Whom to thank for what they were trained on."""
        return [thanks for facts in trainings(self.training) for thanks in facts.get("attribution", ())]

    def knows(self, records: Sequence[TrainingRecord]) -> set[str]:
        """Patients among these records whom they were trained on; made ones are nobody."""
        people = [record for record in records if record.source != SYNTHETIC]
        return {
            record.patient
            for record in people
            if was_shown(record.source, record.name.removeprefix(f"{record.source}/"), self.training)
        }


def begun_from(init: str, config: TrainConfig) -> Initial:
    """Weights to fine-tune: of a checkpoint folder, or of a bundle.

    Raises
    ------
    ConfigError
        No weights, a run that has not finished, or another front end than the configuration's.
    """
    other = ConfigError(f"{init} has another front end than this configuration's [signal]: take its values")
    folder = Path(init)
    ours = any((place / SETTINGS).exists() for place in (folder, folder / CHECKPOINT))
    if folder.is_dir() and (ours or init not in packaged_names()):
        check_finished(folder)
        checkpoint = load_checkpoint(init)
        said = checkpoint.meta.get("config", {}).get("signal")
        if said is not None and said != json.loads(json.dumps(config.to_dict()["signal"])):
            raise other
        return Initial(init, checkpoint.network, checkpoint.meta)
    bundle = Bundle.open(init)
    if bundle.signal != config.signal:
        raise other
    training = bundle.manifest.provenance.get("training", {})
    return Initial(init, network_from_weights(bundle.spec, bundle.weights()), training)


def as_initial(config: TrainConfig, spec: ModelSpec, init: str) -> TrainConfig:
    """The configuration, if it names the sizes of the weights to begin from.

    Sizes of no preset cannot be named, so they conflict with none; the checkpoint tells them.
    """
    if spec.positions != config.positions:
        raise ConfigError(
            f"{init} has {spec.positions} positions, the configuration says {config.positions}: "
            f'set positions = "{spec.positions}"'
        )
    name = next((n for n, sizes in PRESETS.items() if replace(sizes, positions=spec.positions) == spec), "")
    if name and name != config.preset:
        raise ConfigError(
            f"{init} has the sizes of preset {name}, the configuration says {config.preset}: "
            f'set preset = "{name}" (--preset {name})'
        )
    return replace(config, preset=name)


def check_finished(folder: Path) -> None:
    """Refuse the folder of a run that has begun and has left no checkpoint yet.

    Raises
    ------
    ConfigError
        Says how far the run is; other folders pass.
    """
    run = folder.parent if folder.name == CHECKPOINT else folder
    begun = any((run / name).is_file() for name in (LOCK, TENSORS))
    if not begun or any((place / SETTINGS).is_file() for place in (folder, run / CHECKPOINT)):
        return
    try:
        facts = read_facts((run / TENSORS).read_bytes(), run / TENSORS)
    except (OSError, StateError):  # killed before its first state, or damaged: the run itself says so
        kept = "no step of it is kept yet"
    else:
        steps = facts.get("config", {}).get("optim", {}).get("steps")
        kept = f"step {facts['step']}{f' of {steps}' if steps else ''} is kept"
    raise ConfigError(
        f"the training in {run} has not finished ({kept}): wait for it where it still runs, else give the "
        "same `edgeecg train` command again, and it goes on"
    )
