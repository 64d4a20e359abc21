"""Which recording this is, whatever it is called and wherever it lies."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edgeecg.io.reading import EDF, TABLES
from edgeecg.io.record import Record
from edgeecg.io.wfdb import wfdb_stem

__all__ = ["fingerprint", "samples_hash"]

PIECE, PIECES = 16 << 10, 32
"""Bytes, and places in a file, that are looked at: a day of ECG is not read through to be known again."""


def samples_hash(record: Record) -> str:
    """SHA-256 of a record's samples in nanovolts: the last bit of a float is no other recording."""
    return hashlib.sha256(np.rint(np.nan_to_num(record.signal) * 1e6).astype("<i8").tobytes()).hexdigest()


def fingerprint(path: str | os.PathLike[str]) -> str:
    """A digest of a recording's files: of a WFDB header all but comments, else size and pieces all over.

    A copy has the same, at any place and time; another recording of the same name has another.

    Raises
    ------
    OSError
        If a file cannot be read.
    """
    digest = hashlib.sha256()
    for file in _files(Path(path)):
        if file.suffix == ".hea":
            digest.update("\n".join(_lines(file)).encode())
            continue
        size = file.stat().st_size
        digest.update(f"{size} ".encode())
        with file.open("rb") as opened:
            for place in np.linspace(0, max(0, size - PIECE), PIECES, dtype=np.int64).tolist():
                opened.seek(place)
                digest.update(opened.read(PIECE))
    return digest.hexdigest()


def _files(path: Path) -> Iterator[Path]:
    """The file, or a WFDB header and the files that it names."""
    if path.suffix.lower() in (*EDF, *TABLES):
        yield path
        return
    stem = wfdb_stem(path)
    header = stem.with_name(f"{stem.name}.hea")
    yield header
    for name in dict.fromkeys(line.split()[0] for line in _lines(header)[1:]):
        for file in (header.parent / name, header.parent / f"{name}.hea"):  # of a segment the header
            if file.is_file():
                yield file


def _lines(header: Path) -> list[str]:
    """What a WFDB header says, comments left out."""
    lines = header.read_text(encoding="utf-8", errors="replace").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]
