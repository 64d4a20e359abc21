"""Draws the figures of docs/theory.md about patches, attention, softmax and positions; prints their numbers.

Run it as ``python docs/images/theory_attention.py``: a minute on one core.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch.profiler import ProfilerActivity, profile

from edgeecg.bundle import Bundle
from edgeecg.data.synthetic import SyntheticSettings, draw_patient, synthesize
from edgeecg.explain import Question, ask, load_network
from edgeecg.explain.attention import look
from edgeecg.explain.trace import trace
from edgeecg.model.presets import preset
from edgeecg.model.transformer import ROTARY_BASE, Stack, rotary_tables, rotate, sinusoids

HERE = Path(__file__).parent
INK, RED, BLUE, PALE = "#1c2530", "#b3202a", "#3b76af", "#8a97a5"
FS, PATCH = 128, 8


def figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), dpi=100, layout="constrained", facecolor="white")


def plain(ax: Axes, title: str, x: str, y: str = "") -> None:
    ax.set_title(title, loc="left", fontsize=9, color=INK)
    ax.set_xlabel(x, fontsize=8)
    ax.set_ylabel(y, fontsize=8)
    ax.tick_params(labelsize=8, colors=INK)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def save(shown: Figure, name: str) -> None:
    shown.savefig(HERE / f"theory-{name}.png")
    print(f"theory-{name}.png")


def question() -> Question:
    """A ventricular beat of a synthetic patient, and the packaged network."""
    bundle = Bundle.open("small")
    network = load_network(bundle).requires_grad_(False)
    settings = SyntheticSettings(draw_patient("ventricular", 5), seconds=90.0, fs=250.0, snr_db=22.0)
    record = synthesize(settings, 5).record
    found = trace(bundle, network, record, len(record) - 1, lead_policy="first")
    beat = max(b for b in range(30, len(found) - 3) if found.labels[b] == "V")
    return ask(bundle, network, found, beat)


def patches(asked: Question) -> None:
    """A strip cut into tokens, what one token sees, and how the band widens from layer to layer."""
    spec = asked.network.spec
    token = int(asked.trace.token[asked.targets[0]])
    first, last = token - 36, token + 14
    strip = asked.trace.signal[0, first * PATCH : last * PATCH]
    at = np.arange(len(strip)) / PATCH + first - token
    shown = figure(9, 4.4)
    top, bottom = shown.subplots(2, 1, height_ratios=[3, 2])
    for edge in range(first - token, last - token + 1):
        top.axvline(edge, color="#e4e8ec", lw=0.8, zorder=0)
    top.axvspan(
        -spec.stem_context / PATCH,
        1,
        color="#f3c9c4",
        label=f"what token 0 is made of: {spec.stem_context} + {PATCH} samples",
    )
    top.axvspan(0, 1, color="#e08a80", label=f"its own {PATCH} samples (62.5 ms)")
    top.plot(at, strip, color=INK, lw=1)
    top.set_xlim(first - token, last - token)
    top.set_ylim(top=1.35 * strip.max())
    top.legend(fontsize=8, frameon=False, loc="upper left", ncols=2)
    plain(top, "Patches of a signal: a token every 8 samples", "tokens from the beat's token")
    reach = spec.token.layers
    for layer in range(reach, 0, -1):
        depth = reach - layer + 1
        bottom.barh(layer, depth * (spec.token.left + spec.token.right) + 1, left=-depth * spec.token.left,
                    color=RED, alpha=0.15 + 0.15 * layer, height=0.7)  # fmt: skip
    bottom.axvline(spec.delay, color=BLUE, lw=1.2, label=f"decision token, {spec.delay} later")
    bottom.set_yticks(range(1, reach + 1), [f"input of layer {n}" for n in range(1, reach + 1)])
    bottom.set_xlim(-reach * spec.token.left - 2, reach * spec.token.right + 3)
    bottom.legend(fontsize=8, frameon=False, loc="upper left")
    plain(
        bottom,
        "What token 0 of the top layer can see",
        "tokens from the beat's token",
    )
    save(shown, "patches")
    back = spec.token.layers * spec.token.left
    print(f"  reach {back} tokens back = {back / 16} s, {spec.token.lag} ahead")


def scale(asked: Question) -> None:
    """Random queries and keys of more and more dimensions, with and without the square root."""
    rng = np.random.default_rng(0)
    keys = asked.network.spec.token.span + 1
    widths = np.array([1, 2, 4, 8, 16, 32, 64, 128, 256])
    rows: dict[str, list[tuple[float, float, float]]] = {"plain": [], "scaled": []}
    for width in widths:
        q, k = rng.standard_normal((2000, 1, width)), rng.standard_normal((2000, keys, width))
        dots = (q * k).sum(axis=-1)
        for kind, scores in (("plain", dots), ("scaled", dots / width**0.5)):
            weights = softmax(scores)
            square, cube = (weights**2).sum(axis=1), (weights**3).sum(axis=1)
            slope = np.sqrt(np.maximum(square - 2 * cube + square**2, 0))  # Frobenius norm of diag(p) - p pT
            rows[kind].append((scores.std(), weights.max(axis=1).mean(), slope.mean()))
    shown = figure(9, 2.6)
    axes = shown.subplots(1, 3)
    titles = ("Spread of the scores", f"Largest of {keys} weights", "Size of the softmax's Jacobian")
    own = asked.network.spec.token.dim // asked.network.spec.token.heads
    for column, (ax, title) in enumerate(zip(axes, titles, strict=True)):
        for kind, colour in (("plain", RED), ("scaled", BLUE)):
            label = "q·k" if kind == "plain" else "q·k / √c"
            ax.plot(widths, [row[column] for row in rows[kind]], "o-", ms=3, color=colour, label=label)
        ax.axvline(own, color=PALE, lw=0.8, ls=":")
        ax.set_xscale("log", base=2)
        plain(ax, title, "c, width of a head")
    axes[0].set_yscale("log", base=2)
    axes[0].legend(fontsize=8, frameon=False)
    save(shown, "scale")
    place = list(widths).index(own)
    for kind, found in rows.items():
        print(f"  {kind}, c = {own}: spread {found[place][0]:.2f}, largest weight {found[place][1]:.2f}")


def softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    odds = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights: NDArray[np.float64] = odds / odds.sum(axis=-1, keepdims=True)
    return weights


def gradient(asked: Question) -> None:
    """The Jacobian of a softmax: of two scores, and of a row of the network's own attention."""
    seen = look(asked).token[1][0, 0]
    row = int(asked.columns(range(asked.beats.stop - 1, asked.beats.stop))[0])
    spec = asked.network.spec.token
    weights = seen[row, row - spec.left : row + spec.right + 1].double()
    jacobian = torch.diag(weights) - weights[:, None] * weights
    scores = weights.log().requires_grad_()
    exact = torch.autograd.functional.jacobian(lambda s: s.softmax(-1), scores)
    print(f"  diag(p) - p pT against autograd: {float((jacobian - exact).abs().max()):.1e}")
    shown = figure(9, 2.8)
    left, middle, right = shown.subplots(1, 3, width_ratios=[1.1, 1, 1.1])
    gap = np.linspace(-6, 6, 200)
    weight = 1 / (1 + np.exp(-gap))
    left.plot(gap, weight, color=INK, label="weight p")
    left.plot(gap, weight * (1 - weight), color=RED, label="slope p (1 - p)")
    left.legend(fontsize=8, frameon=False)
    plain(left, "Two keys", "difference of their scores")
    places = np.arange(-spec.left, spec.right + 1)
    middle.bar(places, weights, color=INK)
    plain(middle, "A row of attention (layer 2, head 1)", "tokens from the beat's", "weight")
    limit = float(jacobian.abs().max())
    edges = places[0] - 0.5, places[-1] + 0.5
    shade = right.imshow(jacobian, cmap="RdBu_r", vmin=-limit, vmax=limit, extent=(*edges, *edges[::-1]))
    plain(right, "Its Jacobian, diag(p) - p pᵀ", "score of key", "weight of key")
    shown.colorbar(shade, ax=right).ax.tick_params(labelsize=7)
    save(shown, "gradient")


def online_softmax(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, tile: int
) -> tuple[torch.Tensor, list[tuple[float, float]]]:
    """Attention of one query over tiles of keys: a maximum, a sum and a weighted sum are all that is kept."""
    top, total, mixed = torch.tensor(-torch.inf), torch.zeros(()), torch.zeros(v.shape[-1])
    seen = []
    for start in range(0, len(k), tile):
        scores = (k[start : start + tile] @ q) * len(q) ** -0.5
        new = torch.maximum(top, scores.max())
        shrink, odds = (top - new).exp(), (scores - new).exp()
        total = total * shrink + odds.sum()
        mixed = mixed * shrink + odds @ v[start : start + tile]
        top = new
        seen.append((float(top), float(total)))
    return mixed / total, seen


def online() -> None:
    """Online softmax: what it keeps, and that it is exact."""
    rng = torch.Generator().manual_seed(3)
    count, width, tile = 640, 16, 64
    q, k, v = (torch.randn(n, width, generator=rng) for n in (1, count, count))
    q = 6 * q
    out, seen = online_softmax(q[0], k, v, tile)
    scores = (k.double() @ q[0].double()) * width**-0.5
    exact = scores.softmax(0) @ v.double()
    fused = F.scaled_dot_product_attention(q[None], k[None], v[None])[0, 0]
    errors = {"online, float32": out, "PyTorch's fused kernel": fused}
    print("  largest error:", {n: f"{float((e - exact).abs().max()):.1e}" for n, e in errors.items()})
    _kernel()
    naive = scores.half().exp().sum()
    print(f"  exp of the largest score in FP16: {float(scores.max().half().exp())}, sum {float(naive)}")
    shown = figure(9, 2.6)
    left, right = shown.subplots(1, 2, width_ratios=[1.4, 1])
    left.plot(scores, ".", ms=2, color=PALE, label="scores of the keys")
    tops = np.repeat([top for top, _ in seen], tile)
    left.plot(np.arange(count), tops, color=RED, label="running maximum")
    for edge in range(0, count + 1, tile):
        left.axvline(edge, color="#e4e8ec", lw=0.8, zorder=0)
    left.legend(fontsize=8, loc="lower right", framealpha=1, edgecolor="white")
    plain(left, "Keys come in tiles of 64", "key", "score")
    true = [
        float((scores[: (n + 1) * tile] - scores[: (n + 1) * tile].max()).exp().sum())
        for n in range(len(seen))
    ]
    right.plot(
        range(1, len(seen) + 1), true, "o", ms=6, mfc="none", color=INK, label="softmax over all keys so far"
    )
    right.plot(
        range(1, len(seen) + 1),
        [total for _, total in seen],
        ".-",
        ms=4,
        color=RED,
        label="kept sum, rescaled",
    )
    right.legend(fontsize=8, frameon=False)
    plain(right, "The sum of exponentials", "tiles seen")
    save(shown, "online")


def _kernel() -> None:
    """Print which of PyTorch's kernels the network's attention runs in."""
    stack = Stack(preset("small").token)
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        stack(torch.randn(2, 200, stack.spec.dim)).sum().backward()
    print("  kernels:", *(event.key for event in seen.key_averages() if "_attention_" in event.key))


def rotary() -> None:
    """Scores by distance at several places of the recording, and what time does to float32 angles."""
    rng = torch.Generator().manual_seed(1)
    width, span = 16, np.arange(-24, 3)
    q, k = torch.randn(2, width, generator=rng)
    shown = figure(9, 2.7)
    axes = shown.subplots(1, 3)
    for start, colour in ((24, BLUE), (500, RED), (1500, INK)):
        cosine, sine = rotary_tables(2000, width)
        turned = rotate(k.expand(2000, 1, width), cosine, sine)[:, 0]
        own = rotate(q.expand(2000, 1, width), cosine, sine)[start, 0]
        axes[0].plot(span, turned[start + span] @ own / width**0.5, color=colour, label=f"token {start}",
                     lw={24: 5, 500: 3, 1500: 1}[start])  # fmt: skip
        places = sinusoids(2000, width, torch.device("cpu"))
        axes[1].plot(
            span, (k + places[start + span]) @ (q + places[start]) / width**0.5, color=colour, lw=1.2
        )
    plain(axes[0], "Rotary: score by distance", "tokens from the query", "score of the same q and k")
    plain(axes[1], "Sinusoids added: it depends on when", "tokens from the query")
    axes[0].legend(fontsize=8, frameon=False)
    _worn(axes[2])
    save(shown, "rotary")


def _worn(ax: Axes) -> None:
    """Error of the angle of the fastest pair after hours to years at 16 tokens a second."""
    hours = np.array([1, 6, 24, 24 * 7, 24 * 30, 24 * 180, 24 * 365, 24 * 365 * 3])
    position = np.rint(hours * 3600 * 16) + 1
    frequency = ROTARY_BASE ** (-np.arange(8) / 8)
    exact = position[:, None] * frequency
    rounded = (position.astype(np.float32)[:, None] * frequency.astype(np.float32)).astype(np.float64)
    error = np.abs(np.exp(1j * exact) - np.exp(1j * rounded)).max(axis=1)
    ax.loglog(hours / 24, np.maximum(error, 1e-8), "o-", ms=3, color=RED, label="absolute position, float32")
    steps = np.unique(np.geomspace(10, 2_000_000, 12).astype(int))
    drift = _phase_error(steps, 8)
    ax.loglog(
        steps * 8 / 16 / 3600 / 24, drift, "o-", ms=3, color=BLUE, label="running phase, as in the graph"
    )
    ax.legend(fontsize=7, frameon=False, loc="upper left")
    ax.set_ylim(1e-8, 50)
    plain(ax, "Wear of a stream's angles", "days", "error between neighbours")
    print(f"  float32 positions after a month: {error[4]:.1e}; running phase between neighbours after "
          f"{steps[-1] * 0.5 / 86400:.0f} days: {drift[-1]:.1e}")  # fmt: skip


def _phase_error(steps: NDArray[np.int64], tokens: int) -> NDArray[np.float64]:
    """Error of the turn between one step's first position and the next's, for a phase renewed to length 1."""
    frequency = ROTARY_BASE ** (-np.arange(8) / 8)
    turn = np.exp(1j * tokens * frequency).astype(np.complex64)
    phase, errors = np.ones(8, np.complex64), []
    for step in range(1, int(steps[-1]) + 1):
        before = phase / np.abs(phase)
        phase = before * turn
        if step in set(steps[-12:].tolist()):
            between = (phase * before.conj()).astype(np.complex128)
            errors.append(float(np.abs(between - np.exp(1j * tokens * frequency)).max()))
    return np.array(errors)


def heads(asked: Question) -> None:
    """Mean attention of the packaged network by distance, layer and head, over a stretch of one patient."""
    seen, spec = look(asked), asked.network.spec.token
    places = np.arange(-spec.left, spec.right + 1)
    shown = figure(9, 0.8 + 0.85 * spec.layers)
    axes = shown.subplots(spec.layers, spec.heads, sharex=True, sharey=True, squeeze=False)
    for layer, weights in enumerate(seen.token):
        for head in range(spec.heads):
            grid = weights[0, head]
            rows = range(spec.left, grid.shape[0] - spec.right)
            mean = np.mean([grid[r, r - spec.left : r + spec.right + 1].numpy() for r in rows], axis=0)
            axes[layer, head].bar(places, mean, color=INK, width=0.9)
            plain(
                axes[layer, head],
                f"layer {layer + 1}, head {head + 1}",
                "tokens from the query" if layer == spec.layers - 1 else "",
            )
    save(shown, "heads")


def main() -> None:
    torch.set_num_threads(1)
    asked = question()
    patches(asked)
    scale(asked)
    gradient(asked)
    online()
    rotary()
    heads(asked)


if __name__ == "__main__":
    main()
