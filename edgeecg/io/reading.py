"""One door for recordings: the reader is chosen by the file's name."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from edgeecg.errors import MissingExtra, RecordError, SignalError
from edgeecg.io.edf import read_edf
from edgeecg.io.record import Record
from edgeecg.io.table import read_table
from edgeecg.io.wfdb import find_headers, folders_in, read_wfdb, wfdb_stem
from edgeecg.io.wfdb_header import BROKEN, one_line

__all__ = ["EDF", "TABLES", "check_reader", "find_annotated", "is_record", "named", "read_record"]

EDF = (".edf", ".bdf")
TABLES = (".csv", ".tsv", ".parquet")
_FOREIGN = (*BROKEN, RuntimeError, NameError, MemoryError)
"""What libraries raise on damaged files, slips of their own too: BROKEN holds ArrowInvalid and OverflowError,
RuntimeError those of soundfile."""
_LIBRARIES = dict.fromkeys(EDF, "edfio") | dict.fromkeys(TABLES, "pyarrow")


def read_record(
    path: str | os.PathLike[str],
    *,
    leads: Sequence[str] | None = None,
    fs: float | None = None,
    gain: float | None = None,
    units: str | None = None,
    annotator: str | None = None,
) -> Record:
    """Read a recording: WFDB, EDF, BDF, CSV, TSV or Parquet.

    Parameters
    ----------
    path : path
        A file, or a WFDB record without extension.
    leads : sequence of str, optional
        Which leads, in this order; by default all that are ECG.
    fs : float, optional
        Rate in hertz, only for tables without a time column.
    gain : float, optional
        Counts per unit, where the file has none or a wrong one.
    units : str, optional
        Unit of the samples (V, mV, uV, nV), likewise.
    annotator : str, optional
        Extension of the WFDB annotation file; by default ``atr`` where it is there, and none where empty.

    Returns
    -------
    Record
        In millivolts.

    Raises
    ------
    RecordError
        If the recording cannot be read or is not what it says; the message tells how to mend it.
    MissingExtra
        If the reader's library is not installed.

    Examples
    --------
    >>> from edgeecg.io import read_record
    >>> record = read_record("mitdb/101")  # doctest: +SKIP
    >>> record.signal.shape, record.fs, record.leads  # doctest: +SKIP
    ((650000, 2), 360.0, ('MLII', 'V1'))
    """
    file = Path(path)
    _check_name(file)
    if file.is_dir():
        raise RecordError(f"{file} is a folder: name a record in it, such as {file / 'NAME'}")
    try:
        return _read(file, leads, fs, gain, units, annotator)
    except _FOREIGN as error:  # a library's own: who reads a thousand files must not lose the rest
        raise RecordError(
            f"{file} is damaged, or too large for this machine: copy or export it again "
            f"({type(error).__name__}: {one_line(error)})"
        ) from error


def _read(
    file: Path,
    leads: Sequence[str] | None,
    fs: float | None,
    gain: float | None,
    units: str | None,
    annotator: str | None,
) -> Record:
    """Read a file by the reader that its name calls for."""
    suffix = file.suffix.lower()
    if suffix in EDF or suffix in TABLES:
        if annotator:
            raise RecordError(f"{file} has no annotation files: an annotator belongs to WFDB records")
        if suffix in TABLES:
            return read_table(file, leads=leads, fs=fs, gain=gain, units=units)
        _no_rate(file, fs)
        return read_edf(file, leads=leads, gain=gain, units=units)
    if suffix in (".hea", ".dat", ".mat", "") or is_record(file):
        _no_rate(file, fs)
        return read_wfdb(file, leads=leads, gain=gain, units=units, annotator=annotator)
    raise RecordError(
        f"{file}: cannot tell its format by its name; recordings are WFDB (.hea), .edf, .bdf, .csv, .tsv "
        "or .parquet"
    )


def check_reader(path: str | os.PathLike[str]) -> None:
    """Import the library that reads a file of this name; raises ``MissingExtra`` where it is not there."""
    suffix = Path(path).suffix.lower()
    library = _LIBRARIES.get(suffix, "wfdb")
    try:
        import_module(library)
    except ImportError as error:
        raise MissingExtra(library, "records", f"reading {suffix or 'WFDB'} files") from error


def is_record(path: str | os.PathLike[str]) -> bool:
    """Whether a file, or a WFDB record without extension, is there under this name."""
    file = Path(path)
    if file.suffix.lower() in (*EDF, *TABLES):
        return file.is_file()
    stem = wfdb_stem(file)
    return (stem.parent / f"{stem.name}.hea").is_file()


def find_annotated(folder: Path, annotator: str) -> list[Path]:
    """Recordings to learn from or to score in a folder and those under it, sorted by their names.

    WFDB records (without extension) and EDF files, whether they are annotated or not; tables where an
    annotation file lies beside them: others may be anything.
    """
    found = {header.with_suffix(""): header.with_suffix("") for header in find_headers(folder)}
    for file in sorted(file for place in folders_in(folder) for file in place.iterdir()):
        suffix, stem = file.suffix.lower(), file.with_suffix("")
        if suffix not in (*EDF, *TABLES) or file.name.startswith(".") or not file.is_file():
            continue
        if suffix in EDF or stem.with_name(f"{stem.name}.{annotator}").is_file():
            found.setdefault(stem, file)
    return [found[stem] for stem in sorted(found)]


@contextmanager
def named(place: str | os.PathLike[str]) -> Iterator[None]:
    """Say which recording it is that cannot be used."""
    try:
        yield
    except (RecordError, SignalError) as error:
        if os.fspath(place) in str(error):
            raise
        raise RecordError(f"{os.fspath(place)}: {error}") from error


def _check_name(file: Path) -> None:
    """Refuse a name that is no text: it could stand in no report."""
    try:
        str(file.absolute()).encode()
    except UnicodeEncodeError as error:
        told = os.fsencode(file.absolute()).decode(errors="replace")
        raise RecordError(f"{told}: the path holds bytes that are no text in UTF-8, rename it") from error


def _no_rate(file: Path, fs: float | None) -> None:
    if fs is not None:
        raise RecordError(f"{file} states its own rate: leave --fs (fs=) out, it is for tables")
