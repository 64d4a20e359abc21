"""Checkpoints: a folder with ``weights.safetensors`` and ``checkpoint.json``; never a pickle."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Union

import msgspec
from safetensors import SafetensorError
from safetensors.torch import load, save

from edgeecg.errors import ConfigError
from edgeecg.io.atomic import atomic_path, clear_partials
from edgeecg.model.transformer import Network
from edgeecg.specs import ModelSpec

__all__ = [
    "CHECKPOINT",
    "SETTINGS",
    "Checkpoint",
    "load_checkpoint",
    "network_from_weights",
    "save_checkpoint",
    "weights_of",
]

WEIGHTS = "weights.safetensors"
SETTINGS = "checkpoint.json"
CHECKPOINT = "checkpoint"  # folder of a run that holds them


@dataclass(frozen=True)
class Checkpoint:
    """A network and what is known of it.

    Parameters
    ----------
    network : Network
        In evaluation mode, on the CPU.
    meta : mapping
        Whatever :func:`save_checkpoint` was given: thresholds, provenance, training settings.
    """

    network: Network
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Settings:
    model: ModelSpec
    meta: dict[str, Any]
    weights: str = ""
    """SHA-256 of the weights' file; a checkpoint of an older release has none."""


def save_checkpoint(folder: Union[str, os.PathLike[str]], network: Network, meta: Mapping[str, Any]) -> Path:
    """Write a network to a folder; each file appears whole or not at all.

    Parameters
    ----------
    meta : mapping
        What JSON can hold.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    weights = weights_of(network)
    said = _Settings(network.spec, dict(meta), sha256(weights).hexdigest())
    settings = msgspec.json.format(msgspec.json.encode(asdict(said)), indent=2)
    clear_partials(target / WEIGHTS, target / SETTINGS)
    for name, data in ((WEIGHTS, weights), (SETTINGS, settings)):
        with atomic_path(target / name) as path:
            path.write_bytes(data)
    return target


def load_checkpoint(folder: Union[str, os.PathLike[str]]) -> Checkpoint:
    """Read what :func:`save_checkpoint` wrote.

    Raises
    ------
    ConfigError
        A file is missing, or the two do not fit each other.
    """
    source = Path(folder)
    if (source / CHECKPOINT / SETTINGS).is_file() and not (source / SETTINGS).is_file():
        source = source / CHECKPOINT  # of the run that was named
    for name in (WEIGHTS, SETTINGS):
        if not (source / name).is_file():
            raise ConfigError(
                f"no checkpoint in {source}, {name} is missing: give the --out of `edgeecg train`"
            )
    try:
        settings = msgspec.json.decode((source / SETTINGS).read_bytes(), type=_Settings)
    except (msgspec.MsgspecError, ConfigError) as error:
        raise ConfigError(f"{source / SETTINGS} cannot be read ({error}): train again") from error
    data = (source / WEIGHTS).read_bytes()
    if settings.weights not in ("", sha256(data).hexdigest()):
        raise ConfigError(
            f"{source / WEIGHTS} is not of this checkpoint: copy the folder again, or train again"
        )
    try:
        network = network_from_weights(settings.model, data)
    except ConfigError as error:
        raise ConfigError(f"{source / WEIGHTS}: {error}") from error
    return Checkpoint(network, settings.meta)


def weights_of(network: Network) -> bytes:
    """The network's weights as safetensors."""
    tensors = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    return bytes(save(tensors))


def network_from_weights(spec: ModelSpec, data: bytes) -> Network:
    """A network of these sizes with these weights, in evaluation mode; ``ConfigError`` if they do not fit."""
    network = Network(spec)
    try:
        network.load_state_dict(load(data))
    except SafetensorError as error:
        raise ConfigError(f"the weights cannot be read ({error}): get the file again") from error
    except RuntimeError as error:  # load_state_dict lists what is missing over several lines
        reason = " ".join(str(error).split())
        raise ConfigError(f"the weights do not fit the model's sizes: {reason[:200]}") from error
    return network.eval()
