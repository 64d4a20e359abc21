"""The rules about S: what they change, and what they leave alone."""

from __future__ import annotations

import numpy as np
import pytest

from edgeecg.decode.rr import past_intervals
from edgeecg.decode.supraventricular import TURNS, alternating, behind_interpolated, told
from edgeecg.specs import BEAT_LABELS

N, S, V = (BEAT_LABELS.index(label) for label in "NSV")


TABLE = np.array([[0.3, 0.5, 0.2, 0, 0], [0.1, 0.3, 0.6, 0, 0], [0.9, 0.1, 0, 0, 0]], np.float32)
NO, YES = np.full(3, False), np.full(3, True)


def test_where_no_beat_is_s_it_is_n_and_takes_its_probability_along():
    label, probability = told(TABLE, YES, NO)
    assert label.tolist() == [N, V, N]
    np.testing.assert_allclose(probability, [0.8, 0.6, 0.9], rtol=1e-6)
    label, probability = told(TABLE, NO, NO)
    assert label.tolist() == [S, V, N]
    np.testing.assert_allclose(probability, [0.5, 0.6, 0.9], rtol=1e-6)


def test_in_bigeminy_n_is_s_where_that_is_possible_and_not_ruled_out():
    label, probability = told(TABLE, NO, YES)
    assert label.tolist() == [S, V, S]
    np.testing.assert_allclose(probability, [0.5, 0.6, 1.0], rtol=1e-6)
    assert told(TABLE, YES, YES)[0].tolist() == [N, V, N]
    assert told(np.array([[0.99, 0.01, 0, 0, 0]], np.float32), NO[:1], YES[:1])[0].tolist() == [N]


def rule(gaps: list[float], before: int = V) -> bool:
    """Whether it holds for the last beat of a regular rhythm of 0.8 s that ends with these intervals."""
    times = np.cumsum([0.0, *[0.8] * 12, *gaps])
    return bool(behind_interpolated(np.full(len(times), before), past_intervals(times))[-1])


@pytest.mark.parametrize("gaps", [[0.35, 0.45], [0.45, 0.45], [0.4, 0.38]])
def test_the_sinus_beat_behind_an_interpolated_v_is_on_time(gaps):
    assert rule(gaps)


@pytest.mark.parametrize(
    "gaps",
    [
        [0.5, 1.1],  # a compensatory pause: late, and no S in any case
        [0.4, 0.25],  # earlier than was due: it may well be S
        [0.7, 0.5],  # later than that, and yet early after a beat that was hardly so
    ],
)
def test_other_beats_behind_a_v_are_left_alone(gaps):
    assert not rule(gaps)


@pytest.mark.parametrize("before", [N, S, -1])
def test_it_is_about_beats_behind_a_v(before):
    assert not rule([0.35, 0.45], before)


def test_nothing_is_known_at_the_start():
    times = np.array([0.0, 0.4, 0.8])
    assert not behind_interpolated(np.full(3, V), past_intervals(times))[:2].any()
    assert behind_interpolated(np.empty(0, int), past_intervals(times[:0])).shape == (0,)


def in_turn(*intervals: float, pairs: int = TURNS // 2 + 1) -> list[bool]:
    times = np.cumsum([0.0, *[0.8] * 20, *intervals * pairs])
    return alternating(past_intervals(times))[21:].tolist()


def test_bigeminy_is_short_and_long_in_turn_long_enough():
    found = in_turn(0.72, 0.84)
    assert found == [False] * (len(found) - 2) + [True, False], "only the beats that end the short intervals"


@pytest.mark.parametrize("intervals", [(0.78, 0.82), (0.7, 0.9, 0.9), (0.8, 0.8), (0.7, 0.7, 0.9, 0.9)])
def test_other_rhythms_are_no_bigeminy(intervals):
    assert not any(in_turn(*intervals, pairs=20))


def test_irregular_rhythm_is_hardly_ever_bigeminy():
    times = np.cumsum(np.random.default_rng(0).uniform(0.4, 1.1, 20_000))
    assert alternating(past_intervals(times)).mean() < 0.005
