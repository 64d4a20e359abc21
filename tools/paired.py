"""What two sets of networks say of the same held-out patients: differences, paired over patients.

    python tools/paired.py docs/models/micro.json runs/kept/micro-half-four/micro.json

Reads the figures that `tools/train_release.py` and `tools/kept.py` keep, and prints by how many points F1 of
QRS, V and S of the second differs from the first, with 95 % intervals by bootstrap over patients. AF by
record is not among them, since the files keep no figure of single recordings of cinc2017.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from edgeecg.metrics.bootstrap import Estimate, difference, f1

LABELS = ("QRS", "V", "S")
COUNTS = ("hits", "misses", "false")


def patients(path: Path, title: str) -> dict[str, dict[str, Counter[str]]]:
    """Counts of each label by patient, of de Chazal's reading over whole records."""
    groups: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["groups"]
    (group,) = (group for group in groups if group["title"] == title)
    wanted = ("dechazal", "whole record")
    (beats,) = (each for each in group["beats"] if (each["mapping"], each["period"]) == wanted)
    found: dict[str, dict[str, Counter[str]]] = {}
    for record in beats["records"]:
        own = found.setdefault(record["patient"], {label: Counter() for label in LABELS})
        for label in LABELS:
            own[label].update({name: record["scores"][label][name] for name in COUNTS})
    return found


def shown(change: Estimate) -> str:
    """A difference in points, with its interval where there is one."""
    if change.value is None:
        return "-"
    if change.low is None or change.high is None:
        return f"{100 * change.value:+.2f}"
    return f"{100 * change.value:+.2f} [{100 * change.low:+.2f}, {100 * change.high:+.2f}]"


def compare(
    first: Annotated[Path, typer.Argument(help="Figures of the one.")],
    second: Annotated[Path, typer.Argument(help="Figures of the other.")],
) -> None:
    """Print the differences."""
    table = Table("second less first, points of F1", *LABELS)
    for title in ("mitdb DS1", "svdb"):
        one, other = patients(first, title), patients(second, title)
        if set(one) != set(other):
            raise typer.BadParameter(f"{title}: the two are not of the same patients")
        cells = []
        for label in LABELS:
            sides = [
                f1(*([side[who][label][name] for who in sorted(one)] for name in COUNTS))
                for side in (one, other)
            ]
            change = difference(*sides, patients=len(one))
            cells.append(shown(change))
        table.add_row(title, *cells)
    Console(width=110).print(table)


if __name__ == "__main__":
    typer.run(compare)
