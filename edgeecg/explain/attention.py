"""Which token looked at which: attention made visible, and two ways to follow it from beat to samples.

The network's own ``Block.forward`` never forms the weights (a fused kernel). The same block with an
explicit softmax over a band of a dense matrix gives the same numbers and keeps them; it is slower, and
used here only.

*Rollout* (Abnar and Zuidema, 2020) multiplies the layers' attention, residual connections counted as half.
It knows nothing of the label. *Gradient-weighted attention* (Chefer, Gur and Wolf, 2021, the generic rule)
counts only what raises the label: the positive part of attention times its gradient, added to what the
layers below had. Both stop at tokens and at the beat encoder's input; see :func:`follow`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from edgeecg.explain.question import Question
from edgeecg.model.transformer import BLOCKED, Block, Stack, rotate

__all__ = ["Attention", "attend", "follow", "held", "look", "rollout", "unfold", "weighted"]


@dataclass(frozen=True, eq=False)
class Attention:
    """All weights of one question, and their gradients.

    Parameters
    ----------
    token, token_gradient : list of (leads, H, T, T), one a layer
        Row: the token that looks; column: the one that it looks at, both in the question's stretch.
    beat, beat_gradient : list of (H, beats, beats)
    inputs, inputs_gradient : (beats, 2 d + 8)
        Of the beat encoder.
    """

    token: list[Tensor]
    token_gradient: list[Tensor]
    beat: list[Tensor]
    beat_gradient: list[Tensor]
    inputs: Tensor
    inputs_gradient: Tensor


def attend(
    block: Block, x: Tensor, cosine: Tensor, sine: Tensor, *, hold: float = 0.0
) -> tuple[Tensor, Tensor]:
    """``Block.forward`` with its weights: output ``(B, T, d)`` and weights ``(B, H, T, T)``.

    ``hold``, 0 to 1, is how far the weights count as constants: gradients pass along them as ever, but into
    them only by what is left. The output is the same.
    """
    spec = block.spec
    h = block.norm1(x)
    q = rotate(block.split(block.query(h)), cosine, sine) * (spec.dim // spec.heads) ** -0.5
    k, v = block.key_value(h).chunk(2, dim=-1)
    k, v = rotate(block.split(k), cosine, sine), block.split(v)
    scores = torch.einsum("bthc,bshc->bhts", q, k)
    ahead = torch.arange(x.shape[1])[None] - torch.arange(x.shape[1])[:, None]
    band = (ahead >= -spec.left) & (ahead <= spec.right)
    weights = torch.softmax(torch.where(band, scores, BLOCKED), dim=-1)
    weights = torch.lerp(weights, weights.detach(), hold) if hold else weights
    joined = torch.einsum("bhts,bshc->bthc", weights, v).flatten(2)
    return block.feed_forward(x + block.out(joined)), weights


def unfold(stack: Stack, x: Tensor, *, hold: float = 0.0) -> tuple[Tensor, list[Tensor]]:
    """``Stack.forward`` with the weights of each layer, for positions that need no table."""
    cosine, sine = stack.angles(x.shape[1], x.device)
    weights = []
    for block in stack.layers():
        x, seen = attend(block, x, cosine, sine, hold=hold)
        weights.append(seen)
    y: Tensor = stack.norm(x)
    return y, weights


def look(question: Question) -> Attention:
    """Weights and gradients at the recording's own samples and intervals: one pass each way."""
    token, beat = question.network.token, question.network.beat
    with torch.enable_grad():
        patches = token.patch(_padded(question, question.samples[None])).requires_grad_()
        tokens, seen = unfold(token.stack, patches)
        inputs = question.beat_inputs(question.join(tokens, 1), question.intervals[None])
        encoded, heard = unfold(beat.stack, beat.enter(inputs))
        answer = question.odds(encoded).sum()
        gradients = torch.autograd.grad(answer, [*seen, *heard, inputs])
    layers = len(seen)
    return Attention(
        token=[w.detach() for w in seen],
        token_gradient=list(gradients[:layers]),
        beat=[w.detach()[0] for w in heard],
        beat_gradient=[g[0] for g in gradients[layers:-1]],
        inputs=inputs.detach()[0],
        inputs_gradient=gradients[-1][0],
    )


def held(question: Question, samples: Tensor, intervals: Tensor, hold: float = 1.0) -> Tensor:
    """``question(samples, intervals)``, attention held by ``hold``: the same numbers, other gradients."""
    token, beat = question.network.token, question.network.beat
    tokens, _ = unfold(token.stack, token.patch(_padded(question, samples)), hold=hold)
    inputs = question.beat_inputs(question.join(tokens, len(samples)), intervals)
    encoded, _ = unfold(beat.stack, beat.enter(inputs), hold=hold)
    return question.odds(encoded)


def _padded(question: Question, samples: Tensor) -> Tensor:
    """The stretch's signal with the zeros that a fresh token encoder sees before it."""
    signal = question.signal(samples)
    return torch.nn.functional.pad(signal, (question.network.spec.stem_context, 0))


def rollout(weights: list[Tensor], gradients: list[Tensor]) -> Tensor:
    """``(..., H, T, T)`` of each layer to the share ``(..., T, T)`` of each input in each output."""
    del gradients  # it does not ask what the label is
    eye = torch.eye(weights[0].shape[-1])
    flow = eye.expand(*weights[0].shape[:-3], *eye.shape)
    for layer in weights:
        flow = (0.5 * layer.mean(dim=-3) + 0.5 * eye) @ flow
    return flow


def weighted(weights: list[Tensor], gradients: list[Tensor]) -> Tensor:
    """``(..., H, T, T)`` of each layer to the relevance ``(..., T, T)`` of each input for each output."""
    eye = torch.eye(weights[0].shape[-1])
    flow = eye.expand(*weights[0].shape[:-3], *eye.shape)
    for layer, gradient in zip(weights, gradients, strict=True):
        flow = flow + (layer * gradient).clamp(min=0).mean(dim=-3) @ flow
    return flow


def follow(
    question: Question, attention: Attention, rule: Callable[[list[Tensor], list[Tensor]], Tensor]
) -> tuple[Tensor, Tensor]:
    """Relevance of samples ``(leads, n)`` and intervals ``(m,)``, all of it positive, adding to 1.

    The target beats' relevance goes down the beat encoder to the beats, there by the size of what each
    part contributes to the entrance (:func:`_parts`) to the beat's two tokens and its interval, and from the
    tokens down the token encoder. A token's relevance is spread evenly over its samples; a beat's interval
    part belongs to the interval that ends at it.
    """
    targets = torch.from_numpy(question.targets - question.beats.start)
    beats = rule(attention.beat, attention.beat_gradient)[targets].mean(dim=0)
    own, late, timing = (beats * part for part in _parts(question, attention, signed=rule is weighted))
    skipped = question.inner.start - question.beats.start
    columns = torch.from_numpy(question.columns(question.inner))
    flow = rule(attention.token, attention.token_gradient)  # leads, T, T
    rows = (
        own[skipped:, None] * flow[:, columns]
        + late[skipped:, None] * flow[:, columns + question.network.spec.delay]
    )
    tokens = rows.sum(dim=1) * question.share
    patch = question.network.spec.patch
    samples = tokens.repeat_interleave(patch, dim=-1)[:, question.live.start - question.context :] / patch
    intervals = torch.zeros(len(question.intervals))
    for beat, value in zip(question.beats, timing, strict=True):
        if 0 <= question.interval_of(beat) < len(intervals):
            intervals[question.interval_of(beat)] += value
    total = samples.sum() + intervals.sum()
    return samples / total, intervals / total


def _parts(question: Question, attention: Attention, *, signed: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Share ``(beats,)`` of a beat's token, of its decision token and of its intervals in its entrance.

    By the length of what each adds, or (``signed``) by how much of it raises the label.
    """
    width = question.network.spec.token.dim
    cuts = [width, width, attention.inputs.shape[1] - 2 * width]
    weight = question.network.beat.enter.weight.detach()
    if signed:
        parts = [
            (x * g).sum(dim=-1).clamp(min=0)
            for x, g in zip(
                attention.inputs.split(cuts, dim=1), attention.inputs_gradient.split(cuts, dim=1), strict=True
            )
        ]
    else:
        parts = [
            (x @ w.T).norm(dim=-1)
            for x, w in zip(attention.inputs.split(cuts, dim=1), weight.split(cuts, dim=1), strict=True)
        ]
    total = sum(parts[1:], parts[0])
    even = torch.full_like(total, 1 / len(parts))
    own, late, timing = (torch.where(total > 0, p / total.clamp(min=1e-12), even) for p in parts)
    return own, late, timing
