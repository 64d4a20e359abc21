"""Methods that give every sample and every interval its relevance, all on one scale: log-odds of the label.

Each is a function of a question, a baseline and a seed. Gradients, occlusion, Shapley values and LIME are
Captum's; attention is our own, since no library knows a banded Transformer with rotary positions.

The default, ``path``, takes gradients at three points of the straight line from the baseline, and averages
the relevance of samples over a token, since three gradients cannot tell apart what lies inside one patch.
What moves attention counts by half. ``held`` leaves it out (relevance then flows along attention only, as in
rules of relevance propagation; it is blind to timing, which lives in where attention looks), ``free`` counts
it in full: with three points that is the part that is estimated worst.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgeecg.errors import ConfigError, MissingExtra
from edgeecg.explain.attention import follow, held, look, rollout, weighted
from edgeecg.explain.baseline import Baseline
from edgeecg.explain.question import Question
from edgeecg.explain.segments import Segment, segments

__all__ = ["DEFAULT", "METHODS", "OF_PARTS", "Attribution", "Counted", "attribute", "method_of"]

DEFAULT = "path"
POINTS = (1 / 6, 1 / 2, 5 / 6)  # of the path, from baseline to recording
WIDTH = 8  # samples over which relevance is averaged (Hann window)

IG_STEPS = 50
SHAPLEY_ORDERS = 25
LIME_SAMPLES = 200
OCCLUSION = (8, 4)  # samples: window and stride
BATCH = 32  # perturbed copies evaluated together

Parts = tuple[Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class Attribution:
    """What one method found.

    Parameters
    ----------
    method : str
    samples : (leads, n) float64
        Relevance of each live sample of the question.
    intervals : (m,) float64
        Relevance of each interval.
    baseline : Baseline
        What it is relative to.
    forward, backward : int
        Passes through the network.
    seconds : float
        Time it took.
    """

    method: str
    samples: NDArray[np.float64]
    intervals: NDArray[np.float64]
    baseline: Baseline
    forward: int
    backward: int
    seconds: float

    @property
    def total(self) -> float:
        """Sum of all relevance."""
        return float(self.samples.sum() + self.intervals.sum())

    def of(self, segment: Segment) -> float:
        """Relevance of one part of the input."""
        samples = sum(float(self.samples[:, start:stop].sum()) for start, stop in segment.spans)
        return samples + float(self.intervals[list(segment.intervals)].sum())


class Counted:
    """A question that counts its passes.

    Parameters
    ----------
    question : Question
    """

    def __init__(self, question: Question) -> None:
        self.question = question
        self.forward = self.backward = 0

    def __call__(self, samples: Tensor, intervals: Tensor) -> Tensor:
        """Log-odds, as the question gives them."""
        self.note(len(samples), samples.requires_grad)
        return self.question(samples, intervals)

    def note(self, rows: int, backward: bool) -> None:
        """Count passes that were made elsewhere."""
        self.forward += rows
        self.backward += rows if backward else 0


Method = Callable[[Counted, Baseline, int], Parts]


def _slopes(
    f: Callable[[Tensor, Tensor], Tensor], question: Question, baseline: Baseline, points: tuple[float, ...]
) -> Parts:
    """Mean gradient over points of the path, times the way from the baseline."""
    at = torch.tensor(points)[:, None]
    way = question.samples - baseline.samples, question.intervals - baseline.intervals
    samples = (baseline.samples + at[..., None] * way[0]).requires_grad_()
    intervals = (baseline.intervals + at * way[1]).requires_grad_()
    with torch.enable_grad():
        slopes = torch.autograd.grad(f(samples, intervals).sum(), (samples, intervals))
    return slopes[0].mean(dim=0) * way[0], slopes[1].mean(dim=0) * way[1]


def _smooth(samples: Tensor) -> Tensor:
    """Relevance ``(leads, n)`` averaged over neighbours; its sum is kept but at the ends."""
    window = torch.hann_window(WIDTH + 2, periodic=False)[1:-1]
    kernel = (window / window.sum())[None, None]
    padded = torch.nn.functional.pad(samples[:, None], (WIDTH // 2, WIDTH - 1 - WIDTH // 2))
    return torch.nn.functional.conv1d(padded, kernel)[:, 0]


def _along(f: Counted, baseline: Baseline, seed: int, *, hold: float) -> Parts:
    """Three gradients along the path; by ``hold``, what passes along attention and not what moves it."""

    def counted(samples: Tensor, intervals: Tensor) -> Tensor:
        f.note(len(samples), backward=True)
        return held(f.question, samples, intervals, hold)

    samples, intervals = _slopes(counted, f.question, baseline, POINTS)
    return _smooth(samples), intervals


def _gradient(f: Counted, baseline: Baseline, seed: int) -> Parts:
    """One gradient, at the recording, times the way from the baseline."""
    return _slopes(f, f.question, baseline, (1.0,))


def _integrated(f: Counted, baseline: Baseline, seed: int) -> Parts:
    from captum.attr import IntegratedGradients

    inputs, other = _pairs(f.question, baseline)
    samples, intervals = IntegratedGradients(f).attribute(
        inputs, other, n_steps=IG_STEPS, internal_batch_size=BATCH
    )
    return samples[0], intervals[0]


def _occlusion(f: Counted, baseline: Baseline, seed: int) -> Parts:
    from captum.attr import Occlusion

    question = f.question
    window, stride = OCCLUSION
    leads = len(question.leads)
    inputs, other = _pairs(question, baseline)
    count = 2 if len(question.intervals) else 1  # a first beat has no interval
    found = Occlusion(
        f if count == 2 else lambda samples: f(samples, inputs[1].expand(len(samples), 0))
    ).attribute(
        inputs[:count],
        sliding_window_shapes=((leads, window), (1,))[:count],
        strides=((leads, stride), (1,))[:count],
        baselines=other[:count],
        perturbations_per_eval=BATCH,
    )
    intervals = found[1][0] if count == 2 else question.intervals
    return found[0][0] / (window * leads), intervals  # each window's effect, spread over its samples


def _of_parts(f: Counted, baseline: Baseline, seed: int, *, kind: str, n_samples: int) -> Parts:
    """A method of Captum's that values whole parts of the beat."""
    from captum import attr

    inputs, other = _pairs(f.question, baseline)
    parts = segments(f.question)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        values = getattr(attr, kind)(f).attribute(
            inputs,
            other,
            feature_mask=_masks(f.question, parts),
            n_samples=n_samples,
            perturbations_per_eval=BATCH,
        )
    return _spread(f.question, baseline, parts, values)


def _pairs(question: Question, baseline: Baseline) -> tuple[Parts, Parts]:
    """Inputs and baselines as Captum wants them: a tuple of tensors, one row each."""
    return (question.samples[None], question.intervals[None]), (
        baseline.samples[None],
        baseline.intervals[None],
    )


def _masks(question: Question, parts: tuple[Segment, ...]) -> Parts:
    """Number of the segment of each sample and each interval."""
    samples = torch.zeros_like(question.samples, dtype=torch.long)
    intervals = torch.zeros_like(question.intervals, dtype=torch.long)
    for number, part in enumerate(parts):
        for start, stop in part.spans:
            samples[:, start:stop] = number
        intervals[list(part.intervals)] = number
    return samples[None], intervals[None]


def _spread(question: Question, baseline: Baseline, parts: tuple[Segment, ...], values: Parts) -> Parts:
    """A segment's value over its elements, as much to each as it departs from the baseline.

    So within a segment the order of the elements is the same for every network, be it trained or not.
    """
    away = (
        (question.samples - baseline.samples).abs() + 1e-6,
        (question.intervals - baseline.intervals).abs() + 1e-6,
    )
    samples, intervals = torch.zeros_like(away[0]), torch.zeros_like(away[1])
    for part in parts:
        if part.spans:
            value = values[0][0, 0, part.spans[0][0]]
            size = sum(float(away[0][:, a:b].sum()) for a, b in part.spans)
            for a, b in part.spans:
                samples[:, a:b] = value * away[0][:, a:b] / size
        else:
            chosen = list(part.intervals)
            intervals[chosen] = values[1][0, chosen[0]] * away[1][chosen] / away[1][chosen].sum()
    return samples, intervals


def _rollout(f: Counted, baseline: Baseline, seed: int) -> Parts:
    attention = look(f.question)
    f.note(1, backward=False)
    return follow(f.question, attention, rollout)


def _attention(f: Counted, baseline: Baseline, seed: int) -> Parts:
    attention = look(f.question)
    f.note(1, backward=True)
    return follow(f.question, attention, weighted)


def _difference(f: Counted, baseline: Baseline, seed: int) -> Parts:
    """How far the input departs from the baseline, network unseen: a control."""
    scale = (
        f.question.samples.abs().mean() / f.question.intervals.mean()
    )  # both in shares of their usual size
    samples = (f.question.samples - baseline.samples).abs()
    return samples, (f.question.intervals - baseline.intervals).abs() * scale


def _random(f: Counted, baseline: Baseline, seed: int) -> Parts:
    """Nothing but chance: a control."""
    rng = torch.Generator().manual_seed(seed)
    draw = torch.rand(f.question.samples.numel() + len(f.question.intervals), generator=rng)
    count = f.question.samples.numel()
    return draw[:count].reshape(f.question.samples.shape), draw[count:]


METHODS: dict[str, Method] = {
    "path": partial(_along, hold=0.5),
    "held": partial(_along, hold=1.0),
    "free": partial(_along, hold=0.0),
    "gradient": _gradient,
    "integrated": _integrated,
    "occlusion": _occlusion,
    "shapley": partial(_of_parts, kind="ShapleyValueSampling", n_samples=SHAPLEY_ORDERS),
    "lime": partial(_of_parts, kind="Lime", n_samples=LIME_SAMPLES),
    "attention": _attention,
    "rollout": _rollout,
    "difference": _difference,
    "random": _random,
}
"""All methods by name; the last two are controls."""

OF_PARTS = ("shapley", "lime")
"""Methods that value whole parts: which samples of a part get more is decided by the input alone."""


def method_of(name: str) -> Method:
    """A method by its name; raises ``ConfigError`` that lists the names."""
    if name not in METHODS:
        raise ConfigError(f"no method {name!r}: choose one of {', '.join(METHODS)}")
    return METHODS[name]


def attribute(question: Question, baseline: Baseline, method: str = DEFAULT, seed: int = 0) -> Attribution:
    """Relevance of every sample and interval of a question.

    Parameters
    ----------
    question : Question
    baseline : Baseline
        What the relevance is relative to; attention knows none.
    method : str
        One of ``METHODS``.
    seed : int
        Of Shapley values, LIME and the random control.

    Raises
    ------
    ConfigError
        If there is no such method.
    MissingExtra
        If Captum or scikit-learn is not installed.
    """
    run, counted = method_of(method), Counted(question)
    begun = time.perf_counter()
    try:
        samples, intervals = run(counted, baseline, seed)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in ("captum", "sklearn"):
            raise
        raise MissingExtra("captum", "explain", f"the method {method}") from error
    took = time.perf_counter() - begun
    return Attribution(
        method=method,
        samples=samples.detach().double().numpy(),
        intervals=intervals.detach().double().numpy(),
        baseline=baseline,
        forward=counted.forward,
        backward=counted.backward,
        seconds=took,
    )
