"""The folder of what is made on this machine and kept: TensorRT plans and compiled kernels.

Both are executable code, so the folder must be the user's own and writable by nobody else. Hashes beside
the files find damage and mixing-up; they do not protect against someone who may write there.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from edgeecg.errors import BackendError

__all__ = ["check_own", "default_folder", "make_own", "write_atomically"]


def default_folder() -> Path:
    """``EDGEECG_CACHE``, or ``edgeecg`` in the user's cache folder."""
    named = os.environ.get("EDGEECG_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgeecg"


def make_own(folder: Path) -> None:
    """Make a folder for the user alone, where there is none; raises as :func:`check_own`."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_own(folder)


def check_own(folder: Path) -> None:
    """Refuse a folder into which others could put code that we would run; raises ``BackendError``."""
    found = folder.stat()
    if found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise BackendError(
            f"others may write to {folder}, and what lies there is executable code: chown it to yourself and "
            f"chmod 700 it, or name another folder by EDGEECG_CACHE"
        )


def write_atomically(path: Path, data: bytes) -> None:
    """Write under a name of its own, then rename: two threads may make the same file at once."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
