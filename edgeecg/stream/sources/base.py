"""What every source of signal is: it opens, says its rate and leads, gives packets, and always closes."""

from __future__ import annotations

import math
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgeecg.errors import ConfigError, SignalError

__all__ = [
    "MILLIVOLTS",
    "BaseSource",
    "Packet",
    "Source",
    "check_rate",
    "default_leads",
    "named_leads",
    "scale",
]

MILLIVOLTS = {"mV": 1.0, "uV": 1e-3, "V": 1e3}
"""Factor from a unit of voltage to millivolts."""

Self = TypeVar("Self", bound="Source")


@dataclass(frozen=True, eq=False)
class Packet:
    """Samples that came in one piece.

    Parameters
    ----------
    samples : (n, leads) float64
        Millivolts; NaN where the device said that there is none (a lead is off).
    sample : int, optional
        The sender's own count of the first sample; ``None`` where it does not count.
    stamp : int, optional
        The sender's own clock at the first sample, nanoseconds from any origin.
    time : float, optional
        Wall-clock time of the first sample as well as it is known here, Unix seconds.
    heard : float, optional
        When it came (``time.monotonic``), where ``time`` is that too and not the sender's own: a step of the
        wall clock is no gap then.

    Raises
    ------
    SignalError
        If the samples are not ``(n, leads)``.
    """

    samples: NDArray[np.float64]
    sample: int | None = None
    stamp: int | None = None
    time: float | None = None
    heard: float | None = None

    def __post_init__(self) -> None:
        samples: ArrayLike = self.samples
        values = np.asarray(samples, dtype=np.float64)
        if values.ndim != 2 or values.shape[1] == 0:
            raise SignalError(f"a packet has samples of shape (n, leads), not {values.shape}")
        object.__setattr__(self, "samples", values)
        for name, kind in (("sample", int), ("stamp", int), ("time", float), ("heard", float)):
            value = getattr(self, name)
            if value is not None and type(value) is not kind:  # numpy's, which no snapshot holds
                object.__setattr__(self, name, kind(value))

    def __len__(self) -> int:
        return len(self.samples)


class Source(Protocol):
    """A source of packets. ``fs``, ``leads`` and ``jitter`` are known once it is open.

    Attributes
    ----------
    fs : float
        Samples a second, as the sender declares it.
    leads : tuple of str
        Name of each column.
    jitter : float
        How far a packet's stamp may lie from where the stamps before put it, seconds: where each strays from
        the true time of its first sample by up to s either way, 2 s.
    """

    fs: float
    leads: tuple[str, ...]
    jitter: float

    def open(self) -> None:
        """Reach the sender; a second call does nothing."""

    def __iter__(self) -> Iterator[Packet]:
        """Packets in the order in which they came, until the sender ends or the source is closed."""
        ...

    def close(self) -> None:
        """Let go of everything; from any thread, any number of times. What has come can still be read."""

    def __enter__(self: Self) -> Self:
        self.open()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class BaseSource(Source, ABC):
    """The life of a source; subclasses say how to connect, what comes, and how to let go."""

    fs: float
    leads: tuple[str, ...]
    jitter: float = 0.0

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._state = "new"
        self._lock = threading.Lock()

    @abstractmethod
    def _connect(self) -> None:
        """Reach the sender and learn ``fs`` and ``leads``."""

    @abstractmethod
    def _packets(self) -> Iterator[Packet]:
        """Packets until the end; looks at ``self._stop``."""

    def _disconnect(self) -> None:
        """Let go of whatever ``_connect`` took, even if it failed half-way."""

    def open(self) -> None:
        """Reach the sender; a second call does nothing."""
        with self._lock:
            if self._state == "open":
                return
            if self._state == "closed":
                raise SignalError("this source was closed: make a new one")
            try:
                self._connect()
            except BaseException:
                self._state = "closed"
                self._disconnect()
                raise
            self._state = "open"

    def __iter__(self) -> Iterator[Packet]:
        if self._state == "new":
            raise SignalError("the source is not open: use it in a with statement")
        return self._packets()

    def close(self) -> None:
        """Let go of everything; from any thread, any number of times."""
        self._stop.set()
        with self._lock:
            if self._state == "open":
                self._disconnect()
            self._state = "closed"


def check_rate(fs: float | None, form: str) -> float:
    """A rate that a user gave, or a line that asks for it.

    Raises
    ------
    ConfigError
        If it is missing or not a positive number.
    """
    if fs is None:
        raise ConfigError(f"{form} does not tell its rate: give --fs HERTZ (?fs= in its text, fs= in Python)")
    if not (math.isfinite(fs) and fs > 0):
        raise ConfigError(f"fs={fs} is not a positive number of hertz")
    return float(fs)


def scale(units: str) -> float:
    """Factor from ``units`` to millivolts.

    Raises
    ------
    ConfigError
        If the unit is not one of voltage.
    """
    if units not in MILLIVOLTS:
        raise ConfigError(f"units={units!r} is not a voltage: write {', '.join(MILLIVOLTS)}")
    return MILLIVOLTS[units]


def named_leads(leads: tuple[str, ...] | int) -> tuple[str, ...]:
    """Names of columns, which may have been given by their number alone.

    Raises
    ------
    ConfigError
        If the number is not positive.
    """
    if not isinstance(leads, int) and not (len(leads) == 1 and leads[0].isdecimal()):
        return tuple(leads)
    count = leads if isinstance(leads, int) else int(leads[0])
    if count < 1:
        raise ConfigError(f"leads={count}: give their names, or how many there are, at least 1")
    return default_leads(count)


def default_leads(count: int) -> tuple[str, ...]:
    """Names for columns that have none: ``ECG`` or ``ECG1``, ``ECG2`` ..."""
    return ("ECG",) if count == 1 else tuple(f"ECG{i + 1}" for i in range(count))
