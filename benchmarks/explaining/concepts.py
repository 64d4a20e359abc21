"""TCAV on the beats of a benchmark: scores by label, concept and layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edgeecg.bundle import Bundle
from edgeecg.explain.concept_hearts import synthetic_sets
from edgeecg.explain.concepts import moments
from edgeecg.explain.question import AFIB, Question
from edgeecg.explain.tcav import ConceptScore, score_concepts
from edgeecg.model.transformer import Network
from edgeecg.specs import BEAT_LABELS

EACH = 8  # beats of a stretch, at most
HEARTS = 5  # in a set of examples
SETS = 1000  # seeds of sets that belong to one of the benchmark's
EXPECTED = (("V", "wide QRS"), ("S", "premature"), (AFIB, "irregular RR"), (AFIB, "absent P"))


def concept_scores(
    bundle: Bundle, network: Network, asked: Mapping[str, Sequence[Question]], seed: int, draws: int
) -> list[ConceptScore]:
    """Scores on beats of the questions' stretches that have their past in them; generated sets."""
    rows = {}
    for label, questions in asked.items():
        packed = [moments(network, q.trace, _alike(q))[0][:EACH] for q in questions]
        if sum(map(len, packed)):
            rows[label] = np.concatenate(packed)
    bias = np.array([bundle.thresholds.bias.get(name, 0.0) for name in BEAT_LABELS], np.float32)
    sets = [
        synthetic_sets(bundle, network, patients=HEARTS, seed=SETS * seed + number) for number in range(draws)
    ]
    return score_concepts(network, bias, sets, rows)


def _alike(question: Question) -> list[int]:
    """Beats of a question's stretch to which the model gives its label, the one asked about first."""
    found = question.trace
    asked = int(question.targets[len(question.targets) // 2])
    if question.label == AFIB:
        alike = np.flatnonzero(found.fibrillation > 0.5)
    else:
        alike = np.flatnonzero(np.array(found.labels) == question.label)
    others = np.random.default_rng(asked).permutation(alike[alike != asked])
    return [asked, *map(int, others)]


def best(scores: Sequence[ConceptScore], label: str, concept: str) -> ConceptScore | None:
    """The layer in which a concept speaks most surely for a label; ``None`` where it never does."""
    own = [s for s in scores if (s.label, s.concept) == (label, concept) and s.score > 0.5]
    return min(own, key=lambda s: (s.p, -s.score), default=None)
