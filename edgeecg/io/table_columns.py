"""A table's columns: the names, units and numbers in them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeecg.errors import RecordError

__all__ = ["is_index", "is_number", "is_words", "numbers", "split_unit"]

_BARE = r"[ _](?P<bare>[mun\u00b5\u03bc]V)"
_UNIT = re.compile(rf"^(?P<name>.+?)\s*(?:[\[(]\s*(?P<boxed>[^\])]+)\s*[\])]|{_BARE})$")

_INDEX = re.compile(
    r"^(index|sample|samples|sample ?#|sample_?(number|index)|__index_level_\d+__|)$", re.IGNORECASE
)
_LIKE_A_NUMBER = re.compile(r"^\s*[-+]?[.,]?\d")


def split_unit(label: str) -> tuple[str, str | None]:
    """A column's name and the unit it states."""
    match = _UNIT.match(label.strip())
    if match is None:
        return label.strip(), None
    return match["name"].strip(), (match["boxed"] or match["bare"]).strip()


def is_index(name: str) -> bool:
    """Whether a column of this name counts the rows; pandas writes ``__index_level_0__``."""
    return _INDEX.match(name) is not None


def is_number(text: str) -> bool:
    """Whether a cell's text is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def is_words(column: Any) -> bool:
    """Whether a column is no lead: dates, truths, or texts of which none begins as a number does."""
    import pyarrow as pa

    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return not _is_numeric(kind)
    return not any(_LIKE_A_NUMBER.match(cell) for cell in column.unique().to_pylist() if cell is not None)


def _is_numeric(kind: Any) -> bool:
    """Whether an Arrow type is one of numbers; that of a column without any cell passes for one."""
    import pyarrow as pa

    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_null)
    return any(test(kind) for test in tests)


def numbers(file: Path, column: Any, label: str) -> NDArray[np.float64]:
    """A column as floats ``(n,)``, missing cells as NaN.

    Raises
    ------
    RecordError
        If it holds anything but numbers.
    """
    import pyarrow as pa

    if not _is_numeric(column.type):
        raise RecordError(f"{file}: column {label!r} {_why_text(file, [str(c) for c in column.to_pylist()])}")
    values: NDArray[np.float64] = column.cast(pa.float64(), safe=False).to_numpy()
    return np.asarray(values, dtype=np.float64)


def _why_text(file: Path, cells: Sequence[str]) -> str:
    """What is the matter with a column that is no numbers, and how to mend it."""
    texts = [cell for cell in cells if not is_number(cell) and cell != "None"]
    example = texts[0] if texts else ""
    if texts and all(is_number(text.replace(",", ".")) for text in texts):
        return f"holds decimal commas, such as {example[:20]!r}: write its numbers with points"
    if len(texts) == 1 and cells[0] == example:
        return f"begins with {example[:20]!r}: delete that line; a unit belongs into the name, 'II (mV)'"
    if re.match(r"\d+:\d\d", example):
        return f"holds times such as {example[:20]!r}: write seconds, or drop it and give the rate (--fs 250)"
    if 0 < 2 * len(texts) < len(cells):  # a lead in which some samples could not be told
        more = f" ({len(texts)} cells are no numbers)" if len(texts) > 1 else ""
        where = _place(file, cells.index(example), example)
        return f"holds {example[:20]!r} {where}{more}: write nan there, which says that the sample is missing"
    return f"holds text such as {example[:20]!r}: drop it, or name the leads (--lead II, leads=['II'])"


def _place(file: Path, row: int, cell: str) -> str:
    """Where a cell is, by its line as an editor counts them; by its row where the file has no lines."""
    if file.suffix.lower() != ".parquet":
        with file.open(encoding="utf-8", errors="replace") as lines:
            for number, line in enumerate(lines, 1):  # names and comments stand before the first row
                if number > row and cell in (part.strip("\"' ") for part in re.split("[,;\t]", line.strip())):
                    return f"in line {number}"
    return f"in row {row + 1}"
