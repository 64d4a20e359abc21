"""A whole training run: data, split by patient, training, checkpoint."""

from __future__ import annotations

import fcntl
import logging
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgeecg.data.prepare import Report, TrainingData, load_training_data
from edgeecg.data.recording import TrainingRecord
from edgeecg.data.shown import PARENT
from edgeecg.errors import ConfigError
from edgeecg.model.checkpoint import CHECKPOINT, SETTINGS, load_checkpoint, save_checkpoint, weights_of
from edgeecg.model.config import TrainConfig
from edgeecg.model.initial import Initial, as_initial, begun_from
from edgeecg.model.origin import check_settings, origin_of
from edgeecg.model.presets import preset
from edgeecg.model.resume import LOCK, TENSORS, read_facts, read_run
from edgeecg.model.run_log import logged_run
from edgeecg.model.team import Team
from edgeecg.model.train import Trainer
from edgeecg.model.transformer import Network
from edgeecg.model.validate import validate
from edgeecg.specs import BEAT_LABELS
from edgeecg.words import counted

__all__ = ["RunReport", "train_run"]

TENSORBOARD = "tensorboard"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunReport:
    """What a run left: the checkpoint's folder and the figures of the validation patients."""

    checkpoint: Path
    figures: dict[str, float]


def _meta(
    data: TrainingData, trainer: Trainer, figures: dict[str, float], initial: Initial | None
) -> dict[str, Any]:
    """Where a checkpoint comes from; who is in the weights that it began from goes with it."""
    fabric = trainer.fabric
    thanks = [*data.attribution, *(initial.attribution() if initial is not None else ())]
    return {
        "config": trainer.config.to_dict(),
        "figures": figures,
        "init": initial.name if initial is not None else None,
        **({PARENT: initial.facts()} if initial is not None else {}),
        "sets": data.counts(),
        "validation": sorted(record.name for record in data.validation),
        "attribution": list(dict.fromkeys(thanks)),
        "seconds": round(trainer.seconds, 1),
        "machine": f"{platform.machine()}, {fabric.world_size} x {fabric.device.type}, "
        f"Python {platform.python_version()}",
        "parameters": trainer.average.parameter_count,
    }


def train_run(
    config: TrainConfig,
    out: Path,
    *,
    show: Callable[[int, dict[str, float]], None] = lambda step, values: None,
    say: Callable[[str], None] = lambda line: None,
    prepare: Report = lambda source, done, total: None,
    init: str | None = None,
) -> RunReport:
    """Train as the configuration says; a run that was interrupted goes on.

    Parameters
    ----------
    show : callable
        Told the step and its figures after every step, by the run's first process.
    say : callable
        Told in a line what begins, likewise; on each of several machines that they are waited for.
    prepare : callable
        Told how far the recordings of each set are prepared, likewise.
    init : str, optional
        Checkpoint folder or bundle whose weights to begin from.

    Raises
    ------
    ConfigError
        Settings that do not fit the data or the machine, or a run in ``out`` that began from others.
    RecordError
        A recording that cannot be read.
    """
    # what is wrong here shows before any data is read
    initial = None if init is None else begun_from(init, config)
    if initial is not None:
        config = as_initial(config, initial.network.spec, initial.name)
    else:
        preset(config.preset)
        if config.optim.freeze_tokens:
            raise ConfigError(
                "freeze_tokens trains on finished tokens: name the weights that have them by --init"
            )
        if config.optim.steady:
            raise ConfigError(
                "steady holds a network to what it said: name the weights to begin from by --init"
            )
    _check_folder(out)
    if config.nodes > 1:
        say(f"waiting for {config.nodes} machines: give this command on each, with MASTER_ADDR and NODE_RANK")
    team = Team(config)
    torch.set_num_threads(config.threads)
    tell, report = (say, prepare) if team.leads else (_silent, _silent)
    with ExitStack() as stack:
        team.first(lambda: stack.enter_context(_alone(out)))
        return _train(config, out, team, initial, show, tell, report)


def _train(
    config: TrainConfig,
    out: Path,
    team: Team,
    initial: Initial | None,
    show: Callable[[int, dict[str, float]], None],
    tell: Callable[[str], None],
    report: Report,
) -> RunReport:
    """From the recordings to the checkpoint, in a folder that is this run's alone."""
    team.first(lambda: _check_begun(out, config, initial))
    named = ", ".join(name for name, share in config.data.sets.items() if share > 0)
    tell(f"preparing recordings of {named}")
    data = team.each(lambda: load_training_data(config.data, config.seed, report))
    tell(_overview(data))
    lacking = () if config.optim.steady else _lacking(data.training)  # no label counts then
    for line in (*lacking, *_known(data.validation, initial)):
        tell(line)
    weights = None if initial is None else initial.network
    trainer = Trainer(config, data.training, data.noise, out, initial=weights, team=team)
    if data.validation:
        trainer.evaluate = lambda network: validate(network, trainer.windows, data.validation)
    if trainer.restore():
        finished = team.first(lambda: _finished(out / CHECKPOINT, trainer))
        if finished is not None:
            tell("this run is finished: nothing to do")
            return finished
        tell(f"going on at step {trainer.step} of {config.optim.steps}")
    network = logged_run(trainer, out / TENSORBOARD, show)
    return team.first(lambda: _keep(out / CHECKPOINT, network, data, trainer, initial))


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Keep other runs out of a folder; the lock goes with the process, also when it is killed."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / LOCK).open("a") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            raise ConfigError(
                f"another run is training in {out}: wait for it, or name another --out"
            ) from error
        except OSError as error:  # a file system without locks
            log.warning("%s cannot be locked (%s): start no second run there", out, error)
        yield


def _check_begun(out: Path, config: TrainConfig, initial: Initial | None) -> None:
    """Refuse other settings than those of a run that is there, before its recordings are read again."""
    data = read_run(out)
    if data is not None:
        weights = None if initial is None else initial.network
        check_settings(out, read_facts(data, out / TENSORS), origin_of(config, weights, [], []))


def _silent(*what: object) -> None:
    """What the processes behind the first one say."""


def _check_folder(out: Path) -> None:
    """Refuse a folder that cannot be written to, before hours are spent on what goes there."""
    there = next((path for path in (out, *out.parents) if path.exists()), Path())
    if not there.is_dir():
        raise ConfigError(f"cannot write to {out}: {there} is a file; name a folder by --out")
    if not os.access(there, os.W_OK):
        raise ConfigError(f"cannot write to {out}: {there} is not yours to write in; name another --out")


def _overview(data: TrainingData) -> str:
    """What is trained on, in a line."""
    people = len({record.patient for record in data.training})
    sets = ", ".join(f"{count} of {name}" for name, count in data.counts().items())
    return (
        f"training on {counted(len(data.training), 'recording')} of {counted(people, 'patient')} ({sets}); "
        f"{counted(len(data.validation), 'recording')} held out for validation"
    )


def _lacking(records: Sequence[TrainingRecord]) -> Iterator[str]:
    """What the recordings cannot teach."""
    labels = np.concatenate([record.labels for record in records])
    absent = [name for name in "NSV" if not (labels == BEAT_LABELS.index(name)).any()]
    if absent:
        yield f"note: no training recording has beats of {', '.join(absent)}: they will not be learnt"
    flat = [record.name for record in records if not np.ptp(np.nan_to_num(record.signal), axis=1).any()]
    if flat:
        yield f"note: {len(flat)} training recordings are flat or empty, {flat[0]} the first of them"


def _known(validation: Sequence[TrainingRecord], initial: Initial | None) -> Iterator[str]:
    """Whom the weights to begin from know already, though this run holds them out."""
    known = initial.knows(validation) if initial is not None else set()
    if initial is not None and known:
        everybody = len({record.patient for record in validation})
        yield (
            f"note: {initial.name} was trained on {len(known)} of the {everybody} validation patients: "
            "their figures are too good"
        )


def _finished(target: Path, trainer: Trainer) -> RunReport | None:
    """What a run left that has come to its end."""
    if trainer.step < trainer.config.optim.steps or not (target / SETTINGS).exists():
        return None
    try:
        checkpoint = load_checkpoint(target)
    except ConfigError:  # half of an older one: this run's is written now
        return None
    if weights_of(checkpoint.network) != weights_of(trainer.average):
        return None  # of a run that was here before
    return RunReport(target, dict(checkpoint.meta["figures"]))


def _keep(
    target: Path, network: Network, data: TrainingData, trainer: Trainer, initial: Initial | None
) -> RunReport:
    """Score the validation patients and write the checkpoint."""
    figures = validate(network, trainer.windows, data.validation) if data.validation else {}
    save_checkpoint(target, network, _meta(data, trainer, figures, initial))
    return RunReport(target, figures)
