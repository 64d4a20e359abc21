"""The file in which a gateway keeps its context: whole or not there, and set aside where it does not fit."""

from __future__ import annotations

import logging
from pathlib import Path

from edgeecg.errors import ConfigError, StateError
from edgeecg.io.atomic import atomic_path, clear_partials
from edgeecg.stream.cause import cause
from edgeecg.stream.snapshot import is_snapshot

__all__ = ["SnapshotFile"]

log = logging.getLogger(__name__)


class SnapshotFile:
    """A snapshot on disk.

    Parameters
    ----------
    path : Path
        It need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> bytes | None:
        """What is in it; ``None`` where there is none, or none that can be read, which is set aside.

        Raises
        ------
        ConfigError
            It is another kind of file.
        """
        clear_partials(self.path)
        if not self.path.is_file():
            return None
        try:
            data = self.path.read_bytes()
        except OSError as error:  # a worn disk, or somebody else's file
            log.error("the snapshot cannot be read: %s; %s", cause(error), self.set_aside())
            return None
        if data.strip(b"\0") and not is_snapshot(data):  # a power cut leaves zeros
            raise ConfigError(f"snapshot = {self.path} is another kind of file: name one of its own")
        return data

    def write(self, data: bytes) -> None:
        """Put this in its place; raises ``StateError`` where there is no room or no right to."""
        try:
            with atomic_path(self.path) as partial:
                partial.write_bytes(data)
        except OSError as error:
            raise StateError(f"{self.path} cannot be written: {error.strerror}") from error

    def set_aside(self) -> str:
        """Give a snapshot that cannot be used another name; what has become of it, for the log."""
        try:
            self.path.replace(self.path.with_name(f"{self.path.name}.refused"))
        except OSError as error:  # a folder of that name, say
            return (
                f"it cannot be set aside ({cause(error)}) and will be overwritten: every stream begins anew"
            )
        return "the snapshot's name ends in .refused now, and every stream begins anew"
