"""When a table's rows were sampled: by its time column, or by the rate that the caller states."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeecg.errors import RecordError
from edgeecg.io.table_columns import numbers, split_unit
from edgeecg.io.table_gaps import Stretches, rate_change, rows_of, stretches_of

__all__ = ["Clock", "is_time", "read_clock"]

_TIME_UNITS = {"s": 1.0, "sec": 1.0, "seconds": 1.0, "ms": 1e-3, "us": 1e-6, "\u00b5s": 1e-6, "ns": 1e-9}
_TIME = re.compile(
    r"^(time|t|timestamp|seconds?|secs?|elapsed(?:[ _]?time)?|date_?time)"
    rf"(?:[ _](?P<unit>{'|'.join(_TIME_UNITS)}))?$",
    re.IGNORECASE,
)
_TICKS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}  # of Arrow's time stamps, a second
LONGEST_GAP = 2 * 86_400.0  # seconds between two rows; a longer one is a broken clock
SNAP = 5e-4  # a rate this near to a whole number of hertz is that number: clocks are written in milliseconds


class Clock(NamedTuple):
    """Rate, row of each sample on an even grid (``None``: as they come), and time of the first."""

    fs: float
    rows: NDArray[np.int64] | None
    start: datetime | None


def is_time(name: str) -> bool:
    """Whether a column of this name (without its unit) holds times."""
    return _TIME.match(name) is not None


def read_clock(file: Path, table: Any, fs: float | None, stated: bool) -> Clock:
    """When the rows of a table were sampled.

    Parameters
    ----------
    file : path
        Name for messages.
    table : pyarrow.Table
    fs : float, optional
        Rate in hertz that the caller or the file states.
    stated : bool
        Whether it is the caller who states it.

    Raises
    ------
    RecordError
        If there is neither a rate nor a time column, or its times are none of a recording at one rate.
    """
    if fs is not None and not (isinstance(fs, Real) and np.isfinite(fs) and fs > 0):
        raise RecordError(f"{file}: rate {fs!r} is not a positive number of hertz")
    place = _time_column(table)
    if place is None:
        return _without_times(file, table, fs)
    label = table.column_names[place]
    seconds, start = _seconds(file, table.column(place), label)
    if stated and fs is not None and len(seconds) == 1:
        return Clock(fs, None, start)
    _check_order(file, label, seconds)
    gaps = stretches_of(seconds)
    _check_unit(file, label, gaps.fs)
    _check_leaps(file, label, seconds)
    _check_bursts(file, label, len(seconds), gaps)
    _check_one_rate(file, label, seconds)
    rate = _rate(file, label, fs, gaps.fs)
    return Clock(rate, rows_of(len(seconds), gaps, rate), start)


def _time_column(table: Any) -> int | None:
    """Number of the column that holds times: by its name, else by its type."""
    import pyarrow as pa

    for place, label in enumerate(table.column_names):
        if is_time(split_unit(label)[0]):
            return place
    for place, column in enumerate(table.columns):
        # a date of birth, say, stands in every row
        if pa.types.is_timestamp(column.type) and column[0] != column[-1]:
            return place
    return None


def _without_times(file: Path, table: Any, fs: float | None) -> Clock:
    """The clock of a table whose rows come one after the other at a rate that is stated."""
    if fs is None:
        raise RecordError(
            f"{file} has no time column: give its rate in hertz (--fs 250, fs=250), or add a column 'time' "
            "in seconds"
        )
    if table.num_columns > 1 and table.column_names[0] == "ECG1" and _steady(table.column(0)):
        raise RecordError(
            f"{file}: its first column rises by the same in every row, as times do and no ECG does: "
            "give the file a first line such as 'time,ECG', or leave that column out"
        )
    return Clock(fs, None, None)


def _steady(column: Any) -> bool:
    """Whether a column of numbers rises from row to row, each time by the same within a tenth."""
    try:
        steps = np.diff(np.asarray(column.to_numpy(), dtype=np.float64)[:1000])
    except (TypeError, ValueError):
        return False
    return len(steps) > 8 and bool(steps.min() > 0 and steps.max() < 1.1 * steps.min())


def _check_order(file: Path, label: str, seconds: NDArray[np.float64]) -> None:
    """Times must be several, and ascend."""
    steps = np.diff(seconds)
    if len(steps) == 0:
        raise RecordError(f"{file} holds a single row: times of at least two say how fast it was sampled")
    if not np.isfinite(seconds).all() or steps.min() <= 0:
        row = int(np.argmax(~(steps > 0))) + 2
        raise RecordError(
            f"{file}: times in column {label!r} must ascend, row {row} does not: sort the rows, or leave "
            "the column out and give the rate (--fs 250, fs=250)"
        )


def _check_leaps(file: Path, label: str, seconds: NDArray[np.float64]) -> None:
    """Times must leave no gap of days."""
    steps = np.diff(seconds)
    longest = float(steps.max())
    if longest > LONGEST_GAP:
        raise RecordError(
            f"{file}: times in column {label!r} leap by {longest / 86_400:.1f} days at row "
            f"{int(steps.argmax()) + 2}: correct them, or cut the file there"
        )


def _check_bursts(file: Path, label: str, n: int, gaps: Stretches) -> None:
    """Refuse times at which packets arrived: a few samples at once, and a gap behind each few."""
    if gaps.missing.sum() > n and len(gaps.ends) > n / 25:
        raise RecordError(
            f"{file}: by column {label!r} samples come in bursts at {gaps.fs:.4g} Hz, with a gap behind "
            f"every {n / len(gaps.ends):.0f}: if packets were stamped as they arrived, leave the column out "
            "and give the rate (--fs 250, fs=250)"
        )


def _check_one_rate(file: Path, label: str, seconds: NDArray[np.float64]) -> None:
    """One rate from the first row to the last: its mean over two is that of neither."""
    change = rate_change(seconds)
    if change is not None:
        before, after, sample = change
        raise RecordError(
            f"{file}: column {label!r} says {before:.4g} Hz at first and {after:.4g} Hz from about row "
            f"{sample + 1} on: cut the file there, or leave the column out and give the rate (--fs 250, "
            "fs=250)"
        )


def _check_unit(file: Path, label: str, measured: float) -> None:
    """Refuse times whose rate is that of an ECG only in a smaller unit than they are taken for."""
    likely = [unit for unit in ("ms", "us", "ns") if 50 <= measured / _TIME_UNITS[unit] <= 5000]
    if measured < 1 and likely:
        match = _TIME.match(split_unit(label)[0])
        name = match[1] if match else label
        raise RecordError(
            f"{file}: by column {label!r} a sample comes every {1 / measured:g} s: if these are "
            f"{likely[0]}, name the column '{name} ({likely[0]})'"
        )


def _rate(file: Path, label: str, fs: float | None, measured: float) -> float:
    """The rate that is stated, where the times agree; else the measured one, at best in whole hertz."""
    whole = round(measured)
    rate = fs if fs is not None else (float(whole) if abs(measured - whole) < SNAP * whole else measured)
    if abs(rate - measured) > 0.02 * measured:
        raise RecordError(
            f"{file}: rate {rate:g} Hz does not fit column {label!r}, which says {measured:.4g} Hz: "
            "leave --fs (fs=) out, or drop the column"
        )
    return rate


def _seconds(file: Path, column: Any, label: str) -> tuple[NDArray[np.float64], datetime | None]:
    """A time column in seconds, and the wall-clock time it begins at, if it holds dates."""
    import pyarrow as pa

    if pa.types.is_timestamp(column.type):
        return _since_first(file, column, label)
    values = numbers(file, column, label)
    name, boxed = split_unit(label)
    match = _TIME.match(name)
    unit = boxed or (match["unit"] if match else None) or "s"
    if unit.lower() not in _TIME_UNITS:
        raise RecordError(f"{file}: unit {unit!r} of column {label!r} is none of {', '.join(_TIME_UNITS)}")
    return values * _TIME_UNITS[unit.lower()], None


def _since_first(file: Path, column: Any, label: str) -> tuple[NDArray[np.float64], datetime | None]:
    """Time stamps as seconds after the first, and the first."""
    import pyarrow as pa

    if column.null_count:
        row = next(n for n, missing in enumerate(column.is_null().to_pylist(), 1) if missing)
        raise RecordError(f"{file}: row {row} of column {label!r} has no time: fill it in, or drop the row")
    # differences of integers: a float would round nanoseconds since 1970 to quarters of a microsecond
    ticks = column.cast(pa.int64()).to_numpy()
    a_second = _TICKS[column.type.unit]
    return (ticks - ticks[0]) / a_second, _wall_clock(int(ticks[0]), a_second, column.type.tz is not None)


def _wall_clock(ticks: int, a_second: int, zoned: bool) -> datetime | None:
    """A time stamp as a date, in UTC where it has a zone; ``None`` outside the years 1 to 9999."""
    whole, rest = divmod(ticks, a_second)
    try:
        date = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(
            seconds=whole, microseconds=rest * 1_000_000 // a_second
        )
    except OverflowError:  # no clock was set: the rate stands all the same
        return None
    return date if zoned else date.replace(tzinfo=None)
