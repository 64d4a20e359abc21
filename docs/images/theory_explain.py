"""Draws the figures of docs/theory.md about explanations: methods on one beat, its parts, a concept.

Run it as ``python docs/images/theory_explain.py``: two minutes on one core.
"""

from __future__ import annotations

import numpy as np
import torch
from theory_attention import BLUE, INK, PALE, RED, figure, plain, question, save

from edgeecg.bundle import Bundle
from edgeecg.explain import attribute, synthetic_sets
from edgeecg.explain.baseline import baseline
from edgeecg.explain.beat_concepts import activations
from edgeecg.explain.question import Question
from edgeecg.explain.segments import segments
from edgeecg.explain.tcav import MomentNetwork, fit_line

BACK, ON = 320, 90  # samples shown around the beat
LAYER, CONCEPT = "token_2", "wide QRS"


def methods(asked: Question) -> None:
    """What a plain gradient, three gradients along the path and fifty of them say of the same samples."""
    other = baseline(asked)
    place = int(asked.trace.place[asked.targets[0]]) - asked.live.start
    cut = slice(place - BACK, place + ON)
    at = (np.arange(cut.start, cut.stop) - place) / 128
    shown = figure(9, 5.2)
    axes = shown.subplots(4, 1, sharex=True, height_ratios=[2, 1, 1, 1])
    axes[0].plot(at, asked.samples[0, cut], color=INK, lw=1, label="the beat and its past")
    axes[0].plot(at, other.samples[0, cut], color=PALE, lw=1, ls="--", label="baseline: usual beats, on time")
    axes[0].legend(fontsize=8, frameon=False, loc="upper left")
    plain(axes[0], "What the network sees, and what it is held against", "")
    for ax, name in zip(axes[1:], ("gradient", "path", "integrated"), strict=True):
        found = attribute(asked, other, name)
        values = found.samples[0, cut]
        ax.bar(at, values, width=1 / 128, color=np.where(values > 0, RED, BLUE))
        ax.axhline(0, color=PALE, lw=0.6)
        passes = f"{found.forward} forward, {found.backward} backward"
        plain(
            ax,
            f"{name} ({passes}); adds up to {found.total:+.1f}",
            "seconds from the beat" if name == "integrated" else "",
        )
    save(shown, "methods")
    with torch.no_grad():
        base = float(asked(other.samples[None], other.intervals[None])[0])
    print(f"  log-odds {asked.answer:+.2f}, baseline {base:+.2f}: {asked.answer - base:+.2f} to explain")


def parts(asked: Question) -> None:
    """Shapley values of the parts of the beat, and the line that LIME fits to coalitions of them."""
    other, named = baseline(asked), segments(asked)
    shown = figure(9, 2.9)
    ax = shown.subplots()
    names = ("shapley", "lime", "path")
    for shift, (name, colour) in enumerate(zip(names, (INK, BLUE, RED), strict=True)):
        found = attribute(asked, other, name)
        values = [found.of(part) for part in named]
        ax.bar(np.arange(len(named)) + 0.27 * (shift - 1), values, width=0.26, color=colour, label=name)
        print(f"  {name}: adds up to {sum(values):+.2f}")
    ax.axhline(0, color=PALE, lw=0.6)
    ax.set_xticks(range(len(named)), [part.name for part in named])
    ax.legend(fontsize=8, frameon=False)
    plain(ax, "Parts of one V beat: Shapley values, LIME's line, three gradients", "", "log-odds of V")
    save(shown, "parts")


def concept(asked: Question) -> None:
    """Wide and narrow beats of the same hearts in one layer; how often V rises along the line, by layer."""
    sets = synthetic_sets(Bundle.open("small"), asked.network)
    model = MomentNetwork(asked.network, asked.bias).eval()
    wide = activations(model, sets.concepts[CONCEPT], "V")
    other = activations(model, sets.without[CONCEPT], "V")
    signs = torch.cat([torch.ones(len(wide[LAYER][0])), -torch.ones(len(other[LAYER][0]))])
    lines = {layer: fit_line(torch.cat([wide[layer][0], other[layer][0]]), signs) for layer in wide}
    shown = figure(9, 3)
    left, right = shown.subplots(1, 2, width_ratios=[1.2, 1])
    direction, offset = lines[LAYER]
    x = torch.cat([wide[LAYER][0], other[LAYER][0]])
    rest = x - x.mean(dim=0)
    rest = rest - (rest @ direction)[:, None] * direction / direction.square().sum()
    across = torch.linalg.svd(rest)[2][0]
    for rows, colour, label in (
        (other[LAYER][0], PALE, "the same hearts without"),
        (wide[LAYER][0], RED, CONCEPT),
    ):
        left.plot(rows @ direction + offset, rows @ across, ".", color=colour, label=label)
    left.axvline(0, color=INK, lw=0.8, ls=":")
    left.legend(fontsize=8, frameon=False)
    plain(
        left,
        f"Layer {LAYER.replace('_', ' ')}: told apart by a line",
        "along the concept's vector",
        "across it",
    )
    shares = [float((wide[layer][1] @ lines[layer][0] > 0).float().mean()) for layer in lines]
    right.bar([layer.replace("_", "\n") for layer in lines], shares, color=RED, width=0.7)
    right.axhline(0.5, color=INK, lw=0.8, ls=":")
    right.set_ylim(0, 1)
    plain(right, "Share of these beats whose V rises along it", "")
    right.tick_params(axis="x", labelsize=7)
    save(shown, "concept")


def main() -> None:
    torch.set_num_threads(1)
    asked = question()
    methods(asked)
    parts(asked)
    concept(asked)


if __name__ == "__main__":
    main()
