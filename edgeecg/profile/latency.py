"""How long a call takes, as a distribution: a mean hides what a deadline meets."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from edgeecg.errors import ConfigError

__all__ = ["Percentiles", "measure", "sample", "summarise"]


@dataclass(frozen=True)
class Percentiles:
    """Distribution of a duration, milliseconds.

    ``jitter`` is the standard deviation. A percentile that ``runs`` cannot resolve (p99.9 of a hundred
    runs) is the maximum.
    """

    runs: int
    mean: float
    jitter: float
    minimum: float
    p50: float
    p90: float
    p99: float
    p999: float
    maximum: float


def summarise(milliseconds: ArrayLike) -> Percentiles:
    """Distribution of durations in milliseconds; raises ``ConfigError`` where there are none."""
    values = np.sort(np.asarray(milliseconds, np.float64).ravel())
    if not len(values):
        raise ConfigError("nothing was measured: ask for at least one run")

    def percentile(share: float) -> float:
        """Nearest rank: a value that was measured, nothing interpolated."""
        return float(values[max(0, math.ceil(share * len(values)) - 1)])

    return Percentiles(
        runs=len(values),
        mean=float(values.mean()),
        jitter=float(values.std()),
        minimum=float(values[0]),
        p50=percentile(0.5),
        p90=percentile(0.9),
        p99=percentile(0.99),
        p999=percentile(0.999),
        maximum=float(values[-1]),
    )


def sample(call: Callable[[], object], warmup: int = 20, runs: int = 200) -> list[float]:
    """Milliseconds of each of ``runs`` calls, after ``warmup`` that do not count."""
    if warmup < 0 or runs < 1:
        raise ConfigError(f"{warmup} warm-up runs and {runs} runs: give 0 or more, and 1 or more")
    for _ in range(warmup):
        call()
    elapsed = []
    for _ in range(runs):
        begin = time.perf_counter_ns()
        call()
        elapsed.append((time.perf_counter_ns() - begin) / 1e6)
    return elapsed


def measure(call: Callable[[], object], warmup: int = 20, runs: int = 200) -> Percentiles:
    """Distribution of the time that a call takes.

    Examples
    --------
    >>> measure(lambda: sum(range(1000)), warmup=5, runs=50).runs
    50
    """
    return summarise(sample(call, warmup, runs))
