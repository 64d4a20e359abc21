"""CSV and Parquet: a column a lead, at times a column of seconds; read by pyarrow."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeecg.errors import MissingExtra, RecordError
from edgeecg.io.channels import Channel, chosen_channels, in_millivolts
from edgeecg.io.record import Record

__all__ = ["read_table"]

_BARE = r"[ _](?P<bare>[mun\u00b5\u03bc]V)"
_UNIT = re.compile(rf"^(?P<name>.+?)\s*(?:[\[(]\s*(?P<boxed>[^\])]+)\s*[\])]|{_BARE})$")
_TIME_UNITS = {"s": 1.0, "sec": 1.0, "seconds": 1.0, "ms": 1e-3, "us": 1e-6, "\u00b5s": 1e-6, "ns": 1e-9}
_TIME = re.compile(
    r"^(time|t|timestamp|seconds?|secs?|elapsed(?:[ _]?time)?|date_?time)"
    rf"(?:[ _](?P<unit>{'|'.join(_TIME_UNITS)}))?$",
    re.IGNORECASE,
)
_INDEX = re.compile(r"^(index|sample|samples|sample ?#|sample_?(number|index)|)$", re.IGNORECASE)
LONGEST_GAP = 2 * 86_400.0  # seconds between two rows; a longer one is a broken clock
SNAP = 5e-4  # a rate this near to a whole number of hertz is that number: clocks are written in milliseconds


class _Clock(NamedTuple):
    """Rate, row of each sample on an even grid (``None``: as they come), and time of the first."""

    fs: float
    rows: NDArray[np.int64] | None
    start: datetime | None


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
        Columns to read, by their names without unit; by default all.
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
        If the file is missing, empty or holds text, has no rate, no unit, or times that run backwards.
    MissingExtra
        If pyarrow is not installed.
    """
    file = Path(path)
    if not file.is_file():
        raise RecordError(f"no file {file}: check the path")
    if file.stat().st_size == 0:
        raise RecordError(f"{file} is empty")
    table, metadata_fs = _parquet(file) if file.suffix.lower() == ".parquet" else (_csv(file), None)
    if table.num_rows == 0:
        raise RecordError(f"{file} has column names but no rows")
    clock = _clock(file, table, fs if fs is not None else metadata_fs, stated=fs is not None)
    channels = _channels(file, table, clock, leads)
    chosen = chosen_channels(file.name, channels, leads, any_unit=gain is not None or units is not None)
    signal, rate, names = in_millivolts(file.name, chosen, gain=gain, units=units)
    return Record(file.stem, signal, rate, names, start=clock.start)


def _csv(file: Path) -> Any:
    """The table in a text file: its delimiter and whether it has names are seen in its first line."""
    try:
        import pyarrow as pa
        from pyarrow import csv
    except ImportError as error:
        raise MissingExtra("pyarrow", "records", "reading CSV files") from error
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
    delimiter = max(",;\t", key=first.count)
    cells = [cell.strip().strip('"') for cell in first.strip().split(delimiter)]
    nameless = all(_is_number(cell) for cell in cells)
    names = [f"ECG{i + 1}" for i in range(len(cells))] if nameless else None
    try:
        return csv.read_csv(
            file,
            read_options=csv.ReadOptions(skip_rows=comments, column_names=names, encoding=encoding),
            parse_options=csv.ParseOptions(delimiter=delimiter),
            convert_options=csv.ConvertOptions(null_values=["", "NaN", "nan", "NA", "null"]),
        )
    except pa.ArrowException as error:
        raise RecordError(f"{file} is not a table: {' '.join(str(error).split())[:200]}") from error


def _is_utf8(head: bytes) -> bool:
    """Whether the beginning of a file is UTF-8, a character that is cut at its end aside."""
    try:
        head[:-4].decode("utf-8")
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"
    return True


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


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
    if not _is_number(text):
        raise RecordError(f"{file}: fs in its schema is {text!r}, not a number of hertz")
    return table, float(text)


def _split_unit(label: str) -> tuple[str, str | None]:
    """A column's name and the unit it states."""
    match = _UNIT.match(label.strip())
    if match is None:
        return label.strip(), None
    return match["name"].strip(), (match["boxed"] or match["bare"]).strip()


def _clock(file: Path, table: Any, fs: float | None, stated: bool) -> _Clock:
    """When the rows were sampled: by the time column, or by the rate the caller states."""
    if fs is not None and not (isinstance(fs, Real) and np.isfinite(fs) and fs > 0):
        raise RecordError(f"{file}: rate {fs!r} is not a positive number of hertz")
    labels = [label for label in table.column_names if _TIME.match(_split_unit(label)[0])]
    if not labels:
        if fs is None:
            raise RecordError(f"{file} has no time column: give its rate in hertz (--fs 250, fs=250)")
        if table.num_columns > 1 and table.column_names[0] == "ECG1" and _steady(table.column(0)):
            raise RecordError(
                f"{file}: its first column rises by the same in every row, as times do and no ECG does: "
                "give the file a first line such as 'time,ECG', or leave that column out"
            )
        return _Clock(fs, None, None)
    seconds, start = _seconds(file, table.column(table.column_names.index(labels[0])), labels[0])
    if stated and fs is not None and len(seconds) == 1:
        return _Clock(fs, None, start)
    steps = np.diff(seconds)
    if len(steps) == 0:
        raise RecordError(f"{file} holds a single row: times of at least two say how fast it was sampled")
    if not np.isfinite(seconds).all() or steps.min() <= 0:
        row = int(np.argmax(~(steps > 0))) + 2
        raise RecordError(
            f"{file}: times in column {labels[0]!r} must ascend, row {row} does not: sort the rows, or leave "
            "the column out and give the rate (--fs 250, fs=250)"
        )
    usual = steps[steps < 1.5 * np.median(steps)]
    measured = 1 / float(usual.mean())
    _check_unit(file, labels[0], measured)
    whole = round(measured)
    rate = fs if fs is not None else (float(whole) if abs(measured - whole) < SNAP * whole else measured)
    if abs(rate - measured) > 0.02 * measured:
        raise RecordError(
            f"{file}: rate {rate:g} Hz does not fit column {labels[0]!r}, which says {measured:.4g} Hz: "
            "leave --fs (fs=) out, or drop the column"
        )
    longest = float(steps.max())
    if longest > LONGEST_GAP:
        raise RecordError(
            f"{file}: times in column {labels[0]!r} leap by {longest / 86_400:.1f} days at row "
            f"{int(steps.argmax()) + 2}: correct them, or cut the file there"
        )
    return _Clock(rate, _grid(steps, rate), start)


def _steady(column: Any) -> bool:
    """Whether a column of numbers rises from row to row, each time by the same within a tenth."""
    try:
        steps = np.diff(np.asarray(column.to_numpy(), dtype=np.float64)[:1000])
    except (TypeError, ValueError):
        return False
    return len(steps) > 8 and bool(steps.min() > 0 and steps.max() < 1.1 * steps.min())


def _check_unit(file: Path, label: str, measured: float) -> None:
    """Refuse times whose rate is that of an ECG only in a smaller unit than they are taken for."""
    likely = [unit for unit in ("ms", "us", "ns") if 50 <= measured / _TIME_UNITS[unit] <= 5000]
    if measured < 1 and likely:
        match = _TIME.match(_split_unit(label)[0])
        name = match[1] if match else label
        raise RecordError(
            f"{file}: by column {label!r} a sample comes every {1 / measured:g} s: if these are "
            f"{likely[0]}, name the column '{name} ({likely[0]})'"
        )


def _grid(steps: NDArray[np.float64], fs: float) -> NDArray[np.int64] | None:
    """Row of each sample where some are missing: a step of more than one and a half periods is a gap."""
    jumps = np.where(steps * fs < 1.5, 1, np.round(steps * fs)).astype(np.int64)
    if (jumps == 1).all():
        return None
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(jumps)])


def _seconds(file: Path, column: Any, label: str) -> tuple[NDArray[np.float64], datetime | None]:
    """A time column in seconds, and the wall-clock time it begins at, if it holds dates."""
    import pyarrow as pa

    if pa.types.is_timestamp(column.type):
        if column.null_count:
            row = next(n for n, missing in enumerate(column.is_null().to_pylist(), 1) if missing)
            raise RecordError(
                f"{file}: row {row} of column {label!r} has no time: fill it in, or drop the row"
            )
        ticks = column.cast(pa.timestamp("us", column.type.tz), safe=False).cast(pa.int64()).to_numpy()
        epoch = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(microseconds=int(ticks[0]))
        return (ticks - ticks[0]) * 1e-6, epoch if column.type.tz else epoch.replace(tzinfo=None)
    values = _numbers(file, column, label)
    name, boxed = _split_unit(label)
    match = _TIME.match(name)
    unit = boxed or (match["unit"] if match else None) or "s"
    if unit.lower() not in _TIME_UNITS:
        raise RecordError(f"{file}: unit {unit!r} of column {label!r} is none of {', '.join(_TIME_UNITS)}")
    return values * _TIME_UNITS[unit.lower()], None


def _numbers(file: Path, column: Any, label: str) -> NDArray[np.float64]:
    """A column as floats, missing cells as NaN."""
    import pyarrow as pa

    numeric = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    if not numeric and not pa.types.is_null(column.type) and not pa.types.is_decimal(column.type):
        raise RecordError(f"{file}: column {label!r} {_why_text([str(c) for c in column.to_pylist()])}")
    values: NDArray[np.float64] = column.cast(pa.float64(), safe=False).to_numpy()
    return np.asarray(values, dtype=np.float64)


def _why_text(cells: Sequence[str]) -> str:
    """What is the matter with a column that is no numbers, and how to mend it."""
    texts = [cell for cell in cells if not _is_number(cell) and cell != "None"]
    example = texts[0] if texts else ""
    if texts and all(_is_number(text.replace(",", ".")) for text in texts):
        return f"holds decimal commas, such as {example[:20]!r}: write its numbers with points"
    if len(texts) == 1 and cells[0] == example:
        return f"begins with {example[:20]!r}: delete that line; a unit belongs into the name, 'II (mV)'"
    return f"holds text such as {example[:20]!r}: drop it, or name the leads (--lead II, leads=['II'])"


def _channels(file: Path, table: Any, clock: _Clock, leads: Sequence[str] | None) -> list[Channel]:
    """Lead columns on the clock's grid, holes as NaN."""
    channels = []
    for place, field in enumerate(table.schema):
        name, unit = _split_unit(field.name)
        if leads is not None and field.name in leads:
            name = field.name
        if _TIME.match(name) or (_INDEX.match(name) and (leads is None or name not in leads)):
            continue
        if leads is not None and name not in leads:
            continue
        stated = (field.metadata or {}).get(b"unit")
        values = _numbers(file, table.column(place), field.name)
        if clock.rows is not None:
            spread = np.full(int(clock.rows[-1]) + 1, np.nan)
            spread[clock.rows] = values
            values = spread
        unit = stated.decode("utf-8", "replace") if stated else unit
        channels.append(Channel(name, values, clock.fs, unit))
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
