"""Which concepts one beat shows, and which of them moved the decision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgeecg.explain.baseline import Baseline
from edgeecg.explain.concepts import ConceptSets, Examples, moments
from edgeecg.explain.intervals import interval_features
from edgeecg.explain.methods import POINTS
from edgeecg.explain.question import LABELS, Question
from edgeecg.explain.tcav import MomentNetwork, cross_accuracy, fit_line, layer_names
from edgeecg.specs import RR_FEATURES

__all__ = ["BeatConcept", "activations", "beat_concepts"]

CHUNK = 64


@dataclass(frozen=True)
class BeatConcept:
    """One concept in one layer, for one beat.

    Parameters
    ----------
    concept, layer : str
    present : float
        Place of the beat between beats without the concept (0) and its examples (1) along the concept's
        direction, in their median.
    pull : float
        Log-odds of the label that the way from the baseline to the beat adds along the concept: the mean
        slope over three points of that way times its length in the concept's direction.
    accuracy : float
        Of the line that tells the concept from the same hearts without it; 0.5 is chance.
    """

    concept: str
    layer: str
    present: float
    pull: float
    accuracy: float


def activations(
    model: MomentNetwork, rows: Examples, label: str | None = None
) -> dict[str, tuple[Tensor, Tensor]]:
    """What passes each tap for ``(n, width)`` moments, and its gradient: ``(n, features)`` each.

    Without a label the gradients are zero.
    """
    parts = [_passed(model, rows[start : start + CHUNK], label) for start in range(0, len(rows), CHUNK)]
    return {
        name: (torch.cat([part[name][0] for part in parts]), torch.cat([part[name][1] for part in parts]))
        for name in model.taps
    }


def _passed(model: MomentNetwork, rows: Examples, label: str | None) -> dict[str, tuple[Tensor, Tensor]]:
    """The same for a few moments at once."""
    seen: dict[str, Tensor] = {}
    hooks = [tap.register_forward_hook(_keeper(seen, name)) for name, tap in model.taps.items()]
    try:
        with torch.enable_grad():
            answer = model(torch.from_numpy(rows).requires_grad_())
            values = [seen[name] for name in model.taps]
            slopes: Sequence[Tensor] = [torch.zeros_like(value) for value in values]
            if label is not None:
                slopes = torch.autograd.grad(answer[:, LABELS.index(label)].sum(), values)
    finally:
        for hook in hooks:
            hook.remove()
    pairs = zip(values, slopes, strict=True)
    return {name: (value.detach(), slope) for name, (value, slope) in zip(model.taps, pairs, strict=True)}


def _keeper(seen: dict[str, Tensor], name: str) -> Callable[[nn.Module, Any, Tensor], None]:
    def keep(_module: nn.Module, _inputs: Any, out: Tensor) -> None:
        seen[name] = out

    return keep


def beat_concepts(
    question: Question, other: Baseline, sets: ConceptSets | Callable[[], ConceptSets]
) -> list[BeatConcept]:
    """Concepts of one beat in every layer; none where the beat has too short a past.

    Parameters
    ----------
    question : Question
        About one beat.
    other : Baseline
    sets : ConceptSets, or what makes them
        It is not asked for them where the beat has too short a past.
    """
    network = question.network
    own, _ = moments(network, question.trace, [int(question.targets[0])])
    if not len(own) or len(question.targets) > 1:
        return []
    sets = sets() if callable(sets) else sets
    usual = _at_baseline(question, other, own)
    model = MomentNetwork(network, question.bias).eval()
    ends = activations(model, np.concatenate([usual, own]))
    way = np.concatenate([usual + point * (own - usual) for point in POINTS])
    slopes = activations(model, way, question.label)
    found: list[BeatConcept] = []
    for concept, rows in sets.concepts.items():
        examples, lacking = activations(model, rows), activations(model, sets.without[concept])
        found += [
            _placed(
                concept,
                layer,
                examples[layer][0],
                lacking[layer][0],
                ends[layer][0],
                slopes[layer][1].mean(dim=0),
            )
            for layer in layer_names(network)
        ]
    return found


def _at_baseline(question: Question, other: Baseline, own: Examples) -> Examples:
    """The beat's moment with the baseline's samples and intervals."""
    token = int(question.trace.token[question.targets[0]])
    lead = int(np.argmax(question.trace.share[:, token]))
    usual: Examples = own.copy()
    samples = other.samples[question.leads.index(lead)].numpy()
    usual[0, : len(samples)] = samples
    timing = interval_features(other.intervals[None], question.table)[0, -1]
    usual[0, -len(RR_FEATURES) :] = timing.numpy()
    return usual


def _placed(
    concept: str, layer: str, examples: Tensor, lacking: Tensor, ends: Tensor, slope: Tensor
) -> BeatConcept:
    """The beat's place along the line from beats without a concept to its examples."""
    x = torch.cat([examples, lacking])
    signs = torch.cat([torch.ones(len(examples)), -torch.ones(len(lacking))])
    direction, _ = fit_line(x, signs)
    direction = direction / direction.norm().clamp(min=1e-12)
    low, high = (lacking @ direction).median(), (examples @ direction).median()
    usual, own = ends @ direction
    return BeatConcept(
        concept=concept,
        layer=layer,
        present=float((own - low) / (high - low).clamp(min=1e-6)),
        pull=float((own - usual) * (slope @ direction)),
        accuracy=cross_accuracy(x, signs),
    )
