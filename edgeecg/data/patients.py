"""Whose recordings a folder of the user's holds: ``patients.csv`` beside them, if some are of one person."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from edgeecg.errors import RecordError

__all__ = ["PATIENTS", "named_patients", "patients_in"]

PATIENTS = "patients.csv"
"""A row a record, under the columns ``record`` and ``patient``."""


def named_patients(folder: Path, records: Iterable[str]) -> Mapping[str, str]:
    """The patient of each record of a folder; without ``patients.csv`` each record is a patient of its own.

    Parameters
    ----------
    folder : Path
        Patients of two folders are two patients, whatever they are called.
    records : iterable of str
        Names of its records: as in the folder, without extension (``ward/a01``).

    Raises
    ------
    RecordError
        A file without these columns, a record that is named twice with two patients or not at all: a
        recording that is forgotten might put one person on both sides of a split.
    """
    names, path = list(records), folder / PATIENTS
    if not path.is_file():
        return {name: f"{folder.name}/{name}" for name in names}
    return {name: f"{folder.name}/{patient}" for name, patient in _listed(path, names).items()}


def _listed(path: Path, names: Sequence[str]) -> dict[str, str]:
    """The patient of each record by a list that must name them all."""
    found = _read(path)
    if left := [name for name in names if name not in found]:
        more = f" and {len(left) - 3} more" if len(left) > 3 else ""
        raise RecordError(
            f"{path} names no patient for {', '.join(left[:3])}{more}: add a row for each, without extension"
        )
    return {name: found[name] for name in names}


def patients_in(home: Path, records: Mapping[str, Path]) -> Mapping[str, str]:
    """The patient of each record of a folder, or of records that are named by themselves.

    Parameters
    ----------
    home : Path
        The folder; its own ``patients.csv`` counts before all others.
    records : mapping of name to path
        Without extension. Where the folder has no list, each by the nearest one above it; patients of two
        lists are two patients, whatever they and their folders are called.

    Raises
    ------
    RecordError
        As :func:`named_patients`.
    """
    if (home / PATIENTS).is_file() and all(home in place.parents for place in records.values()):
        return named_patients(home, records)
    above = {name: _above(place) for name, place in records.items()}
    lists = {found[0] for found in above.values() if found is not None}
    alike = Counter(folder.name for folder in lists)
    called = {f: f.name if alike[f.name] == 1 else Path(os.path.relpath(f, home)).as_posix() for f in lists}
    return {
        name: f"{home.name}/{name}" if found is None else f"{called[found[0]]}/{found[1]}"
        for name, found in above.items()
    }


def _above(record: Path) -> tuple[Path, str] | None:
    """The patient of a record by the nearest ``patients.csv`` above that names it, and that list's folder.

    Parameters
    ----------
    record : Path
        Without extension.

    Raises
    ------
    RecordError
        The one beside the record cannot be used, or does not name it: see :func:`named_patients`.
    """
    place = record.resolve()
    if (place.parent / PATIENTS).is_file():
        return place.parent, _listed(place.parent / PATIENTS, [place.name])[place.name]
    for folder in place.parents[1:]:
        path, name = folder / PATIENTS, place.relative_to(folder).as_posix()
        try:
            found = _read(path) if path.is_file() else {}
        except (RecordError, OSError):  # somebody's list, so far above the record, is not about it
            continue
        if name in found:
            return folder, found[name]
    return None


def _read(path: Path) -> dict[str, str]:
    """Patients by record."""
    found: dict[str, str] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise RecordError(f"{path} cannot be read ({error}): save it as CSV in UTF-8") from error
    for row in rows:
        record, patient = ((row.get(column) or "").strip() for column in ("record", "patient"))
        if not record or not patient:
            raise RecordError(f"{path}: give every row a record and a patient (columns record,patient)")
        if found.setdefault(record, patient) != patient:
            raise RecordError(f"{path} gives {record} to {found[record]} and to {patient}: keep one row")
    return found
