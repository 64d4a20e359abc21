"""What a run began from: settings, weights and recordings. A run goes on only from the same."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeecg.data.recording import TrainingRecord
from edgeecg.errors import ConfigError
from edgeecg.model.checkpoint import weights_of
from edgeecg.model.config import TrainConfig
from edgeecg.model.transformer import Network

__all__ = ["Origin", "check_origin", "check_settings", "origin_of", "recordings_hash"]

WAY_OUT = "choose another --out, or delete it"
FREE = ("workers", "data.root")  # may change between two parts of a run: they change no batch


@dataclass(frozen=True)
class Origin:
    """What a run began from, as it is kept with the run.

    Parameters
    ----------
    config : mapping
        Settings, as JSON has them.
    weights : str
        SHA-256 of the weights that were fine-tuned; empty for a run from scratch.
    recordings : str
        SHA-256 of the training recordings' names, patients, lengths, beats and labels.
    counts : mapping of str to int
        Training recordings of each set.
    samples : str
        SHA-256 of the samples of those that were read.
    """

    config: Mapping[str, Any]
    weights: str
    recordings: str
    counts: Mapping[str, int]
    samples: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def origin_of(
    config: TrainConfig,
    initial: Network | None,
    records: Sequence[TrainingRecord],
    noise: Sequence[NDArray[np.float32]],
) -> Origin:
    """What a run begins from; asked before the run has found any pseudo-beats."""
    return Origin(
        config=_plain(config),
        weights=hashlib.sha256(weights_of(initial)).hexdigest() if initial is not None else "",
        recordings=recordings_hash(records, noise),
        counts=dict(sorted(Counter(record.source for record in records).items())),
        samples=hashlib.sha256("".join(record.digest for record in records).encode()).hexdigest(),
    )


def recordings_hash(records: Sequence[TrainingRecord], noise: Sequence[NDArray[np.float32]]) -> str:
    """One hash; beats to the sample, so that another version of a resampler is no other recording."""
    digest = hashlib.sha256(json.dumps([len(tape) for tape in noise]).encode())
    for record in records:
        row = (record.name, record.patient, record.source, record.weak_label, *record.signal.shape)
        digest.update(json.dumps(row).encode())
        digest.update(np.rint(record.beats).astype("<i8").tobytes())
        digest.update(record.labels.astype("<i8").tobytes())
    return digest.hexdigest()


def check_origin(folder: Path, facts: Mapping[str, Any], now: Origin) -> None:
    """Refuse to go on with the run in ``folder`` from anything else than it began from.

    Parameters
    ----------
    facts : mapping
        What is kept with the run; what an older version did not keep is not compared.

    Raises
    ------
    ConfigError
        Says what is not the same.
    """
    check_settings(folder, facts, now)
    if facts.get("recordings", now.recordings) != now.recordings:
        before, here = (_counted(counts) for counts in (facts["counts"], now.counts))
        which = f"{before} then, {here} now" if before != here else f"{here}, but not the same"
        raise ConfigError(f"the run in {folder} was trained on other recordings ({which}): {WAY_OUT}")
    if facts.get("samples", now.samples) != now.samples:
        raise ConfigError(
            f"the run in {folder} was trained on other samples of the same recordings: {WAY_OUT}"
        )


def check_settings(folder: Path, facts: Mapping[str, Any], now: Origin) -> None:
    """What :func:`check_origin` asks of settings and weights, for which no recording is needed."""
    changed = _changes(facts["config"], now.config)
    if changed:
        raise ConfigError(f"the run in {folder} has other settings ({changed}): {WAY_OUT}")
    if facts.get("weights", now.weights) != now.weights:
        began = "was a fine-tuning of" if facts["weights"] else "did not begin from"
        raise ConfigError(f"the run in {folder} {began} other weights: give the same --init, or {WAY_OUT}")


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} of {name}" for name, count in counts.items())


def _plain(config: TrainConfig) -> dict[str, Any]:
    """Settings as JSON has them."""
    values: dict[str, Any] = json.loads(json.dumps(config.to_dict()))
    return values


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of all sections by their dotted names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= (
            {f"{name}.{key}": v for key, v in value.items()} if isinstance(value, Mapping) else {name: value}
        )
    return flat


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Settings that differ, in words; one that an older version did not have was at its default."""
    old = _flat(_plain(TrainConfig())) | _flat(before)
    return ", ".join(
        f"{name} was {old[name]}, is {value}"
        for name, value in _flat(now).items()
        if old[name] != value and name not in FREE
    )
