"""When no beat is S: what the two rules leave alone, and what they change."""

from __future__ import annotations

import numpy as np
import pytest

from edgeecg.decode.rr import past_intervals
from edgeecg.decode.supraventricular import behind_interpolated, without_s
from edgeecg.specs import BEAT_LABELS

N, S, V = (BEAT_LABELS.index(label) for label in "NSV")


def test_only_s_is_told_as_n_and_takes_its_probability_along():
    table = np.array([[0.3, 0.5, 0.2, 0, 0], [0.1, 0.3, 0.6, 0, 0], [0.9, 0.1, 0, 0, 0]], np.float32)
    label, probability = without_s(table, np.full(3, True))
    assert label.tolist() == [N, V, N]
    np.testing.assert_allclose(probability, [0.8, 0.6, 0.9], rtol=1e-6)
    label, probability = without_s(table, np.full(3, False))
    assert label.tolist() == [S, V, N]
    np.testing.assert_allclose(probability, [0.5, 0.6, 0.9], rtol=1e-6)


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
