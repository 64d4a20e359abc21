"""What the quality stage must say of faults, on made and on real signals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeecg.data.catalog import load_record, record_labels
from edgeecg.data.noise import add_noise
from edgeecg.signal.frontend import FrontEnd
from edgeecg.signal.quality import (
    QUALITY_LABELS,
    TICK,
    UNREADABLE,
    WINDOW,
    Quality,
    QualityInput,
    QualityOutput,
)
from edgeecg.specs import MODEL_FS, SignalSpec

Array = NDArray[Any]
GOOD, NOISY, CLIPPED, BAD, FLAT, LEAD_OFF = range(6)
RATES = (100, 125, 128, 130, 250, 360, 500, 1000)
every_rate = pytest.mark.parametrize("fs", RATES)


def ecg(fs: float, seconds: float, per_minute: float = 70.0, noise: float = 0.01) -> Array:
    """A clean ECG of 1 mV with P and T waves, digitised to 5 microvolts."""
    t = np.arange(int(seconds * fs)) / fs
    phase = ((t * per_minute / 60) % 1.0) * 60 / per_minute  # seconds since the beat's beginning
    waves = (
        (0.12, 0.12, 0.022),
        (-0.15, 0.265, 0.01),
        (1.1, 0.28, 0.011),
        (-0.2, 0.30, 0.01),
        (0.25, 0.55, 0.05),
    )
    x = sum(a * np.exp(-0.5 * ((phase - at) / width) ** 2) for a, at, width in waves)
    x = x + 0.1 * np.sin(2 * np.pi * 0.25 * t) + noise * np.random.default_rng(0).standard_normal(len(t))
    return np.round(x / 0.005) * 0.005


def verdicts(x: Array, fs: float, missing: Array | None = None) -> QualityOutput:
    front, stage = FrontEnd(SignalSpec(), fs), Quality(fs)
    rows = np.atleast_2d(x)
    signal, _ = front.process(rows, front.initial(len(rows)))
    mask = None if missing is None else np.atleast_2d(missing)
    heard = QualityInput(rows, signal.resampled, signal.filtered, mask)
    return stage.step(heard, stage.initial(len(rows)))[0]


def ticks(seconds: float) -> int:
    return int(seconds * MODEL_FS / TICK)


# ---- what is good -------------------------------------------------------------------------------


@every_rate
@pytest.mark.parametrize("per_minute", [45, 70, 120, 180])
def test_a_clean_ecg_is_good_from_its_first_beats_on(fs: float, per_minute: float) -> None:
    found = verdicts(ecg(fs, 30.0, per_minute), fs)
    assert (found.label < UNREADABLE).all()
    assert (found.label[0, ticks(3.0) :] == GOOD).all()
    assert found.score[0, ticks(3.0) :].min() > 0.6


@pytest.mark.parametrize("gain", [0.2, 5.0, 50.0])
def test_the_estimate_does_not_know_the_gain(gain: float) -> None:
    x = ecg(250, 20.0, noise=0.03)
    np.testing.assert_allclose(verdicts(gain * x, 250).snr, verdicts(x, 250).snr, atol=1e-4)


def test_more_noise_is_worse() -> None:
    rng = np.random.default_rng(1)
    clean = ecg(250, 60.0)
    white = np.convolve(rng.standard_normal(len(clean)), np.ones(5) / 5, "same")  # in the pass band
    shares, scores = [], []
    for level in (0.01, 0.05, 0.15, 0.4, 1.2):
        found = verdicts(clean + level * white / white.std(), 250)
        shares.append(np.mean(found.label == GOOD))
        scores.append(found.snr.mean())
    assert shares[0] > 0.95
    assert shares[-1] == 0
    assert scores == sorted(scores, reverse=True)


# ---- leads that are off -------------------------------------------------------------------------


def floating(kind: str, fs: float, seconds: float) -> Array:
    """What an electrode without contact may give, millivolts."""
    n = int(seconds * fs)
    t, rng = np.arange(n) / fs, np.random.default_rng(5)
    kinds = {
        "zero": np.zeros(n),
        "rail": np.full(n, -5.12),
        "offset": np.full(n, 187.0),
        "hum 50": 2.0 * np.sin(2 * np.pi * 50 * t),
        "hum 60": 2.0 * np.sin(2 * np.pi * 60 * t),
        "hum off the notch": 2.0 * np.sin(2 * np.pi * 48.7 * t),
        "amplifier noise": 0.003 * rng.standard_normal(n),
        "pick-up": 0.05 * rng.standard_normal(n),
        "strong pick-up": 2.0 * rng.standard_normal(n),
        "drift": np.cumsum(rng.standard_normal(n)) * 0.3 / np.sqrt(fs),
        "hum and noise": 0.5 * np.sin(2 * np.pi * 50 * t) + 0.02 * rng.standard_normal(n),
    }
    return kinds[kind]


KINDS = (
    "zero",
    "rail",
    "offset",
    "hum 50",
    "hum 60",
    "hum off the notch",
    "amplifier noise",
    "pick-up",
    "strong pick-up",
    "drift",
    "hum and noise",
)


@every_rate
@pytest.mark.parametrize("kind", KINDS)
def test_a_lead_that_is_off_is_never_good(fs: float, kind: str) -> None:
    """From the start, and once a window has passed where it comes off in a good recording."""
    if kind.startswith("hum") and fs < 125:
        pytest.skip("mains folds onto the pass band below 120 Hz")
    from_start = verdicts(floating(kind, fs, 20.0), fs)
    assert not (from_start.label == GOOD).any()
    x = np.concatenate([ecg(fs, 10.0), floating(kind, fs, 15.0)])
    found = verdicts(x, fs).label[0]
    assert (found[ticks(4.0) : ticks(9.5)] == GOOD).all()
    assert not (found[ticks(10.0) + WINDOW :] == GOOD).any()


@every_rate
@pytest.mark.parametrize(("kind", "label"), [("zero", FLAT), ("rail", LEAD_OFF), ("offset", LEAD_OFF)])
def test_a_line_that_stands_still_is_named_within_a_second(fs: float, kind: str, label: int) -> None:
    x = np.concatenate([ecg(fs, 10.0), floating(kind, fs, 5.0)])
    found = verdicts(x, fs).label[0]
    assert (found[ticks(11.0) :] == label).all()


@every_rate
def test_missing_samples_are_lead_off_within_a_second(fs: float) -> None:
    x = ecg(fs, 20.0)
    missing = np.zeros(len(x), dtype=bool)
    missing[int(8 * fs) : int(12 * fs)] = True
    x[missing] = x[int(8 * fs)]
    found = verdicts(x, fs, missing).label[0]
    assert (found[ticks(9.0) : ticks(12.0)] == LEAD_OFF).all()
    assert (found[ticks(12.5) + WINDOW :] == GOOD).all()


def test_hum_without_an_ecg_is_lead_off_and_with_one_is_not() -> None:
    t = np.arange(250 * 20) / 250
    hum = 2.0 * np.sin(2 * np.pi * 50 * t)
    assert (verdicts(hum, 250).label[0, ticks(2) :] == LEAD_OFF).all()
    with_ecg = verdicts(ecg(250, 20.0) + hum, 250).label[0, ticks(3) :]
    assert (with_ecg < UNREADABLE).all()


@every_rate
def test_good_again_after_the_lead_is_back(fs: float) -> None:
    x = ecg(fs, 30.0)
    x[int(10 * fs) : int(15 * fs)] = 0.0
    found = verdicts(x, fs).label[0]
    assert (found[ticks(11.0) : ticks(15.0)] == FLAT).all()
    assert (found[ticks(15.0) + WINDOW + 2 :] == GOOD).all()


# ---- clipping -----------------------------------------------------------------------------------


@every_rate
def test_waves_that_are_cut_off_are_named(fs: float) -> None:
    x = ecg(fs, 30.0, 75) * 2
    assert not (verdicts(x, fs).label == CLIPPED).any()
    for cut in (np.minimum(x, 0.9), np.maximum(-x, -0.9)):
        label = verdicts(cut, fs).label[0, ticks(3) :]
        assert np.mean(label == CLIPPED) > 0.7
        assert (label < UNREADABLE).all()
        assert (verdicts(cut, fs).score[0, ticks(3) :][label == CLIPPED] <= 0.5).all()


# ---- real recordings ----------------------------------------------------------------------------


@pytest.mark.data
def test_real_recordings_with_real_noise(data_root: Path) -> None:
    """nst's levels of electrode motion on records of DS1 that the fit has not seen."""
    noise = load_record(data_root / "nstdb" / "em118", "nstdb")
    shares: dict[float, list[Array]] = {}
    for name in ("205", "209", "220", "230"):
        record = load_record(data_root / "mitdb" / name, "mitdb").pick("MLII")
        for level in (np.inf, 18.0, 6.0, -6.0):
            signal = (
                record
                if np.isinf(level)
                else add_noise(record, noise, level, clean_seconds=0.0, period_seconds=np.inf).record
            )
            shares.setdefault(level, []).append(verdicts(signal.signal[: 360 * 240, 0], 360).label[0])
    label = {level: np.concatenate(parts) for level, parts in shares.items()}
    assert np.mean(label[np.inf] == GOOD) > 0.95
    assert np.mean(label[np.inf] >= UNREADABLE) < 0.005
    good = [float(np.mean(label[level] == GOOD)) for level in (np.inf, 18.0, 6.0, -6.0)]
    assert good == sorted(good, reverse=True)
    assert good[-1] < 0.1
    assert np.mean(label[-6.0] >= UNREADABLE) > 0.08  # electrode motion looks like beats


@pytest.mark.data
def test_what_people_called_too_noisy(data_root: Path) -> None:
    """cinc2017: ~ against N, records that the fit has never seen."""
    by_label: dict[str, list[float]] = {"N": [], "~": []}
    shares: dict[str, list[float]] = {"N": [], "~": []}
    for name, label in sorted(record_labels(data_root).items()):
        stem = data_root / "cinc2017" / name
        if label in by_label and len(by_label[label]) < 60 and stem.with_suffix(".hea").is_file():
            record = load_record(stem, "cinc2017")
            found = verdicts(np.nan_to_num(record.signal[:, 0]), record.fs)
            by_label[label].append(float(np.median(found.snr)))
            shares[label].append(float(np.mean(found.label == GOOD)))
    worse = np.array(by_label["~"])[:, None] < np.array(by_label["N"])
    assert worse.mean() > 0.9
    assert np.mean(shares["N"]) > 0.6
    assert np.mean(shares["~"]) < 0.2


@pytest.mark.data
def test_a_chest_strap_is_good(data_root: Path) -> None:
    """Ten minutes of a Polar H10 with bigeminy: ectopic beats are no noise."""
    record = next(iter(sorted((data_root / "polar_h10").glob("*.hea"))), None)
    if record is None:
        pytest.skip("no WFDB record of the strap")
    from edgeecg.io.wfdb import read_wfdb

    strap = read_wfdb(record.with_suffix(""))
    found = verdicts(np.nan_to_num(strap.signal[:, 0]), strap.fs).label[0]
    assert np.mean(found >= UNREADABLE) < 0.02


def test_labels_are_ordered_from_best_to_worst() -> None:
    assert QUALITY_LABELS[GOOD] == "good"
    assert QUALITY_LABELS[UNREADABLE:] == ("unreadable", "flat", "lead-off")
    assert QUALITY_LABELS[CLIPPED] == "clipped"
    assert QUALITY_LABELS[NOISY] == "noisy"
    assert UNREADABLE == BAD
