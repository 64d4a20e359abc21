"""Physics of the front end, and the numbers that weights were trained on."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgeecg.errors import SignalError
from edgeecg.signal.frontend import FrontEnd
from edgeecg.signal.resample import Resampler
from edgeecg.specs import MODEL_FS, SignalSpec

Array = NDArray[Any]
RATES = (100, 125, 128, 130, 250, 257, 300, 360, 500, 1000)
SPEC = SignalSpec()
every_rate = pytest.mark.parametrize("fs", RATES)


def beats(fs: float, seconds: float = 20.0, seed: int = 0) -> Array:
    """A plain ECG of 1 mV at 75 a minute with a little noise, ``(1, n)``."""
    t = np.arange(int(seconds * fs)) / fs
    phase = (t / 0.8) % 1.0
    wave = 1.1 * np.exp(-0.5 * ((phase - 0.4) / 0.018) ** 2) + 0.25 * np.exp(
        -0.5 * ((phase - 0.7) / 0.05) ** 2
    )
    return (wave + 0.01 * np.random.default_rng(seed).standard_normal(len(t)))[None]


def sine(frequency: float, fs: float, seconds: float = 20.0) -> Array:
    return np.sin(2 * np.pi * frequency * np.arange(int(seconds * fs)) / fs)[None]


def output(x: Array, fs: float) -> Array:
    front = FrontEnd(SPEC, fs)
    made, _ = front.step(x, front.initial(len(x)))
    return made


def passed(frequency: float, fs: float) -> float:
    """Amplitude of a 1 mV sine behind the filters, decibels, once it has settled."""
    front = FrontEnd(SPEC, fs)
    made, _ = front.process(sine(frequency, fs), front.initial(1))
    settled = made.filtered[0, 10 * MODEL_FS :]
    return float(20 * np.log10(np.sqrt(2) * settled.std()))


# ---- what weights were trained on ---------------------------------------------------------------


@pytest.mark.parametrize("fs", [128, 130, 250, 360, 1000])
def test_the_numbers_that_weights_were_trained_on(fs: int) -> None:
    frozen = np.load(Path(__file__).with_name("frozen_frontend.npz"))
    made = output(frozen[f"in{fs}"][None], fs)
    np.testing.assert_allclose(made[0], frozen[f"out{fs}"], rtol=1e-9, atol=1e-10)


# ---- physics ------------------------------------------------------------------------------------


@every_rate
@pytest.mark.parametrize("gain", [1e-3, 0.03, 30.0, 1e3])
def test_gain_does_not_matter_above_the_floor(fs: float, gain: float) -> None:
    x = 300 * beats(fs, 30.0)  # so strong that a thousandth is still above the floor
    settled = 15 * MODEL_FS  # the prior of the level is forgotten
    one, other = output(x, fs)[:, settled:], output(gain * x, fs)[:, settled:]
    np.testing.assert_allclose(other, one, atol=0.02)
    assert 3 < np.abs(one).max() <= SPEC.clip


@every_rate
def test_what_is_below_the_floor_is_not_blown_up(fs: float) -> None:
    noise = 0.002 * np.random.default_rng(0).standard_normal((1, int(20 * fs)))  # two microvolts
    assert np.abs(output(noise, fs)).max() < 1.0
    weak = output(1e-3 * beats(fs), fs)
    assert np.abs(weak).max() < 0.2


@every_rate
@pytest.mark.parametrize(("level", "ripple"), [(0.0, 1e-9), (0.3, 0.03), (-5.0, 0.5), (300.0, 1e-6)])
def test_a_flat_line_stays_finite_and_small(fs: float, level: float, ripple: float) -> None:
    """An offset of an AC-coupled recorder leaves a ripple of 0.1 % before the gain, a larger one none."""
    made = output(np.full((1, int(10 * fs)), level), fs)
    assert np.isfinite(made).all()
    assert np.abs(made).max() < ripple


@every_rate
@pytest.mark.parametrize("offset", [3.0, -250.0])
def test_an_offset_does_not_swing_the_start(fs: float, offset: float) -> None:
    x = beats(fs, 5.0)
    np.testing.assert_allclose(output(x + offset, fs), output(x, fs), atol=0.1)


@every_rate
def test_the_first_beat_comes_through(fs: float) -> None:
    made = output(beats(fs, 10.0), fs)[0]
    spans = [made[int(k * 0.8 * MODEL_FS) :][: int(0.8 * MODEL_FS)].max() for k in range(10)]
    assert spans[0] > 0.5 * np.median(spans)


@every_rate
def test_the_pass_band_passes(fs: float) -> None:
    for frequency in (2, 5, 10, 20, 30):
        assert passed(frequency, fs) == pytest.approx(0.0, abs=0.4)
    assert passed(40, fs) == pytest.approx(-4.4, abs=1.0)
    assert passed(0.5, fs) == pytest.approx(-3.0, abs=0.2)
    assert passed(0.05, fs) < -35


@pytest.mark.parametrize("fs", [fs for fs in RATES if fs >= 125])
def test_mains_is_taken_out(fs: float) -> None:
    assert passed(50, fs) < -50
    assert passed(60, fs) < -60
    for drift in (49.5, 50.5, 52.0):
        assert passed(drift, fs) < -32


@pytest.mark.parametrize("fs", [fs for fs in RATES if fs > 200])
def test_what_folds_onto_the_pass_band_is_taken_out_first(fs: float) -> None:
    for frequency in (90, 98, 108, 118):  # would come back at 38, 30, 20 and 10 Hz
        if frequency < fs / 2:
            assert passed(frequency, fs) < -60


@every_rate
def test_a_sine_keeps_its_place(fs: float) -> None:
    front = FrontEnd(SPEC, fs)
    made, _ = front.process(sine(10, fs), front.initial(1))
    at = np.arange(10 * MODEL_FS, made.filtered.shape[1])
    turn = 2 * np.pi * 10 / MODEL_FS
    for signal, latency, within in (
        (made.resampled, front.resampler.latency, 0.01),
        (made.filtered, front.latency, 0.3),
    ):
        phase = np.angle(np.sum(signal[0, at] * np.exp(-1j * turn * at)))
        delay = (-phase - np.pi / 2) % (2 * np.pi) / turn
        assert delay == pytest.approx(latency, abs=within)


@every_rate
def test_resampling_is_exact_in_the_pass_band(fs: float) -> None:
    resampler = Resampler(fs)
    for frequency in (1.0, 8.0, 17.0, 35.0 if fs > 120 else 25.0):
        made, _ = resampler.step(sine(frequency, fs, 4.0), resampler.initial(1))
        at = (np.arange(made.shape[1]) - resampler.latency) / MODEL_FS
        error = made[0, 20:] - np.sin(2 * np.pi * frequency * at[20:])
        assert np.abs(error).max() < 3e-3


# ---- counts -------------------------------------------------------------------------------------


@given(fs=st.one_of(st.sampled_from(RATES), st.floats(100, 1000)), made=st.integers(0, 10**12))
def test_counts_of_samples_fit_each_other(fs: float, made: int) -> None:
    resampler = Resampler(fs)
    needed = resampler.needed(made)
    assert resampler.ready(needed) >= made
    assert resampler.ready(needed - 1) < made if made else needed == 0
    up, down = resampler.ratio.numerator, resampler.ratio.denominator
    assert resampler.needed(made + up) == needed + down or not made
    assert resampler.taken_at(made) == needed - (resampler.lead_in if not made else 0)
    assert MODEL_FS / fs == pytest.approx(float(resampler.ratio), rel=1e-5)


@pytest.mark.parametrize("fs", [110, 250, 129.98])
def test_a_stream_of_years_resamples_like_a_fresh_one(fs: float) -> None:
    resampler = Resampler(fs)
    x = beats(fs, 4.0)
    _, state = resampler.step(x, resampler.initial(1))
    up, down = resampler.ratio.numerator, resampler.ratio.denominator
    late = state._replace(taken=state.taken + 10**10 * down, made=state.made + 10**10 * up)
    for now, then in ((state, late),):
        first, _ = resampler.step(x, now)
        second, _ = resampler.step(x, then)
        np.testing.assert_array_equal(first, second)


# ---- what goes wrong ----------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_missing_samples_are_refused(value: float) -> None:
    front = FrontEnd(SPEC, 250)
    x = beats(250, 1.0)
    x[0, 100] = value
    with pytest.raises(SignalError, match=r"cut it with edgeecg\.signal\.block\.Blocks"):
        front.step(x, front.initial(1))


@pytest.mark.parametrize("fs", [0, -250, 99.9, 1000.5, np.nan])
def test_rates_out_of_range_are_refused(fs: float) -> None:
    with pytest.raises(SignalError, match="100 to 1000 Hz"):
        FrontEnd(SPEC, fs).step(beats(250), FrontEnd(SPEC, fs).initial(1))


# ---- rows as plain arrays -----------------------------------------------------------------------


@every_rate
def test_packed_rows_can_be_taken_joined_and_put(fs: float) -> None:
    front = FrontEnd(SPEC, fs)
    x = np.concatenate([beats(fs, 6.0, seed) * (1 + seed) for seed in range(4)])
    resampler = front.resampler
    made = 4 * 64
    split = resampler.needed(made)
    whole, _ = front.process(x, front.initial(4))
    _, state = front.process(x[:, :split], front.initial(4), upto=made)
    packed = front.pack(state)
    assert packed.shape == (4, front.width)
    assert packed.dtype == np.float64
    due = [3, 1]
    part, after = front.process(x[due, split:], front.unpack(packed[due], made % resampler.ratio.numerator))
    np.testing.assert_array_equal(part.network, whole.network[due, made:])
    packed[due] = front.pack(after)
    np.testing.assert_array_equal(packed[[0, 2]], front.pack(state)[[0, 2]])


@pytest.mark.parametrize(("fs", "simple"), [(333.333, "1000/3"), (999.999, "1000"), (166.667, "500/3")])
def test_a_rounded_rate_is_the_fraction_that_it_stands_for(fs: float, simple: str) -> None:
    assert MODEL_FS / Resampler(fs).ratio == Fraction(simple)


@given(fs=st.floats(100, 1000))
def test_the_ratio_is_that_of_the_rate(fs: float) -> None:
    ratio = Resampler(fs).ratio
    assert float(ratio) * fs == pytest.approx(MODEL_FS, rel=6e-6)
    assert ratio.denominator <= 1_000_000
