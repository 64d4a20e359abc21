"""What the network is asked: a loss for every head, each only where somebody labelled it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgeecg.data.recording import UNKNOWN
from edgeecg.errors import ConfigError
from edgeecg.model.transformer import BeatEncoder, Network
from edgeecg.ranges import NotNegative
from edgeecg.specs import BEAT_LABELS, HEADS

__all__ = ["LossSettings", "Objective"]

COLUMN = {name: index for index, name in enumerate(HEADS)}
SHAPE = slice(COLUMN["shape_N"], COLUMN["shape_N"] + len(BEAT_LABELS))
N, S, V = (BEAT_LABELS.index(label) for label in "NSV")
SETTLED_RHYTHM = 96  # tokens; a weak record label speaks only for tokens that have seen 6 s


@dataclass(frozen=True)
class LossSettings:
    """Weights of the losses.

    Parameters
    ----------
    classes : list of float
        Weight of each class of ``BEAT_LABELS`` in the cross-entropy: rare classes count more.
    retain : float
        While the tokens are frozen: how firmly the rhythm is held to what the initial network says of it,
        save in windows whose rhythm was made; the weights of the token encoder's heads (``beat`` to
        ``quality``) mean nothing then.
    """

    beat: NotNegative = 4.0
    offset: NotNegative = 2.0
    shape: NotNegative = 0.5
    p_wave: NotNegative = 0.3
    rhythm: NotNegative = 0.3
    quality: NotNegative = 0.1
    beat_class: NotNegative = 1.0
    beat_rhythm: NotNegative = 0.3
    weak: NotNegative = 0.3
    retain: NotNegative = 0.0
    classes: tuple[NotNegative, NotNegative, NotNegative, NotNegative, NotNegative] = (
        1.0, 3.0, 2.0, 2.0, 1.0,
    )  # fmt: skip

    def __post_init__(self) -> None:
        if not any(self.classes):
            raise ConfigError("loss.classes is 0 for every class, nothing would be learnt: give one above 0")


def mean_where(values: Tensor, known: Tensor) -> Tensor:
    """Mean of the known values; 0 where nothing is known."""
    return (values * known).sum() / known.sum().clamp(min=1)


def binary(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy where the target is not ``UNKNOWN``."""
    known = target != UNKNOWN
    loss = F.binary_cross_entropy_with_logits(logits, target.clamp(min=0).to(logits.dtype), reduction="none")
    return mean_where(loss, known)


def pooled(logits: Tensor, counted: Tensor, target: Tensor) -> Tensor:
    """Multiple-instance loss: the mean logit of a record against the record's one label."""
    count = counted.sum(dim=1)
    mean = (logits * counted).sum(dim=1) / count.clamp(min=1)
    known = (target != UNKNOWN) & (count > 0)
    loss = F.binary_cross_entropy_with_logits(mean, target.clamp(min=0).to(mean.dtype), reduction="none")
    return mean_where(loss, known)


def token_losses(heads: Tensor, batch: Mapping[str, Tensor], weights: Tensor) -> dict[str, Tensor]:
    """Losses of the token encoder's heads ``(B, T, 10)``."""
    found = batch["beat"] == 1
    offset = F.smooth_l1_loss(heads[..., COLUMN["offset"]], batch["offset"], beta=0.05, reduction="none")
    shape = F.cross_entropy(
        heads[..., SHAPE].mT, batch["shape"], weights, ignore_index=UNKNOWN, reduction="none"
    )
    rhythm = heads[..., COLUMN["af"]]
    settled = batch["seen"].clone()
    settled[:, :SETTLED_RHYTHM] = 0
    return {
        "beat": binary(heads[..., COLUMN["beat"]], batch["beat"]),
        "offset": mean_where(offset, found),
        "shape": mean_where(shape, batch["shape"] != UNKNOWN),
        "p_wave": binary(heads[..., COLUMN["p_wave"]], batch["p_wave"]),
        "rhythm": binary(rhythm, batch["rhythm"]) + pooled(rhythm, settled, batch["weak_rhythm"]),
        "quality": binary(heads[..., COLUMN["quality"]], batch["quality"]),
    }


def beat_losses(
    classes: Tensor, rhythm: Tensor, batch: Mapping[str, Tensor], weights: Tensor
) -> dict[str, Tensor]:
    """Losses of the beat encoder: classes ``(B, n, 5)`` and rhythm ``(B, n, 2)``."""
    af = rhythm[..., 1] - rhythm[..., 0]
    entropy = F.cross_entropy(
        classes.mT, batch["beat_class"], weights, ignore_index=UNKNOWN, reduction="none"
    )
    probability = classes.softmax(dim=-1)
    # a record of normal rhythm holds hardly an ectopic beat, and in AF no beat is S by convention
    false = torch.where(
        batch["beat_weak"] == 1, probability[..., S], probability[..., S] + probability[..., V]
    )
    return {
        "beat_class": mean_where(entropy, batch["beat_class"] != UNKNOWN),
        "beat_rhythm": binary(af, batch["beat_rhythm"])
        + pooled(af, batch["beat_present"], batch["weak_rhythm"]),
        "weak": mean_where(-torch.log1p(-false.clamp(max=0.999)), batch["beat_weak"] != UNKNOWN),
    }


def gather_beats(embedding: Tensor, batch: Mapping[str, Tensor], delay: int) -> Tensor:
    """The beat graph's input ``(B, n, 2 d + 8)``: embeddings at the beat and at its decision, RR features."""
    last = embedding.shape[1] - 1
    width = embedding.shape[-1]

    def at(token: Tensor) -> Tensor:
        return embedding.gather(1, token.clamp(max=last)[..., None].expand(-1, -1, width))

    return torch.cat([at(batch["beat_token"]), at(batch["beat_token"] + delay), batch["beat_rr"]], dim=-1)


def fused(heads: Tensor, embedding: Tensor, fuse: Tensor) -> Tensor:
    """Embeddings ``(B, T, d)`` as a stream of two leads joins them, where ``fuse`` points at a partner.

    The weights are those of `edgeecg.pipeline.leads`, less the front end's own verdict: how readable
    the network finds each lead.
    """
    mine = torch.sigmoid(heads[..., COLUMN["quality"]].detach())[..., None]
    alone, first = (fuse == 0)[:, None, None], (fuse > 0)[:, None, None]

    def partner(x: Tensor) -> Tensor:
        return torch.where(first, x.roll(-1, 0), x.roll(1, 0))

    share = mine / (mine + partner(mine) + 1e-6)
    return torch.where(alone, embedding, share * embedding + (1 - share) * partner(embedding))


def retained(rhythm: Tensor, before: Tensor, present: Tensor) -> Tensor:
    """Cross-entropy of the rhythm ``(B, n, 2)`` against what the network said before."""
    said = torch.sigmoid(before[..., 1] - before[..., 0])
    now = rhythm[..., 1] - rhythm[..., 0]
    return mean_where(F.binary_cross_entropy_with_logits(now, said, reduction="none"), present)


class Objective(nn.Module):
    """The network with its losses: what Fabric wraps, so that every device computes its share.

    Parameters
    ----------
    network : Network
    settings : LossSettings
    teacher : BeatEncoder, optional
        The beat encoder as it was, where the token encoder is frozen: only the network's own is trained.
    """

    def __init__(self, network: Network, settings: LossSettings, teacher: BeatEncoder | None = None) -> None:
        super().__init__()
        self.network, self.settings = network, settings
        self.teacher = teacher.requires_grad_(False).eval() if teacher is not None else None
        self.register_buffer("weights", torch.tensor(settings.classes), persistent=False)
        self.weights: Tensor

    def train(self, mode: bool = True) -> Objective:
        """The teacher drops nothing out, whatever its pupil does."""
        super().train(mode)
        if self.teacher is not None:
            self.teacher.eval()
        return self

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Every loss of one batch, and ``total``, their weighted sum."""
        heads, embedding = self.network.token(batch["signal"])
        embedding = fused(heads, embedding, batch["fuse"])
        beats = gather_beats(embedding, batch, self.network.spec.delay)
        classes, rhythm = self.network.beat(beats)
        parts = beat_losses(classes, rhythm, batch, self.weights)
        if self.teacher is None:
            parts = token_losses(heads, batch, self.weights) | parts
        else:
            before = self.teacher(beats)[1]
            parts["retain"] = retained(rhythm, before, batch["beat_retained"])
        parts["total"] = torch.stack(
            [getattr(self.settings, name) * loss for name, loss in parts.items()]
        ).sum()
        return parts
