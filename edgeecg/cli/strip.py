"""A strip of ECG with the beats that were found, on the paper that cardiologists know."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeecg.errors import MissingExtra
from edgeecg.io import Record
from edgeecg.io.atomic import atomic_path
from edgeecg.specs import Beat, Event, Rhythm

__all__ = ["busiest", "draw_strip"]

COLOURS = {"N": "#4d4d4d", "S": "#c96b00", "V": "#c2182b", "F": "#7b2d8b", "P": "#1f5fa8"}
RHYTHM_COLOUR = "#3b7dd8"
INCHES_PER_SECOND = 1.1


def busiest(beats: Sequence[Beat], length: int, span: int) -> int:
    """First sample of the stretch of ``span`` samples that holds the most kinds, then numbers, of odd beats.

    Parameters
    ----------
    beats : sequence of Beat
    length, span : int
        Samples of the recording, and of the stretch.
    """
    odd = [beat for beat in beats if beat.label != "N"]

    def worth(start: int) -> tuple[int, int]:
        inside = [beat.label for beat in odd if start <= beat.sample < start + span]
        return len(set(inside)), len(inside)

    starts = [max(0, min(beat.sample - span // 3, length - span)) for beat in odd]
    return max(starts, key=worth, default=max(0, (length - span) // 2))


def draw_strip(
    record: Record,
    events: Sequence[Event],
    path: Path,
    *,
    start: int = 0,
    seconds: float = 10.0,
    title: str = "",
) -> None:
    """Draw the first lead of a stretch, beats with label and probability, AF shaded, reference below.

    Parameters
    ----------
    record : Record
        Its annotations, where it has any, are shown as the reference.
    events : sequence of Event
        What was found.
    path : Path
        PNG, SVG or PDF; written whole or not at all.
    start : int
        First sample.
    seconds : float
        Length of the stretch.
    title : str

    Raises
    ------
    MissingExtra
        Without matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("matplotlib", "plot", "drawing a strip") from error
    stop = min(len(record.signal), start + round(seconds * record.fs))
    signal = record.signal[start:stop, 0]
    figure = Figure(figsize=(INCHES_PER_SECOND * seconds + 1, 3.4), layout="constrained")
    axes = figure.add_subplot()
    _paper(axes, signal, (stop - start) / record.fs)
    axes.plot(np.arange(len(signal)) / record.fs, signal, color="black", linewidth=0.9)
    _mark(axes, record, [event for event in events if isinstance(event, Beat)], start, stop)
    _shade(axes, [event for event in events if isinstance(event, Rhythm)], record.fs, start, stop)
    _reference(axes, record, start, stop)
    axes.set_title(_plain_text(title), loc="left", fontsize=10)
    axes.set_xlabel(f"seconds from {start / record.fs:.1f} s")
    axes.set_ylabel(f"{_plain_text(record.leads[0])}, mV")
    with atomic_path(path) as partial:
        figure.savefig(partial, dpi=110)


def _plain_text(name: str) -> str:
    """A name as it is: matplotlib would read what stands between two dollars as a formula."""
    return name.replace("$", r"\$")


def _paper(axes: Any, signal: NDArray[np.float64], seconds: float) -> None:
    """40 ms by 0.1 mV, bold lines at 200 ms and 0.5 mV; room above for labels and below for the reference."""
    low, high = float(np.nanmin(signal)), float(np.nanmax(signal))
    room = max(high - low, 0.5)
    axes.set_xlim(0, seconds)
    axes.set_ylim(low - 0.25 * room, high + 0.3 * room)
    from matplotlib.ticker import FuncFormatter, MultipleLocator

    axes.xaxis.set_major_locator(MultipleLocator(0.2))
    axes.xaxis.set_minor_locator(MultipleLocator(0.04))
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda at, _: f"{at:.0f}" if abs(at - round(at)) < 0.01 else "")
    )
    axes.yaxis.set_major_locator(MultipleLocator(0.5))
    axes.yaxis.set_minor_locator(MultipleLocator(0.1))
    axes.grid(True, which="minor", color="#f3c6c6", linewidth=0.3)
    axes.grid(True, which="major", color="#e79b9b", linewidth=0.6)
    axes.tick_params(which="both", length=0)


def _mark(axes: Any, record: Record, beats: Sequence[Beat], start: int, stop: int) -> None:
    """A dot at each beat, its label and probability above."""
    top = axes.get_ylim()[1]
    for beat in beats:
        if not start <= beat.sample < stop:
            continue
        at, height = (beat.sample - start) / record.fs, float(record.signal[beat.sample, 0])
        colour = COLOURS[beat.label]
        axes.plot([at], [height], "o", color=colour, markersize=4)
        axes.annotate(
            f"{beat.label}\n{100 * beat.probability:.0f}",
            (at, top),
            xytext=(0, -3),
            textcoords="offset points",
            ha="center",
            va="top",
            fontsize=8,
            color=colour,
            fontweight="normal" if beat.label == "N" else "bold",
        )


def _shade(axes: Any, rhythms: Sequence[Rhythm], fs: float, start: int, stop: int) -> None:
    """Atrial fibrillation as a tinted background; an onset is told before its end."""
    open_since: int | None = None
    spans: list[tuple[int, int]] = []
    for rhythm in rhythms:
        if rhythm.label != "AFIB":
            continue
        open_since = rhythm.start if rhythm.end is None else None
        if rhythm.end is not None:
            spans.append((rhythm.start, rhythm.end))
    if open_since is not None:
        spans.append((open_since, stop))
    for begin, end in spans:
        left, right = max(begin, start), min(end, stop)
        if left < right:
            axes.axvspan((left - start) / fs, (right - start) / fs, color=RHYTHM_COLOUR, alpha=0.12)
            axes.annotate("AF", ((left - start) / fs, axes.get_ylim()[0]), fontsize=8, color=RHYTHM_COLOUR)


def _reference(axes: Any, record: Record, start: int, stop: int) -> None:
    """The reference's symbols along the lower edge."""
    if record.annotations is None:
        return
    bottom = axes.get_ylim()[0]
    beats = record.annotations.beats().within(start, stop)
    for sample, symbol in zip(beats.sample, beats.symbol, strict=True):
        axes.annotate(
            symbol,
            (sample / record.fs, bottom),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color="#7a7a7a",
        )
