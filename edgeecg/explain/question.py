"""The function that is explained: f(samples, RR intervals) with the detections frozen.

Peak picking passes no gradient, and samples alone would miss that a beat came early. So the beats'
places are taken from a :class:`~edgeecg.explain.trace.Trace` and held; what varies are the samples that
the beats' tokens see and the intervals that their features are made of. At the recording's own samples
and intervals f is what the deployed model said.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgeecg.bundle import Bundle
from edgeecg.errors import ConfigError, SignalError
from edgeecg.explain.intervals import IntervalTable, interval_features
from edgeecg.explain.trace import Trace
from edgeecg.model.transformer import Network
from edgeecg.specs import BEAT_LABELS, RHYTHM_LABELS

__all__ = ["AFIB", "LABELS", "Question", "ask"]

AFIB = "AFIB"
LABELS = (*BEAT_LABELS, AFIB)
"""What can be explained: a beat's class, or atrial fibrillation."""

EPISODE = 8  # beats on each side whose P(AFIB) is explained together


@dataclass(frozen=True, eq=False)
class Question:
    """Why does the model say ``label`` of these beats?

    Call it with samples ``(B, leads, n)`` and intervals ``(B, m)`` (B versions of the same stretch) for
    the log-odds ``(B,)`` of the label against all others, averaged over the target beats.

    Parameters
    ----------
    network : Network
    trace : Trace
    label : str
        One of ``LABELS``.
    beat : int
        Beat of the trace that was asked about.
    targets : (k,) int
        Beats of the trace whose answers are averaged: it alone, or those around it.
    beats : range
        Beats of the trace that the answer hangs on.
    inner : range
        Those of them whose tokens see a sample that may vary.
    live : slice
        Samples of the trace that may vary.
    context : int
        Sample of the trace from which the token encoder runs.
    leads : tuple of int
        Rows of the trace that have a share in the tokens.
    table : IntervalTable
    bias : (5,) float32
        Added to the class logits.
    """

    network: Network
    trace: Trace
    label: str
    beat: int
    targets: NDArray[np.int64]
    beats: range
    inner: range
    live: slice
    context: int
    leads: tuple[int, ...]
    table: IntervalTable
    bias: NDArray[np.float32]

    @cached_property
    def samples(self) -> Tensor:
        """The recording's own samples, ``(leads, n)``."""
        return torch.from_numpy(self.trace.signal[list(self.leads), self.live])

    @cached_property
    def intervals(self) -> Tensor:
        """The recording's own intervals, ``(m,)`` seconds, oldest first."""
        first = self.table.first
        values = self.trace.intervals[first : first + self.table.count]
        return torch.from_numpy(values.astype(np.float32))

    def interval_of(self, beat: int) -> int:
        """Index of the interval that ends at a beat."""
        return beat - self.table.first

    @cached_property
    def answer(self) -> float:
        """Log-odds at the recording's own samples and intervals."""
        with torch.no_grad():
            return float(self(self.samples[None], self.intervals[None])[0])

    def __call__(self, samples: Tensor, intervals: Tensor) -> Tensor:
        """Log-odds ``(B,)``; see the class."""
        return self.odds(self.network.beat.stack(self.entered(samples, intervals)))

    def entered(self, samples: Tensor, intervals: Tensor, shift: NDArray[np.int64] | None = None) -> Tensor:
        """What enters the beat encoder's stack, ``(B, beats, d)``."""
        entered: Tensor = self.network.beat.enter(self.beat_inputs(self.embedding(samples), intervals, shift))
        return entered

    def signal(self, samples: Tensor) -> Tensor:
        """Samples behind those that stay as they are, ``(B * leads, ...)``."""
        before = torch.from_numpy(self.trace.signal[list(self.leads), self.context : self.live.start])
        whole = torch.cat([before.expand(len(samples), -1, -1), samples], dim=-1)
        return whole.flatten(0, 1)

    def embedding(self, samples: Tensor) -> Tensor:
        """Token embeddings of the stretch, leads joined, ``(B, T, d)``."""
        _, tokens = self.network.token(self.signal(samples))
        return self.join(tokens, len(samples))

    def join(self, tokens: Tensor, rows: int) -> Tensor:
        """Tokens ``(B * leads, T, ...)`` of each lead to those of the patient, ``(B, T, ...)``."""
        tokens = tokens.unflatten(0, (rows, len(self.leads)))
        return torch.einsum("lt,bltd->btd", self.share, tokens)

    @cached_property
    def share(self) -> Tensor:
        """Weight of each lead in each token of the stretch, ``(leads, T)``."""
        patch = self.network.spec.patch
        share = self.trace.share[list(self.leads), self.context // patch : self.live.stop // patch]
        return torch.from_numpy(share)

    def columns(self, beats: range | NDArray[np.int64]) -> NDArray[np.int64]:
        """Token of each beat, counted in the stretch."""
        columns: NDArray[np.int64] = self.trace.token[np.asarray(beats)]
        return columns - self.context // self.network.spec.patch

    def beat_inputs(
        self, embedding: Tensor, intervals: Tensor, shift: NDArray[np.int64] | None = None
    ) -> Tensor:
        """Input of the beat encoder, ``(B, beats, 2 d + 8)``.

        Parameters
        ----------
        embedding : (B, T, d)
        intervals : (B, m)
        shift : (B, inner) int64, optional
            Tokens by which the inner beats are moved.
        """
        rows = torch.arange(len(embedding))[:, None]
        token = torch.from_numpy(self.columns(self.inner) + (0 if shift is None else shift))
        now = torch.cat([embedding[rows, token], embedding[rows, token + self.network.spec.delay]], dim=-1)
        tokens = torch.cat([self.older.expand(len(rows), -1, -1), now], dim=1)
        # a first beat has no interval that matters: gradients are zero then, not an error
        features = interval_features(intervals, self.table) + 0.0 * intervals.sum(dim=-1)[:, None, None]
        return torch.cat([tokens, features], dim=-1)

    @cached_property
    def older(self) -> Tensor:
        """Embeddings of the beats that see no sample that may vary, ``(older, 2 d)``."""
        wanted = range(self.beats.start, self.inner.start)
        if not wanted:
            return torch.zeros(0, 2 * self.network.spec.token.dim)
        spec = self.network.spec
        first = max(0, int(self.trace.token[wanted.start]) - reach(self.network))
        last = int(self.trace.token[wanted.stop - 1]) + spec.delay + spec.token.lag + 1
        with torch.no_grad():  # all leads: another one may have been chosen then
            signal = torch.from_numpy(self.trace.signal[:, first * spec.patch : last * spec.patch])
            _, tokens = self.network.token(signal)
            joined = torch.einsum("lt,ltd->td", torch.from_numpy(self.trace.share[:, first:last]), tokens)
        token = torch.from_numpy(self.trace.token[wanted.start : wanted.stop] - first)
        return torch.cat([joined[token], joined[token + spec.delay]], dim=-1)

    @property
    def choices(self) -> tuple[str, ...]:
        """Labels among which the model chose."""
        return RHYTHM_LABELS if self.label == AFIB else BEAT_LABELS

    def logits(self, beats: Tensor) -> Tensor:
        """Logits ``(B, targets, choices)`` from the beat stack's output ``(B, beats, d)``."""
        chosen = beats[:, torch.from_numpy(self.targets - self.beats.start)]
        classes, rhythm = self.network.beat.decide(chosen)
        if self.label == AFIB:
            return rhythm
        return classes + torch.from_numpy(self.bias)

    def odds(self, beats: Tensor) -> Tensor:
        """Log-odds ``(B,)`` from the beat stack's output ``(B, beats, d)``."""
        logits, which = self.logits(beats), self.choices.index(self.label)
        others = torch.cat([logits[..., :which], logits[..., which + 1 :]], dim=-1)
        return (logits[..., which] - others.logsumexp(dim=-1)).mean(dim=-1)


def reach(network: Network) -> int:
    """Tokens before a token that its embedding reads."""
    spec = network.spec
    return spec.token.layers * spec.token.left + -(-spec.stem_context // spec.patch)


def ask(
    bundle: Bundle,
    network: Network,
    trace: Trace,
    beat: int,
    label: str | None = None,
    *,
    wing: int | None = None,
    room: int = 0,
) -> Question:
    """The question why the model says what it says of a beat, or of the rhythm around it.

    Parameters
    ----------
    bundle : Bundle
        Class biases.
    network : Network
    trace : Trace
    beat : int
        Number of the beat in the trace.
    label : str, optional
        One of ``LABELS``; what the model says of the beat where left out.
    wing : int, optional
        Beats on each side that are asked about together with it; 8 for ``AFIB``, else none.
    room : int
        Tokens beyond what the beat sees that are kept in the stretch, so that the beat can be moved.

    Raises
    ------
    ConfigError
        If there is no such label.
    SignalError
        If the trace ends before the beat's decision.
    """
    if label is not None and label not in LABELS:
        raise ConfigError(f"no label {label!r}: choose one of {', '.join(LABELS)}")
    spec = bundle.spec
    if wing is None:
        wing = EPISODE if label == AFIB else 0
    targets = np.arange(max(0, beat - wing), min(len(trace), beat + wing + 1))
    beats = range(max(0, int(targets[0]) - spec.beat.layers * spec.beat.left), int(targets[-1]) + 1)
    start = max(0, int(trace.token[targets[0]]) - reach(network))
    stop = int(trace.token[targets[-1]]) + spec.delay + spec.token.lag + 1
    if stop + room > trace.share.shape[1]:
        raise SignalError("the recording ends before this beat was decided: choose an earlier one")
    stop += room
    seeing = trace.token[beats.start : beats.stop] + spec.delay + spec.token.lag >= start
    inner = range(beats.start + int(np.argmax(seeing)), beats.stop)
    context = max(0, int(trace.token[inner.start]) - reach(network))
    share = trace.share[:, context:stop]
    return Question(
        network=network,
        trace=trace,
        label=label or trace.labels[beat],
        beat=beat,
        targets=targets,
        beats=beats,
        inner=inner,
        live=slice(start * spec.patch, stop * spec.patch),
        context=context * spec.patch,
        leads=tuple(int(row) for row in np.flatnonzero(share.any(axis=1))),
        table=IntervalTable.of(trace.token, spec, beats.start, beats.stop),
        bias=np.array([bundle.thresholds.bias.get(name, 0.0) for name in BEAT_LABELS], np.float32),
    )
