"""WFDB annotation files: beats and rhythm changes that PhysioNet's own tools read."""

from __future__ import annotations

import errno
import logging
import os
import re
from collections import Counter
from pathlib import Path

import numpy as np

from edgeecg.errors import RecordError
from edgeecg.io.atomic import named_when_full, workshop
from edgeecg.io.library import load_wfdb
from edgeecg.io.record import BEAT_SYMBOLS, Annotations

__all__ = [
    "MARK_SYMBOLS",
    "check_extension",
    "check_symbols",
    "marks_within",
    "read_annotations",
    "write_annotations",
]

MARK_SYMBOLS = frozenset("[]!x()ptu`'^|~+sT*D=\"@")
"""WFDB symbols that mark something else than a beat."""

log = logging.getLogger("edgeecg.io")

FEW = 0.05
"""Share of marks past a record's end that is no sign of another rate: svdb has a few in its records."""

_NO_SYMBOL = "nan"  # what wfdb calls a code that has none

_EXTENSION = re.compile(r"[A-Za-z][A-Za-z0-9]*")  # pu0, q1c: as in PhysioNet's qtdb
_TAKEN = frozenset({"hea", "dat", "mat", "edf", "bdf", "csv", "tsv", "parquet", "json"})
_SKIP, _AUX = 59, 63  # codes of the words that four bytes of interval, and a text, follow
_DEFINITION = re.compile(rb"## (time resolution: \d|annotation type definitions$|end of definitions$)")
_EMPTY_FILE = b"\0\0"  # the end mark alone; wfdb writes no file without annotations


def check_extension(extension: str) -> None:
    """See that a word can be the extension of annotation files.

    Raises
    ------
    RecordError
        If it is not letters and digits after a letter, or belongs to another kind of file.
    """
    if not _EXTENSION.fullmatch(extension):
        raise RecordError(
            f"an annotation file's extension is letters and digits, such as edg or qrs, not {extension!r}"
        )
    if extension.lower() in _TAKEN:
        raise RecordError(f"extension {extension!r} belongs to other files: name another, such as edg")


def check_symbols(marks: Annotations, where: str | os.PathLike[str]) -> None:
    """See that each mark is a beat or something else that is known: one that is neither would vanish.

    Parameters
    ----------
    marks : Annotations
    where : str or path
        Names them in the error.

    Raises
    ------
    RecordError
        Says which symbols WFDB does not have, and of how many marks.
    """
    counts = Counter(marks.symbol.tolist())
    strange = {symbol: n for symbol, n in counts.items() if symbol not in BEAT_SYMBOLS | MARK_SYMBOLS}
    if not strange:
        return
    said = ", ".join(
        f"{number} marks {'of a code without symbol' if symbol == _NO_SYMBOL else repr(symbol)}"
        for symbol, number in sorted(strange.items())
    )
    raise RecordError(
        f"{os.fspath(where)} has {said}, which WFDB does not know: if they are beats, each would count as "
        'no beat; write them with its symbols (N, S, V, F, /, Q; a comment is a ")'
    )


def marks_within(
    marks: Annotations, n: int, where: str | os.PathLike[str], *, most: bool = False
) -> Annotations:
    """The marks inside a record of ``n`` samples; a warning where more than a few lie past its end.

    Parameters
    ----------
    where : str or path
        Names them.
    most : bool
        Whether most of them must lie inside.

    Raises
    ------
    RecordError
        With ``most``, if they do not.
    """
    past = int((marks.sample >= n).sum())
    said = f"{past} of {len(marks)} marks lie past the end: does the annotation file count at another rate?"
    if most and 2 * past > len(marks):
        raise RecordError(f"{os.fspath(where)}: {said} Write them at the record's, or let the file state it")
    if past > FEW * len(marks):
        log.warning("%s: %s They are left out", Path(where), said)  # a path: a gateway's log leaves it out
    return marks.select((marks.sample >= 0) & (marks.sample < n))


def read_annotations(
    stem: str | os.PathLike[str],
    extension: str = "atr",
    *,
    fs: float | None = None,
    record: str | os.PathLike[str] | None = None,
) -> Annotations:
    """Read the annotation file ``stem.extension``, sorted by time.

    Parameters
    ----------
    stem : path
        The record, without extension.
    extension : str
        Name of the annotator.
    fs : float, optional
        Rate in hertz to count samples in; by default they are left as the file has them, which is the
        record's frame rate or the resolution that the file states.
    record : path, optional
        The WFDB record without extension, where it lies elsewhere: its header has the frame rate, in which
        a file counts that states no resolution.

    Raises
    ------
    RecordError
        If it is missing or not an annotation file.
    MissingExtra
        If wfdb is not installed.
    """
    path = Path(f"{os.fspath(stem)}.{extension}")
    if not path.is_file():
        named = Path(stem)
        if named.suffix and named.is_file():
            raise RecordError(
                f"{named} is a file: name the record without extension, {named.with_suffix('')}, and the "
                f"annotator apart, such as {extension!r}"
            )
        there = sorted(near.suffix[1:] for near in path.parent.glob(f"{path.stem}.*"))
        raise RecordError(f"no annotation file {path}; that record has {', '.join(there) or 'no files'}")
    wfdb = load_wfdb("reading WFDB annotations")
    if not _reaches_end(path):
        raise RecordError(
            f"annotation file {path} is truncated, its end mark is missing: copy or fetch it again"
        )
    try:
        raw = wfdb.rdann(str(path.with_suffix("")), extension)
    except (ValueError, IndexError, KeyError, TypeError) as error:
        raise RecordError(f"annotation file {path} is damaged: copy or fetch it again ({error})") from error
    samples = np.asarray(raw.sample, dtype=np.int64)
    counted = raw.fs
    if counted is None and record is not None and Path(f"{os.fspath(record)}.hea").is_file():
        counted = wfdb.rdheader(os.fspath(record)).fs
    if fs is not None and counted is not None and counted != fs:
        samples = np.round(samples * (fs / float(counted))).astype(np.int64)
    order = np.argsort(samples, kind="stable")
    aux = np.array([text.rstrip("\0").strip() for text in raw.aux_note], dtype=np.str_)
    return Annotations(samples[order], np.array(raw.symbol, dtype=np.str_)[order], aux[order])


def write_annotations(
    stem: str | os.PathLike[str], annotations: Annotations, fs: float, *, extension: str = "edg"
) -> Path:
    """Write ``stem.extension`` so that ``rdann``, ``bxb`` and ``epicmp`` read it; returns its path.

    The file appears under its name only when complete.

    Parameters
    ----------
    stem : path
        The record, without extension; its folder must be there.
    annotations : Annotations
    fs : float
        Rate that the samples count in, hertz.
    extension : str
        Name of the annotator, letters and digits.

    Raises
    ------
    RecordError
        For an extension or a symbol that WFDB does not have, a negative sample or a missing folder.
    MissingExtra
        If wfdb is not installed.
    OSError
        If the disk is full.
    """
    target = Path(f"{os.fspath(stem)}.{extension}")
    check_extension(extension)
    if not target.parent.is_dir():
        raise RecordError(f"cannot write {target}: its folder is missing")
    unknown = set(annotations.symbol.tolist()) - BEAT_SYMBOLS - MARK_SYMBOLS
    if unknown or (len(annotations) and annotations.sample[0] < 0):
        known = "WFDB's are N, S, V, F, / (paced) and others"
        wrong = f"unknown symbols {sorted(unknown)}, {known}" if unknown else "a negative sample"
        raise RecordError(f"cannot write {target}: {wrong}")
    wfdb = load_wfdb("writing WFDB annotations")
    with workshop(target) as folder:
        made = folder / "marks.edg"  # wfdb writes no extension with digits
        if len(annotations) == 0:
            made.write_bytes(_EMPTY_FILE)
        else:
            with named_when_full(target):
                wfdb.wrann(
                    "marks",
                    "edg",
                    annotations.sample,
                    symbol=annotations.symbol.tolist(),
                    aux_note=annotations.aux.tolist(),
                    fs=fs,
                    write_dir=str(folder),
                )
                if not _reaches_end(made):  # numpy's tofile may lose the last bytes without a word
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.replace(made, target)
    return target


def _reaches_end(path: Path) -> bool:
    """Walk through an annotation file's words to its end mark; damage is an error (some of it hangs wfdb)."""
    content = path.read_bytes()
    at, begun, resolutions = 0, False, 0
    while at + 2 <= len(content):
        word = int.from_bytes(content[at : at + 2], "little")
        code, value = word >> 10, word & 0x3FF
        at += 2
        if word == 0:  # the end mark
            return True
        if code == _SKIP:
            at += 4
        elif code == _AUX:
            text = content[at : at + value].rstrip(b"\0")
            at += value + value % 2
            if text.startswith(b"## ") and not begun:
                resolutions += text.startswith(b"## time")
                if resolutions > 1 or not _DEFINITION.match(text):
                    raise RecordError(
                        f"annotation file {path} is damaged: copy or fetch it again (note {text[:40]!r})"
                    )
        elif code < _SKIP:
            begun = begun or value > 0
    return False
