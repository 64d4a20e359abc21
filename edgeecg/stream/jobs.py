"""Recordings among files and folders, and where what is found in each goes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from edgeecg.data.patients import PATIENTS
from edgeecg.errors import RecordError
from edgeecg.io.reading import EDF, TABLES, is_record
from edgeecg.io.wfdb import folders_in, wfdb_stem

__all__ = ["Job", "find_jobs", "may_be_record"]

_SUFFIXES = (".hea", *EDF, *TABLES)


@dataclass(frozen=True)
class Job:
    """A record to annotate: where it is, and its output's path without extension.

    ``wrong`` tells why it cannot be done, where that is seen before it is read.
    """

    path: Path
    stem: Path
    wrong: str = ""


def find_jobs(paths: Iterable[Path], out: Path) -> list[Job]:
    """Records among files and folders; their outputs mirror the folders below ``out``.

    A folder is searched with all its folders, those that links lead to too, each once. Tables beside WFDB
    headers, or with the name of an EDF file beside them, are not taken for records. A record that is named
    twice is there once; one that would share another's output is there with what is wrong.

    Raises
    ------
    RecordError
        A path is not there, or a folder holds no record.
    """
    jobs: dict[Path, Job] = {}
    owners: dict[Path, Path] = {}
    for job in (job for path in paths for job in _jobs_of(Path(path), out)):
        record = _identity(job.path)
        if record in jobs:
            continue
        owner = owners.setdefault(job.stem, job.path)
        shared = "" if owner == job.path else f"{job.path} would share its output {job.stem} with {owner}"
        jobs[record] = replace(job, wrong=shared and f"{shared}: annotate it into another --out")
    return list(jobs.values())


def _identity(path: Path) -> Path:
    """The same for all names of a record; a link to a file is one of its own: archives may hold but links."""
    file = path if path.suffix.lower() in (*EDF, *TABLES) else wfdb_stem(path)
    return file.parent.resolve() / file.name


def _jobs_of(path: Path, out: Path) -> list[Job]:
    if not path.is_dir():
        if not is_record(path) and path.is_file():
            raise RecordError(
                f"{path} is no recording: name its record without extension, or a file that ends in "
                ".hea, .edf, .bdf, .csv, .tsv or .parquet"
            )
        if not is_record(path):
            raise RecordError(f"no record {path}: name a record, a file or a folder of them")
        return [Job(path, out / _plain(wfdb_stem(path)).name)]
    found = [
        Job(file, out / _plain(file.relative_to(path)))
        for folder in folders_in(path)
        for file in _records(folder)
    ]
    if not found:
        raise RecordError(f"{path} holds no recording (.hea, .edf, .bdf, .csv, .tsv, .parquet)")
    return found


def _records(folder: Path) -> list[Path]:
    """What is taken for a recording in a folder: no table that belongs to another file beside it."""
    files = sorted(file for file in folder.iterdir() if may_be_record(file))
    headers = any(file.suffix.lower() == ".hea" for file in files)
    named = {file.stem for file in files if file.suffix.lower() in EDF}
    tables = {file for file in files if file.suffix.lower() in TABLES and (headers or file.stem in named)}
    return [file for file in files if file not in tables]


def may_be_record(file: Path) -> bool:
    """Whether a file in a folder is taken for a recording: no hidden one, and not the list of patients."""
    hidden = file.name.startswith(".")
    return file.suffix.lower() in _SUFFIXES and not hidden and file.name != PATIENTS


def _plain(path: Path) -> Path:
    return path.with_suffix("") if path.suffix.lower() in _SUFFIXES else path
