"""Impulses that no heart makes are left out; hearts are left alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgeecg.signal.frontend import FrontEnd
from edgeecg.signal.impulse import LEARN, MOST, Impulses
from edgeecg.specs import SignalSpec
from tests.signal.test_frontend import RATES, beats

Array = NDArray[Any]
every_rate = pytest.mark.parametrize("fs", RATES)


def cleared(x: Array, fs: float) -> Array:
    stage = Impulses(fs)
    made, _ = stage.step(x, stage.initial(len(x)))
    return made


def with_glitches(x: Array, fs: float, millivolts: float, every: float = 1.0, begin: float = 0.0) -> Array:
    made = x.copy()
    made[:, int(begin * fs) :: int(every * fs)] += millivolts
    return made


@every_rate
@pytest.mark.parametrize("scale", [1e-3, 1.0, -4.0, 1e3])
def test_hearts_are_left_alone_whatever_their_gain(fs: float, scale: float) -> None:
    x = scale * beats(fs)
    np.testing.assert_array_equal(cleared(x, fs), x)


@every_rate
@pytest.mark.parametrize("millivolts", [4.0, -30.0])
def test_a_glitch_is_left_out_even_where_the_first_beats_had_one(fs: float, millivolts: float) -> None:
    x = beats(fs)
    made = cleared(with_glitches(x, fs, millivolts), fs)
    learnt = round((0.5 + LEARN) * fs)  # the first QRS is over by then
    assert np.abs(made[:, :learnt] - x[:, :learnt]).max() > 3, "nothing is known yet"
    assert np.abs(made[:, learnt:] - x[:, learnt:]).max() < 0.6, "at most a few samples of a QRS late"
    assert np.abs(made[:, learnt:] - x[:, learnt:]).mean() < 0.01


@pytest.mark.parametrize("fs", [250, 500, 1000])
def test_the_spike_of_a_pacemaker_is_left_out(fs: int) -> None:
    x = beats(fs)
    wide = max(1, round(0.002 * fs))
    spiked = x.copy()
    for place in range(int(0.1 * fs), x.shape[1], int(0.8 * fs)):  # before every beat
        spiked[:, place : place + wide] += 5.0
    assert np.abs(cleared(spiked, fs)[:, 2 * fs :] - x[:, 2 * fs :]).max() < 0.6


@every_rate
def test_two_impulses_at_any_distance_are_left_out(fs: float) -> None:
    """As of a pacemaker of both ventricles: what is held is none of the other's height."""
    x = beats(fs)
    for apart in range(2, 12):
        pair = x.copy()
        for place in range(int(2.1 * fs), x.shape[1] - 12, int(0.8 * fs)):
            pair[:, [place, place + apart]] += 6.0
        wrong = np.abs(cleared(pair, fs)[0] - x[0]) > 1.5
        assert not wrong.any(), apart


@pytest.mark.parametrize("fs", [250, 300, 360, 400, 500, 1000])
@pytest.mark.parametrize("sigma", [0.005, 0.006, 0.008])
def test_the_narrow_qrs_of_a_child_is_no_impulse(fs: int, sigma: float) -> None:
    t = np.arange(60 * fs) / fs
    rng = np.random.default_rng(0)
    x = 0.005 * rng.standard_normal(len(t))
    for place in np.arange(0.5, 59.5, 0.45) + rng.uniform(0, 0.01, 132):
        x += 1.5 * np.exp(-0.5 * ((t - place) / sigma) ** 2)
    assert (cleared(x[None], fs)[0] != x).sum() <= 6


@every_rate
def test_what_does_not_come_back_is_let_through(fs: float) -> None:
    x = beats(fs)
    x[:, int(10 * fs) :] += 8.0
    made = cleared(x, fs)
    changed = np.flatnonzero(made[0] != x[0])
    assert 1 <= len(changed) <= Impulses(fs).longest
    assert changed.min() == int(10 * fs)


@every_rate
@given(cuts=st.lists(st.integers(0, 1500), max_size=8), seed=st.integers(0, 5))
def test_any_cut_gives_the_same(fs: float, cuts: list[int], seed: int) -> None:
    x = with_glitches(beats(fs, 10.0, seed), fs, 5.0, 0.37)
    stage = Impulses(fs)
    state, pieces = stage.initial(1), []
    for piece in np.split(x, sorted({min(cut, x.shape[1]) for cut in cuts}), axis=1):
        made, state = stage.step(piece, state)
        pieces.append(made)
    np.testing.assert_array_equal(np.concatenate(pieces, axis=1), cleared(x, fs))


def test_hours_at_once_are_as_hours_in_pieces() -> None:
    x = np.tile(beats(1000, 20.0), 200)
    assert x.shape[1] > 100 * MOST
    made = cleared(with_glitches(x, 1000, 5.0, 20.0, begin=5.0), 1000)
    assert np.isfinite(made).all()
    np.testing.assert_allclose(made, x, atol=0.1)


def test_rows_know_nothing_of_each_other_and_one_may_begin_anew() -> None:
    fs = 250
    front = FrontEnd(SignalSpec(), fs)
    x = np.concatenate([beats(fs), with_glitches(beats(fs, seed=1), fs, 5.0), 0 * beats(fs)])
    together, after = front.step(x, front.initial(3))
    for row in range(3):
        alone, state = front.step(x[row : row + 1], front.initial(1))
        np.testing.assert_allclose(together[row], alone[0], rtol=1e-12, atol=1e-12)
        for part, its in zip(after.impulse, state.impulse, strict=True):
            np.testing.assert_allclose(part[row], its[0], rtol=1e-12)
    anew = front.restarted(after, [1])
    fresh = front.initial(1)
    for part, begin, before in zip(anew.impulse, fresh.impulse, after.impulse, strict=True):
        np.testing.assert_array_equal(part[1], begin[0])
        np.testing.assert_array_equal(part[[0, 2]], before[[0, 2]])


def test_a_sample_that_is_held_as_a_block_ends_is_kept_in_the_packed_row() -> None:
    fs = 128
    front = FrontEnd(SignalSpec(), fs)
    x = beats(fs)
    x[:, 1279:1281] += 9.0  # the last sample of ten seconds, and the next
    whole, _ = front.step(x, front.initial(1))
    first, state = front.step(x[:, :1280], front.initial(1))
    assert state.impulse.held == 1
    rest, _ = front.step(x[:, 1280:], front.unpack(front.pack(state), 0))
    np.testing.assert_allclose(np.concatenate([first, rest], axis=1), whole, rtol=1e-9, atol=1e-10)
