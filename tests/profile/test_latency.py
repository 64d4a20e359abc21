"""Percentiles and pace: known durations come out as known."""

from __future__ import annotations

import time

import numpy as np
import pytest

from edgeecg.errors import ConfigError
from edgeecg.profile.latency import measure, sample, summarise
from edgeecg.profile.pace import keep_pace


def test_percentiles_are_values_that_were_measured() -> None:
    found = summarise(np.random.default_rng(0).permutation(np.arange(1, 1001)))
    assert (found.p50, found.p90, found.p99, found.p999, found.maximum) == (500, 900, 990, 999, 1000)
    assert (found.minimum, found.mean, found.runs) == (1, 500.5, 1000)
    assert found.jitter == pytest.approx(288.675, abs=1e-3)


def test_what_few_runs_cannot_resolve_is_the_maximum() -> None:
    found = summarise([1.0, 2.0, 3.0])
    assert (found.p50, found.p99, found.p999) == (2.0, 3.0, 3.0)


def test_one_run_is_a_distribution() -> None:
    assert summarise([4.0]).p50 == 4.0


def test_nothing_measured_is_told() -> None:
    with pytest.raises(ConfigError, match="nothing was measured"):
        summarise([])


@pytest.mark.parametrize(("warmup", "runs"), [(-1, 5), (0, 0)])
def test_runs_must_make_sense(warmup: int, runs: int) -> None:
    with pytest.raises(ConfigError, match="0 or more"):
        measure(lambda: None, warmup, runs)


def test_warm_up_runs_do_not_count() -> None:
    calls = []

    def first_is_slow() -> None:
        calls.append(1)
        if len(calls) == 1:
            time.sleep(0.2)

    assert max(sample(first_is_slow, warmup=1, runs=5)) < 100
    assert len(calls) == 6


def test_a_sleep_takes_as_long_as_it_says() -> None:
    found = measure(lambda: time.sleep(0.005), warmup=1, runs=10)
    assert 5.0 <= found.minimum < 50


@pytest.mark.parametrize("wait", ["block", "spin"])
def test_hops_that_are_in_time_miss_nothing(wait: str) -> None:
    begun: list[float] = []
    pace = keep_pace(lambda: begun.append(time.perf_counter()), 0.25, 4, wait)  # type: ignore[arg-type]
    assert (pace.hops, pace.busy.runs, pace.wait) == (4, 4, wait)
    assert pace.misses == 0
    assert begun[-1] - begun[0] == pytest.approx(0.75, abs=0.2)


def test_hops_that_take_longer_than_their_period_are_missed() -> None:
    pace = keep_pace(lambda: time.sleep(0.01), 0.004, 6)
    assert pace.misses >= 5
    assert pace.busy.minimum >= 10
    assert pace.wake.maximum > 20, "lateness adds up: the signal does not wait"


@pytest.mark.parametrize(("period", "hops"), [(0.0, 5), (0.1, 0)])
def test_a_pace_must_make_sense(period: float, hops: int) -> None:
    with pytest.raises(ConfigError, match="at least one"):
        keep_pace(lambda: None, period, hops)
