"""Recordings among files and folders, and where what is found in each goes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from edgeecg.data.patients import PATIENTS
from edgeecg.errors import ConfigError, RecordError
from edgeecg.io import is_record
from edgeecg.io.atomic import is_hidden

__all__ = ["Job", "find_jobs"]

_TABLES = (".csv", ".tsv", ".parquet")
_SUFFIXES = (".hea", ".edf", ".bdf", *_TABLES)


@dataclass(frozen=True)
class Job:
    """A record to annotate: where it is, and its output's path without extension."""

    path: Path
    stem: Path


def find_jobs(paths: Iterable[Path], out: Path) -> list[Job]:
    """Records among files and folders; their outputs mirror the folders below ``out``.

    A folder is searched with all its folders; beside WFDB headers, tables are not taken for records.

    Raises
    ------
    RecordError
        A path is not there, or a folder holds no record.
    ConfigError
        Two records would share an output.
    """
    jobs = [job for path in paths for job in _jobs_of(Path(path), out)]
    seen: dict[Path, Path] = {}
    for job in jobs:
        other = seen.setdefault(job.stem, job.path)
        if other != job.path:
            raise ConfigError(
                f"{other} and {job.path} would share {job.stem}: annotate them into two folders"
            )
    return [Job(path, stem) for stem, path in seen.items()]


def _jobs_of(path: Path, out: Path) -> list[Job]:
    if not path.is_dir():
        if not is_record(path) and path.is_file():
            raise RecordError(
                f"{path} is no recording: name its record without extension, or a file that ends in "
                ".hea, .edf, .bdf, .csv, .tsv or .parquet"
            )
        if not is_record(path):
            raise RecordError(f"no record {path}: name a record, a file or a folder of them")
        return [Job(path, out / _plain(path).name)]
    found: list[Job] = []
    inside = (item for item in path.rglob("*") if item.is_dir() and not is_hidden(item.relative_to(path)))
    for folder in sorted({path, *inside}):
        files = sorted(file for file in folder.iterdir() if _may_be_record(file))
        headers = any(file.suffix.lower() == ".hea" for file in files)
        taken = (file for file in files if not (headers and file.suffix.lower() in _TABLES))
        found += [Job(file, out / _plain(file.relative_to(path))) for file in taken]
    if not found:
        raise RecordError(f"{path} holds no recording (.hea, .edf, .bdf, .csv, .tsv, .parquet)")
    return found


def _may_be_record(file: Path) -> bool:
    """Whether a file in a folder is taken for a recording: no hidden one, and not the list of patients."""
    hidden = file.name.startswith(".")
    return file.suffix.lower() in _SUFFIXES and not hidden and file.name != PATIENTS


def _plain(path: Path) -> Path:
    return path.with_suffix("") if path.suffix.lower() in _SUFFIXES else path
