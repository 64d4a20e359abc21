"""Noise at a calibrated level, by nst's own rules."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeecg.data.noise import add_noise, noise_rms, noisy_intervals, qrs_amplitude
from edgeecg.errors import RecordError, SignalError
from edgeecg.io import Annotations, Record, read_record

FS = 100.0


def spikes() -> Record:
    """Triangular QRS of a known peak-to-peak amplitude, in two leads."""
    signal = np.zeros((60000, 2))
    beats = np.arange(50, 60000 - 50, 80)
    for offset, share in ((-1, 0.5), (0, 1.0), (1, 0.5)):
        signal[beats + offset] = np.array([2.0, 6.0]) * share
    return Record("spikes", signal, FS, ("I", "II"), Annotations(beats, ["N"] * len(beats)))


def hiss() -> Record:
    rng = np.random.default_rng(0)
    return Record("hiss", rng.normal(0, 1, (30000, 2)) * [1.0, 5.0], FS, ("a", "b"))


def test_amplitude_is_the_trimmed_peak_to_peak() -> None:
    record = spikes()
    assert record.annotations is not None
    assert qrs_amplitude(record.lead("I"), FS, record.annotations.sample) == pytest.approx(2.0)
    lead = record.lead("I").copy()
    beats = record.annotations.sample
    lead[beats[:10]] = 1000.0  # less than a twentieth of the 300 measured: trimmed
    assert qrs_amplitude(lead, FS, beats) == pytest.approx(2.0)


def test_rms_is_by_the_second_without_its_mean() -> None:
    t = np.arange(30000) / FS
    assert noise_rms(np.sin(2 * np.pi * 5 * t), FS) == pytest.approx(np.sqrt(0.5))
    assert noise_rms(np.sin(2 * np.pi * 5 * t) + 0.001 * t + 7, FS) == pytest.approx(np.sqrt(0.5), rel=1e-3)


@given(snr=st.floats(-12, 24))
@settings(max_examples=12)
def test_the_ratio_in_the_noisy_parts(snr: float) -> None:
    clean = spikes()
    made = add_noise(clean, hiss(), snr, clean_seconds=30, period_seconds=60)
    for lead, amplitude in ((0, 2.0), (1, 6.0)):
        added = made.record.signal[:, lead] - clean.signal[:, lead]
        noisy = np.concatenate([added[s:e] for s, e in made.noisy])
        measured = 10 * np.log10(amplitude**2 / 8 / noise_rms(noisy, FS) ** 2)
        assert measured == pytest.approx(snr, abs=0.3)


def test_periods_alternate_after_a_clean_start() -> None:
    minute = 6000
    assert noisy_intervals(20 * minute, FS) == tuple(
        (m * minute, min(m + 2, 20) * minute) for m in (5, 9, 13, 17)
    )
    assert noisy_intervals(4 * minute, FS) == ()
    assert noisy_intervals(6 * minute, FS) == ((5 * minute, 6 * minute),)
    assert noisy_intervals(600, FS, 0, float("inf")) == ((0, 600),)
    with pytest.raises(SignalError):
        noisy_intervals(600, FS, -1)


def test_clean_parts_stay_clean_but_for_a_constant_and_nothing_jumps() -> None:
    clean, noise = spikes(), hiss()
    made = add_noise(clean, noise, 6.0, clean_seconds=30, period_seconds=60)
    added = made.record.signal - clean.signal
    start, end = made.noisy[0]
    assert np.abs(added[:start]).max() == 0
    pause = added[end : made.noisy[1][0]]
    assert np.ptp(pause, axis=0).max() < 1e-9
    biggest = np.abs(np.diff(made.gains * noise.signal, axis=0)).max(axis=0)
    assert (np.abs(np.diff(added, axis=0)).max(axis=0) <= biggest + 1e-9).all()


def test_short_noise_begins_again_without_a_step() -> None:
    clean = spikes()
    n = 3000
    ramp = Record("ramp", np.linspace(0, 50, n)[:, None] + np.sin(np.arange(n) / 3)[:, None], FS, ("a",))
    made = add_noise(clean, ramp, 6.0, clean_seconds=0, period_seconds=float("inf"))
    added = made.record.signal - clean.signal
    step = np.abs(np.diff(ramp.signal[:, 0])).max() * made.gains
    assert (np.abs(np.diff(added, axis=0)).max(axis=0) <= step + 1e-9).all()


def test_noise_of_another_rate_is_resampled() -> None:
    fast = Record("fast", np.random.default_rng(0).normal(0, 1, (108000, 1)), 360.0, ("a",))
    made = add_noise(spikes(), fast, 0.0, clean_seconds=0, period_seconds=float("inf"))
    added = made.record.signal[:, 0] - spikes().signal[:, 0]
    assert 10 * np.log10(4 / 8 / noise_rms(added, FS) ** 2) == pytest.approx(0.0, abs=0.3)


def test_what_has_no_level_is_refused() -> None:
    clean, noise = spikes(), hiss()
    with pytest.raises(RecordError, match="annotations"):
        add_noise(Record("r", clean.signal, FS, clean.leads), noise, 6.0)
    flat = Record("flat", np.zeros((3000, 1)), FS, ("a",))
    with pytest.raises(RecordError, match="flat"):
        add_noise(clean, flat, 6.0)
    assert clean.annotations is not None
    with pytest.raises(SignalError, match="flat"):
        add_noise(Record("r", np.zeros((60000, 2)), FS, ("a", "b"), clean.annotations), noise, 6.0)
    with pytest.raises(SignalError, match="no beat"):
        add_noise(Record("r", clean.signal, FS, clean.leads, Annotations([], [])), noise, 6.0)


@pytest.mark.data
def test_real_electrode_noise_on_a_real_record(data_root: Path) -> None:
    clean = read_record(data_root / "mitdb" / "119")
    noise = read_record(data_root / "nstdb" / "em118")
    made = add_noise(clean, noise, 6.0)
    assert [round(s / 360) for s, _ in made.noisy] == [300, 540, 780, 1020, 1260, 1500, 1740]
    assert 0.1 < made.gains[0] < 5
    again = add_noise(clean, noise, 0.0)
    assert again.gains / made.gains == pytest.approx(10 ** (6 / 20))
