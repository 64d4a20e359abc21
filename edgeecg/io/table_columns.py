"""A table's columns: the names, units and numbers in them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeecg.errors import RecordError

__all__ = ["is_number", "numbers", "split_unit"]

_BARE = r"[ _](?P<bare>[mun\u00b5\u03bc]V)"
_UNIT = re.compile(rf"^(?P<name>.+?)\s*(?:[\[(]\s*(?P<boxed>[^\])]+)\s*[\])]|{_BARE})$")


def split_unit(label: str) -> tuple[str, str | None]:
    """A column's name and the unit it states."""
    match = _UNIT.match(label.strip())
    if match is None:
        return label.strip(), None
    return match["name"].strip(), (match["boxed"] or match["bare"]).strip()


def is_number(text: str) -> bool:
    """Whether a cell's text is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def numbers(file: Path, column: Any, label: str) -> NDArray[np.float64]:
    """A column as floats ``(n,)``, missing cells as NaN.

    Raises
    ------
    RecordError
        If it holds anything but numbers.
    """
    import pyarrow as pa

    numeric = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    if not numeric and not pa.types.is_null(column.type) and not pa.types.is_decimal(column.type):
        raise RecordError(f"{file}: column {label!r} {_why_text([str(c) for c in column.to_pylist()])}")
    values: NDArray[np.float64] = column.cast(pa.float64(), safe=False).to_numpy()
    return np.asarray(values, dtype=np.float64)


def _why_text(cells: Sequence[str]) -> str:
    """What is the matter with a column that is no numbers, and how to mend it."""
    texts = [cell for cell in cells if not is_number(cell) and cell != "None"]
    example = texts[0] if texts else ""
    if texts and all(is_number(text.replace(",", ".")) for text in texts):
        return f"holds decimal commas, such as {example[:20]!r}: write its numbers with points"
    if len(texts) == 1 and cells[0] == example:
        return f"begins with {example[:20]!r}: delete that line; a unit belongs into the name, 'II (mV)'"
    return f"holds text such as {example[:20]!r}: drop it, or name the leads (--lead II, leads=['II'])"
