"""A recording, or a synthetic patient, played as if it were live."""

from __future__ import annotations

import math
import time
from abc import abstractmethod
from collections.abc import Iterator

from edgeecg.errors import ConfigError
from edgeecg.io.record import Record
from edgeecg.stream.faults import Faults, FaultSpec
from edgeecg.stream.sources.base import BaseSource, Packet

__all__ = ["RecordSource", "ReplaySource", "SyntheticSource"]


class RecordSource(BaseSource):
    """The common part: a record in memory, cut into packets and paced.

    Parameters
    ----------
    speed : float
        Multiple of real pace; 0 plays as fast as the reader takes it.
    packet : float
        Seconds of signal in a packet.
    faults : str
        What goes wrong on the way, e.g. ``drop=0.01,nan=2``; see `FaultSpec`.
    seed : int
        Seed of the faults.

    Attributes
    ----------
    record : Record
        What is played; known once the source is open.
    faults : Faults or None
        The faults with their log; known once the source is open.

    Raises
    ------
    ConfigError
        If an option is out of range.
    """

    record: Record

    def __init__(self, speed: float, packet: float, faults: str, seed: int) -> None:
        super().__init__()
        if not (speed >= 0 and math.isfinite(speed)):
            raise ConfigError(f"speed={speed} must be 0 (as fast as possible) or a positive multiple")
        if not 0 < packet <= 3600:
            raise ConfigError(f"packet={packet} must be more than 0 and at most 3600 seconds")
        self._speed, self._seconds, self._seed = speed, packet, seed
        self._spec = FaultSpec.parse(faults) if faults else None
        self.faults: Faults | None = None

    @abstractmethod
    def _load(self) -> Record:
        """Read or make the record."""

    def _connect(self) -> None:
        self.record = self._load()
        self.fs, self.leads = self.record.fs, self.record.leads
        if self._spec is not None:
            self.faults = Faults(self._spec, self.fs, self._seed)

    def _packets(self) -> Iterator[Packet]:
        return self._paced() if self.faults is None else self.faults.apply(self._paced())

    def _paced(self) -> Iterator[Packet]:
        """Each packet when its last sample is due."""
        size = max(1, round(self._seconds * self.fs))
        begun, wall = time.monotonic(), self._begin()
        for start in range(0, len(self.record), size):
            samples = self.record.signal[start : start + size]
            if self._speed:
                due = begun + (start + len(samples)) / self.fs / self._speed
                self._stop.wait(max(0.0, due - time.monotonic()))
            if self._stop.is_set():
                return
            at = None if wall is None else wall + start / self.fs
            yield Packet(samples, sample=start, time=at)

    def _begin(self) -> float | None:
        """Unix time of sample 0: the recording's own, or now where it is played as if live.

        A recording that names no time zone, as WFDB and EDF cannot, was made in this machine's.
        """
        if self.record.start is not None:
            return self.record.start.timestamp()
        return time.time() if self._speed == 1 else None


class ReplaySource(RecordSource):
    """A recording: WFDB, EDF, CSV or Parquet, whatever `edgeecg.io.read_record` reads.

    Parameters
    ----------
    path : str
        The recording.
    speed, packet, faults, seed
        See `RecordSource`.
    start : float
        Seconds of the recording to skip; samples are counted from there.
    seconds : float, optional
        Seconds to play; to its end by default.
    leads : tuple of str
        Leads to play; all by default.
    fs, units, gain : optional
        For recordings that do not tell theirs; see `edgeecg.io.read_record`.

    Raises
    ------
    ConfigError
        If an option is out of range.
    """

    def __init__(
        self,
        path: str,
        *,
        speed: float = 1.0,
        packet: float = 0.1,
        start: float = 0.0,
        seconds: float | None = None,
        leads: tuple[str, ...] = (),
        fs: float | None = None,
        units: str | None = None,
        gain: float | None = None,
        faults: str = "",
        seed: int = 0,
    ) -> None:
        super().__init__(speed, packet, faults, seed)
        if not start >= 0 or (seconds is not None and not seconds > 0):
            raise ConfigError(f"start={start} must be at least 0 and seconds={seconds} more than 0")
        self._path, self._start, self._length = path, start, seconds
        self._leads, self._fs, self._units, self._gain = leads, fs, units, gain

    def _load(self) -> Record:
        from edgeecg.io import read_record

        record = read_record(
            self._path, leads=self._leads or None, fs=self._fs, units=self._units, gain=self._gain
        )
        first = round(self._start * record.fs)
        last = len(record) if self._length is None else first + round(self._length * record.fs)
        if first >= len(record):
            raise ConfigError(
                f"start={self._start:g} s lies behind the recording's end at {record.seconds:g} s"
            )
        return record.cut(first, min(last, len(record))) if (first, last) != (0, len(record)) else record


class SyntheticSource(RecordSource):
    """A patient of the built-in generator.

    Parameters
    ----------
    patient : int
        Seed of patient and recording.
    kind : str
        Kind of patient; see `edgeecg.data.synthetic.KINDS`.
    seconds : float
        Length.
    fs : float
        Rate, hertz.
    leads : tuple of str
        Leads of the generator.
    snr : float
        Signal-to-noise ratio, decibels.
    speed, packet, faults, seed
        See `RecordSource`.

    Raises
    ------
    ConfigError
        If an option is out of range.
    """

    def __init__(
        self,
        patient: int,
        *,
        kind: str = "ventricular",
        seconds: float = 60.0,
        fs: float = 360.0,
        leads: tuple[str, ...] = ("MLII", "V1"),
        snr: float = 24.0,
        speed: float = 1.0,
        packet: float = 0.1,
        faults: str = "",
        seed: int = 0,
    ) -> None:
        super().__init__(speed, packet, faults, seed)
        if patient < 0:
            raise ConfigError(f"synthetic:{patient} needs a seed of 0 or more")
        self._patient, self._kind, self._length = patient, kind, seconds
        self._rate, self._names, self._snr = fs, leads, snr

    def _load(self) -> Record:
        from edgeecg.data.synthetic import SyntheticSettings, draw_patient, synthesize

        settings = SyntheticSettings(
            draw_patient(self._kind, self._patient), self._length, self._rate, self._names, self._snr
        )
        return synthesize(settings, self._patient).record
