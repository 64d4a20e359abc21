"""Is an explanation about the model? Measures that can say no.

Everything is measured on *units*: patches of four samples of a lead, and single intervals, which any method
can rank on one scale. Removing a unit means putting the baseline's value in its place.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import Tensor, nn

from edgeecg.explain.baseline import Baseline
from edgeecg.explain.methods import OF_PARTS, Attribution
from edgeecg.explain.question import Question
from edgeecg.explain.segments import Segment, landmarks, segments
from edgeecg.model.transformer import Network

__all__ = [
    "PATCH",
    "Curve",
    "agreement",
    "completeness_error",
    "deletion",
    "insertion",
    "mixed",
    "points_at_the_beat",
    "randomized",
    "segment_agreement",
    "self_agreement",
    "unit_relevance",
]

PATCH = 4  # samples in a unit
STEPS = 24  # points of a curve, dense where the most relevant units go
BATCH = 40

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Curve:
    """Probability of the label as units are removed or put in, most relevant first.

    Parameters
    ----------
    share : (k,)
        Of the units that were changed, 0 to 1.
    probability : (k,)
    """

    share: Vector
    probability: Vector

    @property
    def area(self) -> float:
        """Mean probability along the way."""
        widths = np.diff(self.share)
        return float(np.sum(widths * 0.5 * (self.probability[1:] + self.probability[:-1])))


def unit_relevance(attribution: Attribution) -> Vector:
    """Relevance of each unit: patches lead by lead, then intervals."""
    leads = attribution.samples.shape[0]
    patches = attribution.samples.reshape(leads, -1, PATCH).sum(axis=-1)
    return np.concatenate([patches.ravel(), attribution.intervals])


def mixed(question: Question, baseline: Baseline, keep: Tensor) -> tuple[Tensor, Tensor]:
    """Inputs in which ``keep`` (B, units), 0 to 1, says how much of each unit is the recording's own."""
    leads, length = question.samples.shape
    count = leads * length // PATCH
    patches = keep[:, :count].reshape(-1, leads, length // PATCH).repeat_interleave(PATCH, dim=-1)
    samples = baseline.samples + patches * (question.samples - baseline.samples)
    intervals = baseline.intervals + keep[:, count:] * (question.intervals - baseline.intervals)
    return samples, intervals


def deletion(question: Question, attribution: Attribution, removal: Baseline) -> Curve:
    """Take the most relevant units away first: the lower the area, the better they were named."""
    return _curve(question, attribution, removal, keep_first=False)


def insertion(question: Question, attribution: Attribution, removal: Baseline) -> Curve:
    """Put the most relevant units into the baseline first: the higher the area, the better."""
    return _curve(question, attribution, removal, keep_first=True)


@torch.no_grad()
def _curve(question: Question, attribution: Attribution, removal: Baseline, *, keep_first: bool) -> Curve:
    relevance = unit_relevance(attribution)
    units = len(relevance)
    rank = np.empty(units, np.int64)
    rank[np.argsort(-relevance, kind="stable")] = np.arange(units)
    counts = np.unique(np.r_[0, np.rint(np.geomspace(1, units, STEPS))]).astype(np.int64)
    changed = rank[None] < counts[:, None]
    keep = torch.from_numpy((changed if keep_first else ~changed).astype(np.float32))
    parts = [question(*mixed(question, removal, rows)) for rows in keep.split(BATCH)]
    return Curve(counts / units, torch.sigmoid(torch.cat(parts)).double().numpy())


def points_at_the_beat(question: Question, attribution: Attribution) -> bool:
    """Pointing game: whether the most relevant unit lies in the beat or in its RR intervals.

    That is: between the QRS of the beat before and the end of the beat's T wave, or the interval before or
    after it.
    """
    beat = int(question.targets[-1])
    relevance = unit_relevance(attribution)
    best = int(np.argmax(relevance))
    patches = attribution.samples.size // PATCH
    if best >= patches:
        return abs(best - patches - question.interval_of(beat) - 0.5) < 1  # before, or after
    centre = question.live.start + PATCH * (best % (attribution.samples.shape[1] // PATCH)) + PATCH / 2
    start = landmarks(question.trace, beat - 1).qrs if beat else 0
    return bool(start <= centre <= landmarks(question.trace, beat).end)


def completeness_error(question: Question, attribution: Attribution) -> float:
    """How far the relevance falls short of, or exceeds, what it should add up to, as a share of it."""
    other = attribution.baseline
    with torch.no_grad():
        at_baseline = float(question(other.samples[None], other.intervals[None])[0])
    whole = question.answer - at_baseline
    return abs(attribution.total - whole) / max(abs(whole), 1e-6)


def agreement(one: Attribution, other: Attribution) -> float:
    """Spearman's rank correlation of two attributions of the same question, over units."""
    return _ranked(unit_relevance(one), unit_relevance(other))


def segment_agreement(question: Question, one: Attribution, other: Attribution) -> float:
    """Pearson's correlation of two attributions, over the parts of the beat."""
    parts = segments(question)
    a, b = _by_part(one, parts), _by_part(other, parts)
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def self_agreement(question: Question, one: Attribution, other: Attribution) -> float:
    """Spearman's rank correlation of two answers of one method, over what the method itself tells apart.

    That is units, but parts for methods that value parts: how a part's value is shared out inside depends on
    the input alone, so that over units even a network that learnt nothing would seem to say the same.
    """
    if one.method not in OF_PARTS:
        return agreement(one, other)
    parts = segments(question)
    return _ranked(_by_part(one, parts), _by_part(other, parts))


def _by_part(attribution: Attribution, parts: tuple[Segment, ...]) -> Vector:
    return np.array([attribution.of(part) for part in parts])


def _ranked(a: Vector, b: Vector) -> float:
    """Spearman's rank correlation; 0 where one side says the same everywhere."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(spearmanr(a, b).statistic)


def randomized(question: Question) -> Iterator[tuple[str, Question]]:
    """The same question to networks of which more and more layers, from the top, have random weights.

    Yields
    ------
    Name of the layer that was randomized last, and the question.
    """
    network = copy.deepcopy(question.network)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        fresh = Network(network.spec)
    for name, pairs in _from_the_top(network, fresh):
        for own, other in pairs:
            own.load_state_dict(other.state_dict())
        yield name, replace(question, network=copy.deepcopy(network).eval())


def _from_the_top(
    network: Network, fresh: Network
) -> Iterator[tuple[str, list[tuple[nn.Module, nn.Module]]]]:
    """Layers of two networks, the last first."""
    heads: list[tuple[nn.Module, nn.Module]] = [
        (network.beat.classes, fresh.beat.classes),
        (network.beat.rhythm, fresh.beat.rhythm),
        (network.beat.stack.norm, fresh.beat.stack.norm),
    ]
    yield "classes", heads
    for room, own, other in (
        ("beat", network.beat.stack, fresh.beat.stack),
        ("token", network.token.stack, fresh.token.stack),
    ):
        for layer in reversed(range(len(own.blocks))):
            pairs = [(own.blocks[layer], other.blocks[layer])]
            if room == "token" and layer == len(own.blocks) - 1:  # beat.stack's went with the classes
                pairs.append((own.norm, other.norm))
            yield f"{room} {layer + 1}", pairs
        if room == "beat":
            yield "entrance", [(network.beat.enter, fresh.beat.enter)]
    yield "patch", [(network.token.patch, fresh.token.patch)]
