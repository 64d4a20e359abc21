"""Why did it say V? One beat or one episode, explained: the door of this room."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Union

import numpy as np
import torch

from edgeecg.bundle import Bundle, LeadPolicy
from edgeecg.decode.confidence import Confidence
from edgeecg.explain.attention import Attention, look
from edgeecg.explain.baseline import BaselineKind, baseline
from edgeecg.explain.beat_concepts import BeatConcept, beat_concepts
from edgeecg.explain.concepts import ConceptSets
from edgeecg.explain.counterfactual import Counterfactual, smallest_change
from edgeecg.explain.methods import DEFAULT, Attribution, attribute, method_of
from edgeecg.explain.question import AFIB, Question, ask
from edgeecg.explain.rules import RULES
from edgeecg.explain.segments import Segment, segments
from edgeecg.explain.trace import load_network, trace
from edgeecg.io.record import Record
from edgeecg.specs import BEAT_LABELS

__all__ = ["Explanation", "explain"]

SHARES = ("attention", "rollout")
"""Methods that say which share of the attention a part had, and nothing in log-odds."""

CONTROLS = ("difference", "random")
"""Methods that do not ask the model."""

MISSING, SMALL = 0.5, 0.5
"""Share of the way from the baseline, and log-odds, that relevance may miss; usual are 0.2 to 0.3."""


@dataclass(frozen=True, eq=False)
class Explanation:
    """What was found about one question.

    Parameters
    ----------
    bundle : Bundle
    question : Question
        Its ``answer`` is the log-odds of the label.
    attribution : Attribution
        Relevance of samples and intervals, in ``unit``.
    parts : tuple of Segment
        The parts of the beat; ``attribution.of(part)`` is the relevance of each.
    counterfactual : Counterfactual, optional
        The smallest change that turns the label; ``None`` where none was looked for or found.
    concepts : list of BeatConcept
        Empty where none were looked for, or the beat's past is too short.
    notes : tuple of str
        What was asked for and is not there, and why.
    """

    bundle: Bundle
    question: Question
    attribution: Attribution
    parts: tuple[Segment, ...]
    counterfactual: Counterfactual | None = None
    concepts: list[BeatConcept] = field(default_factory=list)
    notes: tuple[str, ...] = ()

    @property
    def beat(self) -> int:
        """Number of the beat that was asked about in the trace."""
        return self.question.beat

    @property
    def sample(self) -> int:
        """Source sample of the beat that was asked about."""
        return int(self.question.trace.samples[self.beat])

    @property
    def probability(self) -> float:
        """Of the label against all others; of the label that was told, as the stream tells it: corrected."""
        label, verdict = self.question.label, self.question.trace.verdict
        if label != verdict.labels[self.beat]:
            return float(1 / (1 + np.exp(-self.question.answer)))
        correct = Confidence(self.bundle.thresholds.confidence)
        which = np.array([BEAT_LABELS.index(label)])
        return float(correct(which, verdict.probability[self.beat : self.beat + 1])[0])

    def __repr__(self) -> str:
        return f"Explanation({self.question.label!r} at sample {self.sample}, by {self.attribution.method})"

    @property
    def unit(self) -> str:
        """What relevance is counted in."""
        if self.attribution.method in CONTROLS:
            return "no unit"
        return "share of attention" if self.attribution.method in SHARES else "log-odds"

    @property
    def signed(self) -> bool:
        """Whether relevance says for or against, and not only how much."""
        return self.unit == "log-odds"

    def rule(self) -> str:
        """The rule that told another label than the network, in words; empty where none did."""
        verdict = self.question.trace.verdict
        if self.question.label == AFIB or not verdict.rule[self.beat]:
            return ""
        own, said = verdict.network[self.beat], verdict.labels[self.beat]
        return (
            f"The network by itself says {own}; {said} is told by a rule: {RULES[verdict.rule[self.beat]]}."
        )

    @cached_property
    def attention(self) -> Attention:
        """Who looked at whom; worked out when first asked for."""
        return look(self.question)

    @property
    def relevance(self) -> dict[str, float]:
        """Relevance of each part of the beat, in ``unit``."""
        return {part.name: self.attribution.of(part) for part in self.parts}

    @cached_property
    def difference(self) -> float:
        """Log-odds of the label here, less those at the baseline: what complete relevance adds up to."""
        other = self.attribution.baseline
        with torch.no_grad():
            usual = self.question(other.samples[None], other.intervals[None])
        return self.question.answer - float(usual[0])

    def balance(self) -> str:
        """How much of the difference to the baseline the relevance accounts for, in words."""
        if self.attribution.method in SHARES:
            return "Attention is a share of 1 and does not add up to log-odds."
        if self.attribution.method in CONTROLS:
            return "A control: it does not ask the model, and adds up to nothing."
        whole = f"{self.difference:+.1f} from those of the baseline"
        told = f"The parts add up to {self.attribution.total:+.1f}; the log-odds are {whole}."
        off = abs(self.attribution.total - self.difference)
        if off <= max(MISSING * abs(self.difference), SMALL):
            return told
        return f"{told} They are far from it here: shapley, which is complete, will tell more."

    def timing(self) -> str:
        """The interval before the beat, and the usual one, in words."""
        if self.question.label == AFIB or not len(self.question.intervals):
            return ""
        index = self.question.interval_of(int(self.question.targets[0]))
        own, usual = (float(x[index]) for x in (self.question.intervals, self.attribution.baseline.intervals))
        away = f"{abs(own / usual - 1):.0%}"
        early = "as usual" if away == "0%" else f"{away} {'earlier' if own < usual else 'later'} than usual"
        return f"{own:.2f} s after the beat before, {early} ({usual:.2f} s)"

    def sentences(self) -> list[str]:
        """The explanation in words, the most telling first."""
        odds = f"the network's own log-odds {self.question.answer:+.1f}"
        lines = [f"{self.question.label} with a probability of {self.probability:.1%} ({odds})."]
        if self.rule():
            lines.append(self.rule())
        if self.timing():
            lines.append(f"It came {self.timing()}.")
        lines += self._for_and_against() if self.signed else [self._shares()]
        if self.counterfactual is not None:
            agrees = "agrees" if self.counterfactual.confirmed else "does not agree"
            lines.append(f"{self.counterfactual.sentence()} The deployed path {agrees}.")
        return [*lines, *self.notes]

    def _shares(self) -> str:
        """What a method without a sign says of the parts."""
        weights = {name: abs(value) for name, value in self.relevance.items()}
        total = sum(weights.values()) or 1.0
        ranked = sorted(weights.items(), key=lambda item: -item[1])
        said = ", ".join(f"{name} {value / total:.0%}" for name, value in ranked if value > 0.05 * total)
        control = self.attribution.method in CONTROLS
        return f"{'By a control that does not ask the model' if control else 'Where it looked'}: {said}."

    def _for_and_against(self) -> list[str]:
        against = (
            "the patient's usual beats, on time"
            if self.attribution.baseline.kind == "usual"
            else "a flat line in a regular rhythm"
        )
        weights = self.relevance
        total = sum(abs(value) for value in weights.values()) or 1.0
        ranked = sorted(weights.items(), key=lambda item: -item[1])
        spoken = [
            f"{name} {value:+.1f} ({abs(value) / total:.0%})"
            for name, value in ranked
            if value > 0.05 * total
        ]
        against_it = [f"{name} {value:+.1f}" for name, value in reversed(ranked) if value < -0.05 * total]
        lines = [f"What speaks for it, against {against}: {', '.join(spoken) or 'nothing in particular'}."]
        if against_it:
            lines.append(f"What speaks against it: {', '.join(against_it)}.")
        return lines

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values, times in source samples."""
        trace_, live = self.question.trace, self.question.live
        change = self.counterfactual
        return {
            "record": trace_.record.name,
            "sample": self.sample,
            "fs": trace_.record.fs,
            "bundle": self.bundle.name,
            "digest": self.bundle.digest,
            "label": self.question.label,
            "told": trace_.verdict.labels[self.beat],
            "network": trace_.verdict.network[self.beat],
            "rule": trace_.verdict.rule[self.beat] or None,
            "log_odds": self.question.answer,
            "probability": self.probability,
            "method": self.attribution.method,
            "baseline": self.attribution.baseline.kind,
            "passes": {"forward": self.attribution.forward, "backward": self.attribution.backward},
            "parts": self.relevance,
            "adds_up_to": self.attribution.total,
            "difference": self.difference,
            "targets": [int(s) for s in trace_.samples[self.question.targets]],
            "samples": {
                "at": [trace_.sample(place) for place in range(live.start, live.stop)],
                "leads": [trace_.record.leads[trace_.columns[row]] for row in self.question.leads],
                "relevance": self.attribution.samples.tolist(),
            },
            "intervals": {
                "ends_at": [
                    int(s) for s in trace_.samples[self.question.table.first :][: self.question.table.count]
                ],
                "seconds": self.question.intervals.tolist(),
                "usual": self.attribution.baseline.intervals.tolist(),
                "relevance": self.attribution.intervals.tolist(),
            },
            "counterfactual": None
            if change is None
            else {
                "label": change.after,
                "timing": change.edit.timing,
                "width": change.edit.width,
                "p_wave": change.edit.p,
                "distance": change.distance,
                "probability": change.probability,
                "confirmed": change.confirmed,
            },
            "concepts": [vars(concept) for concept in self.concepts],
        }


def explain(
    record: Record,
    at: int,
    *,
    bundle: Union[str, os.PathLike[str], Bundle] = "small",
    label: str | None = None,
    method: str = DEFAULT,
    against: BaselineKind | None = None,
    lead_policy: LeadPolicy | None = None,
    change: bool = True,
    concepts: Union[ConceptSets, Callable[[], ConceptSets], None] = None,
    seed: int = 0,
) -> Explanation:
    r"""Explain what the model says of the beat at a source sample, or of the rhythm around it.

    Parameters
    ----------
    record : Record
    at : int
        Source sample of the beat, within 150 ms.
    bundle : path, packaged name or Bundle
        It must hold its torch weights.
    label : str, optional
        N, S, V, F or P: why this class, or why not; ``AFIB``: why fibrillation, for the beats around; what
        the model says of the beat where left out.
    method : str
        One of ``METHODS``.
    against : str, optional
        ``usual`` or ``flat``; see :mod:`edgeecg.explain.baseline`.
    lead_policy : str, optional
        The bundle's where left out.
    change : bool
        Also look for the smallest change that turns the label (a few hundred passes).
    concepts : ConceptSets or callable, optional
        Also place the beat among these concepts. A callable makes them, which takes long: it is called once
        all else is found, so that a wrong ``at`` is told at once.
    seed : int
        Of Shapley values and LIME.

    Raises
    ------
    SignalError
        If there is no beat at ``at``.
    BundleError
        If the bundle cannot be opened, or has no weights.
    ConfigError
        For an unknown label, method or baseline.

    Examples
    --------
    >>> import edgeecg
    >>> record = edgeecg.read_record("mitdb/119")  # doctest: +SKIP
    >>> print(*edgeecg.explain.explain(record, at=173035).sentences(), sep="\n")  # doctest: +SKIP
    """
    method_of(method)
    opened = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
    network = load_network(opened)
    network.requires_grad_(False)
    found = trace(opened, network, record, at, lead_policy=lead_policy)
    beat = found.nearest(at)
    question = ask(opened, network, found, beat, label)
    attribution = attribute(question, baseline(question, against), method, seed)
    turned, notes = None, []
    if change and question.label != AFIB:
        turned, said = smallest_change(opened, question, beat)
        notes += [said] if said else []
    placed: list[BeatConcept] = []
    if concepts is not None:
        alone = ask(opened, network, found, beat, label, wing=0)
        placed = beat_concepts(alone, baseline(alone, against), concepts)
        if not placed:
            older = network.spec.beat.layers * network.spec.beat.left
            notes.append(f"Concepts were not looked for: they need {older} beats before this one.")
    return Explanation(opened, question, attribution, segments(question), turned, placed, tuple(notes))
