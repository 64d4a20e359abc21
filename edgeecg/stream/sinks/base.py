"""What every sink of events is: it opens for each patient, is written to, and always closes without loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from edgeecg.errors import ConfigError, EdgeECGError, StateError
from edgeecg.specs import Beat, Event, Gap

__all__ = [
    "KEEP",
    "SCHEMA",
    "BaseSink",
    "Header",
    "SignalSink",
    "Sink",
    "WardSink",
    "event_name",
    "event_sample",
    "port_of",
]

SCHEMA = 1
"""Version of what sinks write; a reader refuses one that it does not know."""

KEEP = 600.0
"""Seconds between two calls of `Sink.keep`, for each patient."""

Self = TypeVar("Self", bound="Sink")


@dataclass(frozen=True)
class Header:
    """What a reader must know to understand a patient's events.

    Parameters
    ----------
    patient : str
        The name under which events come; a pseudonym will do.
    fs : float
        Rate in which samples are counted, hertz.
    leads : tuple of str
        Leads that were looked at.
    model : str
        Name of the bundle.
    digest : str
        Hash of the bundle.
    backend, precision : str
        What computed.
    start : float, optional
        Unix time of sample 0, where it is known.
    number : int, optional
        Of the source in a gateway's file, the first is 1: what its log calls it, whoever connects first.

    Raises
    ------
    ConfigError
        If the patient's name is no text, as that of a pool may be: what is written could not be read back.
    """

    patient: str
    fs: float
    leads: tuple[str, ...]
    model: str
    digest: str
    backend: str = ""
    precision: str = ""
    start: float | None = None
    number: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.patient, str):
            raise ConfigError(f"patient {self.patient!r}: sinks name patients by text, give str(patient)")


class Sink(Protocol):
    """Takes events. One sink may serve many patients; it is used from one thread.

    Attributes
    ----------
    behind : bool
        Whether something waits that could not be written yet.
    waits : bool
        Whether writing may wait for a reader that is slow: a gateway's may not, which would delay everybody.
    """

    behind: bool = False
    waits: bool = True

    @property
    def patients(self) -> Collection[str]:
        """Who is open."""
        ...

    @property
    def trouble(self) -> EdgeECGError | None:
        """Why something waits, where that was no error of a call: what was taken in may wait for long."""
        return None

    def open(self, header: Header) -> None:
        """Begin a patient; the first call also reaches whatever is behind the sink."""

    def write(self, event: Event, patient: str, time: float | None = None) -> None:
        """Take one event; ``time`` is the wall-clock time of its sample (Unix seconds), if known.

        Where it `waits` for nobody, an event that it keeps for later is no error: `behind` says so.
        """

    def flush(self) -> None:
        """Return when everything written so far has arrived, or raise `LinkError`."""

    def retry(self) -> None:
        """Write what waits, if there is room for it now, without waiting for any; raises as `write` does."""

    def keep(self) -> None:
        """Write what a crash would lose; called now and then by whoever runs for days."""

    def close(self) -> None:
        """Flush and let go; any number of times."""

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


@runtime_checkable
class SignalSink(Protocol):
    """A sink that wants the signal too."""

    def signal(self, start: int, samples: NDArray[np.float64], patient: str) -> None:
        """Take ``(n, leads)`` millivolts from sample ``start`` on; before the events that come from them."""


@runtime_checkable
class WardSink(Protocol):
    """A sink that shows patients who have not come yet: a source that is never reached is not forgotten."""

    def expect(self, patients: Mapping[int, str]) -> None:
        """Names of the patients who will come, by `Header.number`; before the first is opened."""


class BaseSink(Sink, ABC):
    """The life of a sink; subclasses say how to connect, send, and let go."""

    behind: bool = False
    waits: bool = True

    def __init__(self) -> None:
        self._headers: dict[str, Header] = {}
        self._state = "new"

    @abstractmethod
    def _connect(self, header: Header) -> None:
        """Reach what is behind the sink."""

    def _begin(self, header: Header) -> None:
        """A patient begins."""

    @abstractmethod
    def _send(self, event: Event, header: Header, time: float | None) -> None:
        """Pass an event on."""

    def _disconnect(self) -> None:
        """Let go of whatever ``_connect`` took, even if it failed half-way."""

    def open(self, header: Header) -> None:
        """Begin a patient; the first call also reaches whatever is behind the sink, and may be repeated."""
        if self._state == "closed":
            raise StateError("this sink was closed: make a new one")
        if header.patient in self._headers:
            raise ConfigError("a patient of this name is open already: names must differ")
        if self._state == "new":
            try:
                self._connect(header)
            except BaseException:
                self._disconnect()
                raise
            self._state = "open"
        self._headers[header.patient] = header
        try:
            self._begin(header)
        except ConfigError:  # refused; after a LinkError the header goes out with what follows
            del self._headers[header.patient]
            raise

    @property
    def patients(self) -> Collection[str]:
        """Who is open."""
        return self._headers.keys()

    def write(self, event: Event, patient: str, time: float | None = None) -> None:
        """Take one event."""
        header = self._headers.get(patient)
        if self._state != "open" or header is None:
            raise StateError("this patient is not open in the sink: call open(header) first")
        self._send(event, header, time)

    def flush(self) -> None:
        """Return when everything written so far has arrived."""

    def retry(self) -> None:
        """Write what waits, if there is room for it now; in most sinks nothing does."""

    def keep(self) -> None:
        """Write what a crash would lose; most sinks hold nothing back."""

    def close(self) -> None:
        """Flush and let go; any number of times."""
        if self._state != "open":
            self._state = "closed"
            return
        self._state = "closed"
        try:
            self.flush()
        finally:
            self._disconnect()


def event_name(event: Event) -> str:
    """Kind of an event in lower case: ``beat``, ``rhythm``, ``quality``, ``gap``, ``alarm``."""
    return type(event).__name__.lower()


def event_sample(event: Event) -> int:
    """The sample that an event tells of now: of the beat, or of the onset or end of an episode."""
    if isinstance(event, Beat):
        return event.sample
    if isinstance(event, Gap):
        return event.start
    return event.start if event.end is None else event.end


def port_of(text: str, kind: str) -> tuple[str, int]:
    """``PORT`` or ``HOST:PORT``; the host is this machine alone unless it is named.

    Raises
    ------
    ConfigError
        If there is no port between 0 and 65535 (0: any free one), or the host cannot be a machine's name.
    """
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")  # as an address of IPv6 stands in a URL
    if not port.isdecimal() or float(port) > 65535:
        raise ConfigError(f"{kind}:{text} names no port: write {kind}:PORT or {kind}:HOST:PORT")
    try:
        host.encode("idna")  # as the system would, which calls it no error of its own
    except UnicodeError:
        raise ConfigError(f"{kind}:{text}: {host!r} cannot be the name of a machine") from None
    return host or "127.0.0.1", int(port)
