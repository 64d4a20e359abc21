"""What is made on this machine and kept, TensorRT plans and compiled kernels among it.

These are executable code, so their folder must be the user's own, or root's, and writable by nobody else. It
is opened once and what lies in it is reached through that: whoever owns a folder above it cannot put another
in its place in between. Hashes beside the files find damage and mixing-up, and nothing more.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from edgeecg.errors import BackendError

__all__ = ["OwnFolder", "default_folder"]


def default_folder() -> Path:
    """``EDGEECG_CACHE``, or ``edgeecg`` in the user's cache folder; ``BackendError`` if there is neither."""
    named = os.environ.get("EDGEECG_CACHE")
    if named:
        return Path(named).expanduser()
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgeecg"
    except RuntimeError as error:
        raise BackendError(
            "this user has no home folder: name a folder to keep things in by EDGEECG_CACHE"
        ) from error


class OwnFolder:
    """Files that only the user, or root, can have put there.

    Parameters
    ----------
    path : Path
        Made when first written to; others may read what lies in it, as a service does what an image brings.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, *names: str) -> list[bytes]:
        """Contents of files.

        Raises
        ------
        FileNotFoundError
            One of them, or the folder, is not there.
        BackendError
            Others may write to the folder.
        """
        with self._opened() as folder:
            return [self._content(name, folder) for name in names]

    def write(self, files: Mapping[str, bytes]) -> None:
        """Keep files, in their order; a reader sees an old one, the new one or none, never half of one."""
        self.path.mkdir(mode=0o755, parents=True, exist_ok=True)
        with self._opened() as folder:
            for name, data in files.items():
                _write_atomically(name, data, folder)

    def discard(self, *names: str) -> None:
        """Forget files, where they are there."""
        with suppress(FileNotFoundError), self._opened() as folder:
            for name in names:
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=folder)

    @staticmethod
    def _content(name: str, folder: int) -> bytes:
        with open(name, "rb", opener=lambda path, flags: os.open(path, flags, dir_fd=folder)) as file:
            return file.read()

    @contextmanager
    def _opened(self) -> Iterator[int]:
        """The folder itself, whatever its path names later."""
        folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            found = os.fstat(folder)
            if found.st_uid not in (0, os.getuid()) or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise BackendError(
                    f"others may write to {self.path}, and what lies there is executable code: chown it to "
                    f"yourself and chmod 700 it, or name another folder by EDGEECG_CACHE"
                )
            yield folder
        finally:
            os.close(folder)


def _write_atomically(name: str, data: bytes, folder: int) -> None:
    """Write under a name of its own, then rename: two threads may make the same file at once.

    As ``io.atomic`` does, which goes by paths: here the folder's path may name another one by now.
    """
    partial = f"{name}.{secrets.token_hex(6)}"
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.rename(partial, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with suppress(OSError):  # why it could not be written is the thing to tell
            os.unlink(partial, dir_fd=folder)
        raise
