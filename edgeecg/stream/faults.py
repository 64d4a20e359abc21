"""Faults on purpose: what a bad link, a loose electrode or a restarting device does to packets.

Seeded, so that a failing run can be run again; every fault is logged with the samples it touched, so that
a test can ask whether the stream recovered from each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from edgeecg.errors import ConfigError
from edgeecg.stream.sources.base import Packet

__all__ = ["Fault", "FaultSpec", "Faults"]


@dataclass(frozen=True)
class FaultSpec:
    """How often what goes wrong.

    Parameters
    ----------
    drop, duplicate, reorder : float
        Probability for each packet to be lost, doubled, or held back behind up to three later ones.
    nan, flat, clip, outage : float
        Runs a minute of signal: no numbers, a lead that has fallen off, saturation, nothing sent at all.
    restart, jump : float
        Times a minute that the device's count and clock begin anew, or leap ahead by hours.
    drift : float
        Deviation of the device's clock, parts in a million; packets carry that clock then, and no count.
    seconds : float
        Mean length of a run.
    rail : float
        Level at which a saturated input stands, millivolts.

    Raises
    ------
    ConfigError
        If a probability or rate is out of range.
    """

    drop: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    nan: float = 0.0
    flat: float = 0.0
    clip: float = 0.0
    outage: float = 0.0
    restart: float = 0.0
    jump: float = 0.0
    drift: float = 0.0
    seconds: float = 3.0
    rail: float = 5.0

    def __post_init__(self) -> None:
        for name in ("drop", "duplicate", "reorder"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"fault {name}={getattr(self, name)} is a probability: 0 to 1")
        for name in ("nan", "flat", "clip", "outage", "restart", "jump"):
            if not 0 <= getattr(self, name) <= 60:
                raise ConfigError(
                    f"fault {name}={getattr(self, name)} is a number of times a minute: 0 to 60"
                )
        if not 0 < self.seconds <= 3600 or not abs(self.drift) <= 10_000:
            raise ConfigError("faults need 0 < seconds <= 3600 and drift within 10000 parts in a million")

    @classmethod
    def parse(cls, text: str) -> FaultSpec:
        """``drop=0.01,nan=2`` to a spec.

        Raises
        ------
        ConfigError
            If a name is unknown or a value is no number.
        """
        known = [field.name for field in fields(cls)]
        values: dict[str, float] = {}
        for item in filter(None, text.replace(" ", "").split(",")):
            name, _, value = item.partition("=")
            if name not in known:
                raise ConfigError(f"fault {name!r} is unknown: write {', '.join(known)}")
            try:
                values[name] = float(value)
            except ValueError:
                raise ConfigError(f"fault {item!r} is not NAME=NUMBER") from None
        return cls(**values)


@dataclass(frozen=True)
class Fault:
    """One fault as it happened: ``length`` samples from ``start`` on, in the source's own count."""

    kind: str
    start: int
    length: int


class Faults:
    """Wraps packets and spoils them.

    Parameters
    ----------
    spec : FaultSpec
        What goes wrong.
    fs : float
        Rate of the packets, hertz.
    seed : int
        Same seed, same faults.
    """

    def __init__(self, spec: FaultSpec, fs: float, seed: int = 0) -> None:
        self.spec, self.fs = spec, fs
        self.log: list[Fault] = []
        self._random = np.random.default_rng(seed)
        self._runs = {"nan": 0, "flat": 0, "clip": 0, "outage": 0}
        self._shift = 0
        self._at = 0

    def apply(self, packets: Iterable[Packet]) -> Iterator[Packet]:
        """The packets, spoiled. Those without a count get one, so that a loss can be seen."""
        late: list[tuple[int, Packet]] = []
        for packet in packets:
            start = self._at if packet.sample is None else packet.sample
            self._at = start + len(packet)
            sent = self._device(packet, start)
            if sent is not None and not self._happens("drop", start, len(packet)):
                copies = 2 if self._happens("duplicate", start, len(packet)) else 1
                for _ in range(copies):
                    held = self._happens("reorder", start, len(packet))
                    late.append((int(self._random.integers(1, 4)) if held else 0, sent))
            yield from (item for delay, item in late if delay <= 0)
            late = [(delay - 1, item) for delay, item in late if delay > 0]
        yield from (item for _, item in late)

    def _happens(self, kind: str, start: int, length: int) -> bool:
        if self._random.random() >= getattr(self.spec, kind):
            return False
        self.log.append(Fault(kind, start, length))
        return True

    def _device(self, packet: Packet, start: int) -> Packet | None:
        """What electrodes, amplifier and clock do to it; ``None`` while nothing is sent."""
        samples = packet.samples.copy()
        minutes = len(packet) / self.fs / 60
        for kind in self._runs:
            if self._runs[kind] == 0 and self._random.random() < getattr(self.spec, kind) * minutes:
                self._runs[kind] = max(1, round(self._random.exponential(self.spec.seconds) * self.fs))
                self.log.append(Fault(kind, start, self._runs[kind]))
        silent = self._spoil(samples)
        self._leap(start, minutes)
        if silent:
            return None
        return replace(packet, samples=samples, **self._told(packet.stamp, start))

    def _told(self, stamp: int | None, start: int) -> dict[str, int | None]:
        """What the device says of a packet's place: its count, or where its clock drifts that clock."""
        drifts = self.spec.drift != 0
        if stamp is None and drifts:
            stamp = round(start * 1e9 / self.fs)
        if stamp is not None:
            stamp = round(stamp * (1 + self.spec.drift * 1e-6)) + round(self._shift * 1e9 / self.fs)
        return {"sample": None if drifts else start + self._shift, "stamp": stamp}

    def _spoil(self, samples: NDArray[np.float64]) -> bool:
        """Overwrite the runs in place; whether nothing is sent of this packet."""
        fill = {"nan": np.nan, "flat": 0.0, "clip": self.spec.rail}
        for kind, value in fill.items():
            samples[: self._runs[kind]] = value
        silent = self._runs["outage"] > 0
        self._runs = {kind: max(0, left - len(samples)) for kind, left in self._runs.items()}
        return silent

    def _leap(self, start: int, minutes: float) -> None:
        """The device's count and clock begin anew, or leap ahead."""
        if self._random.random() < self.spec.restart * minutes:
            self._shift = -start
            self.log.append(Fault("restart", start, 0))
        elif self._random.random() < self.spec.jump * minutes:
            self._shift += round(self._random.uniform(2, 20) * 3600 * self.fs)
            self.log.append(Fault("jump", start, 0))
