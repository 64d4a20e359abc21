"""Records of the public sets on this machine: finding, loading, and whose they are.

A root folder holds one folder a set (``mitdb``, ``svdb``, ...), flat or as PhysioNet lays it out.
"""

from __future__ import annotations

import csv
import os
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import reduce
from pathlib import Path

import numpy as np

from edgeecg.data.labels import BXB, DE_CHAZAL, Reference, reference_of, rhythm_intervals, wave_spans
from edgeecg.data.sets import SETS, DataSet, data_set
from edgeecg.errors import ConfigError, RecordError
from edgeecg.io.annotation import read_annotations
from edgeecg.io.reading import read_record
from edgeecg.io.record import Annotations, Record
from edgeecg.io.wfdb import find_headers

__all__ = [
    "BXB",
    "DE_CHAZAL",
    "SETS",
    "DataSet",
    "Reference",
    "data_root",
    "data_set",
    "find_records",
    "load_record",
    "load_reference",
    "patient_folds",
    "patient_of",
    "record_labels",
    "reference_of",
    "rhythm_intervals",
    "set_folder",
]

ENVIRONMENT = "EDGEECG_DATA"
_PATIENT_LINE = re.compile(r"^#\s*patient\s+(\d+)", re.IGNORECASE | re.MULTILINE)
# The directory of mitdb says so. Two pairs of cinc2017 are equal too (docs/evaluation.md), but to name them
# would move most of its patients to other folds, and kept networks would be asked about patients they know.
_SAME_PATIENT = {("mitdb", "202"): "mitdb/201"}


def data_root(root: str | os.PathLike[str] | None = None) -> Path:
    """The folder of recordings: the given one, else the one that ``EDGEECG_DATA`` names.

    Raises
    ------
    ConfigError
        If none is named, or it is not there.
    """
    named = os.fspath(root) if root is not None else os.environ.get(ENVIRONMENT, "")
    if not named:
        raise ConfigError(f"no recordings: name their folder by --data DIR or {ENVIRONMENT}")
    if not Path(named).is_dir():
        raise ConfigError(
            f"recordings' folder {named} is not there: correct --data, {ENVIRONMENT} or, in a "
            "configuration, data.root"
        )
    return Path(named)


def set_folder(root: str | os.PathLike[str], name: str) -> Path:
    """The folder of a set under a root.

    Raises
    ------
    ConfigError
        If the set is unknown, or not there.
    """
    entry = data_set(name)
    for folder in (Path(root, entry.name), Path(root, entry.slug), Path(root)):
        if folder.is_dir() and folder.name in (entry.name, entry.slug):
            return folder
    raise ConfigError(f"{root} has no {name}: fetch it with 'edgeecg data fetch {name} --data {root}'")


def find_records(root: str | os.PathLike[str], name: str, split: str = "all") -> tuple[Path, ...]:
    """Records of a set that are on this machine, by name.

    Parameters
    ----------
    root : path
        Folder that holds the set's folder.
    name : str
        Of the set.
    split : str
        ``all``, or one of the set's splits (mitdb: ``DS1``, ``DS2``, ``paced``).

    Returns
    -------
    tuple of Path
        Records without extension; those of the split that are not here are left out.

    Raises
    ------
    ConfigError
        If the set or the split is unknown, or none of its records is here.
    """
    entry = data_set(name)
    if split != "all" and split not in entry.splits:
        raise ConfigError(
            f"set {name} has no split {split!r}: choose among {', '.join(('all', *entry.splits))}"
        )
    folder = set_folder(root, name)
    pattern = re.compile(entry.pattern)
    wanted = set(entry.splits[split]) if split != "all" else None
    found = {
        header.stem: header.with_suffix("")
        for header in reversed(find_headers(folder))  # flat files win over those in sub-folders
        if pattern.fullmatch(header.stem)
        and header.stem not in entry.without_signals
        and (wanted is None or header.stem in wanted)
    }
    if not found:
        raise ConfigError(f"{folder} has no records of {name}, split {split}: 'edgeecg data fetch {name}'")
    return tuple(found[stem] for stem in sorted(found))


def load_record(path: str | os.PathLike[str], name: str) -> Record:
    """Read a record of a set with all annotations that the set has for it, and its patient.

    Its beats are those of the set's annotator of beats (`DataSet.beats`): where that file is missing there
    are none, whatever other files mark.

    Parameters
    ----------
    path : path
        As :func:`find_records` gives it.
    name : str
        Of the set.

    Raises
    ------
    RecordError
        If the record cannot be read.
    """
    entry, stem = data_set(name), Path(path)
    record = read_record(stem, annotator="")
    marks = []
    for annotator in _annotators(entry):
        if _annotation_file(stem, annotator).is_file():
            found = read_annotations(stem, annotator, fs=record.fs)
            inside = (found.sample >= 0) & (found.sample < len(record))
            # The others' beats are those of `entry.beats` again or, in qtdb, some selected ones of them all.
            marks.append(found.select(inside & ((annotator == entry.beats) | ~found.is_beat)))
    merged = reduce(_merged, marks) if marks else None
    return replace(record, annotations=merged, patient=patient_of(name, stem.name, folder=stem.parent))


def load_reference(
    record: Record, name: str | None = None, mapping: Mapping[str, str] = DE_CHAZAL
) -> Reference:
    """What is known of a record: beats with labels, rhythms, masked intervals, P waves and where those are.

    Parameters
    ----------
    record : Record
        With annotations, as :func:`load_record` or ``read_record`` gives them.
    name : str, optional
        Of its set: the beats of some sets were never checked for their class, and become Q; others have
        waves marked at some beats only.
    mapping : mapping of str to str
        ``DE_CHAZAL`` (the default) or ``BXB``.
    """
    if name is None:
        return reference_of(record, mapping)
    entry = data_set(name)
    reference = reference_of(record, mapping, classed=entry.classed)
    if entry.waves is None or record.annotations is None:
        return reference
    return replace(reference, waves_known=wave_spans(record.annotations, record.fs))


def patient_of(name: str, record: str, folder: str | os.PathLike[str] | None = None) -> str:
    """Identity of a record's patient; equal for all records of one person, also across sets.

    mitdb 201 and 202 are one patient; nstdb and qtdb hold excerpts of records of mitdb and svdb; incartdb
    states the patient in its headers, which are read where ``folder`` has them.

    Parameters
    ----------
    name : str
        Of the set.
    record : str
        Name of the record.
    folder : path, optional
        Where its header lies.
    """
    if name == "nstdb" and (origin := re.search(r"11[89](?=e)|(?<=em)118", record)):
        return f"mitdb/{origin.group()}"
    if name == "qtdb" and (source := re.fullmatch(r"sel([128]\d\d)", record)):
        home = "svdb" if source.group(1).startswith("8") else "mitdb"
        return patient_of(home, source.group(1))
    if name == "incartdb" and folder is not None:
        header = Path(folder, f"{record}.hea")
        text = header.read_text(encoding="utf-8", errors="replace") if header.is_file() else ""
        if line := _PATIENT_LINE.search(text):
            return f"incartdb/patient{int(line.group(1)):02d}"
    return _SAME_PATIENT.get((name, record), f"{name}/{record}")


def patient_folds(patients: Iterable[str], folds: int, seed: int = 0) -> dict[str, int]:
    """Deal patients to folds of equal size (to one) by a hash: the same patient, the same fold, in any order.

    Raises
    ------
    ConfigError
        If there are fewer patients than folds, or fewer than two folds.
    """
    people = sorted(set(patients), key=lambda p: (zlib.crc32(f"{seed}:{p}".encode()), p))
    if not 2 <= folds <= len(people):
        raise ConfigError(f"cannot deal {len(people)} patients to {folds} folds: ask for 2 to {len(people)}")
    return {patient: i % folds for i, patient in enumerate(people)}


def record_labels(root: str | os.PathLike[str], name: str = "cinc2017") -> dict[str, str]:
    """Label of each whole record where a set has them: cinc2017's N, A (AF), O (other), ~ (too noisy).

    The newest ``REFERENCE*.csv`` in the set's folder is read.

    Raises
    ------
    RecordError
        If there is none, or it is not a table of names and labels.
    """
    folder = set_folder(root, name)
    tables = sorted(folder.rglob("REFERENCE*.csv"), key=lambda p: p.name)
    if not tables:
        raise RecordError(f"{folder} has no REFERENCE.csv with the records' labels: fetch {name} again")
    with tables[-1].open(encoding="utf-8", newline="") as lines:
        rows = [row for row in csv.reader(lines) if row]
    if any(len(row) != 2 or row[1].strip() not in ("N", "A", "O", "~") for row in rows):
        raise RecordError(f"{tables[-1]} is not a table of record names and labels N, A, O, ~")
    return {row[0].strip(): row[1].strip() for row in rows}


def _annotators(entry: DataSet) -> tuple[str, ...]:
    """Annotators of a set, beats first, each once."""
    named = [entry.beats, entry.rhythm, entry.waves]
    return tuple(dict.fromkeys(annotator for annotator in named if annotator is not None))


def _annotation_file(stem: Path, annotator: str) -> Path:
    return stem.parent / f"{stem.name}.{annotator}"


def _merged(a: Annotations, b: Annotations) -> Annotations:
    """Both, in the order of time; rhythm changes go before a beat at the same sample."""
    sample = np.concatenate([a.sample, b.sample])
    symbol, aux = np.concatenate([a.symbol, b.symbol]), np.concatenate([a.aux, b.aux])
    order = np.lexsort((symbol != "+", sample))
    return Annotations(sample[order], symbol[order], aux[order])
