"""The energy of a block of code: power sampled by a thread and integrated, or counters read twice."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from edgeecg.profile.power import PowerReader

__all__ = ["Energy", "EnergyMeter", "integrate", "total"]

TOTALS = ("VDD_IN", "VIN", "POM_5V_IN")
"""Rails that carry the whole board; where there is none, the rails add up."""

WITHIN = ("VDDQ_VDD2_1V8AO",)
"""Rails that another one feeds: an AGX Orin's memory is part of ``VIN_SYS_5V0`` (Jetson Linux Developer Guide
R36.4.3, Jetson AGX Orin, Software-Based Power Consumption Modeling)."""


@dataclass(frozen=True)
class Energy:
    """Energy of a stretch of time.

    Parameters
    ----------
    source : str
        Which reader.
    joules, seconds : float
        In all.
    rails : mapping of name to watts
        Mean power by rail.
    """

    source: str
    joules: float
    seconds: float
    rails: Mapping[str, float]

    @property
    def watts(self) -> float:
        """Mean power."""
        return self.joules / self.seconds if self.seconds else 0.0


def total(rails: Mapping[str, float]) -> float:
    """Power of the whole board: the rail that carries it all, else the sum of those that no other feeds."""
    for name in TOTALS:
        if name in rails:
            return rails[name]
    return sum(watts for name, watts in rails.items() if name not in WITHIN)


class EnergyMeter:
    """Measures the energy of a block of code.

    Parameters
    ----------
    reader : PowerReader
        What tells power.
    interval : float
        Seconds between samples; an INA3221 refreshes about every 20 ms.

    Examples
    --------
    >>> with EnergyMeter(reader) as meter:  # doctest: +SKIP
    ...     run()
    >>> meter.energy.joules  # doctest: +SKIP
    """

    def __init__(self, reader: PowerReader, interval: float = 0.02) -> None:
        self._reader, self._interval = reader, interval
        self._stop = threading.Event()
        self._samples: list[tuple[float, dict[str, float]]] = []
        self.energy: Energy | None = None

    def __enter__(self) -> EnergyMeter:
        self._take()
        if not self._reader.counts:
            self._thread = threading.Thread(target=self._follow, name="energy", daemon=True)
            self._thread.start()
        return self

    def _take(self) -> None:
        self._samples.append((time.monotonic(), dict(self._reader.read())))

    def _follow(self) -> None:
        while not self._stop.wait(self._interval):
            self._take()

    def __exit__(self, *error: object) -> None:
        if not self._reader.counts:
            self._stop.set()
            self._thread.join()
        self._take()
        self.energy = integrate(self._reader.name, self._samples, self._reader.counts)


def integrate(source: str, samples: list[tuple[float, dict[str, float]]], counts: bool) -> Energy | None:
    """Energy of samples (seconds, by rail): differences of counters, or the area under power.

    ``None`` where the sensor gave nothing.
    """
    told = [(moment, rails) for moment, rails in samples if rails]
    if len(told) < 2:
        return None
    seconds = told[-1][0] - told[0][0]
    if counts:
        joules = {name: told[-1][1][name] - first for name, first in told[0][1].items()}
        return Energy(source, sum(joules.values()), seconds, {n: j / seconds for n, j in joules.items()})
    area = 0.0
    by_rail: dict[str, float] = {}
    for (start, before), (end, after) in pairwise(told):
        area += (end - start) * (total(before) + total(after)) / 2
        for name in before.keys() & after.keys():
            by_rail[name] = by_rail.get(name, 0.0) + (end - start) * (before[name] + after[name]) / 2
    return Energy(source, area, seconds, {name: joules / seconds for name, joules in sorted(by_rail.items())})
