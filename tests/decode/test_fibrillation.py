"""No beat is S in fibrillation: when the rule begins, what it changes, and that beats come one by one."""

from __future__ import annotations

import numpy as np
import pytest

from edgeecg.decode.fibrillation import BEATS, burden, initial, without_s
from edgeecg.specs import BEAT_LABELS

N, S, V = (BEAT_LABELS.index(label) for label in "NSV")


def smoothed(probabilities):
    state, told = initial(1), []
    for p in probabilities:
        state = burden(np.array([p], np.float32), state)
        told.append(state[0, 0] / state[0, 1])
    return np.array(told)


def test_a_steady_probability_is_its_own_mean_from_the_first_beat():
    np.testing.assert_allclose(smoothed(np.full(50, 0.7)), 0.7, rtol=1e-6)


def test_it_takes_some_twenty_beats_to_forget():
    after = smoothed(np.r_[np.ones(400), np.zeros(60)])[400:]
    assert after[0] > 0.9
    assert np.flatnonzero(after < np.exp(-1))[0] == pytest.approx(BEATS, abs=1.5)


def test_only_s_is_told_as_n_and_takes_its_probability_along():
    table = np.array([[0.3, 0.5, 0.2, 0, 0], [0.1, 0.3, 0.6, 0, 0], [0.9, 0.1, 0, 0, 0]], np.float32)
    label, probability = without_s(table, np.full(3, 0.5), limit=0.4)
    assert label.tolist() == [N, V, N]
    np.testing.assert_allclose(probability, [0.8, 0.6, 0.9], rtol=1e-6)
    label, probability = without_s(table, np.full(3, 0.39), limit=0.4)
    assert label.tolist() == [S, V, N]
    np.testing.assert_allclose(probability, [0.5, 0.6, 0.9], rtol=1e-6)
