"""Calibration of probabilities whose truth is drawn from them."""

from __future__ import annotations

import numpy as np
import pytest

from edgeecg.errors import SignalError
from edgeecg.metrics.calibration import (
    by_label,
    equal_widths,
    fit_confidence,
    platt,
    reliability,
)


def test_a_hand_computed_diagram():
    said = np.array([0.1, 0.1, 0.9, 0.9, 0.9, 0.9])
    so = np.array([0, 1, 1, 1, 1, 0], bool)
    found = reliability(said, so, equal_widths(2))
    assert [(b.low, b.high, b.count) for b in found.bins] == [(0, 0.5, 2), (0.5, 1, 4)]
    assert [b.accuracy for b in found.bins] == [0.5, 0.75]
    assert found.ece == pytest.approx((2 * 0.4 + 4 * 0.15) / 6)
    assert found.worst == pytest.approx(0.4)
    assert found.brier == pytest.approx((0.01 + 0.81 + 3 * 0.01 + 0.81) / 6)
    assert found.count == 6


def test_probabilities_that_are_true_are_calibrated_and_sharpened_ones_are_not():
    source = np.random.default_rng(0)
    p = source.uniform(0.5, 1, 40000)
    so = source.random(40000) < p
    assert reliability(p, so).ece < 0.01
    assert reliability(p**0.25, so).ece > 0.1


def test_the_ends_belong_to_the_first_and_last_bin():
    found = reliability(np.array([0.0, 1.0]), np.array([False, True]))
    assert [b.count for b in found.bins] == [1, 1]
    assert found.ece == 0


@pytest.mark.parametrize(("said", "low"), [(0.4999, 0.25), (0.5, 0.5)])
def test_a_border_belongs_to_the_bin_above_it(said, low):
    (only,) = reliability(np.array([said]), np.array([True]), equal_widths(4)).bins
    assert (only.low, only.high) == (low, low + 0.25)


def test_each_label_said_has_its_own_curve():
    label = np.array(["V", "V", "N", "N"])
    curves = by_label(np.array([0.6, 0.6, 1.0, 1.0]), label, np.array(["V", "N", "N", "N"]))
    assert sorted(curves) == ["N", "V", "all"]
    assert curves["N"].ece == 0
    assert curves["V"].ece == pytest.approx(0.1)
    assert by_label(np.array([]), np.array([], np.str_), np.array([], np.str_)) == {}


@pytest.mark.parametrize("said", [[], [0.5, 1.2], [0.5, np.nan]])
def test_what_is_no_probability_is_refused(said):
    with pytest.raises(SignalError, match="reliability needs"):
        reliability(np.array(said), np.ones(len(said), bool))


def test_platt_finds_the_line_that_made_the_outcomes() -> None:
    rng = np.random.default_rng(0)
    probability = rng.uniform(0.05, 0.99, 40_000)
    odds = np.log(probability / (1 - probability))
    right = rng.random(40_000) < 1 / (1 + np.exp(-(0.6 * odds - 0.8)))
    slope, offset = platt(probability, right)
    assert slope == pytest.approx(0.6, abs=0.03)
    assert offset == pytest.approx(-0.8, abs=0.03)


@pytest.mark.parametrize("right", [True, False])
def test_platt_of_one_outcome_stays_finite(right: bool) -> None:
    slope, offset = platt(np.full(300, 0.9), np.full(300, right))
    assert np.isfinite([slope, offset]).all()
    assert slope > 0


def test_confidence_is_fitted_for_labels_told_often_enough() -> None:
    label = np.array(["N"] * 300 + ["S"] * 300 + ["F"] * 20)
    reference = np.where(np.arange(620) % 2 == 0, label, "V")
    lines = fit_confidence(np.full(620, 0.9), label, reference)
    assert set(lines) == {"N", "S"}
    slope, offset = lines["S"]
    assert 1 / (1 + np.exp(-(slope * np.log(9) + offset))) == pytest.approx(0.5, abs=0.02)
