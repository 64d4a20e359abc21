"""RR intervals that a strap measures by itself, as lines of JSON in a file: a second opinion on our beats."""

from __future__ import annotations

import logging
import os
import time

import msgspec

from edgeecg.errors import LinkError
from edgeecg.stream.sources.pmd import HeartRate
from edgeecg.stream.wallclock import iso_time

__all__ = ["IntervalLog"]

log = logging.getLogger(__name__)


class IntervalLog:
    """A file that is continued, a line a measurement, each written at once.

    Lines are ``{"time":"2026-05-01T08:00:01.372Z","bpm":62,"contact":true,"rr":[0.968]}``: the time at which
    it came (UTC), beats a minute, whether the electrodes touch the skin (``null`` where the strap cannot
    tell), and the RR intervals since the line before, in seconds.

    Parameters
    ----------
    path : str

    Attributes
    ----------
    lost : int
        Measurements that found no room.

    Raises
    ------
    LinkError
        If the file cannot be opened for writing.
    """

    def __init__(self, path: str) -> None:
        self.lost = 0
        self._full = False
        try:
            self._file = open(os.path.expanduser(path), "ab", buffering=0)  # noqa: SIM115 - until `close`
        except OSError as error:
            raise LinkError(f"rr={path} cannot be written: {error.strerror}") from error

    def write(self, measured: HeartRate) -> None:
        """Append a measurement; what finds no room is counted and the log told once: the ECG goes on."""
        if self._file.closed:  # the link ends, and its last notification comes late
            return
        told = {"bpm": measured.bpm, "contact": measured.contact, "rr": measured.rr}
        line = msgspec.json.encode({"time": iso_time(time.time())} | told) + b"\n"
        try:
            written = self._file.write(line) or 0
            if written < len(line):  # a disk that fills up takes a part: no half of a line stays
                self._file.truncate(self._file.seek(0, os.SEEK_END) - written)
        except OSError as error:
            self._missed(error.strerror or "it cannot be written")
            return
        if written < len(line):
            self._missed("no room is left")
        else:
            self._full = False

    def _missed(self, why: str) -> None:
        self.lost += 1
        if not self._full:
            log.warning("RR intervals of the strap find no place in their file and are left out: %s", why)
        self._full = True

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()
