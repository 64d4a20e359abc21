"""The state of a training run on disk: safetensors and JSON, never a pickle; written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from edgeecg.errors import StateError
from edgeecg.io.atomic import atomic_path, clear_partials
from edgeecg.ranges import Count, NotNegative

__all__ = ["LOCK", "MOMENTS", "TENSORS", "load_run", "read_facts", "read_run", "save_run"]

TENSORS, FACTS = "run.safetensors", "run.json"
LOCK = "lock"
MOMENTS = ("step", "exp_avg", "exp_avg_sq")
"""What AdamW keeps of each parameter that it has moved."""


def flatten_optimizer(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Moments and step counts of every parameter, by ``optimizer.<index>.<name>``."""
    state = optimizer.state_dict()["state"]
    return {
        f"optimizer.{index}.{name}": torch.as_tensor(value).cpu().contiguous()
        for index, values in state.items()
        for name, value in values.items()
    }


def save_run(
    folder: Path,
    modules: Mapping[str, torch.nn.Module],
    optimizer: torch.optim.Optimizer,
    facts: dict[str, Any],
) -> None:
    """Write everything that the next step depends on."""
    tensors = {
        f"{part}.{name}": value.detach().cpu().contiguous()
        for part, module in modules.items()
        for name, value in module.state_dict().items()
    } | flatten_optimizer(optimizer)
    # one rename makes the new state valid: the facts travel in the tensor file's own header
    with atomic_path(folder / TENSORS) as path:
        path.write_bytes(save(tensors, metadata={"facts": json.dumps(facts)}))
    with atomic_path(folder / FACTS) as path:
        path.write_text(json.dumps(facts, indent=1), encoding="utf-8")


def read_run(folder: Path) -> bytes | None:
    """The state that a run left in its folder; ``None`` where there is none."""
    clear_partials(folder / TENSORS, folder / FACTS)
    path = folder / TENSORS
    return path.read_bytes() if path.exists() else None


def read_facts(data: bytes, path: Path) -> dict[str, Any]:
    """The facts of a state: JSON in the header of a tensor file, whose length is in the first 8 bytes.

    Parameters
    ----------
    data : bytes
        As `read_run` gives it.
    path : Path
        Of its file, for messages.

    Raises
    ------
    StateError
        The state is damaged.
    """
    length = int.from_bytes(data[:8], "little")
    try:
        facts: dict[str, Any] = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["facts"])
        msgspec.convert(facts, _Facts)
    except (ValueError, KeyError, TypeError, msgspec.MsgspecError) as error:
        raise _damaged(path) from error
    return facts


@dataclass(frozen=True)
class _Facts:
    """What every state says; each kind of run has facts of its own beside it."""

    step: Count
    seconds: NotNegative = 0.0
    config: dict[str, Any] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)


def load_run(
    data: bytes, folder: Path, modules: Mapping[str, torch.nn.Module], optimizer: torch.optim.Optimizer
) -> None:
    """Restore the tensors of a state in place.

    Raises
    ------
    StateError
        The state is damaged, or of another network.
    """
    try:
        tensors = load(data)
    except SafetensorError as error:
        raise _damaged(folder / TENSORS) from error

    def part(prefix: str) -> dict[str, Tensor]:
        return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}

    try:
        for name, module in modules.items():
            module.load_state_dict(part(f"{name}."))
    except RuntimeError as error:
        raise StateError(
            f"{folder} holds a run of another network: name another --out, or delete it"
        ) from error
    groups = optimizer.state_dict()["param_groups"]
    kept = [str(number) for group in groups for number in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in part("optimizer.").items():
        index, name = key.split(".", 1)
        if index not in kept:
            raise _damaged(folder / TENSORS)
        state.setdefault(int(index), {})[name] = value
    if any(set(values) != set(MOMENTS) for values in state.values()):
        raise _damaged(folder / TENSORS)
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _damaged(path: Path) -> StateError:
    return StateError(f"{path} is damaged: delete it to begin the run anew")
