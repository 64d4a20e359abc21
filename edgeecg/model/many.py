"""Several networks of one size, trained at once on one stream of batches: the folds, and the seeds.

Preparing a batch costs more than a step of a network this small on a GPU, so all networks see the same
batches; rows of patients whom a network must not see have no target for it. Their weights are stacked:
every operation runs once for all (`torch.func.vmap`), and one optimizer holds them, since AdamW treats
each number for itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor
from torch.func import functional_call, stack_module_state, vmap
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from edgeecg.data.dataset import UNKNOWN, Windows
from edgeecg.errors import StateError
from edgeecg.io.atomic import atomic_path
from edgeecg.model.config import TrainConfig
from edgeecg.model.losses import Objective
from edgeecg.model.train import build_network, learning_rate, to_tensors
from edgeecg.model.transformer import Block, Network
from edgeecg.specs import ModelSpec

__all__ = ["Group", "Member", "train_groups"]

# what a row may not teach a network that must not see its patient
TARGETS = (
    "beat",
    "shape",
    "rhythm",
    "p_wave",
    "quality",
    "weak_rhythm",
    "beat_class",
    "beat_weak",
    "beat_rhythm",
)
MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # of AdamW
WARM_UP = 3  # steps before a CUDA graph is captured


@dataclass(frozen=True)
class Member:
    """One network of a group.

    Parameters
    ----------
    name : str
    seed : int
        Of its first weights.
    hidden : frozenset of int
        Numbers of the records (of `Windows.records`) that it must not see.
    """

    name: str
    seed: int = 0
    hidden: frozenset[int] = frozenset()


class _Attend(torch.autograd.Function):
    """Attention of all networks in one call of the fused kernel, for which `vmap` has no rule of its own."""

    @staticmethod
    def forward(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        """Of one network."""
        attended: Tensor = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return attended

    @staticmethod
    def setup_context(context: Any, inputs: Any, output: Any) -> None:
        """Nothing is kept: gradients go through what :meth:`vmap` calls."""

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], q: Tensor, k: Tensor, v: Tensor, mask: Tensor
    ) -> tuple[Tensor, int]:
        """Networks and rows as one dimension; the mask is the same for all."""
        q, k, v = (
            value.movedim(dim or 0, 0).flatten(0, 1)
            for value, dim in zip((q, k, v), in_dims[:3], strict=True)
        )
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return attended.unflatten(0, (info.batch_size, -1)), 0


class Group:
    """Networks of one preset.

    Parameters
    ----------
    config : TrainConfig
        Of all; ``seed`` is each member's own.
    members : sequence of Member
    records : int
        How many records the batches are drawn from.
    device : torch.device
    spec : ModelSpec, optional
        Sizes of no preset.
    """

    def __init__(
        self,
        config: TrainConfig,
        members: Sequence[Member],
        records: int,
        device: torch.device,
        spec: ModelSpec | None = None,
    ) -> None:
        self.config, self.members, self.device = config, tuple(members), device
        networks = [build_network(replace(config, seed=member.seed), spec) for member in members]
        stacked, _ = stack_module_state(networks)
        self.weights: dict[str, Tensor] = {
            f"network.{name}": value.detach().to(device).requires_grad_() for name, value in stacked.items()
        }
        self._template = Objective(networks[0], config.loss).to(device)
        for block in self._template.modules():
            if isinstance(block, Block):
                block.attend = _Attend.apply  # type: ignore[method-assign]
        self.average = {name: value.detach().clone() for name, value in self.weights.items()}
        visible = torch.ones(len(members), records, dtype=torch.bool)
        for row, member in zip(visible, members, strict=True):
            row[list(member.hidden)] = False
        self._visible = visible.to(device)
        optim = config.optim
        self._rate = torch.tensor(0.0, device=device)
        self._keep = torch.tensor(0.0, device=device)
        self.optimizer = torch.optim.AdamW(
            self.weights.values(),
            lr=self._rate if device.type == "cuda" else optim.rate,
            weight_decay=optim.decay,
            capturable=device.type == "cuda",
        )
        self.step = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._static: dict[str, Tensor] = {}
        self.losses = torch.zeros(len(members), device=device)

    def train_step(self, batch: Mapping[str, Tensor]) -> None:
        """One step of every network; ``losses`` holds their totals after it."""
        rate, optim = learning_rate(self.step, self.config), self.config.optim
        self._keep.fill_(min(optim.average, (2 + self.step) / (11 + self.step)))
        if self.device.type != "cuda":
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            self._step({name: value.to(self.device) for name, value in batch.items()})
        else:
            self._rate.fill_(rate)
            self._replay(batch)
        self.step += 1

    def _replay(self, batch: Mapping[str, Tensor]) -> None:
        """The step on a GPU: its kernels are recorded once and replayed, since launching them costs most."""
        if not self._static:
            self._static = {name: value.to(self.device) for name, value in batch.items()}
        for name, value in batch.items():
            self._static[name].copy_(value, non_blocking=True)
        if self._graph is not None:
            self._graph.replay()
            return
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            self._step(self._static)
        torch.cuda.current_stream().wait_stream(side)
        if self.step + 1 == WARM_UP:
            graph = torch.cuda.CUDAGraph()
            # other threads go on: the loader pins memory meanwhile
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                self._step(self._static)
            self._graph = graph  # what was captured has not run: the next step is the first replay

    def _step(self, batch: Mapping[str, Tensor]) -> None:
        keep = self._visible[:, batch["record"]]
        totals = vmap(self._total, in_dims=(0, 0, None), randomness="different")(
            self.weights, keep, dict(batch)
        )
        self.losses.copy_(totals.detach())
        totals.sum().backward()
        self._clip()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=False)
        with torch.no_grad():
            for name, value in self.weights.items():
                self.average[name].lerp_(value, 1 - self._keep)

    def _total(self, weights: dict[str, Tensor], keep: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """Loss of one network: rows that it must not see have no targets."""
        for name in TARGETS:
            rows = keep.view(-1, *(1,) * (batch[name].dim() - 1))
            batch = {**batch, name: torch.where(rows, batch[name], UNKNOWN)}
        parts: dict[str, Tensor] = functional_call(self._template, weights, (batch,))
        return parts["total"]

    def _clip(self) -> None:
        """Cut each network's gradient down to the largest norm that is allowed."""
        gradients = [value.grad for value in self.weights.values() if value.grad is not None]
        norm = torch.stack([g.flatten(1).square().sum(dim=1) for g in gradients]).sum(dim=0).sqrt()
        factor = (self.config.optim.clip / (norm + 1e-6)).clamp(max=1)
        for gradient in gradients:
            gradient.mul_(factor.view(-1, *(1,) * (gradient.dim() - 1)))

    def save(self, path: Path) -> None:
        """Keep everything that the next step depends on."""
        tensors = {f"weights.{name}": value for name, value in self.weights.items()}
        tensors |= {f"average.{name}": value for name, value in self.average.items()}
        for (name, value), state in zip(self.weights.items(), self.optimizer.state.values(), strict=True):
            del value
            tensors |= {f"{moment}.{name}": state[moment] for moment in MOMENTS}
        facts = {"step": str(self.step), "members": ",".join(member.name for member in self.members)}
        data = save({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, facts)
        with atomic_path(path) as temporary:
            temporary.write_bytes(data)

    def restore(self, path: Path) -> None:
        """Go on with what :meth:`save` kept, where it is there.

        Raises
        ------
        StateError
            It is of other networks.
        """
        if not path.exists():
            return
        with safe_open(path, framework="pt") as kept:
            facts = kept.metadata()
            if facts["members"] != ",".join(member.name for member in self.members):
                raise StateError(f"{path} is of other networks ({facts['members']}): delete it to begin anew")
            self.step = int(facts["step"])
            with torch.no_grad():
                for name, value in self.weights.items():
                    value.copy_(kept.get_tensor(f"weights.{name}"))
                    self.average[name].copy_(kept.get_tensor(f"average.{name}"))
                    moments = {m: kept.get_tensor(f"{m}.{name}").to(self.device) for m in MOMENTS[1:]}
                    count = kept.get_tensor(f"step.{name}")
                    self.optimizer.state[value] = {
                        "step": count.to(self.device) if self.device.type == "cuda" else count,
                        **moments,
                    }

    def networks(self) -> dict[str, Network]:
        """The averaged networks by their members' names, on the CPU."""
        spec = self._template.network.spec
        made = {}
        for number, member in enumerate(self.members):
            network = Network(spec).eval()
            network.load_state_dict(
                {name.removeprefix("network."): v[number].detach().cpu() for name, v in self.average.items()}
            )
            made[member.name] = network
        return made


class Batches(IterableDataset[dict[str, Tensor]]):
    """Batches ``begin`` to ``end`` in any order: workers deal them out among themselves."""

    def __init__(self, windows: Windows, begin: int, end: int) -> None:
        self.windows, self.begin, self.end = windows, begin, end

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        worker = get_worker_info()
        number, count = (worker.id, worker.num_workers) if worker is not None else (0, 1)
        for step in range(self.begin + number, self.end, count):
            yield to_tensors(self.windows(step))


def train_groups(groups: Sequence[Group], windows: Windows, *, workers: int, out: Path) -> Iterator[int]:
    """Train every group to the end of its schedule on the same batches; an interrupted run goes on.

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
        The state in ``out`` is of other networks.
    """
    files = [out / f"group{number}.safetensors" for number in range(len(groups))]
    for group, file in zip(groups, files, strict=True):
        group.restore(file)
    optim = groups[0].config.optim
    return _train(groups, files, _loader(windows, groups[0].step, optim.steps, workers, groups[0].device))


def _train(
    groups: Sequence[Group], files: Sequence[Path], loader: DataLoader[dict[str, Tensor]]
) -> Iterator[int]:
    optim = groups[0].config.optim
    for step, batch in enumerate(loader, groups[0].step + 1):
        for group in groups:
            group.train_step(batch)
        if step % optim.checkpoint_every == 0 or step == optim.steps:
            for group, file in zip(groups, files, strict=True):
                group.save(file)
        yield step


def _loader(
    windows: Windows, begin: int, end: int, workers: int, device: torch.device
) -> DataLoader[dict[str, Tensor]]:
    """Batches in the order of the steps, however many workers prepare them."""
    return DataLoader(
        Batches(windows, begin, end),
        batch_size=None,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        pin_memory=device.type == "cuda",
    )
