"""What is measured of each method on each beat."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from edgeecg.explain.baseline import Baseline, baseline
from edgeecg.explain.faithfulness import (
    agreement,
    completeness_error,
    deletion,
    insertion,
    mixed,
    points_at_the_beat,
    randomized,
    segment_agreement,
    self_agreement,
    unit_relevance,
)
from edgeecg.explain.methods import DEFAULT, METHODS, Attribution, attribute
from edgeecg.explain.question import AFIB, Question

FLAT = "integrated, flat"
NAMES = (*METHODS, FLAT)
DEAR = ("occlusion", "shapley", "lime")
DRAWN = ("shapley", "lime", "random")
ADDING = ("path", "held", "free", "gradient", "integrated", "occlusion", "shapley", "lime", FLAT)
CONTROLS = ("difference", "random")
REMOVALS = {"deletion": "the usual beats", "flat": "a flat line"}
"""Columns of deletion areas: what is put in the place of the units that go."""

Figures = dict[str, list[float]]


def attributed(question: Question, name: str, seed: int = 0) -> Attribution:
    """What a method says; ``FLAT`` is integrated gradients as they are mostly used, from a flat line."""
    if name == FLAT:
        return attribute(question, baseline(question, "flat"), "integrated", seed)
    return attribute(question, baseline(question), name, seed)


def measured(questions: Sequence[Question], dear: int) -> dict[str, Figures]:
    """Figures of every method, a value for each beat; dear ones on the first ``dear`` beats only."""
    figures: dict[str, Figures] = {name: defaultdict(list) for name in NAMES}
    for number, question in enumerate(questions):
        closely = number < dear
        reference = attributed(question, "shapley") if closely else None
        _, untrained = list(randomized(question))[-1]
        for name in NAMES:
            if closely or name not in DEAR:
                again = untrained if closely or name not in ("integrated", FLAT) else None
                for key, value in _figures(question, name, reference, again).items():
                    figures[name][key].append(float(value))
    return figures


def _figures(
    question: Question, name: str, reference: Attribution | None, untrained: Question | None
) -> dict[str, float]:
    found = reference if reference is not None and name == "shapley" else attributed(question, name)
    usual = baseline(question)
    figures: dict[str, float] = {
        "deletion": deletion(question, found, usual).area,
        "flat": deletion(question, found, baseline(question, "flat")).area,
        "insertion": insertion(question, found, usual).area,
        "forward": found.forward,
        "backward": found.backward,
        "ms": 1e3 * found.seconds,
    }
    if reference is not None:
        figures["shapley"] = segment_agreement(question, found, reference)
    if question.label != AFIB:
        figures["pointing"] = points_at_the_beat(question, found)
    if name in ADDING:
        figures["complete"] = completeness_error(question, found)
    if untrained is not None and name not in CONTROLS:
        figures["random"] = self_agreement(question, found, attributed(untrained, name))
    if reference is not None and name in DRAWN:
        figures["seeds"] = self_agreement(question, found, attributed(question, name, seed=1))
    return figures


def ratio(
    questions: Sequence[Question],
    figures: Mapping[str, Figures],
    name: str,
    removal: str,
) -> tuple[float, float, float]:
    """Deletion area of the default method over that of another, with a 95 % interval over recordings.

    ``removal`` is one of ``REMOVALS``. It decides much: a method that explains against a baseline is at home
    where units are replaced by that baseline.
    """
    own, other = (np.array(figures[n][removal]) for n in (DEFAULT, name))
    names = [question.trace.record.name for question in questions]
    places = [np.flatnonzero(np.array(names) == record) for record in dict.fromkeys(names)]
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(1000):
        beats = np.concatenate([places[i] for i in rng.integers(len(places), size=len(places))])
        drawn.append(own[beats].mean() / other[beats].mean())
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(own.mean() / other.mean()), float(low), float(high)


def deletion_goals(
    asked: Mapping[str, Sequence[Question]], results: Mapping[str, Mapping[str, Figures]]
) -> list[tuple[str, str, bool]]:
    """The goals of the deletion area, by either removal: what is asked, what was found, whether it is met."""
    found = []
    for name, against in ((FLAT, "from a flat line"), ("integrated", "from the same baseline")):
        for label in ("V", "S"):
            for removal, by in REMOVALS.items():
                middle, *ends = ratio(asked[label], results[label], name, removal)
                low, high = (f"{100 * (end - 1):+.0f}" for end in ends)
                goal = f"deletion area on {label}, by {by}, 20 % below integrated gradients {against}"
                found.append((goal, f"{100 * (middle - 1):+.0f} % [{low}, {high}]", middle <= 0.8))
    return found


def cascade(asked: Sequence[Question]) -> dict[str, float]:
    """Correlation of the default method with itself as layers are randomized from the top."""
    values: Figures = defaultdict(list)
    for question in asked:
        found = attributed(question, DEFAULT)
        for layer, other in randomized(question):
            values[layer].append(agreement(found, attributed(other, DEFAULT)))
    return {layer: float(np.mean(v)) for layer, v in values.items()}


class Units(torch.nn.Module):
    """A question as Quantus wants it: units in, 1 kept and 0 removed; logits of two classes out."""

    def __init__(self, question: Question, other: Baseline) -> None:
        super().__init__()
        self.question, self.other = question, other
        self.anchor = torch.nn.Parameter(torch.zeros(()))  # Quantus asks a parameter for its device

    def forward(self, units: torch.Tensor) -> torch.Tensor:
        """``(B, 1, units)`` to ``(B, 2)``."""
        odds = self.question(*mixed(self.question, self.other, units.flatten(1).float()))
        return torch.stack([torch.zeros_like(odds), odds], dim=1)


def by_quantus(asked: Sequence[Question], names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Sparseness, complexity and faithfulness correlation of some methods, mean over beats."""
    import quantus

    quiet = {"disable_warnings": True, "display_progressbar": False}
    metrics = {
        "sparseness": quantus.Sparseness(**quiet),
        "complexity": quantus.Complexity(**quiet),
        "faithfulness correlation": quantus.FaithfulnessCorrelation(
            nr_runs=50, subset_size=24, perturb_baseline=0.0, **quiet
        ),
    }
    values: dict[str, Figures] = {name: defaultdict(list) for name in names}
    for question in asked:
        model = Units(question, baseline(question)).eval()
        for name in names:
            units = unit_relevance(attributed(question, name)).astype(np.float32)[None, None]
            for column, metric in metrics.items():
                np.random.seed(0)  # noqa: NPY002  Quantus draws from numpy's global state
                said = metric(
                    model=model,
                    x_batch=np.ones_like(units),
                    y_batch=np.array([1]),
                    a_batch=units,
                    device="cpu",
                )
                values[name][column].append(float(said[0]))
    return {name: {c: float(np.nanmean(v)) for c, v in rows.items()} for name, rows in values.items()}
