"""Testing with concept activation vectors (Kim et al., 2018): does the model think in these concepts?

In a layer, examples of a concept are told from beats of the same hearts without it by a line; the line's
direction is the concept's vector. The TCAV score of a class is the share of its beats whose log-odds rise
along it. It counts only where sets of *different hearts* agree: had the concept no effect, the sides of each
set could be exchanged and its score would lie above a half as often as below. That is tested exactly, by
exchanging them in all ways. Draws from one set would be one line measured many times, and nearly anything
would look significant. Captum makes the lines and the scores; what it sees is the beat's own tokens in each
token layer and the beat's own place in each beat layer.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import torch
from captum.attr import LayerGradientXActivation
from captum.concept import TCAV, Classifier, Concept
from numpy.typing import NDArray
from torch import Tensor, nn

from edgeecg.errors import ConfigError
from edgeecg.explain.concepts import ConceptSets, Examples
from edgeecg.explain.question import AFIB, LABELS, reach
from edgeecg.model.transformer import Network
from edgeecg.specs import RHYTHM_LABELS, RR_FEATURES

__all__ = ["ConceptScore", "MomentNetwork", "Probe", "layer_names", "score_concepts"]

CHUNK = 64  # examples in one pass
RIDGE = 1.0  # regularization, in units of the features' variance
SIGNIFICANT = 0.01
EXACT = 17  # sets; with more, not all ways of exchanging their sides are tried, but 2^17 by lot


@dataclass(frozen=True)
class ConceptScore:
    """One concept, one layer, one label.

    Parameters
    ----------
    concept, layer, label : str
    score : float
        Mean TCAV score: share of the label's beats whose log-odds rise along the concept.
    spread : float
        Standard deviation over the sets.
    p : float
        Of the two-sided exchange test against a half, times the number of tests (concepts and layers) of the
        label. It cannot be less than 2^(1 - sets) times that number: 14 sets or more for p < .01 of 64 tests.
    accuracy : float
        Of the line on examples that it was not fitted to; 0.5 is chance.
    """

    concept: str
    layer: str
    label: str
    score: float
    spread: float
    p: float
    accuracy: float

    @property
    def significant(self) -> bool:
        """At p < .01, all tests of the label taken together (Bonferroni)."""
        return self.p < SIGNIFICANT


def layer_names(network: Network) -> tuple[str, ...]:
    """Layers in which concepts are looked for, lowest first."""
    spec = network.spec
    tokens = tuple(f"token_{layer + 1}" for layer in range(spec.token.layers))
    beats = tuple(f"beat_{layer + 1}" for layer in range(spec.beat.layers))
    return ("patch", *tokens, "entrance", *beats)


class MomentNetwork(nn.Module):
    """The network as a function of packed moments, with a tap at the beat in every layer.

    A tap is an identity in the beat's way: what passes it is the beat's activation there, and gradients
    with respect to it leave out all other tokens and beats.

    Parameters
    ----------
    network : Network
    bias : (5,) float32
        Added to the class logits.
    """

    def __init__(self, network: Network, bias: NDArray[np.float32]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("bias", torch.from_numpy(bias))
        self.bias: Tensor
        self.taps = nn.ModuleDict({name: nn.Identity() for name in layer_names(network)})

    def forward(self, packed: Tensor) -> Tensor:
        """``(B, width)`` moments to log-odds ``(B, 6)`` in the order of ``LABELS``."""
        spec = self.network.spec
        older = spec.beat.layers * spec.beat.left
        sizes = [packed.shape[1] - older * spec.beat_inputs - len(RR_FEATURES), older * spec.beat_inputs]
        samples, history, timing = packed.split([*sizes, len(RR_FEATURES)], dim=1)
        own = torch.cat([self._tokens(samples).flatten(1), timing], dim=1)
        beats = torch.cat([history.unflatten(1, (older, spec.beat_inputs)), own[:, None]], dim=1)
        return self._odds(self._beats(self.network.beat.enter(beats)))

    def _tokens(self, samples: Tensor) -> Tensor:
        """Embeddings of the beat's token and its decision token, ``(B, 2, d)``."""
        token, spec = self.network.token, self.network.spec
        where = torch.tensor([reach(self.network), reach(self.network) + spec.delay])
        x = token.patch(nn.functional.pad(samples, (spec.stem_context, 0)))
        x = self._tap("patch", x, where)
        cosine, sine = token.stack.angles(x.shape[1], x.device)
        for layer, block in enumerate(token.stack.layers()):
            x = self._tap(f"token_{layer + 1}", block(x, cosine, sine), where)
        chosen: Tensor = token.stack.norm(x)[:, where]
        return chosen

    def _beats(self, x: Tensor) -> Tensor:
        """The last beat's place at the top of the beat encoder, ``(B, d)``."""
        stack = self.network.beat.stack
        last = torch.tensor([x.shape[1] - 1])
        x = self._tap("entrance", x, last)
        cosine, sine = stack.angles(x.shape[1], x.device)
        for layer, block in enumerate(stack.layers()):
            x = self._tap(f"beat_{layer + 1}", block(x, cosine, sine), last)
        top: Tensor = stack.norm(x)[:, -1]
        return top

    def _tap(self, name: str, x: Tensor, where: Tensor) -> Tensor:
        """``x`` with its places ``where`` led through a tap as one row of features."""
        rows = x[:, where]
        passed = self.taps[name](rows.flatten(1)).unflatten(1, rows.shape[1:])
        return x.index_copy(1, where, passed)

    def _odds(self, top: Tensor) -> Tensor:
        classes, rhythm = self.network.beat.decide(top)
        classes = classes + self.bias
        columns = []
        for label, logits in [
            *((i, classes) for i in range(classes.shape[1])),
            (RHYTHM_LABELS.index(AFIB), rhythm),
        ]:
            others = torch.cat([logits[:, :label], logits[:, label + 1 :]], dim=1)
            columns.append(logits[:, label] - others.logsumexp(dim=1))
        return torch.stack(columns, dim=1)


class Probe(Classifier):  # type: ignore[misc]
    """A ridge classifier on scaled features: one solve, no learning rate, the same line every time."""

    def __init__(self) -> None:
        super().__init__()
        self._weights = torch.zeros(2, 0)
        self._classes: list[int] = []

    def train_and_eval(self, dataloader: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Fit, on all examples; the accuracy is that of two fits on halves, each judged by the other."""
        pairs = list(dataloader)
        x, y = torch.cat([a.flatten(1) for a, _ in pairs]).float(), torch.cat([b for _, b in pairs])
        self._classes = sorted(int(c) for c in y.unique())
        signs = torch.where(y == self._classes[-1], 1.0, -1.0)
        direction, _ = fit_line(x, signs)
        self._weights = torch.stack([-direction, direction])
        return {"accs": torch.tensor(cross_accuracy(x, signs))}

    def weights(self) -> Tensor:
        """Directions ``(2, features)``: away from the concept with the greater number, and towards it."""
        return self._weights

    def classes(self) -> list[int]:
        """Numbers of the concepts, ascending."""
        return self._classes


def fit_line(x: Tensor, signs: Tensor) -> tuple[Tensor, Tensor]:
    """Ridge regression of signs ``(n,)`` on features ``(n, f)``: direction ``(f,)`` and offset."""
    mean, scale = x.mean(dim=0), x.std(dim=0).clamp(min=1e-6)
    z = (x - mean) / scale
    gram = z.T @ z + RIDGE * len(z) * torch.eye(z.shape[1])
    weight = torch.linalg.solve(gram, z.T @ (signs - signs.mean())) / scale
    return weight, signs.mean() - mean @ weight


def cross_accuracy(x: Tensor, signs: Tensor) -> float:
    """Accuracy of two lines, each fitted to half of the examples and judged by the other half."""
    half = torch.arange(len(x)) % 2 == 0
    right = []
    for fitted in (half, ~half):
        weight, offset = fit_line(x[fitted], signs[fitted])
        right.append(((x[~fitted] @ weight + offset) * signs[~fitted] > 0).float().mean())
    return float(torch.stack(right).mean())


def score_concepts(
    network: Network,
    bias: NDArray[np.float32],
    sets: Sequence[ConceptSets],
    beats: dict[str, Examples],
) -> list[ConceptScore]:
    """TCAV scores of every concept, in every layer, for every label.

    Parameters
    ----------
    network : Network
    bias : (5,) float32
    sets : sequence of ConceptSets
        Three or more, each of other hearts: the scores of each count once.
    beats : dict of label to (n, width)
        Moments of beats that the model gives each label.

    Raises
    ------
    ConfigError
        For an unknown label, a label without beats, fewer than three sets, or sets of other concepts.
    """
    unknown = [label for label in beats if label not in LABELS]
    empty = [label for label, rows in beats.items() if not len(rows)]
    if unknown or empty or len(sets) < 3:
        raise ConfigError(
            f"concepts need beats of known labels ({', '.join(LABELS)}) and 3 sets or more: "
            f"unknown {unknown}, without beats {empty}, {len(sets)} sets"
        )
    names = list(sets[0].concepts)
    if any(list(other.concepts) != names for other in sets):
        raise ConfigError("the sets are of other concepts: make them alike")
    pairs = _pairs(sets, names)
    model = MomentNetwork(network, bias).eval()
    layers = layer_names(network)
    taps = [f"taps.{name}" for name in layers]
    scores: list[ConceptScore] = []
    with tempfile.TemporaryDirectory() as folder:
        gradients = LayerGradientXActivation(model, None, multiply_by_inputs=False)
        test = TCAV(model, taps, classifier=Probe(), layer_attr_method=gradients, save_path=f"{folder}/cav")
        for label, rows in beats.items():
            found = test.interpret(torch.from_numpy(rows), pairs, target=LABELS.index(label))
            for tap, layer in zip(taps, layers, strict=True):
                scores += _scores(test, found, names, pairs, tap, layer, label)
    return scores


def _pairs(sets: Sequence[ConceptSets], names: Sequence[str]) -> list[list[Concept]]:
    """For each concept: in every set the beats with it, and those without it."""
    numbers = count()
    sides = [(name, (one.concepts[name], one.without[name])) for name in names for one in sets]
    return [[_concept(next(numbers), name, rows) for rows in both] for name, both in sides]


def _concept(number: int, name: str, rows: Examples) -> Concept:
    def batches() -> Iterator[Tensor]:
        for start in range(0, len(rows), CHUNK):
            yield torch.from_numpy(rows[start : start + CHUNK])

    return Concept(number, name, _Repeated(batches))


class _Repeated:
    """An iterable that begins anew each time."""

    def __init__(self, make: Any) -> None:
        self._make = make

    def __iter__(self) -> Iterator[Tensor]:
        items: Iterator[Tensor] = self._make()
        return items


def _scores(
    test: TCAV, found: Any, names: Sequence[str], pairs: list[list[Concept]], tap: str, layer: str, label: str
) -> list[ConceptScore]:
    """Scores of one layer and label."""
    keys = [f"{one.id}-{other.id}" for one, other in pairs]
    shares = np.array([float(found[key][tap]["sign_count"][0]) for key in keys])
    accuracy = np.array([float(test.cavs[key][tap].stats["accs"]) for key in keys])
    by = (len(names), -1)  # concept, set
    tests = len(names) * len(test.layers)
    return [
        ConceptScore(
            concept=name,
            layer=layer,
            label=label,
            score=float(own.mean()),
            spread=float(own.std()),
            p=min(1.0, tests * _p_value(own)),
            accuracy=float(right.mean()),
        )
        for name, own, right in zip(names, shares.reshape(by), accuracy.reshape(by), strict=True)
    ]


def _p_value(shares: NDArray[np.float64]) -> float:
    """Two-sided: how often the mean is as far from a half when the sides of sets are exchanged at will."""
    away, sets = shares - 0.5, len(shares)
    if sets <= EXACT:
        exchanged = np.arange(1 << sets)[:, None] >> np.arange(sets) & 1
    else:
        exchanged = np.random.default_rng(0).integers(2, size=(1 << EXACT, sets))
        exchanged[0] = 0  # as it was
    means = np.abs((1 - 2 * exchanged) @ away)
    return float(np.mean(means >= abs(away.sum()) - 1e-9))
