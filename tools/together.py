"""Groups of networks to the end of their schedule on the same batches; an interrupted run goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from many import Group  # beside this file
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from edgeecg.data.dataset import Windows
from edgeecg.errors import ConfigError, StateError
from edgeecg.io.atomic import atomic_path, clear_partials
from edgeecg.model.origin import recordings_hash
from edgeecg.model.resume import read_facts
from edgeecg.model.train import to_tensors
from edgeecg.specs import ModelSpec

__all__ = ["Batches", "train_groups"]

STATE = "networks.safetensors"


class Batches(IterableDataset[dict[str, Tensor]]):
    """Batches ``begin`` to ``end``, in the order of the steps however many workers deal them out."""

    def __init__(self, windows: Windows, begin: int, end: int) -> None:
        self.windows, self.begin, self.end = windows, begin, end

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        worker = get_worker_info()
        number, count = (worker.id, worker.num_workers) if worker is not None else (0, 1)
        for step in range(self.begin + number, self.end, count):
            yield to_tensors(self.windows(step))


def train_groups(groups: Sequence[Group], windows: Windows, *, workers: int, out: Path) -> Iterator[int]:
    """Train every group on the same batches.

    Parameters
    ----------
    groups : sequence of Group
        Of equal steps.
    windows : Windows
    workers : int
        Processes that prepare batches.
    out : Path
        Folder of the run's state, kept every ``checkpoint_every`` steps and at the end.

    Returns
    -------
    The steps done, one after the other: training goes on as they are asked for.

    Raises
    ------
    StateError
        The state in ``out`` is damaged, or began from other settings, networks, recordings or folds.
    ConfigError
        Networks that need other batches than these, or a loss that is not finite any more.
    """
    wanted = _targets(windows.spec)
    if any(_targets(group.spec) != wanted for group in groups):
        raise ConfigError(
            "networks that differ in patch, delay or look-ahead cannot share batches: train them apart"
        )
    path, origin = out / STATE, _origin(groups, windows)
    clear_partials(path)
    begin = _restore(groups, path, origin) if path.exists() else 0
    loader = _loader(windows, begin, groups[0].config.optim.steps, workers, groups[0].device)
    return _train(groups, path, origin, loader)


def _targets(spec: ModelSpec) -> tuple[int, int, int]:
    """What of a network's sizes its targets depend on."""
    return spec.patch, spec.delay, spec.token.lag


def _origin(groups: Sequence[Group], windows: Windows) -> str:
    """A hash of all that the run begins from; what it hides, by the recordings' names."""
    names = [record.name for record in windows.records]
    facts: list[Any] = [recordings_hash(windows.records, windows.noise), [r.digest for r in windows.records]]
    for group in groups:
        config = group.config.to_dict()
        config["data"].pop("root")  # these may change: they change no batch
        del config["workers"]
        members = [[m.name, m.seed, sorted(names[n] for n in m.hidden)] for m in group.members]
        facts.append([config, asdict(group.spec), members, group.began])
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _restore(groups: Sequence[Group], path: Path, origin: str) -> int:
    """The step at which the groups go on."""
    data = path.read_bytes()
    facts = read_facts(data, path)
    if facts["origin"] != origin:
        raise StateError(
            f"{path} is of other settings, networks, recordings or folds: delete it to begin anew, "
            "or name another folder"
        )
    try:
        tensors = load(data)
    except SafetensorError as error:
        raise StateError(f"{path} is damaged: delete it to begin anew") from error
    for number, group in enumerate(groups):
        prefix = f"{number}."
        mine = {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
        group.load(mine, int(facts["step"]))
    return int(facts["step"])


def _save(groups: Sequence[Group], path: Path, origin: str) -> None:
    """Keep all groups in one file: a kill finds them at one step."""
    if not all(bool(group.losses.isfinite().all()) for group in groups):
        raise ConfigError(f"a loss is not finite at step {groups[0].step}: lower optim.rate and start anew")
    tensors = {
        f"{n}.{name}": value for n, group in enumerate(groups) for name, value in group.state().items()
    }
    facts = json.dumps({"step": groups[0].step, "origin": origin})
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(tensors, {"facts": facts}))


def _train(
    groups: Sequence[Group], path: Path, origin: str, loader: DataLoader[dict[str, Tensor]]
) -> Iterator[int]:
    optim = groups[0].config.optim
    for step, batch in enumerate(loader, groups[0].step + 1):
        for group in groups:
            group.train_step(batch)
        if step % optim.checkpoint_every == 0 or step == optim.steps:
            _save(groups, path, origin)
        yield step


def _loader(
    windows: Windows, begin: int, end: int, workers: int, device: torch.device
) -> DataLoader[dict[str, Tensor]]:
    return DataLoader(
        Batches(windows, begin, end),
        batch_size=None,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        pin_memory=device.type == "cuda",
    )
