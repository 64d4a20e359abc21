"""An explanation on disk: pictures, numbers, and one page that needs nothing else."""

from __future__ import annotations

import base64
import io
import os
from html import escape
from pathlib import Path

import msgspec
from matplotlib.figure import Figure

from edgeecg.explain.explanation import Explanation
from edgeecg.explain.figures import (
    attention_figure,
    change_figure,
    concept_figure,
    part_figure,
    strip_figure,
)

__all__ = ["draw", "page", "write"]

STYLE = """
:root { color-scheme: light dark; --ink: #1c2530; --paper: #fbfbf9; --pale: #5d6b78; --line: #d9dee3; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e3e8ec; --paper: #14191e; --pale: #97a5b1; --line: #303a44; }
}
body { margin: 2rem auto; max-width: 60rem; padding: 0 1.2rem; font: 16px/1.5 system-ui, sans-serif;
  color: var(--ink); background: var(--paper); }
h1 { font-size: 1.5rem; margin-bottom: .2rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .4rem; }
p.said { margin: .3rem 0; } p.note, footer { color: var(--pale); font-size: .88rem; }
figure { margin: .6rem 0; } img { max-width: 100%; height: auto; border-radius: 4px; background: #fff; }
table { border-collapse: collapse; font-size: .9rem; }
td, th { padding: .15rem .9rem .15rem 0; text-align: left; border-bottom: 1px solid var(--line); }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
"""

TITLES = {
    "strip": "The strip",
    "parts": "Parts of the beat",
    "change": "The smallest change that turns the label",
    "concepts": "Concepts",
    "attention": "Attention",
}
SIGNED = "Red speaks for the label, blue against it"
UNSIGNED = "Red is what the method points at"
NOTES = {
    "strip": """the row below says the same of each interval. Colour grows with the square root of
relevance.""",
    "parts": """Relevance summed over each part. 'Earlier beats' are the samples before the P wave: where they
stand tells the network whether this beat is early. They and 'RR earlier' reach back beyond the strip.""",
    "concepts": """What the beat's departure from its baseline along each concept adds, layer by layer
(gradients along the same path as above). Bold: the beat lies nearer to the concept's examples
than to beats of the same hearts without it.""",
    "attention": """Darker is more. Attention says where the network looked, not what it made of it.""",
}


def draw(why: Explanation) -> dict[str, Figure]:
    """All pictures by name, in the order in which they are read."""
    figures = {"strip": strip_figure(why), "parts": part_figure(why)}
    if why.counterfactual is not None:
        figures["change"] = change_figure(why, why.counterfactual)
    if why.concepts:
        figures["concepts"] = concept_figure(why)
    figures["attention"] = attention_figure(why)
    return figures


def page(why: Explanation, pictures: dict[str, bytes]) -> str:
    """One HTML page with its PNG pictures inside."""
    found = why.question.trace
    title = f"Why {why.question.label}? {found.record.name}, sample {why.sample}"
    said = "".join(f"<p class=said>{escape(line)}</p>" for line in why.sentences())
    notes = {**NOTES, "strip": f"{SIGNED if why.signed else UNSIGNED}; {NOTES['strip']}"}
    shown = "".join(_section(name, png, notes.get(name, "")) for name, png in pictures.items())
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td class=number>{value:+.3f}</td></tr>"
        for name, value in why.relevance.items()
    )
    attribution = why.attribution
    cost = (
        f"Method {attribution.method}, {attribution.forward} forward and {attribution.backward} backward "
        f"passes, {1e3 * attribution.seconds:.0f} ms; bundle {why.bundle.name} ({why.bundle.digest[:12]})."
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><h1>{escape(title)}</h1>"
        f"{said}{shown}<h2>Numbers</h2><table><tr><th>part</th><th>{why.unit}</th></tr>{rows}</table>"
        f"<p class=note>{escape(why.balance())}</p>"
        f"<footer><p>{escape(cost)} An explanation of the model, not of the patient: EdgeECG is not a "
        "medical device.</p></footer></body></html>\n"
    )


def _section(name: str, png: bytes, note: str) -> str:
    title = TITLES[name]
    data = base64.b64encode(png).decode()
    words = f"<p class=note>{escape(note)}</p>" if note else ""
    return (
        f"<h2>{escape(title)}</h2><figure><img alt='{escape(title)}' "
        f"src='data:image/png;base64,{data}'></figure>{words}"
    )


def write(why: Explanation, folder: str | os.PathLike[str]) -> list[Path]:
    """Write pictures, ``explanation.json`` and ``index.html`` into a folder, which is made where it is not.

    Returns
    -------
    The files, the page first.
    """
    pictures: dict[str, bytes] = {}
    for name, figure in draw(why).items():
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
        pictures[name] = buffer.getvalue()
    contents = {
        "index.html": page(why, pictures).encode(),
        "explanation.json": msgspec.json.format(msgspec.json.encode(why.to_dict()), indent=1),
        **{f"{name}.png": png for name, png in pictures.items()},
    }
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    for name, data in contents.items():
        (place / name).write_bytes(data)
    return [place / name for name in contents]
