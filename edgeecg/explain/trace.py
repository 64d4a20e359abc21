"""What the deployed path saw and found around a moment: the ground on which an explanation stands.

The signal goes through the same blocks, front end, quality verdicts, lead policy and peaks as in the
stream; the graphs run in their whole form in torch. Detections are taken from here and stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from edgeecg.bundle import Bundle, LeadPolicy
from edgeecg.decode import peaks
from edgeecg.errors import SignalError
from edgeecg.explain.rules import Verdict, judge
from edgeecg.explain.stretch import front_end, stretch
from edgeecg.io.record import Record
from edgeecg.model.annotate import beat_inputs
from edgeecg.model.checkpoint import network_from_weights
from edgeecg.model.transformer import Network
from edgeecg.pipeline.intake import policy_of, rows_of
from edgeecg.pipeline.leads import LeadRows
from edgeecg.pipeline.signal import Verdicts
from edgeecg.pipeline.tokens import Tokens
from edgeecg.signal.frontend import FrontEnd
from edgeecg.specs import BEAT_LABELS, HEADS, MODEL_FS

__all__ = ["AFTER", "BEFORE", "Trace", "load_network", "trace"]

BEFORE, AFTER = 180.0, 3.0  # seconds around the moment; before them the stream is taken to begin
WIDER = np.array([(name == "shape_V") - (name == "shape_N") for name in HEADS], np.float32)
"""By how much the logit of a V's shape is above an N's."""


@dataclass(frozen=True, eq=False)
class Trace:
    """One stretch of one recording, with every beat that the model found in it.

    Parameters
    ----------
    record : Record
        Where it comes from.
    columns : tuple of int
        Columns of the record that went through the network.
    signal : (leads, 8 T) float32
        The network's input.
    share : (leads, T) float32
        Weight of each lead in each token, as the lead policy had it.
    token : (b,) int64
        Token of each beat.
    place : (b,) float64
        R peak of each beat, model samples of ``signal``.
    shape : (b,) float32
        Probability of a V's shape against an N's, by the token encoder.
    inputs : (b, 2 d + 8) float32
        What the beat encoder read of each beat.
    classes : (b, 5) float32
        Class logits, the bundle's biases added.
    rhythm : (b, 2) float32
        Rhythm logits.
    first : int
        Source sample at which the stretch begins.
    anchor, ratio, latency
        Source sample, model samples per source sample, model samples: place p of ``signal`` lies at source
        sample ``anchor + (p - latency) / ratio``.
    limit : float
        Smoothed P(AFIB) from which on no beat is S.
    policy : str
        The lead policy.
    """

    record: Record
    columns: tuple[int, ...]
    signal: NDArray[np.float32]
    share: NDArray[np.float32]
    token: NDArray[np.int64]
    place: NDArray[np.float64]
    shape: NDArray[np.float32]
    inputs: NDArray[np.float32]
    classes: NDArray[np.float32]
    rhythm: NDArray[np.float32]
    first: int
    anchor: int
    ratio: float
    latency: int
    limit: float
    policy: LeadPolicy

    def __len__(self) -> int:
        return len(self.place)

    @property
    def labels(self) -> list[str]:
        """What is told of each beat: the model's class, and the rules about S and V from here on."""
        return self.verdict.labels

    @cached_property
    def verdict(self) -> Verdict:
        """What is told of each beat, how surely, and by which rule where the network said another label."""
        return judge(self.classes, self.fibrillation, self.place, self.shape, self.limit)

    @property
    def fibrillation(self) -> NDArray[np.float64]:
        """P(AFIB) at each beat."""
        margin = self.rhythm[:, 1].astype(np.float64) - self.rhythm[:, 0]
        return 1 / (1 + np.exp(-margin))

    @property
    def intervals(self) -> NDArray[np.float64]:
        """Seconds from the beat before to each beat; NaN for the first."""
        return np.diff(self.place, prepend=np.nan) / MODEL_FS

    def sample(self, place: float) -> int:
        """Source sample of a place in ``signal``, not before the stretch."""
        return max(self.first, self.anchor + math.floor((place - self.latency) / self.ratio + 0.5))

    @property
    def samples(self) -> NDArray[np.int64]:
        """Source sample of each beat."""
        return np.array([self.sample(place) for place in self.place], dtype=np.int64)

    def millivolts(self, beat: int) -> NDArray[np.float64]:
        """Millivolts per unit of ``signal`` around a beat, ``(leads,)``: the ratio of their swings."""
        model = slice(max(0, int(self.place[beat]) - MODEL_FS), int(self.place[beat]) + MODEL_FS // 2)
        source = self.record.signal[self.sample(model.start) : self.sample(model.stop)]
        swing = np.nanmax(source, axis=0) - np.nanmin(source, axis=0)
        level: NDArray[np.float64] = swing[list(self.columns)] / np.maximum(
            np.ptp(self.signal[:, model], axis=1), 1e-6
        )
        return level

    def nearest(self, at: int, within: float = 0.15) -> int:
        """Number of the beat at a source sample.

        Raises
        ------
        SignalError
            If the model found none within ``within`` seconds.
        """
        samples = self.samples
        if len(samples):
            beat = int(np.argmin(np.abs(samples - at)))
            if abs(samples[beat] - at) <= within * self.record.fs:
                return beat
            hint = f"the nearest is at {samples[beat]}"
        else:
            hint = "there is none around it"
        raise SignalError(
            f"the model found no beat within {within * 1e3:.0f} ms of sample {at}: {hint}; "
            "`edgeecg stream RECORD --speed 0 --quiet --sink -` lists the beats"
        )


def load_network(bundle: Bundle) -> Network:
    """The torch network of a bundle; raises ``BundleError`` where it was built without weights."""
    return network_from_weights(bundle.spec, bundle.weights())


def trace(
    bundle: Bundle,
    network: Network,
    record: Record,
    at: int,
    *,
    before: float = BEFORE,
    after: float = AFTER,
    lead_policy: LeadPolicy | None = None,
) -> Trace:
    """Run the deployed path from ``before`` seconds before a source sample to ``after`` seconds after it.

    Parameters
    ----------
    bundle : Bundle
        Front end, thresholds and lead policy.
    network : Network
        Of :func:`load_network`.
    record : Record
    at : int
        Source sample.
    lead_policy : str, optional
        The bundle's where left out.

    Raises
    ------
    SignalError
        If ``at`` is not in the recording or lies in a gap, or no beat is found around it.
    ConfigError
        A lead policy that is not there.
    """
    if not 0 <= at < len(record):
        raise SignalError(f"sample {at} is not in {record.name}: it has samples 0 to {len(record) - 1}")
    policy = policy_of(bundle, lead_policy)
    rows = rows_of(policy, len(record.leads))
    frontend = FrontEnd(bundle.signal, record.fs)
    start, segment = stretch(bundle, frontend, record, at, policy, (before, after))
    steps = front_end(bundle, record.fs, rows, segment)
    ratio = float(frontend.resampler.ratio)
    held = segment[0].held(frontend.resampler.ratio) // bundle.spec.patch  # tokens before its signal
    signal = np.concatenate([network_input for network_input, _ in steps], axis=1)
    signal, latency = signal[:, held * bundle.spec.patch :], frontend.latency - held * bundle.spec.patch
    heads, embedding = _encode(network, signal)
    share = _shares(bundle, policy, rows, np.pad(heads, ((0, 0), (held, 0), (0, 0))), steps)[:, held:]
    joined = np.einsum("lt,ltk->tk", share, heads), np.einsum("lt,ltk->tk", share, embedding)
    token, place = _detect(bundle, joined[0])
    real = start + segment[0].anchor + np.maximum(0, (place - latency) / ratio)
    keep = real < start + segment[-1].end
    if not keep.any():
        raise SignalError(
            f"the model found no beat in {record.name} around sample {at}: choose another place"
        )
    inputs = beat_inputs(joined[1], place[keep], bundle.spec.patch, bundle.spec.delay)
    with torch.no_grad():
        classes, rhythm = network.beat(torch.from_numpy(inputs[None]))
    bias = np.array([bundle.thresholds.bias.get(label, 0.0) for label in BEAT_LABELS], np.float32)
    return Trace(
        record=record,
        columns=tuple(range(rows)),
        signal=signal,
        share=share,
        token=token[keep],
        place=place[keep],
        shape=(1 / (1 + np.exp(-(joined[0][token[keep]] @ WIDER)))).astype(np.float32),
        inputs=inputs,
        classes=classes[0].numpy() + bias,
        rhythm=rhythm[0].numpy(),
        first=start + segment[0].first,
        anchor=start + segment[0].anchor,
        ratio=ratio,
        latency=latency,
        limit=bundle.thresholds.afib,
        policy=policy,
    )


@torch.no_grad()
def _encode(network: Network, signal: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Heads ``(leads, T, 10)`` and embedding ``(leads, T, d)`` of the whole stretch."""
    heads, embedding = network.token(torch.from_numpy(signal))
    return heads.numpy(), embedding.numpy()


def _shares(
    bundle: Bundle,
    policy: LeadPolicy,
    rows: int,
    heads: NDArray[np.float32],
    steps: Sequence[tuple[NDArray[np.float32], Verdicts]],
) -> NDArray[np.float32]:
    """Weight of each lead in each token: the policy's own join, asked of unit vectors."""
    tokens, lag = heads.shape[1], bundle.spec.token.lag
    share = np.full((rows, tokens), 1 / rows, np.float32)
    if rows == 1:
        return share
    join = LeadRows(policy, bundle.spec, 1, rows)
    join.reset(0)
    late = np.pad(heads, ((0, 0), (lag, 0), (0, 0)))[:, :tokens]
    column = 0
    for network, verdicts in steps:
        count = network.shape[1] // bundle.spec.patch
        which = np.broadcast_to(np.eye(rows, dtype=np.float32)[:, None], (rows, count, rows))
        block = Tokens(late[:, column : column + count], which)
        weights = join.join(block, np.array([0]), [verdicts]).embedding[0].T  # rows, count
        first = max(0, column - lag)
        share[:, first : column - lag + count] = weights[:, first - (column - lag) :]
        column += count
    return share


def _detect(bundle: Bundle, heads: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Token and place of the beats among ``(T, 10)`` heads that have their decision token."""
    scores = (1 / (1 + np.exp(-heads[None, :, 0]))).astype(np.float32)
    padded = np.pad(scores, ((0, 0), (0, peaks.REACH)))
    least = bundle.thresholds
    found, _ = peaks.step(padded, peaks.initial(1), least.beat)
    settled = heads.shape[0] - bundle.spec.token.lag
    known = (found.column >= 0) & (found.column + bundle.spec.delay < settled)
    token, mass = found.column[known], found.mass[known]
    quality = (1 / (1 + np.exp(-heads[token, HEADS.index("quality")]))).astype(np.float32)
    token = token[peaks.clear(mass, quality, least.beat, least.noise)]
    offset = np.clip(heads[token, HEADS.index("offset")], 0.0, peaks.INSIDE)
    return token.astype(np.int64), bundle.spec.patch * (token + offset).astype(np.float64)
