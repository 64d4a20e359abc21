"""Sample numbers to wall-clock time."""

from __future__ import annotations

import numpy as np
import pytest

from edgeecg.errors import StateError
from edgeecg.stream.wallclock import WallClock

FS = 250.0


def observed(ppm: float, hours: float) -> WallClock:
    """A device that is ``ppm`` off, over a link that delays by 30 ms on average and never less than 0."""
    clock = WallClock(FS)
    random = np.random.default_rng(0)
    for sample in range(0, round(hours * 3600 * FS), 125):
        clock.observe(sample, 1.7e9 + sample / FS * (1 + ppm * 1e-6) + random.exponential(0.03))
    return clock


@pytest.mark.parametrize("ppm", [-500, 0, 80, 500])
def test_time_is_right_within_ten_milliseconds_in_spite_of_drift_and_delay(ppm: float) -> None:
    clock = observed(ppm, 2.0)
    samples = np.linspace(0, 2 * 3600 * FS, 999).astype(int)
    error = [clock.time(int(s)) - (1.7e9 + s / FS * (1 + ppm * 1e-6)) for s in samples]  # type: ignore[operator]
    assert min(error) > -1e-3
    assert max(error) < 10e-3
    assert clock.rate == pytest.approx(FS / (1 + ppm * 1e-6), rel=2e-5)


def test_nothing_is_known_before_the_first_observation_and_the_declared_rate_holds_after_it() -> None:
    clock = WallClock(FS)
    assert clock.time(0) is None
    clock.observe(1000, 1.7e9)
    assert clock.time(1000) == 1.7e9
    assert clock.time(1250) == 1.7e9 + 1
    assert clock.time(750) == 1.7e9 - 1


def test_a_step_of_the_wall_clock_is_not_taken_for_drift() -> None:
    clock = observed(0, 0.5)
    end = round(0.5 * 3600 * FS)
    clock.observe(end, 1.7e9 + 1800 + 3600)  # somebody set the clock an hour ahead
    assert clock.rate == FS
    assert clock.time(end + 250) == pytest.approx(1.7e9 + 1800 + 3601)


def test_a_clock_goes_on_from_its_snapshot() -> None:
    clock = observed(300, 0.5)
    other = WallClock(FS)
    other.restore(clock.snapshot())
    assert other.time(10**6) == clock.time(10**6)
    with pytest.raises(StateError, match="ascend"):
        other.restore([(5, 1.0), (5, 2.0)])


def test_memory_is_bounded() -> None:
    clock = WallClock(FS)
    for minute in range(3000):
        clock.observe(round(minute * 60 * FS), 1.7e9 + minute * 60)
    assert len(clock.snapshot()) == 1440


def test_a_clock_that_is_set_ahead_by_hours_is_believed_at_once() -> None:
    """And not a minute later; what came before keeps its time. Less than that may be a delay."""
    clock = WallClock(FS)
    clock.observe(0, 1000.0)
    clock.observe(500, 1002.0 + 3600.0)
    assert clock.time(500) == 1002.0
    for minute in range(3):
        sample = 500 + 15_000 * minute
        clock.observe(sample, 1002.0 + 60 * minute + 8 * 3600.0)
        assert clock.time(sample + 250) == 1003.0 + 60 * minute + 8 * 3600.0
    assert clock.time(499) == pytest.approx(1002.0, abs=0.01)
    assert clock.time(250) == 1001.0
    again = WallClock(FS)
    again.restore(clock.snapshot())
    assert again.time(250) == 1001.0


def test_saved_anchors_that_are_no_times_are_refused() -> None:
    for wrong in ([(0, float("nan"))], [(0, 1e300)], [(-1, 0.0)]):
        with pytest.raises(StateError, match="no times"):
            WallClock(FS).restore(wrong)
