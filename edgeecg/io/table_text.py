"""Tables in text files: what their first lines say of the rest, and what a recorder that died leaves."""

from __future__ import annotations

import csv
import logging
import re
from pathlib import Path
from typing import Any, NamedTuple

from edgeecg.errors import MissingExtra, RecordError
from edgeecg.io.table_columns import is_index, is_number, split_unit

__all__ = ["read_text"]

log = logging.getLogger("edgeecg.io")

_QUOTED = re.compile(r"^(['\"])(.*)\1$")
_HALF_NUMBER = re.compile(rb"(?:^|[,;\t])\s*(?:[-+]|[-+]?\d[\d.]*[eE][-+]?)$")
_MISSING = ["", "NaN", "nan", "NA", "null"]


class _Layout(NamedTuple):
    """How a file is written: lines before its names, names for one without, units on a line of their own."""

    comments: int
    names: list[str] | None
    units: list[str] | None
    delimiter: str
    encoding: str


def read_text(file: Path) -> Any:
    """The ``pyarrow.Table`` in a text file; a last row that is cut short is left out, with a warning.

    Raises
    ------
    RecordError
        If it has no rows, or a row with more or fewer cells than there are names.
    MissingExtra
        If pyarrow is not installed.
    """
    try:
        import pyarrow as pa
    except ImportError as error:
        raise MissingExtra("pyarrow", "records", "reading CSV files") from error
    layout = _layout(file)
    try:
        table = _whole_rows(file, layout)
    except pa.ArrowException as error:
        raise RecordError(f"{file} is not a table: {_why_no_table(file, layout, str(error))}") from error
    names = [_unquoted(name) for name in table.column_names]
    if layout.units is not None:
        names = [_with_unit(name, unit) for name, unit in zip(names, layout.units, strict=True)]
    return table.rename_columns(names)


def _layout(file: Path) -> _Layout:
    """What the first lines say."""
    comments = 0
    with file.open("rb") as content:
        head = content.read(1 << 16)
    encoding = "utf-8" if _is_utf8(head) else "latin-1"
    with file.open(encoding="utf-8-sig" if encoding == "utf-8" else encoding, errors="replace") as lines:
        for first in lines:
            if not first.startswith("#") and first.strip():
                break
            comments += 1
        else:
            raise RecordError(f"{file} has no rows")
        second = next(lines, "")
    delimiter = max(",;\t", key=first.count)
    cells = [cell.strip().strip('"') for cell in first.strip().split(delimiter)]
    nameless = all(is_number(cell) for cell in cells)
    names = [f"ECG{i + 1}" for i in range(len(cells))] if nameless else None
    return _Layout(
        comments, names, None if nameless else _units(second, delimiter, len(cells)), delimiter, encoding
    )


def _is_utf8(head: bytes) -> bool:
    """Whether the beginning of a file is UTF-8, a character that is cut at its end aside."""
    try:
        head[:-4].decode("utf-8")
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"
    return True


def _unquoted(name: str) -> str:
    """A name without the quotes around it: PhysioNet writes ``'MLII'``, which Arrow takes as it is."""
    match = _QUOTED.match(name.strip())
    return match[2] if match else name


def _units(line: str, delimiter: str, columns: int) -> list[str] | None:
    """Units on the second line, as PhysioNet writes them: each in single quotes."""
    cells = [cell.strip() for cell in line.strip().split(delimiter)]
    if len(cells) != columns or not all(len(cell) > 1 and cell[0] == cell[-1] == "'" for cell in cells):
        return None
    return [cell[1:-1] for cell in cells]


def _with_unit(name: str, unit: str) -> str:
    """The name with its unit, where it is a lead or a time and states none itself."""
    return name if not unit or is_index(name) or split_unit(name)[1] else f"{name} ({unit})"


def _whole_rows(file: Path, layout: _Layout) -> Any:
    """The table, without a last row that ends in the middle."""
    import pyarrow as pa

    last = _unended_row(file)
    if not _HALF_NUMBER.search(last):
        try:
            return _parsed(file, layout)
        except pa.ArrowInvalid:
            if not last:
                raise
    content = file.read_bytes()
    table = _parsed(pa.BufferReader(content[: len(content) - len(last)]), layout)
    log.warning("%s ends in the middle of a row: that row is left out", file)
    return table


def _unended_row(file: Path) -> bytes:
    """What stands after the last end of a line; a row of megabytes is none."""
    with file.open("rb") as content:
        content.seek(max(0, file.stat().st_size - (1 << 16)))
        _, newline, last = content.read().rpartition(b"\n")
    return last if newline else b""


def _parsed(source: Any, layout: _Layout) -> Any:
    """What Arrow reads."""
    from pyarrow import csv as arrow

    return arrow.read_csv(
        source,
        read_options=arrow.ReadOptions(
            skip_rows=layout.comments,
            skip_rows_after_names=0 if layout.units is None else 1,
            column_names=layout.names,
            encoding=layout.encoding,
        ),
        parse_options=arrow.ParseOptions(delimiter=layout.delimiter),
        convert_options=arrow.ConvertOptions(null_values=_MISSING),
    )


def _why_no_table(file: Path, layout: _Layout, told: str) -> str:
    """The first line that has not as many cells as the names are, by its number; else what Arrow told."""
    with file.open(encoding=layout.encoding, errors="replace", newline="") as lines:
        for _ in range(layout.comments):
            next(lines)
        rows = csv.reader(lines, delimiter=layout.delimiter)
        try:
            names = len(next(rows, []))
            for cells in rows:
                if cells and len(cells) != names:
                    return (
                        f"line {layout.comments + rows.line_num} has not as many cells as the first "
                        f"({len(cells)}, not {names}): delete that line, or mend it"
                    )
        except csv.Error:  # a zero byte, or a cell without end: Arrow's own words are as good
            pass
    return f"{' '.join(told.split())[:200]}; export it again, a line a sample"
