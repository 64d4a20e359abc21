"""P(AFIB) smoothed: from the first beat on, as slowly as it should, beat by beat or at once."""

from __future__ import annotations

import numpy as np
import pytest

from edgeecg.decode.fibrillation import BEATS, burden, burdens, initial, smoothed


def test_beat_by_beat_is_the_whole_at_once():
    probabilities, state, told = np.random.default_rng(0).random(200).astype(np.float32), initial(1), []
    for probability in probabilities:
        state = burden(np.array([probability]), state)
        told.append(state[0, 0] / state[0, 1])
    np.testing.assert_array_equal(smoothed(probabilities), told)
    assert smoothed(probabilities[:0]).shape == (0,)
    first, between = burdens(probabilities[:80], initial(1)[0])
    last, after = burdens(probabilities[80:], between)
    np.testing.assert_array_equal(np.concatenate([first, last]), told)
    np.testing.assert_array_equal(after, state[0])


def test_a_steady_probability_is_its_own_mean_from_the_first_beat():
    np.testing.assert_allclose(smoothed(np.full(50, 0.7)), 0.7, rtol=1e-6)


def test_it_takes_some_twenty_beats_to_forget():
    after = smoothed(np.r_[np.ones(400), np.zeros(60)])[400:]
    assert after[0] > 0.9
    assert np.flatnonzero(after < np.exp(-1))[0] == pytest.approx(BEATS, abs=1.5)
