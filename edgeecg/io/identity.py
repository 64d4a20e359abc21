"""Which recording a file holds, whatever it is called and wherever it lies."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from edgeecg.io.wfdb import wfdb_stem

__all__ = ["fingerprint"]

ENDS = 64 << 10
"""Bytes at the start and at the end of a file that are looked at."""

_ALONE = (".edf", ".bdf", ".csv", ".tsv", ".parquet")


def fingerprint(path: str | os.PathLike[str]) -> str:
    """A digest of a recording's files: their sizes, and what stands at both ends of each.

    A copy has the same, at any place and time; another recording of the same name has another.

    Raises
    ------
    OSError
        If a file cannot be read.
    """
    digest = hashlib.sha256()
    for file in _files(Path(path)):
        size = file.stat().st_size
        digest.update(f"{size} ".encode())
        with file.open("rb") as opened:
            digest.update(opened.read(ENDS))
            opened.seek(max(0, size - ENDS))
            digest.update(opened.read(ENDS))
    return digest.hexdigest()


def _files(path: Path) -> Iterator[Path]:
    """The file, or a WFDB header and the signal files that it names."""
    if path.suffix.lower() in _ALONE:
        yield path
        return
    stem = wfdb_stem(path)
    header = stem.with_name(f"{stem.name}.hea")
    yield header
    lines = header.read_text(encoding="utf-8", errors="replace").splitlines()
    named = (line.split()[0] for line in lines[1:] if line.strip() and not line.startswith("#"))
    for name in dict.fromkeys(named):
        for file in (header.with_name(name), header.with_name(f"{name}.hea")):  # of a segment the header
            if file.is_file():
                yield file
