"""Pictures of an explanation, as matplotlib figures: nothing is shown, nothing is global."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import FuncNorm, Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from edgeecg.explain.counterfactual import Counterfactual, edited_source
from edgeecg.explain.explanation import Explanation
from edgeecg.explain.segments import WAVES, landmarks
from edgeecg.specs import MODEL_FS

__all__ = ["attention_figure", "change_figure", "concept_figure", "part_figure", "strip_figure"]

HEAT = "RdBu_r"  # red: for the label, blue: against it
INK, PALE, ACCENT = "#1c2530", "#8a97a5", "#b3202a"
SHOWN = 4.2  # s before the beat
BEYOND = 1.0  # s after it
TOKEN = 8  # samples whose relevance is shown as one

FRAME = {"facecolor": "white", "alpha": 0.85, "linewidth": 0, "boxstyle": "square,pad=0.1"}  # behind labels

Vector = NDArray[np.float64]


def _plain_text(name: str) -> str:
    """A name as it is: matplotlib would read what stands between two dollars as a formula."""
    return name.replace("$", r"\$")


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), dpi=110, layout="constrained", facecolor="white")


def _plain(ax: Axes) -> None:
    for side in ("top", "right", "left"):
        ax.spines[side].set_visible(False)
    ax.tick_params(colors=INK, labelsize=8)


def _heat(limit: float) -> FuncNorm:
    """Colours by the signed square root, so that what is small is still seen; the bar has the numbers."""
    top = np.sqrt(limit)

    def forward(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(0.5 + 0.5 * np.sign(x) * np.sqrt(np.abs(x)) / top)

    def inverse(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.sign(x - 0.5) * ((2 * np.abs(x - 0.5)) * top) ** 2)

    return FuncNorm((forward, inverse), vmin=-limit, vmax=limit)


def strip_figure(why: Explanation) -> Figure:
    """The recording in millivolts, the relevance of its samples behind it and of its intervals under it."""
    question, found = why.question, why.question.trace
    beats = question.targets
    start = max(question.live.start, int(found.place[beats[0]] - SHOWN * MODEL_FS))
    stop = int(found.place[beats[-1]] + BEYOND * MODEL_FS)
    relevance = why.attribution.samples
    grouped = (
        relevance[:, : relevance.shape[1] // TOKEN * TOKEN].reshape(len(relevance), -1, TOKEN).sum(axis=-1)
    )
    norm = _heat(
        max(float(np.abs(grouped).max()), float(np.abs(why.attribution.intervals).max(initial=1e-6)))
    )
    rows = len(question.leads)
    figure = _figure(11, 1.2 + 2.1 * rows)
    axes = figure.subplots(rows + 1, 1, sharex=True, height_ratios=[*[3] * rows, 1], squeeze=False)[:, 0]
    for row, ax in enumerate(axes[:-1]):
        _strip(ax, why, row, grouped[row], norm, start, stop)
    _intervals(axes[-1], why, norm, start, stop)
    axes[0].set_title(
        f"{_plain_text(found.record.name)}, sample {why.sample}: {question.label}, {why.probability:.1%}",
        loc="left", fontsize=11, color=INK,
    )  # fmt: skip
    bar = figure.colorbar(ScalarMappable(norm, HEAT), ax=list(axes), aspect=40, pad=0.01)
    bar.set_label(f"relevance, {why.unit} per 62.5 ms and per interval", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    return figure


def _seconds(why: Explanation, place: float) -> float:
    """Seconds of a place in the recording."""
    found = why.question.trace
    return (found.anchor + (place - found.latency) / found.ratio) / found.record.fs


def _strip(
    ax: Axes, why: Explanation, row: int, grouped: Vector, norm: Normalize, start: int, stop: int
) -> None:
    question, found = why.question, why.question.trace
    record, column = found.record, found.columns[question.leads[row]]
    source = slice(found.sample(start), min(len(record), found.sample(stop)))
    millivolts = record.signal[source, column]
    at = np.arange(source.start, source.stop) / record.fs
    low, high = float(np.nanmin(millivolts)), float(np.nanmax(millivolts))
    room = 0.14 * (high - low) + 1e-3
    live = [_seconds(why, question.live.start), _seconds(why, question.live.start + TOKEN * len(grouped))]
    ax.imshow(
        grouped[None], extent=(live[0], live[1], low - 2 * room, high + 2 * room), aspect="auto", cmap=HEAT,
        norm=norm, interpolation="nearest", alpha=0.75,
    )  # fmt: skip
    ax.plot(at, millivolts, color=INK, lw=1.0)
    for beat in range(len(found)):
        if start <= found.place[beat] < stop:
            ours = beat in question.targets
            ax.text(
                _seconds(why, found.place[beat]), high + 0.6 * room, found.labels[beat], ha="center",
                fontsize=9, color=ACCENT if ours else PALE, fontweight="bold" if ours else "normal",
                bbox=FRAME if ours else None,
            )  # fmt: skip
    if len(question.targets) == 1:
        _waves(ax, why, low - 1.4 * room)
    ax.set_xlim(at[0], at[-1])
    ax.set_ylim(low - 2 * room, high + 2 * room)
    ax.set_ylabel(f"{_plain_text(record.leads[column])}, mV", fontsize=8, color=INK)
    _plain(ax)


def _waves(ax: Axes, why: Explanation, height: float) -> None:
    """Names of the parts of the beat, at their places."""
    marks = landmarks(why.question.trace, why.beat)
    for wave in WAVES:
        a, b = (_seconds(why, place) for place in marks.span(wave))
        if b > a:
            ax.plot([a, b], [height, height], color=INK, lw=2, solid_capstyle="butt", alpha=0.7)
            if wave in ("P", "QRS", "T"):
                ax.text(
                    (a + b) / 2, height, wave, ha="center", va="bottom", fontsize=7, color=INK, bbox=FRAME
                )


def _intervals(ax: Axes, why: Explanation, norm: Normalize, start: int, stop: int) -> None:
    question, found = why.question, why.question.trace
    colour = ScalarMappable(norm, HEAT)
    for number in range(question.table.count):
        beat = question.table.first + number
        if found.place[beat] <= start or found.place[beat - 1] >= stop:
            continue
        a, b = (_seconds(why, float(found.place[i])) for i in (beat - 1, beat))
        value = float(why.attribution.intervals[number])
        strong = abs(float(norm(value)) - 0.5) > 0.3
        ax.barh(
            0,
            b - a - 0.02,
            left=a + 0.01,
            height=0.8,
            color=colour.to_rgba(np.array(value)),
            edgecolor=PALE,
            lw=0.5,
        )
        left = _seconds(why, start)
        if b - max(a, left) > 0.25:
            ax.text(
                (max(a, left) + b) / 2,
                0,
                f"{question.intervals[number]:.2f}",
                ha="center",
                va="center",
                fontsize=8,
                color="white" if strong else INK,
            )
    ax.set_yticks([0], ["RR, s"], fontsize=8)
    ax.set_ylim(-0.6, 0.6)
    ax.set_xlabel("seconds from the recording's start", fontsize=8)
    _plain(ax)


def part_figure(why: Explanation) -> Figure:
    """Relevance of each part of the beat as bars."""
    names, values = list(why.relevance), list(why.relevance.values())
    figure = _figure(7, 0.7 + 0.32 * len(names))
    ax = figure.subplots()
    ax.barh(names, values, color=["#c2413b" if value > 0 else "#3b76af" for value in values], height=0.7)
    ax.axvline(0, color=INK, lw=0.8)
    ax.invert_yaxis()
    span = max(max(values) - min(values), 1e-6)
    for row, value in enumerate(values):
        side = 1 if value >= 0 else -1
        ax.text(
            value + 0.01 * side * span,
            row,
            f"{value:+.2f}",
            va="center",
            ha="left" if side > 0 else "right",
            fontsize=8,
        )
    ax.set_xlim(min(0, *values) - 0.12 * span, max(0, *values) + 0.12 * span)
    kind = "the usual beats, on time" if why.attribution.baseline.kind == "usual" else "a flat line"
    odds = f"log-odds of {why.question.label} against {kind}"
    ax.set_xlabel(odds if why.unit == "log-odds" else why.unit, fontsize=8)
    _plain(ax)
    ax.tick_params(axis="y", length=0, labelsize=9)
    return figure


def attention_figure(why: Explanation) -> Figure:
    """Where the beat's token, its decision token and its place among the beats look, by layer and head."""
    question, attention = why.question, why.attention
    spec = question.network.spec
    beat = why.beat
    layers = max(len(attention.token), len(attention.beat))
    figure = _figure(11, 1.1 + 1.15 * layers)
    axes = figure.subplots(layers, 3, squeeze=False)
    column = int(question.columns(range(beat, beat + 1))[0])
    lead = int(question.share[:, column].argmax())
    for place, (offset, title) in enumerate(((0, "the beat's token"), (spec.delay, "its decision token"))):
        row = column + offset
        for layer, weights in enumerate(attention.token):
            first, last = max(0, row - spec.token.left), min(weights.shape[-1], row + spec.token.right + 1)
            at = (np.array([first, last]) - column) * spec.patch / MODEL_FS
            _looks(axes[layer, place], weights[lead, :, row, first:last].numpy(), at, layer, title)
    own = beat - question.beats.start
    for layer, weights in enumerate(attention.beat):
        first = max(0, own - spec.beat.left)
        at = np.array([first - own - 0.5, 0.5])
        _looks(
            axes[layer, 2], weights[:, own, first : own + 1].numpy(), at, layer, "its place among the beats"
        )
    for place, count in ((0, len(attention.token)), (1, len(attention.token)), (2, len(attention.beat))):
        axes[count - 1, place].set_xlabel("seconds from the beat" if place < 2 else "beats back", fontsize=8)
        for ax in axes[count:, place]:
            ax.set_visible(False)
    return figure


def _looks(ax: Axes, weights: NDArray[np.float32], at: Vector, layer: int, title: str) -> None:
    heads = len(weights)
    ax.imshow(
        weights, aspect="auto", cmap="Greys", vmin=0, extent=(at[0], at[1], heads + 0.5, 0.5),
        interpolation="nearest",
    )  # fmt: skip
    ax.set_yticks(range(1, heads + 1))
    ax.set_ylabel(f"layer {layer + 1}\nhead", fontsize=8)
    if layer == 0:
        ax.set_title(title, fontsize=9, color=INK)
    ax.tick_params(labelsize=7)


def concept_figure(why: Explanation) -> Figure:
    """How much each concept, where the beat shows it, moved the decision, by layer."""
    concepts = list(dict.fromkeys(c.concept for c in why.concepts))
    layers = list(dict.fromkeys(c.layer for c in why.concepts))
    by = {(c.concept, c.layer): c for c in why.concepts}
    pull = np.array([[by[concept, layer].pull for layer in layers] for concept in concepts])
    limit = max(float(np.abs(pull).max()), 1e-6)
    figure = _figure(1.8 + 0.85 * len(layers), 1.1 + 0.34 * len(concepts))
    ax = figure.subplots()
    ax.imshow(pull, cmap=HEAT, norm=Normalize(-limit, limit), aspect="auto")
    for row, concept in enumerate(concepts):
        for place, layer in enumerate(layers):
            shown = by[concept, layer].present > 0.5
            ax.text(
                place, row, f"{pull[row, place]:+.1f}", ha="center", va="center", fontsize=8,
                fontweight="bold" if shown else "normal",
                color="white" if abs(pull[row, place]) > 0.6 * limit else INK,
            )  # fmt: skip
    _grid(ax, concepts, layers)
    ax.set_title(
        f"Log-odds of {why.question.label} that each concept adds; bold: the beat shows it",
        fontsize=9, loc="left", color=INK,
    )  # fmt: skip
    return figure


def _grid(ax: Axes, rows: Sequence[str], columns: Sequence[str]) -> None:
    ax.set_xticks(range(len(columns)), [name.replace("_", " ") for name in columns], fontsize=8)
    ax.set_yticks(range(len(rows)), rows, fontsize=8)
    ax.tick_params(length=0)
    for side in ax.spines.values():
        side.set_visible(False)


def change_figure(why: Explanation, change: Counterfactual) -> Figure:
    """The beat as it is, and the smallest change that turns its label."""
    found = why.question.trace
    edited, _ = edited_source(found, why.beat, change.edit)
    lead = int(np.argmax(found.share[:, found.token[why.beat]]))
    column = found.columns[lead]
    fs = found.record.fs
    source = slice(max(0, round(why.sample - 1.6 * fs)), min(len(edited), round(why.sample + 1.4 * fs)))
    at = np.arange(source.start, source.stop) / fs
    figure = _figure(9, 2.6)
    ax = figure.subplots()
    ax.plot(at, found.record.signal[source, column], color=PALE, lw=1.4, label=f"as it is: {change.before}")
    ax.plot(at, edited[source, column], color=ACCENT, lw=1.0, label=f"changed: {change.after}")
    ax.legend(fontsize=8, frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=2)
    ax.set_title(change.sentence(), fontsize=9, loc="left", color=INK)
    ax.set_xlabel("seconds from the recording's start", fontsize=8)
    ax.set_ylabel(f"{_plain_text(found.record.leads[column])}, mV", fontsize=8)
    ax.set_xlim(at[0], at[-1])
    _plain(ax)
    return figure
