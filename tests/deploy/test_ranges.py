"""Clip levels of INT8: what each method promises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeecg.deploy.ranges import LEVELS, METHODS, Histogram, clip_level
from edgeecg.errors import ConfigError, SignalError


def of(values: np.ndarray, pieces: int = 1) -> Histogram:
    histogram = Histogram.empty()
    for piece in np.array_split(values, pieces):
        histogram.add(piece)
    return histogram


def error(values: np.ndarray, level: float) -> float:
    scale = level / LEVELS
    return float(np.mean((values - np.clip(np.rint(values / scale), -LEVELS, LEVELS) * scale) ** 2))


@pytest.fixture
def gaussian() -> np.ndarray:
    return np.random.default_rng(0).standard_normal(200_000)


@pytest.mark.parametrize("method", METHODS)
def test_a_level_lies_within_what_was_seen(method: str, gaussian: np.ndarray) -> None:
    level = clip_level(of(gaussian), method)  # type: ignore[arg-type]
    assert 2 < level <= np.abs(gaussian).max()


def test_minmax_is_the_largest_value_exactly(gaussian: np.ndarray) -> None:
    assert clip_level(of(gaussian), "minmax") == np.abs(gaussian).max()


@pytest.mark.parametrize("percent", [90.0, 99.0, 99.9, 99.99])
def test_percentile_leaves_that_share_beyond(gaussian: np.ndarray, percent: float) -> None:
    level = clip_level(of(gaussian), "percentile", percent)
    assert np.mean(np.abs(gaussian) <= level) >= percent / 100
    bin_width = of(gaussian).limit / 2048
    assert np.mean(np.abs(gaussian) <= level - 2 * bin_width) < percent / 100


@pytest.mark.parametrize("shape", ["gaussian", "laplace", "outliers"])
def test_mse_beats_every_other_level(shape: str) -> None:
    rng = np.random.default_rng(1)
    values = {
        "gaussian": rng.standard_normal(100_000),
        "laplace": rng.laplace(size=100_000),
        "outliers": np.concatenate([rng.standard_normal(100_000), np.full(3, 60.0)]),
    }[shape]
    best = error(values, clip_level(of(values), "mse"))
    tried = [error(values, share * np.abs(values).max()) for share in np.linspace(0.05, 1, 60)]
    assert best <= min(tried[9:]) * 1.02  # levels from a fifth of the largest value on are searched


def test_a_single_outlier_moves_minmax_but_not_the_others(gaussian: np.ndarray) -> None:
    spoilt = np.append(gaussian, 300.0)
    assert clip_level(of(spoilt), "minmax") == 300.0
    for method in ("percentile", "entropy"):
        assert clip_level(of(spoilt), method) <= 32, method  # type: ignore[arg-type]  # 128 bins of 0.25


def test_entropy_keeps_a_distribution_that_fills_its_range() -> None:
    values = np.random.default_rng(2).uniform(-1, 1, 100_000)
    assert clip_level(of(values), "entropy") > 0.95


@given(pieces=st.integers(1, 40), seed=st.integers(0, 99), spread=st.floats(1e-3, 1e3))
def test_pieces_count_like_the_whole(pieces: int, seed: int, spread: float) -> None:
    """The histogram's range grows as it goes, whatever comes first."""
    values = spread * np.random.default_rng(seed).laplace(size=3000)
    whole, cut = of(values), of(np.sort(values), pieces)
    assert cut.largest == whole.largest
    assert cut.limit == whole.limit
    assert cut.counts.sum() == whole.counts.sum() == values.size
    moved = np.abs(np.cumsum(cut.counts) - np.cumsum(whole.counts)).max()
    assert moved <= 0.01 * values.size  # a value on a border may fall into the next bin


def test_noise_is_that_of_the_values(gaussian: np.ndarray) -> None:
    level = 4.0
    wanted = 10 * np.log10(np.mean(gaussian**2) / error(gaussian, level))
    assert of(gaussian).noise(level) == pytest.approx(wanted, abs=0.5)


def test_zeros_still_have_a_scale() -> None:
    for method in METHODS:
        assert clip_level(of(np.zeros(100)), method) > 0


def test_what_cannot_be_calibrated() -> None:
    with pytest.raises(SignalError, match="never seen"):
        clip_level(Histogram.empty(), "mse")
    with pytest.raises(SignalError, match="not finite"):
        of(np.array([1.0, np.nan]))
    with pytest.raises(ConfigError, match="minmax, percentile, entropy, mse"):
        clip_level(of(np.ones(10)), "best")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="percentile = 10"):
        clip_level(of(np.ones(10)), "percentile", 10)
