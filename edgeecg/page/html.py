"""The frame of a page, and its tables: one file of HTML without script, font or network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

__all__ = ["cards_of", "document", "sections_of", "table"]

STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #667085; --line: #d9dee7; --paper: #ffffff;
  --a: #2563a8; --b: #2f9e8f; --c: #e0a030; --d: #b4536f; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --soft: #9aa4b5; --line: #323b4a;
  --paper: #12161d; --a: #6ea8e8; --b: #5cc9b8; --c: #f0be62; --d: #de8aa3; } }
body { margin: 2rem auto; max-width: 60rem; padding: 0 1.2rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .2rem; } h2 { font-size: 1.05rem; margin: 2.2rem 0 .5rem; }
p, .note { color: var(--soft); margin: .3rem 0; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: 14px; }
th, td { padding: .28rem .6rem; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child, td:first-child { text-align: left; } th { color: var(--soft); font-weight: 500; }
tr.sum td { font-weight: 600; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 0 2.5rem; }
@media (max-width: 46rem) { .pair { grid-template-columns: 1fr; } }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .8rem;
  margin: 1.2rem 0; }
.card { border: 1px solid var(--line); border-radius: .5rem; padding: .6rem .8rem; }
.card b { display: block; font-size: 1.25rem; } .card span { color: var(--soft); font-size: 13px; }
svg { width: 100%; height: auto; } svg text { fill: var(--soft); font-size: 11.5px; }
.a { fill: var(--a); } .b { fill: var(--b); } .c { fill: var(--c); } .d { fill: var(--d); }
.grid { stroke: var(--line); } .mark { stroke: var(--d); fill: none; stroke-dasharray: 4 3; }
.trace { stroke: var(--a); stroke-width: 2; fill: none; }
.key { color: var(--soft); font-size: 13px; }
.key i { display: inline-block; width: .8em; height: .8em;
  border-radius: 2px; margin: 0 .35em 0 1em; background: var(--x); }
"""


def table(head: Sequence[str], rows: Iterable[Sequence[str]], strong: Sequence[str] = ()) -> str:
    """An HTML table; rows whose first cell is in ``strong`` are set off."""
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    lines = []
    for row in rows:
        kind = " class=sum" if row[0] in strong else ""
        lines.append(f"<tr{kind}>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>")
    return f"<table><thead><tr>{top}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def cards_of(shown: Iterable[tuple[str, str]]) -> str:
    """The few figures that one looks for first: each, and what it is."""
    cells = (
        f"<div class=card><b>{escape(value)}</b><span>{escape(what)}</span></div>" for value, what in shown
    )
    return f"<div class=cards>{''.join(cells)}</div>"


def sections_of(parts: Iterable[tuple[str, str]]) -> str:
    """Headings, and the HTML below each."""
    return "".join(f"<section><h2>{escape(head)}</h2>{content}</section>" for head, content in parts)


def document(title: str, head: str, lead: str, body: str, style: str = "") -> str:
    """The page: ``title`` of its window, heading, a line below it, HTML, and style of its own."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}{style}</style></head><body>"
        f"<h1>{escape(head)}</h1><p>{escape(lead)}</p>{body}</body></html>\n"
    )
