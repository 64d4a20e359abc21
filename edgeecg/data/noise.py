"""Noise added at a calibrated level, as WFDB's ``nst`` (noise stress test) does it.

The signal-to-noise ratio is ``10 log10(S / N)``. S is the power of a sine as large as the QRS: the square
of their mean peak-to-peak amplitude, divided by 8. N is the square of the noise's mean RMS amplitude over
one-second windows. Both means are over the first 300 measurements with the largest and the smallest 5 %
left out, so that neither a stray beat nor an artefact decides.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from edgeecg.errors import RecordError, SignalError
from edgeecg.io.record import Record

__all__ = ["NoisyRecord", "add_noise", "noise_rms", "noisy_intervals", "qrs_amplitude", "snr_gain"]

MEASUREMENTS = 300
QRS_HALF_SECONDS = 0.05
NORMAL_SYMBOLS = frozenset("NLRBAaJSejnQ/f")
"""Beats that ``nst`` measures: all but V, E, r, F and ?."""


@dataclass(frozen=True, eq=False)
class NoisyRecord:
    """A record with noise, and where it has it.

    Parameters
    ----------
    record : Record
    noisy : tuple of (int, int)
        Sample intervals ``[start, end)`` with noise.
    gains : (leads,) float64
        Factor by which each lead's noise was scaled.
    """

    record: Record
    noisy: tuple[tuple[int, int], ...]
    gains: NDArray[np.float64]


def add_noise(
    record: Record,
    noise: Record,
    snr_db: float,
    *,
    clean_seconds: float = 300.0,
    period_seconds: float = 120.0,
) -> NoisyRecord:
    """Noise in turns: a clean start, then noisy and clean periods alternate until the end.

    Lead i takes noise channel i modulo their number; the noise runs from its beginning, and begins again
    where it ends. At each change of gain the offset is kept, so that the baseline does not jump.

    Parameters
    ----------
    record : Record
        With beat annotations: the QRS give the signal's power.
    noise : Record
        At any rate; it is resampled where the rates differ.
    snr_db : float
        Ratio in the noisy periods, decibels.
    clean_seconds, period_seconds : float
        Length of the clean start and of each period after it; 0 and infinity make all of it noisy.

    Raises
    ------
    RecordError
        If the record has no beats to measure, or a lead or a noise channel is flat.
    """
    if record.annotations is None:
        raise RecordError(f"record {record.name} has no annotations: the noise level needs its beats")
    marks = record.annotations
    beats = marks.sample[np.isin(marks.symbol, sorted(NORMAL_SYMBOLS))]
    source = _at_rate(noise, record.fs)
    intervals = noisy_intervals(len(record), record.fs, clean_seconds, period_seconds)
    on = np.zeros(len(record))
    for start, end in intervals:
        on[start:end] = 1.0
    levels = [noise_rms(source[:, c], record.fs) for c in range(source.shape[1])]
    if min(levels) <= 0:
        raise RecordError(f"noise record {noise.name} has a flat channel: pick the others with Record.pick")
    signal = record.signal.copy()
    gains = np.empty(len(record.leads))
    for lead in range(len(record.leads)):
        channel = lead % source.shape[1]
        amplitude = qrs_amplitude(record.signal[:, lead], record.fs, beats)
        gains[lead] = snr_gain(amplitude, levels[channel], snr_db)
        tape = np.resize(source[:, channel], len(record))
        signal[:, lead] += gains[lead] * _without_jumps(tape, on, len(source))
    return NoisyRecord(replace(record, signal=signal), intervals, gains)


def noisy_intervals(
    n: int, fs: float, clean_seconds: float = 300.0, period_seconds: float = 120.0
) -> tuple[tuple[int, int], ...]:
    """The noisy ``[start, end)`` of a record of ``n`` samples by the protocol of ``nst``."""
    if clean_seconds < 0 or not period_seconds > 0:
        raise SignalError(
            f"noise periods need a clean start of 0 s or more and a period above 0 s, "
            f"not {clean_seconds} and {period_seconds}"
        )
    start = round(clean_seconds * fs)
    if start + period_seconds * fs >= n:
        return ((start, n),) if start < n else ()
    period = round(period_seconds * fs)
    return tuple((s, min(s + period, n)) for s in range(start, n, 2 * period))


def qrs_amplitude(lead: NDArray[np.float64], fs: float, beats: NDArray[np.int64]) -> float:
    """Trimmed mean of the QRS peak-to-peak amplitudes, 50 ms to either side of each beat, in the lead's unit.

    Raises
    ------
    SignalError
        If no beat lies inside the lead, or all of them are flat.
    """
    half = round(QRS_HALF_SECONDS * fs)
    inside = beats[(beats >= half) & (beats < len(lead) - half)]
    if len(inside) == 0:
        raise SignalError("the signal's power cannot be measured: no beat lies inside the signal")
    windows = lead[inside[:MEASUREMENTS, None] + np.arange(-half, half + 1)]
    spans = np.ptp(windows[np.isfinite(windows).all(axis=1)], axis=1)
    amplitude = _trimmed_mean(spans) if len(spans) else 0.0
    if amplitude <= 0:
        raise SignalError("the signal's power cannot be measured: the lead is flat or missing at its beats")
    return amplitude


def noise_rms(noise: NDArray[np.float64], fs: float) -> float:
    """Trimmed mean of the RMS amplitudes (mean taken out) of one-second windows, in the noise's unit."""
    width = min(round(fs), len(noise))
    count = min(len(noise) // width, MEASUREMENTS)
    return _trimmed_mean(noise[: count * width].reshape(count, width).std(axis=1))


def snr_gain(amplitude: float, rms: float, snr_db: float) -> float:
    """Factor for noise of this RMS that gives the ratio beside QRS of this peak-to-peak amplitude."""
    return float(amplitude / np.sqrt(8) / rms * 10 ** (-snr_db / 20))


def _trimmed_mean(values: NDArray[np.float64]) -> float:
    """Mean without the largest and the smallest twentieth."""
    cut = len(values) // 20
    return float(np.sort(values)[cut : len(values) - cut].mean())


def _without_jumps(tape: NDArray[np.float64], on: NDArray[np.float64], wrap: int) -> NDArray[np.float64]:
    """Noise where ``on``; no step where it begins, ends or where the tape starts again."""
    steps = np.diff(tape, prepend=tape[:1])
    steps[wrap::wrap] = 0.0
    starts = np.diff(on, prepend=0.0) != 0
    steps[starts] = 0.0
    return np.cumsum(steps * on)


def _at_rate(noise: Record, fs: float) -> NDArray[np.float64]:
    """Noise samples at another rate, ``(n, channels)``."""
    if noise.fs == fs:
        return noise.signal
    from scipy.signal import resample_poly  # heavy, and needed only here

    ratio = Fraction(fs).limit_denominator(1000) / Fraction(noise.fs).limit_denominator(1000)
    resampled: NDArray[np.float64] = resample_poly(
        noise.signal, ratio.numerator, ratio.denominator, axis=0, padtype="line"
    )
    return resampled
