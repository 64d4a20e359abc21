"""Outputs that are whole or not there: written under a temporary name, renamed when done."""

from __future__ import annotations

import errno
import os
import re
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from edgeecg.errors import InputError

__all__ = [
    "atomic_folder",
    "atomic_path",
    "check_file",
    "check_folder",
    "check_new_file",
    "check_new_folder",
    "clear_partials",
    "named_when_full",
    "parents_of",
    "workshop",
]

_PARTIAL = re.compile(r"\.partial-\d+-(.+)", re.DOTALL)


def check_file(target: Path | str) -> None:
    """See that a file can be written, before the work whose result it is to hold; nothing is left behind.

    Raises
    ------
    InputError
        The target is a folder, lies under a file, or its folder cannot be written to.
    """
    target = Path(target)
    with _usable(target):
        if target.is_dir():
            raise InputError(f"cannot write {target}: it is a folder; name a file")
        if not _is_special(target):
            target = Path(os.path.realpath(target)) if target.is_symlink() else target
            _check_room(target, target.parent)


def check_new_file(target: Path | str) -> None:
    """As :func:`check_file`, and see that nothing is there yet: what was made with care is not overwritten.

    Raises
    ------
    InputError
        As for :func:`check_file`, or there is a file.
    """
    with _usable(target):
        if Path(target).is_file():
            raise InputError(f"{target} is there already: remove it or name another --out")
    check_file(target)


def check_folder(target: Path | str) -> None:
    """See that files can be put into a folder, which is there or can be made.

    Raises
    ------
    InputError
        The folder is a file, lies under one, or cannot be made or written to.
    """
    with _usable(target):
        _check_room(Path(target), Path(target))


def check_new_folder(target: Path | str) -> None:
    """See that a folder can be made and filled: it is not there yet, or empty.

    Raises
    ------
    InputError
        As for :func:`check_folder`, or the folder holds something: nothing is overwritten.
    """
    target = Path(target)
    with _usable(target):
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise InputError(f"{target} is there already: remove it or name another --out")
        _check_room(target, target.parent)


@contextmanager
def _usable(target: Path | str) -> Iterator[None]:
    """Make an error of a path that cannot even be asked for: a name too long, a folder closed to us."""
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot write {target}: {error.strerror}; name another place") from error


def _check_room(target: Path, folder: Path) -> None:
    """See that ``folder``, or the nearest one above it that is there, takes files."""
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not there.is_dir():
        raise InputError(
            f"cannot write {target}: {there} is a file, not a folder", public="its folder is a file"
        )
    try:
        with tempfile.TemporaryFile(dir=there):  # the one way to know: rights do not tell all
            pass
    except OSError as error:
        raise InputError(
            f"cannot write {target}: folder {there} takes no files ({error.strerror}); name another place"
        ) from error


def _beside(target: Path) -> Path:
    """A name in the same folder, so that the rename stays on one file system; the suffix is kept."""
    return target.with_name(f".partial-{threading.get_native_id()}-{target.name}")


def clear_partials(*targets: Path | str) -> None:
    """Remove what killed processes left of files or folders: the unfinished ones beside each target.

    For those that nobody else makes at this time: a live process's own would go too, and its writing fail.
    """
    names: dict[Path, set[str]] = {}
    for target in map(Path, targets):
        names.setdefault(target.parent, set()).add(target.name)
    for folder, wanted in names.items():
        for left in list(folder.iterdir()) if folder.is_dir() else ():
            match = _PARTIAL.fullmatch(left.name)
            if match is None or match[1] not in wanted:
                continue
            with suppress(OSError):  # it does no harm where it lies
                shutil.rmtree(left) if left.is_dir() else left.unlink()


@contextmanager
def named_when_full(target: Path | str) -> Iterator[None]:
    """Name what was being written in the error of a full disk, which the system itself does not."""
    try:
        yield
    except OSError as error:
        if error.errno is None and "requested and" in str(error):  # how numpy's tofile tells it
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target)) from error
        if error.errno == errno.ENOSPC and error.filename is None:
            error.filename = str(target)
        raise


@contextmanager
def parents_of(target: Path) -> Iterator[None]:
    """Make the folder of ``target``; those that had to be made for it go again where the block fails."""
    made = [place for place in target.parents if not place.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with suppress(OSError):  # something else has come to lie in it
            for place in made:
                place.rmdir()
        raise


@contextmanager
def atomic_path(target: Path | str) -> Iterator[Path]:
    """A path to write to that becomes ``target`` when the block ends well, and vanishes when it does not.

    Parameters
    ----------
    target : path
        The file to make or to replace; its folder is made if need be. A link stays one: what it leads to is
        replaced. A device, pipe or socket is written to in the end.

    Yields
    ------
    Path
        A name beside the target with the same suffix.

    Raises
    ------
    InputError
        As for :func:`check_file`.

    Examples
    --------
    >>> with atomic_path("scores.json") as path:
    ...     path.write_text("{}")  # doctest: +SKIP
    """
    target = Path(target)
    if _is_special(target):
        with tempfile.TemporaryDirectory() as folder, named_when_full(target):
            partial = Path(folder, target.name)
            yield partial
            with partial.open("rb") as made, _open_special(target) as out:
                shutil.copyfileobj(made, out)
        return
    target = Path(os.path.realpath(target)) if target.is_symlink() else target
    check_file(target)
    partial = _beside(target)
    with parents_of(target), named_when_full(target):
        try:
            yield partial
            _settle(partial)
            os.replace(partial, target)
        finally:
            partial.unlink(missing_ok=True)


def _is_special(target: Path) -> bool:
    """Whether a target is to be written to and not replaced: a device, a pipe, or what we print to."""
    if not target.exists() or target.is_dir():
        return False
    return not target.is_file() or _printed_to(target) is not None


def _printed_to(target: Path) -> int | None:
    """The descriptor of standard output or error, where a target is that."""
    for number in (1, 2):
        with suppress(OSError):  # it is closed
            if os.path.samestat(os.fstat(number), target.stat()):
                return number
    return None


def _open_special(target: Path) -> BinaryIO:
    """Open what is only to be added to; what was printed so far stands before it."""
    number = _printed_to(target)
    if number is None:
        return target.open("ab")
    (sys.stdout if number == 1 else sys.stderr).flush()
    return os.fdopen(os.dup(number), "wb")


def _settle(path: Path) -> None:
    """Have a file on the disk before it takes another's place: a power cut would leave an empty one."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


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
        As for :func:`check_new_folder`.
    """
    target = Path(target)
    check_new_folder(target)
    with parents_of(target), named_when_full(target), workshop(target) as partial:
        yield partial
        os.replace(partial, target)


@contextmanager
def workshop(target: Path | str) -> Iterator[Path]:
    """An empty folder beside ``target`` to make something in that is moved there; then it vanishes."""
    partial = _beside(Path(target))
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)
