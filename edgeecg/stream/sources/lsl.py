"""Lab Streaming Layer (pylsl): a stream by its name, type or source id."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeecg.errors import ConfigError, LinkError, SignalError
from edgeecg.io.channels import printable
from edgeecg.stream.address import need
from edgeecg.stream.sources.base import MILLIVOLTS, Packet, default_leads, scale
from edgeecg.stream.sources.live import TICK, LiveSource

__all__ = ["LslSource", "pylsl"]

UNITS = {
    "millivolts": "mV",
    "microvolts": "uV",
    "volts": "V",
    "millivolt": "mV",
    "microvolt": "uV",
    "volt": "V",
}
MOST = 4096  # samples a pull


def pylsl(purpose: str) -> Any:
    """The library; it also needs liblsl, which its wheels carry on most platforms."""
    return need("pylsl", "pylsl", "lsl", purpose)


class LslSource(LiveSource):
    """Samples from a Lab Streaming Layer outlet.

    Parameters
    ----------
    name : str
        The stream's name; or ``KEY=VALUE`` for another property, such as ``type=ECG``.
    leads : tuple of str
        Channels to take, by label; all by default.
    units : str, optional
        ``mV``, ``uV`` or ``V``; otherwise as the stream's description says, which it must.
    fs : float, optional
        Rate, for a stream that declares none.
    wait : float
        Seconds that opening waits for the stream.
    timeout : float or None
        Seconds without a sample after which the link counts as broken.

    Raises
    ------
    ConfigError
        If an option is out of range.
    """

    jitter = 0.25  # outlets stamp a block when it is pushed, not when it was measured

    def __init__(
        self,
        name: str,
        *,
        leads: tuple[str, ...] = (),
        units: str | None = None,
        fs: float | None = None,
        wait: float = 10.0,
        timeout: float | None = 30.0,
    ) -> None:
        super().__init__(timeout)
        if units is not None:
            scale(units)
        if not wait > 0:
            raise ConfigError(f"wait={wait} must be more than 0 seconds")
        key, equals, value = name.partition("=")
        self._property = (key, value) if equals else ("name", name)
        self._units, self._rate, self._wait, self._wanted = units, fs, wait, leads
        self._inlet: Any = None

    def _connect(self) -> None:
        self._lsl = pylsl("reading a Lab Streaming Layer stream")
        found = self._lsl.resolve_byprop(*self._property, timeout=self._wait)
        shown = "=".join(self._property)
        if not found:
            found_in = f"was found in {self._wait:g} s: is its outlet running?"
            raise LinkError(f"no stream with {shown} {found_in}", public=f"no such LSL stream {found_in}")
        self._inlet = self._lsl.StreamInlet(found[0], max_buflen=360, recover=True)
        try:
            info = self._inlet.info(timeout=self._wait)
            self._inlet.open_stream(timeout=self._wait)
        except RuntimeError as error:  # pylsl's LostError and TimeoutError
            what = "went away while it was opened"
            raise LinkError(f"the stream with {shown} {what}", public=f"the LSL stream {what}") from error
        self._understand(info, shown)

    def _understand(self, info: Any, shown: str) -> None:
        """Rate, leads and units from the stream's own description."""
        rate = info.nominal_srate() or self._rate
        if not rate:
            raise SignalError(
                f"the stream with {shown} declares no rate: give --fs HERTZ (?fs= in its text, fs= in Python)"
            )
        if info.channel_format() == self._lsl.cf_string:
            raise SignalError(f"the stream with {shown} carries text, not samples: name the ECG stream")
        self.fs = float(rate)
        labels, count = info.get_channel_labels() or (), info.channel_count()
        named = len(labels) == count and all(labels)
        names = tuple(map(printable, labels)) if named else default_leads(count)
        self.leads = self._wanted or names
        missing = [lead for lead in self.leads if lead not in names]
        if missing:
            raise SignalError(f"the stream has no channel {', '.join(missing)}; it has {', '.join(names)}")
        self._columns = [names.index(lead) for lead in self.leads]
        said = self._units or next(iter(info.get_channel_units() or ()), None)
        said = UNITS.get(str(said).lower(), said)
        if said not in MILLIVOLTS:
            raise SignalError(f"the stream with {shown} does not say its units: give units=mV, uV or V")
        self._scale = scale(said)

    def _disconnect(self) -> None:
        inlet, self._inlet = self._inlet, None
        if inlet is not None:
            inlet.close_stream()

    def _produce(self) -> None:
        while not self._stop.is_set():
            try:
                first, stamp = self._inlet.pull_sample(timeout=TICK)
                if first is None:
                    continue
                more, stamps = self._inlet.pull_chunk(timeout=0.0, max_samples=MOST)
            except RuntimeError as error:  # pylsl's LostError
                what = "the LSL stream went away and does not come back by itself"
                raise LinkError(what, public=True) from error
            samples = np.array([first, *more], dtype=np.float64)[:, self._columns] * self._scale
            samples[~np.isfinite(samples)] = np.nan
            self._send(samples, np.array([stamp, *stamps]))

    def _send(self, samples: NDArray[np.float64], stamps: NDArray[np.float64]) -> None:
        """One packet, or several where the stamps show that something is missing between."""
        clock, heard = time.time() - self._lsl.local_clock() + self._offset(), time.monotonic()
        leaps = np.abs(np.diff(stamps) - 1 / self.fs) > self.jitter
        for part in np.split(np.arange(len(stamps)), np.flatnonzero(leaps) + 1):
            began = float(stamps[part[0]])
            stamp = max(0, round(began * 1e9))
            self._put(Packet(samples[part], stamp=stamp, time=began + clock, heard=heard))

    def _offset(self) -> float:
        """Seconds from the outlet's clock to ours, kept up by liblsl in the background."""
        try:
            offset: float = self._inlet.time_correction(timeout=TICK)
        except RuntimeError:  # pylsl's LostError and TimeoutError: not measured yet
            return 0.0
        return offset
