"""The network, both halves, in one file: read it top to bottom.

``Network`` = ``TokenEncoder`` (patch embedding, banded Transformer, heads) + ``BeatEncoder`` (the same
stack over beats). Each has two forms that give the same numbers:

- ``forward``: a whole stretch of signal at once, for training;
- ``step``: what follows, and the state of what came before. It shows how a stream can go on, and tests
  and benchmarks use it; what runs is the ONNX form of it, ``deploy/step_graph.py``.

Shapes: B rows, T tokens, n beats, d width, H attention heads, c = d / H.

Attention is scaled dot-product over a band: query i sees keys i - left .. i + right. A softmax over a
band needs only the band, so the step form keeps ``span = left + right`` keys and values and never sees
the rest. Here they are cached *unrotated*, and rotated by their place in the block at each step: rotary
scores depend on differences of positions only, and small integers stay exact for months. (The ONNX form
rotates each key once and turns the phase on instead.)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgeecg.errors import ConfigError
from edgeecg.specs import BEAT_LABELS, HEADS, RHYTHM_LABELS, ModelSpec, Positions, StackSpec

__all__ = ["BeatEncoder", "Block", "Network", "PatchEmbedding", "Stack", "TokenEncoder"]

BLOCKED = -1e4  # added to a score that must not count; finite, and within FP16's range
QUERIES = 64  # queries attended at a time in the whole form
ALIGN = 8  # the fused kernels want rows of the mask in steps of this
ROTARY_BASE = 1000.0
LEARNED_POSITIONS = 2048
AFIB = RHYTHM_LABELS.index("AFIB")


def rotary_tables(count: int, width: int, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """Cosine and signed sine of positions 0 .. count - 1, each ``(count, 1, width)``."""
    frequency = ROTARY_BASE ** (-torch.arange(0, width, 2, device=device) / width)
    angle = torch.arange(count, device=device)[:, None] * frequency
    cosine = torch.cat([angle.cos(), angle.cos()], dim=-1)
    sine = torch.cat([-angle.sin(), angle.sin()], dim=-1)
    return cosine[:, None], sine[:, None]


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Turn ``(..., positions, H, c)`` by the angles of its positions."""
    low, high = x.chunk(2, dim=-1)
    return x * cosine + torch.cat([high, low], dim=-1) * sine


def sinusoids(count: int, width: int, device: torch.device) -> Tensor:
    """The fixed absolute positions of the first Transformer, ``(count, width)``."""
    angle = torch.arange(count, device=device)[:, None] * torch.exp(
        torch.arange(0, width, 2, device=device) * (-math.log(10_000.0) / width)
    )
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(-2)


class Block(nn.Module):
    """Pre-norm Transformer block with banded attention."""

    def __init__(self, spec: StackSpec) -> None:
        super().__init__()
        self.spec = spec
        self.norm1 = nn.LayerNorm(spec.dim)
        self.query = nn.Linear(spec.dim, spec.dim)
        self.key_value = nn.Linear(spec.dim, 2 * spec.dim)
        self.out = nn.Linear(spec.dim, spec.dim)
        self.norm2 = nn.LayerNorm(spec.dim)
        self.grow = nn.Linear(spec.dim, spec.ffn)
        self.shrink = nn.Linear(spec.ffn, spec.dim)
        self.dropout = nn.Dropout(0.0)  # raised while training

    def split(self, x: Tensor) -> Tensor:
        """``(B, T, d)`` to ``(B, T, H, c)``."""
        split: Tensor = x.unflatten(-1, (self.spec.heads, self.spec.dim // self.spec.heads))
        return split

    def feed_forward(self, x: Tensor) -> Tensor:
        """The second half of the block, residual included."""
        y: Tensor = x + self.dropout(self.shrink(F.gelu(self.grow(self.norm2(x)))))
        return y

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        """Whole form, ``(B, T, d)`` to the same: blocks of queries against their band of keys."""
        tokens = x.shape[1]
        left, span = self.spec.left, self.spec.span
        h = self.norm1(x)
        q = rotate(self.split(self.query(h)), cosine, sine)
        k, v = self.key_value(h).chunk(2, dim=-1)
        k, v = rotate(self.split(k), cosine, sine), self.split(v)

        blocks = -(-tokens // QUERIES)
        short = blocks * QUERIES - tokens
        size = -(-(QUERIES + span) // ALIGN) * ALIGN
        q = F.pad(q, (0, 0, 0, 0, 0, short)).unflatten(1, (blocks, QUERIES))  # B, blocks, QUERIES, H, c
        edges = (0, 0, 0, 0, left, size - QUERIES - left + short)
        k = F.pad(k, edges).unfold(1, size, QUERIES).permute(0, 1, 2, 4, 3)  # B, blocks, H, size, c
        v = F.pad(v, edges).unfold(1, size, QUERIES).permute(0, 1, 2, 4, 3)
        seen = self.band(QUERIES, size, x.device) & self.inside(blocks, size, tokens, x.device)
        seen |= ~seen.any(dim=-1, keepdim=True)  # queries that fill up the last block: no row may be empty
        mask = torch.where(seen, 0.0, -torch.inf).to(q.dtype).repeat_interleave(self.spec.heads, dim=0)
        attended = self.attend(  # every block of every head for itself: B, blocks * H, QUERIES, c
            q.transpose(2, 3).flatten(1, 2), k.flatten(1, 2), v.flatten(1, 2), mask[None]
        )
        joined = attended.unflatten(1, (blocks, -1)).transpose(2, 3).flatten(3).flatten(1, 2)[:, :tokens]
        return self.feed_forward(x + self.dropout(self.out(joined)))

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        """Scaled dot-product attention by PyTorch's fused kernel: an online softmax over tiles of keys."""
        attended: Tensor = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return attended

    def band(self, queries: int, keys: int, device: torch.device) -> Tensor:
        """True where key i is in the band of query j, ``(queries, keys)``; key 0 is query 0's leftmost."""
        ahead = torch.arange(keys, device=device)[None] - torch.arange(queries, device=device)[:, None]
        return (ahead >= 0) & (ahead <= self.spec.span)

    def inside(self, blocks: int, size: int, tokens: int, device: torch.device) -> Tensor:
        """True where a key of a block of queries lies within the signal, ``(blocks, 1, size)``."""
        place = torch.arange(blocks, device=device)[:, None] * QUERIES + torch.arange(size, device=device)
        return ((place >= self.spec.left) & (place < self.spec.left + tokens))[:, None]

    def step(
        self, x: Tensor, cache: Tensor, pending: Tensor, mask: Tensor, cosine: Tensor, sine: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Step form.

        Parameters
        ----------
        x : (B, T, d)
            What follows.
        cache : (B, span, 2d)
            Unrotated keys and values of the positions before.
        pending : (B, right, d)
            Inputs that still waited for their look-ahead.
        mask : (B, 1, T, span + T)
            0 or ``BLOCKED``, added to the scores.

        Returns
        -------
        The output for the T positions that begin ``right`` before ``x``, and the new cache and pending.
        """
        tokens, left = x.shape[1], self.spec.left
        x = torch.cat([pending, x], dim=1) if self.spec.right else x
        h = self.norm1(x)
        q = self.split(self.query(h[:, :tokens])) * (self.spec.dim // self.spec.heads) ** -0.5
        cache = torch.cat([cache, self.key_value(h[:, self.spec.right :])], dim=1)
        k, v = cache.chunk(2, dim=-1)
        k = rotate(self.split(k), cosine, sine).permute(0, 2, 3, 1)  # B, H, c, span + T
        q = rotate(q, cosine[left : left + tokens], sine[left : left + tokens]).transpose(1, 2)
        weights = torch.softmax(q @ k + mask, dim=-1)
        attended = (weights @ self.split(v).transpose(1, 2)).transpose(1, 2).flatten(2)
        y = self.feed_forward(x[:, :tokens] + self.out(attended))
        return y, cache[:, tokens:], x[:, tokens:]


class Stack(nn.Module):
    """Blocks in line; its output runs ``spec.lag`` positions late in the step form.

    The state is one row of floats: for each layer its cache and its pending inputs, then the count of
    positions seen, which stops growing once every cache is full. Zeros are a fresh stream.
    """

    def __init__(self, spec: StackSpec, positions: Positions = "rotary") -> None:
        super().__init__()
        self.spec = spec
        self.positions = positions
        self.blocks = nn.ModuleList(Block(spec) for _ in range(spec.layers))
        self.norm = nn.LayerNorm(spec.dim)
        if positions == "learned":
            self.table = nn.Parameter(0.02 * torch.randn(LEARNED_POSITIONS, spec.dim))

    def layers(self) -> Iterator[Block]:
        """The blocks, lowest first."""
        return (cast("Block", block) for block in self.blocks)

    @property
    def layer_sizes(self) -> tuple[int, int]:
        """Floats per layer: cache, pending."""
        return self.spec.span * 2 * self.spec.dim, self.spec.right * self.spec.dim

    @property
    def state_size(self) -> int:
        """Floats per row of state."""
        return self.spec.layers * sum(self.layer_sizes) + 1

    @property
    def enough(self) -> int:
        """Count from which on every key of every layer is valid."""
        return self.spec.span + self.spec.lag

    def angles(self, count: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Rotary tables; no turn at all where positions are of another kind."""
        cosine, sine = rotary_tables(count, self.spec.dim // self.spec.heads, device)
        if self.positions == "rotary":
            return cosine, sine
        return torch.ones_like(cosine), torch.zeros_like(sine)

    def forward(self, x: Tensor) -> Tensor:
        """Whole form, ``(B, T, d)`` to the same; output t belongs to input t."""
        tokens = x.shape[1]
        if self.positions == "sinusoidal":
            x = x + sinusoids(tokens, self.spec.dim, x.device)
        elif self.positions == "learned":
            x = x + self.table[:tokens]
        cosine, sine = self.angles(tokens, x.device)
        for block in self.layers():
            x = block(x, cosine, sine)
        y: Tensor = self.norm(x)
        return y

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Step form: ``(B, T, d)`` and ``(B, state_size)`` to the same shapes; output is ``lag`` late."""
        if self.positions in ("sinusoidal", "learned"):
            raise ConfigError(f"{self.positions} positions cannot stream: train with positions = 'rotary'")
        _rows, tokens, _ = x.shape
        spec = self.spec
        cosine, sine = self.angles(spec.span + tokens, x.device)
        count = state[:, -1:]
        place = torch.arange(spec.span + tokens, device=x.device)
        band = torch.where(next(self.layers()).band(tokens, spec.span + tokens, x.device), 0.0, BLOCKED)
        parts = []
        for depth, (block, (cache, pending)) in enumerate(
            zip(self.layers(), self.unpack(state), strict=True)
        ):
            known = place >= spec.span + depth * spec.right - count  # B, span + T
            mask = (band + torch.where(known, 0.0, BLOCKED)[:, None])[:, None]
            x, cache, pending = block.step(x, cache, pending, mask, cosine, sine)
            parts += [cache.flatten(1), pending.flatten(1)]
        parts.append(torch.clamp(count + tokens, max=float(self.enough)))
        return self.norm(x), torch.cat(parts, dim=1)

    def unpack(self, state: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Cache ``(B, span, 2d)`` and pending ``(B, right, d)`` of each layer."""
        sizes = list(self.layer_sizes) * self.spec.layers
        parts = torch.split(state[:, :-1], sizes, dim=1)
        shape = (-1, 2 * self.spec.dim), (-1, self.spec.dim)
        return [
            (
                cache.unflatten(1, (self.spec.span, shape[0][1])),
                pending.unflatten(1, (self.spec.right, shape[1][1])),
            )
            for cache, pending in zip(parts[::2], parts[1::2], strict=True)
        ]


class PatchEmbedding(nn.Module):
    """Three strided convolutions: 8 samples of one lead and the 23 before them to one token."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        first, second = spec.stem
        self.conv1 = nn.Conv1d(1, first, 7, stride=2)
        self.conv2 = nn.Conv1d(first, second, 5, stride=2)
        self.conv3 = nn.Conv1d(second, spec.token.dim, 5, stride=2)

    def forward(self, signal: Tensor) -> Tensor:
        """``(B, 23 + 8 T)`` samples to ``(B, T, d)``."""
        x = F.gelu(self.conv1(signal[:, None]))
        x = F.gelu(self.conv2(x))
        tokens: Tensor = self.conv3(x).transpose(1, 2)
        return tokens


class TokenEncoder(nn.Module):
    """Signal to tokens: what is seen in each 62.5 ms, and the embedding that the beat encoder reads."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        self.patch = PatchEmbedding(spec)
        self.stack = Stack(spec.token, spec.positions)
        self.heads = nn.Linear(spec.token.dim, len(HEADS))

    @property
    def state_size(self) -> int:
        """Floats per row of state: the last samples, then the stack's."""
        return self.spec.stem_context + self.stack.state_size

    def forward(self, signal: Tensor) -> tuple[Tensor, Tensor]:
        """Whole form: ``(B, 8 T)`` to heads ``(B, T, 10)`` and embedding ``(B, T, d)``."""
        embedding = self.stack(self.patch(F.pad(signal, (self.spec.stem_context, 0))))
        return self.heads(embedding), embedding

    def step(self, signal: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Step form: heads, embedding (both ``spec.token.lag`` tokens late) and the new state."""
        context = self.spec.stem_context
        signal = torch.cat([state[:, :context], signal], dim=1)
        embedding, stack = self.stack.step(self.patch(signal), state[:, context:])
        return self.heads(embedding), embedding, torch.cat([signal[:, -context:], stack], dim=1)


class BeatEncoder(nn.Module):
    """Beats to classes: each beat's tokens and RR intervals, in the light of the beats before."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        self.enter = nn.Linear(spec.beat_inputs, spec.beat.dim)
        self.stack = Stack(spec.beat)
        self.classes = nn.Linear(spec.beat.dim, len(BEAT_LABELS))
        self.rhythm = nn.Linear(spec.beat.dim, len(RHYTHM_LABELS))
        column = torch.tensor([float(label == "S") for label in BEAT_LABELS])
        self.register_buffer("supraventricular", column, persistent=False)
        self.supraventricular: Tensor
        if spec.beat.right:
            raise ConfigError("the beat encoder looks back only: beat.right must be 0")

    def forward(self, beats: Tensor) -> tuple[Tensor, Tensor]:
        """Whole form: ``(B, n, 2 d + 8)`` to class logits ``(B, n, 5)`` and rhythm logits ``(B, n, 2)``."""
        return self.decide(self.stack(self.enter(beats)))

    def decide(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of class and rhythm from the stack's output ``(B, n, d)``.

        In atrial fibrillation no beat is S by convention, however early it comes: what speaks for
        fibrillation is taken off S. So labels of beats teach the rhythm too.
        """
        classes, rhythm = self.classes(x), self.rhythm(x)
        against = F.relu(rhythm[..., AFIB] - rhythm[..., 1 - AFIB])
        return classes - against[..., None] * self.supraventricular, rhythm


class Network(nn.Module):
    """Both encoders; what a bundle holds."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        self.token = TokenEncoder(spec)
        self.beat = BeatEncoder(spec)

    @property
    def parameter_count(self) -> int:
        """Parameters of all graphs."""
        return sum(p.numel() for p in self.parameters())
