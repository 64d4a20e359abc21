"""Several networks of one size, trained at once on one stream of batches: the folds, and the seeds.

Preparing a batch costs more than a step of a network this small on a GPU, so all networks see the same
batches; rows of patients whom a network must not see have no target for it. Their weights are stacked:
every operation runs once for all (`torch.func.vmap`), and one optimizer holds them, since AdamW treats
each number for itself.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call, stack_module_state, vmap

from edgeecg.data.recording import UNKNOWN
from edgeecg.errors import ConfigError
from edgeecg.model.config import TrainConfig
from edgeecg.model.resume import MOMENTS
from edgeecg.model.train import build_network, build_objective, learning_rate, seed_step, with_dropout
from edgeecg.model.transformer import Block, Network
from edgeecg.specs import ModelSpec

__all__ = ["Group", "Member"]

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
        places = [dim for dim in in_dims[:3] if dim is not None]  # every network has its own of each
        q, k, v = (value.movedim(dim, 0).flatten(0, 1) for value, dim in zip((q, k, v), places, strict=True))
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
    initial : sequence of Network, optional
        What each member begins from. With ``optim.freeze_tokens`` its token encoder stays as it is, with
        ``optim.steady`` the member is held to what it says.
    """

    def __init__(
        self,
        config: TrainConfig,
        members: Sequence[Member],
        records: int,
        device: torch.device,
        spec: ModelSpec | None = None,
        initial: Sequence[Network] | None = None,
    ) -> None:
        self.config, self.members, self.device = config, tuple(members), device
        frozen = config.optim.freeze_tokens
        if frozen and initial is None:
            raise ConfigError("freeze_tokens trains on finished tokens: name what each network begins from")
        if config.optim.steady and initial is None:
            raise ConfigError("steady holds a network to what it says: name what each begins from")
        networks = initial or [build_network(replace(config, seed=m.seed), spec) for m in members]
        networks = [with_dropout(copy.deepcopy(network), config) for network in networks]
        stacked, _ = stack_module_state(networks)
        self.began = _digest(stacked) if initial is not None else ""
        all_weights = {f"network.{name}": value.detach().to(device) for name, value in stacked.items()}
        self.fixed = {
            n: value for n, value in all_weights.items() if frozen and n.startswith("network.token.")
        }
        self.weights = {n: v.requires_grad_() for n, v in all_weights.items() if n not in self.fixed}
        self._template = _template(networks[0], config).to(device)
        if frozen:  # the beat encoders as they were, to which the rhythm is held
            self.fixed |= {
                name.replace("network.beat.", "teacher."): value.detach().clone()
                for name, value in self.weights.items()
            }
        if config.optim.steady:
            self.fixed = {
                name.replace("network.", "guide.", 1): value.detach().clone()
                for name, value in self.weights.items()
            }
        self.average = {name: value.detach().clone() for name, value in self.weights.items()}
        visible = torch.ones(len(members), records, dtype=torch.bool)
        for row, member in zip(visible, members, strict=True):
            row[list(member.hidden)] = False
        self._visible = visible.to(device)
        optim = config.optim
        self._rate = torch.tensor(0.0, device=device)
        self._decay = torch.tensor(0.0, device=device)
        self.optimizer = torch.optim.AdamW(
            self.weights.values(),
            lr=self._rate if device.type == "cuda" else optim.rate,
            weight_decay=optim.decay,
            capturable=device.type == "cuda",
        )
        self.step = 0
        self._warm = 0  # steps of this process, since a graph is captured after some
        self._graph: torch.cuda.CUDAGraph | None = None
        self._static: dict[str, Tensor] = {}
        self.losses = torch.zeros(len(members), device=device)

    def begin(self, number: int, weights: Mapping[str, Tensor]) -> None:
        """Let one network begin from these weights; those that are not named stay as they were drawn."""
        for name, value in weights.items():
            for stacked in (self.weights, self.average):
                stacked[f"network.{name}"].data[number].copy_(value)

    def train_step(self, batch: Mapping[str, Tensor]) -> None:
        """One step of every network; ``losses`` holds their totals after it."""
        rate, optim = learning_rate(self.step, self.config), self.config.optim
        seed_step(self.config.seed, self.step)
        self._decay.fill_(min(optim.average, (2 + self.step) / (11 + self.step)))
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
        self._warm += 1
        if self._warm == WARM_UP:
            graph = torch.cuda.CUDAGraph()
            # other threads go on: the loader pins memory meanwhile
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                self._step(self._static)
            self._graph = graph  # what was captured has not run: the next step is the first replay

    def _step(self, batch: Mapping[str, Tensor]) -> None:
        keep = self._visible[:, batch["record"]]
        totals = vmap(self._total, in_dims=(0, 0, None), randomness="different")(
            {**self.weights, **self.fixed}, keep, dict(batch)
        )
        self.losses.copy_(totals.detach())
        totals.sum().backward()
        self._clip()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=False)
        with torch.no_grad():
            for name, value in self.weights.items():
                self.average[name].lerp_(value, 1 - self._decay)

    def _total(self, weights: dict[str, Tensor], keep: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """Loss of one network: rows that it must not see have no targets."""
        for name in TARGETS:
            rows = keep.view(-1, *(1,) * (batch[name].dim() - 1))
            batch = {**batch, name: torch.where(rows, batch[name], UNKNOWN)}
        for name in ("seen", "beat_present", "beat_retained"):  # nor is it held to what it said
            batch[name] = torch.where(keep[:, None], batch[name], 0)
        parts: dict[str, Tensor] = functional_call(self._template, weights, (batch,))
        return parts["total"]

    def _clip(self) -> None:
        """Cut each network's gradient down to the largest norm that is allowed."""
        gradients = [value.grad for value in self.weights.values() if value.grad is not None]
        norm = torch.stack([g.flatten(1).square().sum(dim=1) for g in gradients]).sum(dim=0).sqrt()
        factor = (self.config.optim.clip / (norm + 1e-6)).clamp(max=1)
        for gradient in gradients:
            gradient.mul_(factor.view(-1, *(1,) * (gradient.dim() - 1)))

    def state(self) -> dict[str, Tensor]:
        """Every tensor that the next step depends on."""
        tensors = {f"weights.{name}": value for name, value in self.weights.items()}
        tensors |= {f"average.{name}": value for name, value in self.average.items()}
        for name, moments in zip(self.weights, self.optimizer.state.values(), strict=True):
            tensors |= {f"{moment}.{name}": moments[moment] for moment in MOMENTS}
        return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}

    def load(self, state: Mapping[str, Tensor], step: int) -> None:
        """Go on at a step with what :meth:`state` gave then."""
        self.step = step
        with torch.no_grad():
            for name, value in self.weights.items():
                value.copy_(state[f"weights.{name}"])
                self.average[name].copy_(state[f"average.{name}"])
                moments = {moment: state[f"{moment}.{name}"].to(self.device) for moment in MOMENTS[1:]}
                count = state[f"step.{name}"]
                self.optimizer.state[value] = {
                    "step": count.to(self.device) if self.device.type == "cuda" else count,
                    **moments,
                }

    @property
    def spec(self) -> ModelSpec:
        """Sizes of every network of the group."""
        spec: ModelSpec = self._template.network.spec
        return spec

    def networks(self) -> dict[str, Network]:
        """The averaged networks by their members' names, on the CPU."""
        made = {}
        for number, member in enumerate(self.members):
            network = Network(self.spec).eval()
            network.load_state_dict(
                {
                    name.removeprefix("network."): value[number].detach().cpu()
                    for name, value in {**self.fixed, **self.average}.items()
                    if name.startswith("network.")
                }
            )
            made[member.name] = network
        return made


def _template(network: Network, config: TrainConfig) -> torch.nn.Module:
    """What computes the loss of any network of the group."""
    template = build_objective(copy.deepcopy(network), config)
    for part in template.modules():
        if isinstance(part, Block):
            part.attend = _Attend.apply  # type: ignore[method-assign]
    template.train()
    if config.optim.freeze_tokens:
        template.network.token.eval()
    return template


def _digest(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 of the weights that networks begin from."""
    total = hashlib.sha256()
    for name in sorted(weights):
        total.update(name.encode() + weights[name].detach().cpu().numpy().tobytes())
    return total.hexdigest()
