"""Outputs that are whole or not there: written under a temporary name, renamed when done."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgeecg.errors import InputError

__all__ = ["atomic_folder", "atomic_path"]


def _beside(target: Path) -> Path:
    """A name in the same folder, so that the rename stays on one file system; the suffix is kept."""
    return target.with_name(f".partial-{os.getpid()}-{target.name}")


def _parent(target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(f"cannot write {target}: {error.filename} is a file, not a folder") from error


@contextmanager
def atomic_path(target: Path | str) -> Iterator[Path]:
    """A path to write to that becomes ``target`` when the block ends well, and vanishes when it does not.

    Parameters
    ----------
    target : path
        The file to make or to replace; its folder is made if need be.

    Yields
    ------
    Path
        A name beside the target with the same suffix.

    Raises
    ------
    InputError
        The target is a folder, or lies under a file.

    Examples
    --------
    >>> with atomic_path("scores.json") as path:
    ...     path.write_text("{}")  # doctest: +SKIP
    """
    target = Path(target)
    if target.is_dir():
        raise InputError(f"cannot write {target}: it is a folder; name a file")
    _parent(target)
    partial = _beside(target)
    try:
        yield partial
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def atomic_folder(target: Path | str) -> Iterator[Path]:
    """A new folder to fill that becomes ``target`` when the block ends well, and vanishes when it does not.

    Parameters
    ----------
    target : path
        A folder that is not there yet, or is empty.

    Yields
    ------
    Path
        An empty folder beside the target.

    Raises
    ------
    InputError
        The target is there and holds something: nothing is overwritten.
    """
    target = Path(target)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{target} is there already: remove it or name another --out")
    _parent(target)
    partial = _beside(target)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        os.replace(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
