"""What another recorder makes of a lead: each kind does what it says, and beats stay where they are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.signal

from edgeecg.data import recorder
from edgeecg.data.recorder import KINDS, elsewhere, qrs_height
from edgeecg.specs import MODEL_FS

PLACES = np.arange(100, 3000, 110)
DRAWS = range(8)


def lead(height: float = 1.0) -> np.ndarray:
    """A QRS of 80 ms every 0.86 s, and a T wave behind it."""
    x = np.arange(3200.0)
    signal = np.zeros(len(x))
    for place in PLACES:
        signal += np.exp(-(((x - place) / 3) ** 2)) + 0.2 * np.exp(-(((x - place - 35) / 10) ** 2))
    return height * signal


def changed(change: Callable[..., np.ndarray], seed: int) -> np.ndarray:
    return change(lead(), qrs_height(lead()), np.random.default_rng(seed))


def test_the_height_of_a_qrs_is_found() -> None:
    assert qrs_height(lead(2.5)) == pytest.approx(2.5, rel=0.1)
    assert qrs_height(np.zeros(3200)) > 0


def test_what_a_short_recording_is_filled_up_with_does_not_make_its_qrs_small() -> None:
    short = lead()[: 10 * MODEL_FS]
    filled = np.concatenate([short, np.full(50 * MODEL_FS, short[-1])])
    assert qrs_height(filled) == pytest.approx(qrs_height(short), rel=0.05)


@pytest.mark.parametrize("change", [change for change, _ in KINDS], ids=lambda change: change.__name__)
def test_beats_stay_where_they_are(change: Callable[..., np.ndarray]) -> None:
    """To a sample and a half, where the lead moves as fast as a QRS does."""
    band = scipy.signal.butter(2, (8, 20), "band", fs=MODEL_FS, output="sos")
    plain = scipy.signal.sosfiltfilt(band, lead())
    for seed in DRAWS:
        made = changed(change, seed)
        assert made.shape == plain.shape
        assert np.isfinite(made).all()
        assert not np.array_equal(made, lead())
        other = scipy.signal.sosfiltfilt(band, made)
        best = max(
            range(-4, 5), key=lambda shift: abs(np.dot(other[200:-200], np.roll(plain, shift)[200:-200]))
        )
        assert abs(best) <= 1


def test_a_baseline_swings_slowly() -> None:
    for seed in DRAWS:
        swing = changed(recorder.swinging, seed) - lead()
        power = np.abs(np.fft.rfft(swing * np.hanning(len(swing)))) ** 2
        fast = np.fft.rfftfreq(len(swing), 1 / MODEL_FS) > 1.6
        assert power[fast].sum() < 1e-3 * power.sum()
        assert np.ptp(swing) > 0.05


def test_shaking_has_a_beginning_and_an_end() -> None:
    wave = changed(recorder.shaken, 3) - lead()
    assert 0 < np.count_nonzero(wave) < len(wave)
    assert np.abs(wave).max() <= 0.5 * qrs_height(lead())


def test_coarse_steps_lie_a_hundredth_of_a_qrs_apart_or_more() -> None:
    finest = 0.0099 * qrs_height(lead())
    assert np.diff(np.unique(lead())).min() < 0.1 * finest
    for seed in DRAWS:
        assert np.diff(np.unique(changed(recorder.coarse, seed))).min() > finest


def test_a_share_of_the_leads_is_changed_and_the_generator_decides() -> None:
    leads = np.stack([lead(height) for height in np.linspace(0.3, 3, 40)])
    assert np.array_equal(elsewhere(leads, 0.0, np.random.default_rng(0)), leads)
    made = elsewhere(leads, 0.5, np.random.default_rng(1))
    same = sum(np.array_equal(one, other) for one, other in zip(made, leads, strict=True))
    assert 10 <= same <= 30
    assert np.array_equal(made, elsewhere(leads, 0.5, np.random.default_rng(1)))
    assert not np.array_equal(made, elsewhere(leads, 0.5, np.random.default_rng(2)))
    assert all(
        (one != other).any()
        for one, other in zip(elsewhere(leads, 1.0, np.random.default_rng(3)), leads, strict=True)
    )
