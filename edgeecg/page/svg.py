"""Small charts as inline SVG: a page that holds them needs no script, no font and no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["Chart", "bars", "curve", "histogram", "number", "stacks"]

WIDTH, HEIGHT = 720, 260
LEFT, RIGHT, TOP, BOTTOM = 76, 16, 14, 40  # the left margin holds the axis' label and "100,000"


class Chart:
    """A frame with axes; x and y are in data units.

    Parameters
    ----------
    x, y : (float, float)
        Least and greatest value shown.
    labels : (str, str)
        What the axes count.
    title : str
        For those who cannot see it.
    """

    def __init__(
        self, x: tuple[float, float], y: tuple[float, float], labels: tuple[str, str], title: str
    ) -> None:
        self._x, self._y, self._labels, self._title = x, y, labels, title
        self._parts: list[str] = []

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Place of a point, pixels."""
        across = (x - self._x[0]) / ((self._x[1] - self._x[0]) or 1)
        up = (y - self._y[0]) / ((self._y[1] - self._y[0]) or 1)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    def box(self, x: tuple[float, float], y: tuple[float, float], kind: str, tip: str = "") -> None:
        """A filled rectangle; ``kind`` is its CSS class."""
        (x0, y0), (x1, y1) = self.at(x[0], y[0]), self.at(x[1], y[1])
        self._parts.append(
            f'<rect class="{kind}" x="{x0:.1f}" y="{y1:.1f}" width="{max(0.4, x1 - x0 - 0.4):.1f}" '
            f'height="{max(0.0, y0 - y1):.1f}"><title>{escape(tip)}</title></rect>'
        )

    def line(self, points: Sequence[tuple[float, float]], kind: str) -> None:
        """A polyline."""
        where = " ".join(f"{x:.1f},{y:.1f}" for x, y in (self.at(*point) for point in points))
        self._parts.append(f'<polyline class="{kind}" points="{where}"/>')

    def text(self, x: float, y: float, text: str, anchor: str = "middle", shift: float = 0.0) -> None:
        """A word at a point, moved up by ``shift`` pixels."""
        px, py = self.at(x, y)
        self._parts.append(
            f'<text x="{px:.1f}" y="{py - shift:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
        )

    def ticks(self, x: Sequence[tuple[float, str]], y: Sequence[tuple[float, str]]) -> None:
        """Marks of the axes and grid lines."""
        for value, text in x:
            self.text(value, self._y[0], text, shift=-16)
        for value, text in y:
            px, py = self.at(self._x[0], value)
            self._parts.append(
                f'<line class="grid" x1="{px}" x2="{WIDTH - RIGHT}" y1="{py:.1f}" y2="{py:.1f}"/>'
            )
            self._parts.append(f'<text x="{px - 6}" y="{py + 4:.1f}" text-anchor="end">{escape(text)}</text>')

    def render(self) -> str:
        """The chart."""
        middle = (TOP + HEIGHT - BOTTOM) / 2
        across, up = (escape(label) for label in self._labels)
        where = f'x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}"'
        axes = (
            f'<text {where} text-anchor="middle">{across}</text>'
            f'<text transform="translate(13 {middle}) rotate(-90)" text-anchor="middle">{up}</text>'
        )
        return (
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(self._title)}">'
            f"{''.join(self._parts)}{axes}</svg>"
        )


def nice_steps(low: float, high: float, count: int = 5) -> list[float]:
    """Round values from ``low`` to ``high``, about ``count`` of them."""
    span = (high - low) or 1.0
    rough = span / count
    power = 10.0 ** np.floor(np.log10(rough))
    step = power * next(m for m in (1, 2, 5, 10) if m * power >= rough)
    first = np.ceil(low / step) * step
    return [float(value) for value in np.arange(first, high + step * 1e-9, step)]


def number(value: float) -> str:
    """A value as short as it is clear."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def histogram(values: ArrayLike, marks: Mapping[str, float], unit: str, title: str) -> str:
    """Counts of values, with named marks; the longest tail percent shares the last bar."""
    data = np.asarray(values, np.float64)
    high = max(float(np.quantile(data, 0.995)) * 1.05, max(marks.values(), default=0.0) * 1.02)
    low = float(data.min())
    counts, edges = np.histogram(
        np.clip(data, low, high), bins=60, range=(low, high if high > low else low + 1)
    )
    most = float(counts.max())
    chart = Chart((float(edges[0]), float(edges[-1])), (0, most * 1.12), (unit, "hops"), title)
    chart.ticks(
        [(v, number(v)) for v in nice_steps(*edges[[0, -1]])], [(v, number(v)) for v in nice_steps(0, most)]
    )
    for count, x0, x1 in zip(counts, edges, edges[1:], strict=False):
        if count:
            chart.box((x0, x1), (0, float(count)), "a", f"{x0:.3g} to {x1:.3g} {unit}: {count}")
    taken = -1e9
    for name, value in sorted(marks.items(), key=lambda item: item[1]):
        chart.line([(value, 0), (value, most * 1.04)], "mark")
        place = chart.at(value, most)[0]
        if place - taken > 44:  # a word over another cannot be read
            chart.text(value, most * 1.04, name, shift=4)
            taken = place
    return chart.render()


def stacks(rows: ArrayLike, names: Sequence[str], unit: str, title: str) -> str:
    """One stacked bar per row, in order: a timeline of at most 240 bars, each the mean of its rows."""
    data = np.asarray(rows, np.float64)
    size = -(-len(data) // 240)
    groups = [data[i : i + size].mean(axis=0) for i in range(0, len(data), size)]
    most = max(float(group.sum()) for group in groups)
    chart = Chart((0, len(groups) * size), (0, most * 1.05), ("hop", unit), title)
    chart.ticks(
        [(v, number(v)) for v in nice_steps(0, len(groups) * size)],
        [(v, number(v)) for v in nice_steps(0, most)],
    )
    for index, group in enumerate(groups):
        base = 0.0
        for kind, name, value in zip("abcdef", names, group, strict=False):
            tip = f"hop {index * size}: {name} {value:.3g} {unit}"
            chart.box((index * size, (index + 1) * size), (base, base + float(value)), kind, tip)
            base += float(value)
    return chart.render()


def curve(points: Sequence[tuple[float, float]], labels: tuple[str, str], title: str) -> str:
    """Values over powers of two."""
    places = [float(np.log2(x)) for x, _ in points]
    most = max(y for _, y in points)
    chart = Chart((min(places) - 0.3, max(places) + 0.3), (0, most * 1.12), labels, title)
    chart.ticks(
        [(place, number(x)) for place, (x, _) in zip(places, points, strict=True)],
        [(v, number(v)) for v in nice_steps(0, most)],
    )
    line = [(place, y) for place, (_, y) in zip(places, points, strict=True)]
    chart.line(line, "trace")
    for place, value in line:
        chart.text(place, value, number(value), shift=8)
    return chart.render()


def _short(name: str) -> str:
    """A layer's name with its middle left out: its block stands in front, its kind at the end."""
    return name if len(name) <= 28 else f"{name[:11]}…{name[-16:]}"


def bars(items: Sequence[tuple[str, float, str]], title: str) -> str:
    """Horizontal bars: name, value, and what is written beside it."""
    most = max((value for _, value, _ in items), default=1.0) or 1.0
    rows = []
    for index, (name, value, text) in enumerate(items):
        y = 6 + 22 * index
        length = 380 * value / most
        rows.append(
            f'<text x="196" y="{y + 12}" text-anchor="end">{escape(_short(name))}'
            f"<title>{escape(name)}</title></text>"
            f'<rect class="a" x="204" y="{y}" width="{max(0.5, length):.1f}" height="15"/>'
            f'<text x="{210 + length:.1f}" y="{y + 12}">{escape(text)}</text>'
        )
    height = 12 + 22 * len(items)
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">{"".join(rows)}</svg>'
    )
