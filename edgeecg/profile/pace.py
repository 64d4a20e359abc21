"""At the hop's own pace: what a deadline sees, with a machine that sleeps between hops."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from edgeecg.errors import ConfigError
from edgeecg.profile.latency import Percentiles, summarise

__all__ = ["Pace", "Wait", "keep_pace"]

Wait = Literal["block", "spin"]


@dataclass(frozen=True)
class Pace:
    """Hops at a fixed pace.

    Parameters
    ----------
    period : float
        Seconds from hop to hop.
    hops : int
        How many.
    wait : str
        ``block`` (sleep until due) or ``spin``.
    wake : Percentiles
        Milliseconds by which a hop began late.
    busy : Percentiles
        Milliseconds that it took.
    misses : int
        Hops that were not done when the next was due.
    """

    period: float
    hops: int
    wait: Wait
    wake: Percentiles
    busy: Percentiles
    misses: int


def keep_pace(step: Callable[[], object], period: float, hops: int, wait: Wait = "block") -> Pace:
    """Call ``step`` every ``period`` seconds.

    A hop that is late does not move those after it: the signal does not wait either.
    """
    if period <= 0 or hops < 1:
        raise ConfigError(f"{hops} hops every {period} s: give at least one, and a period above 0")
    wake, busy, misses = [], [], 0
    start = time.perf_counter() + period
    for hop in range(hops):
        due = start + hop * period
        if wait == "block":
            time.sleep(max(0.0, due - time.perf_counter()))
        while time.perf_counter() < due:
            pass
        begin = time.perf_counter()
        step()
        end = time.perf_counter()
        wake.append(1e3 * (begin - due))
        busy.append(1e3 * (end - begin))
        misses += end > due + period
    return Pace(period, hops, wait, summarise(wake), summarise(busy), misses)
