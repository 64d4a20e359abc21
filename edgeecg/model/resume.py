"""The state of a training run on disk: safetensors and JSON, never a pickle; written whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from edgeecg.errors import StateError

__all__ = ["load_run", "save_run"]

TENSORS, FACTS = "run.safetensors", "run.json"


def flatten_optimizer(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Moments and step counts of every parameter, by ``optimizer.<index>.<name>``."""
    state = optimizer.state_dict()["state"]
    return {
        f"optimizer.{index}.{name}": value if isinstance(value, Tensor) else torch.tensor(value)
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
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        f"{part}.{name}": value
        for part, module in modules.items()
        for name, value in module.state_dict().items()
    } | flatten_optimizer(optimizer)
    # one rename makes the new state valid: the facts travel in the tensor file's own header
    temporary = folder / (TENSORS + ".tmp")
    save_file(
        {k: v.contiguous() for k, v in tensors.items()}, temporary, metadata={"facts": json.dumps(facts)}
    )
    os.replace(temporary, folder / TENSORS)
    readable = folder / (FACTS + ".tmp")
    readable.write_text(json.dumps(facts, indent=1), encoding="utf-8")
    os.replace(readable, folder / FACTS)


def read_facts(path: Path) -> dict[str, Any]:
    """The JSON in the header of a tensor file."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        facts: dict[str, Any] = json.loads(file.metadata()["facts"])
    return facts


def load_run(
    folder: Path,
    modules: Mapping[str, torch.nn.Module],
    optimizer: torch.optim.Optimizer,
) -> dict[str, Any] | None:
    """Restore a run in place; returns its facts, or ``None`` where there is none.

    Raises
    ------
    StateError
        The files are of another network or are damaged.
    """
    path = folder / TENSORS
    if not path.exists():
        return None
    tensors = load_file(path)

    def part(prefix: str) -> dict[str, Tensor]:
        return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}

    try:
        for name, module in modules.items():
            module.load_state_dict(part(f"{name}."))
    except RuntimeError as error:
        raise StateError(f"{path} is of another network: choose another --out or delete it") from error
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in part("optimizer.").items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return read_facts(path)
