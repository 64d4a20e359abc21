"""The processes of a training run, one a device: Fabric starts them, on one machine or on several.

All run the same program. The first one (rank 0) alone writes, evaluates and talks; the others follow it.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable
from typing import NoReturn, TypeVar, cast

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from lightning_fabric.utilities.exceptions import MisconfigurationException
from lightning_fabric.utilities.rank_zero import rank_zero_only

from edgeecg.errors import ConfigError, EdgeECGError
from edgeecg.model.config import TrainConfig

__all__ = ["Team", "leads"]

T = TypeVar("T")


def leads() -> bool:
    """Whether this process is the first of its run, as far as is known before the run has begun."""
    return not rank_zero_only.rank  # type: ignore[attr-defined]


class Team:
    """The processes of one run; making it starts those that are missing, with this program's command line.

    Parameters
    ----------
    config : TrainConfig

    Raises
    ------
    ConfigError
        Devices or a precision that this machine does not have.
    """

    def __init__(self, config: TrainConfig) -> None:
        on_gpu = config.accelerator != "cpu" and torch.cuda.is_available()
        if config.precision == "16-mixed" and not on_gpu:
            raise ConfigError("precision 16-mixed needs a GPU: on a CPU take 32-true or bf16-mixed")
        try:
            self.fabric = Fabric(
                accelerator=config.accelerator,
                devices=config.devices,
                num_nodes=config.nodes,
                precision=config.precision,  # type: ignore[arg-type]
            )
            self.fabric.launch()
        except (MisconfigurationException, RuntimeError, ValueError) as error:
            raise ConfigError(
                f"cannot train on accelerator {config.accelerator!r}, devices {config.devices}, nodes "
                f"{config.nodes}, precision {config.precision!r}: {error}"
            ) from error
        if dist.is_available() and dist.is_initialized():
            atexit.register(_part)

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes and talks."""
        return bool(self.fabric.is_global_zero)

    def seed(self, seed: int) -> int:
        """Seed of this process's batches; the first process draws what a run on one device draws."""
        # numpy reads (seed, 0, rank, step) in words of 32 bits: the seed of no other batch of the run
        return seed + (int(self.fabric.global_rank) << 64)

    def first(self, action: Callable[[], T]) -> T:
        """What an action of the first process gives, to every process; where it fails, all end."""
        outcome, problem = _attempt(action) if self.leads else (None, None)
        failed, told = self.fabric.broadcast((problem is not None, outcome))
        if failed:
            self.stop(problem)
        return cast("T", told)

    def each(self, action: Callable[[], T]) -> T:
        """What an action gives that every process does for itself; where the first one fails, all end."""
        outcome, problem = _attempt(action)
        if self.fabric.broadcast(problem is not None):
            self.stop(problem)
        if problem is not None:  # here alone: the others end when they miss this process
            raise problem
        return cast("T", outcome)

    def stop(self, problem: Exception | None) -> NoReturn:
        """End the run for a reason that all processes know: the first one says it, the others are silent."""
        if self.leads and problem is not None:
            raise problem
        raise SystemExit(0)


def _part() -> None:
    """Leave the other processes in order.

    Fabric does so for NCCL only; the threads of a gloo group that is there at the interpreter's end can abort
    a process that has done its work.
    """
    if dist.is_initialized():
        dist.destroy_process_group()


def _attempt(action: Callable[[], T]) -> tuple[T | None, Exception | None]:
    """What an action gives, or why it failed."""
    try:
        return action(), None
    except (EdgeECGError, OSError) as error:
        return None, error
