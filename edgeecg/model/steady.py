"""A network that is to say of a signal, as other recorders would have it, what it says of the signal itself.

No label counts: what the network knows stays, right or wrong, and holds for more devices.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgeecg.model.losses import COLUMN, SHAPE, S, V, fused, gather_beats, mean_where
from edgeecg.model.transformer import Network

__all__ = ["Steadiness"]

WEIGHTS = {"embedding": 0.5, "heads": 1.0, "offset": 2.0, "beat_class": 2.0, "beat_rhythm": 0.6}
BINARY = {"beat": 4.0, "p_wave": 0.3, "af": 0.3, "quality": 0.1}  # heads that say yes or no
RARE = 4.0  # how much more a beat counts that is surely S or V


class Told(NamedTuple):
    """What a network says of a batch."""

    heads: Tensor
    embedding: Tensor
    classes: Tensor
    rhythm: Tensor


class Steadiness(nn.Module):
    """The loss of a network beside itself as it was.

    Parameters
    ----------
    network : Network
        What is trained, on ``signal`` of a batch.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self.guide = copy.deepcopy(network).requires_grad_(False).eval()
        """The network as it was, which hears ``plain``."""

    def train(self, mode: bool = True) -> Steadiness:
        """The guide drops nothing out, whatever its pupil does."""
        super().train(mode)
        self.guide.eval()
        return self

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Every part of the loss of one batch, and ``total``, their weighted sum."""
        with torch.no_grad():
            wanted = told(self.guide, batch["plain"], batch)
        parts = departures(told(self.network, batch["signal"], batch), wanted, batch)
        parts["total"] = torch.stack([WEIGHTS[name] * loss for name, loss in parts.items()]).sum()
        return parts


def told(network: Network, signal: Tensor, batch: Mapping[str, Tensor]) -> Told:
    """Tokens of the signal, and of the batch's beats what is read from them."""
    heads, embedding = network.token(signal)
    beats = gather_beats(fused(heads, embedding, batch["fuse"]), batch, network.spec.delay)
    return Told(heads, embedding, *network.beat(beats))


def departures(told: Told, wanted: Told, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """How far what is told lies from what is wanted, 0 where it is the same."""
    seen, present = batch["seen"], batch["beat_present"]
    heads, guide = told.heads, wanted.heads
    surely = torch.sigmoid(guide[..., COLUMN["beat"]]) * seen
    place = F.smooth_l1_loss(
        heads[..., COLUMN["offset"]], guide[..., COLUMN["offset"]], beta=0.05, reduction="none"
    )
    unlike = 0.5 * divergence(heads[..., SHAPE], guide[..., SHAPE])
    for name, weight in BINARY.items():
        unlike = unlike + weight * doubt(heads[..., COLUMN[name]], guide[..., COLUMN[name]])
    chances = wanted.classes.softmax(-1)
    counts = present * (1 + RARE * (chances[..., S] + chances[..., V]))
    af, af_before = (each.rhythm[..., 1] - each.rhythm[..., 0] for each in (told, wanted))
    return {
        "embedding": mean_where((told.embedding - wanted.embedding).square().mean(-1), seen),
        "heads": mean_where(unlike, seen),
        "offset": mean_where(place, surely),
        "beat_class": mean_where(divergence(told.classes, wanted.classes), counts),
        "beat_rhythm": mean_where(doubt(af, af_before), present),
    }


def divergence(logits: Tensor, wanted: Tensor) -> Tensor:
    """Kullback-Leibler divergence of the last axis from what is wanted (``F.kl_div`` knows no vmap)."""
    return (wanted.softmax(-1) * (wanted.log_softmax(-1) - logits.log_softmax(-1))).sum(-1)


def doubt(logits: Tensor, wanted: Tensor) -> Tensor:
    """The same of a yes or no."""
    chance = torch.sigmoid(wanted)
    return F.binary_cross_entropy_with_logits(
        logits, chance, reduction="none"
    ) - F.binary_cross_entropy_with_logits(wanted, chance, reduction="none")
