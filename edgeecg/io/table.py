"""CSV and Parquet: a column a lead, at times a column of seconds; read by pyarrow."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgeecg.errors import MissingExtra, RecordError
from edgeecg.io.channels import Channel, chosen_channels, in_millivolts
from edgeecg.io.record import Record
from edgeecg.io.table_clock import Clock, is_time, read_clock
from edgeecg.io.table_columns import is_index, is_number, is_words, numbers, split_unit
from edgeecg.io.table_text import read_text

__all__ = ["read_table"]


def read_table(
    path: str | os.PathLike[str],
    *,
    leads: Sequence[str] | None = None,
    fs: float | None = None,
    gain: float | None = None,
    units: str | None = None,
) -> Record:
    """Read a CSV, TSV or Parquet file with a column a lead.

    Parameters
    ----------
    path : path
        Columns may state their unit (``MLII (mV)``, ``ecg_uV``), a time column gives the rate; in Parquet
        a field's metadata ``unit`` and the schema's ``fs`` do the same.
    leads : sequence of str, optional
        Columns to read, by their names without unit; by default all that hold numbers.
    fs : float, optional
        Rate in hertz, where there is no time column.
    gain : float, optional
        Stored numbers per unit.
    units : str, optional
        Unit of the numbers.

    Returns
    -------
    Record
        Rows that are missing by the time column are NaN.

    Raises
    ------
    RecordError
        If the file is missing, empty or holds text, has no rate, no unit, or times that run backwards or
        change their rate.
    MissingExtra
        If pyarrow is not installed.
    """
    file = Path(path)
    if not file.is_file():
        raise RecordError(f"no file {file}: check the path")
    if file.stat().st_size == 0:
        raise RecordError(f"{file} is empty")
    table, metadata_fs = _parquet(file) if file.suffix.lower() == ".parquet" else (read_text(file), None)
    if table.num_rows == 0:
        raise RecordError(f"{file} has column names but no rows")
    clock = read_clock(file, table, fs if fs is not None else metadata_fs, stated=fs is not None)
    channels = _channels(file, table, clock, leads)
    chosen = chosen_channels(file.name, channels, leads, any_unit=gain is not None or units is not None)
    signal, rate, names = in_millivolts(file.name, chosen, gain=gain, units=units)
    return Record(file.stem, signal, rate, names, start=clock.start)


def _parquet(file: Path) -> tuple[Any, float | None]:
    """The table in a Parquet file, and the rate that its schema states."""
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtra("pyarrow", "records", "reading Parquet files") from error
    try:
        table = parquet.read_table(file)
        table.validate(full=True)  # that texts are UTF-8; of names only a look can tell
        _ = table.column_names
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        raise RecordError(f"{file} is not a Parquet file, or damaged: copy it again ({error})") from error
    stated = (table.schema.metadata or {}).get(b"fs")
    if stated is None:
        return table, None
    text = stated.decode("utf-8", "replace")
    if not is_number(text):
        raise RecordError(f"{file}: fs in its schema is {text!r}, not a number of hertz")
    return table, float(text)


def _channels(file: Path, table: Any, clock: Clock, leads: Sequence[str] | None) -> list[Channel]:
    """Lead columns on the clock's grid, holes as NaN; labels, names and dates beside them are left out."""
    channels: list[Channel] = []
    words = []
    for place, field in enumerate(table.schema):
        name, unit = split_unit(field.name)
        if leads is not None and field.name in leads:
            name = field.name
        if is_time(name) or (is_index(name) and (leads is None or name not in leads)):
            continue
        if leads is not None and name not in leads:
            continue
        stated = (field.metadata or {}).get(b"unit")
        column = table.column(place)
        if leads is None and not (unit or stated) and is_words(column):
            words.append(place)
            continue
        values = numbers(file, column, field.name)
        if clock.rows is not None:
            spread = np.full(int(clock.rows[-1]) + 1, np.nan)
            spread[clock.rows] = values
            values = spread
        unit = stated.decode("utf-8", "replace") if stated else unit
        channels.append(Channel(name, values, clock.fs, unit))
    if words and not channels:  # then it is the words that are the matter
        numbers(file, table.column(words[0]), table.column_names[words[0]])
    if leads is not None:
        _check_named(file, table, channels, leads)
    return channels


def _check_named(file: Path, table: Any, channels: Sequence[Channel], leads: Sequence[str]) -> None:
    """Every column that the caller names must be there."""
    missing = [lead for lead in leads if lead not in [channel.name for channel in channels]]
    if missing:
        raise RecordError(
            f"{file} has no column {', '.join(map(repr, missing))}; it has {', '.join(table.column_names)}"
        )
