"""What may happen to a recording on another patient, another lead or another device.

Every function takes and gives millivolts on the model grid (128 Hz) and draws from the generator it is
given, so a window is a pure function of the seed and the step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import scipy.signal
from msgspec import Meta
from numpy.typing import NDArray

from edgeecg.errors import ConfigError
from edgeecg.ranges import NotNegative, Share
from edgeecg.specs import MODEL_FS

__all__ = [
    "AugmentSettings",
    "clipped",
    "coloured_noise",
    "electrode_noise",
    "glitches",
    "mix_leads",
    "noisy_spans",
    "tone",
    "warp",
]

Signal = NDArray[np.float64]

LOUDEST = 100.0  # dB
TONE_TAPS = 8  # on each side: 62 ms


@dataclass(frozen=True)
class AugmentSettings:
    """How often and how far; a probability of 0 turns a kind off.

    Parameters
    ----------
    gain : float
        Gains are drawn log-uniformly from 1 / gain to gain.
    invert : float
        Probability that the lead is upside down.
    mix : float
        Probability of a random combination of two leads in place of one.
    pair : float
        Probability that two leads of a record that has them come together, and are fused as a stream of
        two leads is.
    tone : float
        Spread of the taps of a short symmetrical filter: another electrode, another amplifier.
    noise : float
        Probability that a window gets noise.
    snr : (float, float)
        Signal-to-noise ratio of that noise in dB, as WFDB's ``nst`` counts it.
    warp : float
        Largest change of the time axis: heart rate and widths together, by up to this fraction.
    retime : float
        Probability that the rhythm of a window is changed (`edgeecg.data.retime`): early beats, runs, pauses.
    insert : float
        Probability that a stretch is put into a window (`edgeecg.data.insert`): V that last, a standstill.
    glitch, clip : float
        Probability that a window has single samples that are wrong, or peaks that the recorder cut off.
    recorder : float
        Share of the leads as another recorder would have them (`edgeecg.data.recorder`).
    drop, extra : float
        Share of the reference beats that the beat encoder does not get, and of false ones that it does.
    """

    gain: Annotated[float, Meta(ge=1, le=1e3)] = 3.0
    invert: Share = 0.2
    mix: Share = 0.35
    pair: Share = 0.0
    tone: NotNegative = 0.0
    noise: Share = 0.5
    snr: tuple[float, float] = (-3.0, 24.0)
    warp: Annotated[float, Meta(ge=0, lt=1)] = 0.15
    retime: Share = 0.0
    insert: Share = 0.0
    glitch: Share = 0.0
    clip: Share = 0.0
    recorder: Share = 0.0
    drop: Share = 0.01
    extra: Share = 0.01

    def __post_init__(self) -> None:
        if not -LOUDEST <= self.snr[0] <= self.snr[1] <= LOUDEST:
            raise ConfigError(
                f"augment.snr is {list(self.snr)}: give the lower level first, both within {LOUDEST:g} dB"
            )


def mix_leads(leads: NDArray[np.float32], probability: float, rng: np.random.Generator) -> Signal:
    """One lead of ``(leads, n)``, or a combination of two as an electrode elsewhere would see."""
    first = int(rng.integers(len(leads)))
    signal: Signal = leads[first].astype(np.float64)
    if len(leads) > 1 and rng.random() < probability:
        second = (first + 1 + int(rng.integers(len(leads) - 1))) % len(leads)
        angle = rng.uniform(-np.pi / 2, np.pi / 2)
        signal = np.asarray(np.cos(angle) * signal + np.sin(angle) * leads[second])
    return signal


def tone(signal: Signal, spread: float, rng: np.random.Generator) -> Signal:
    """The signal through a random filter of 17 taps that moves no wave: other gains at other frequencies."""
    side = rng.normal(0, spread, TONE_TAPS) * np.exp(-np.arange(TONE_TAPS) / TONE_TAPS) / 2
    taps = np.concatenate([side[::-1], [1.0], side])
    edges = np.pad(signal, TONE_TAPS, mode="edge")
    return np.convolve(edges, taps, mode="valid")


def warp(signal: Signal, factor: float, length: int) -> Signal:
    """The first ``length`` samples of the signal with its time axis stretched by ``factor``."""
    source = np.arange(length) / factor
    return np.asarray(np.interp(source, np.arange(len(signal)), signal))


def coloured_noise(length: int, rng: np.random.Generator) -> Signal:
    """Noise of a random slope, 1/f^0 (muscle) to 1/f^2 (movement), of unit power."""
    spectrum = np.fft.rfft(rng.standard_normal(length))
    frequency = np.maximum(np.fft.rfftfreq(length, 1 / MODEL_FS), 0.3)
    noise = np.fft.irfft(spectrum * frequency ** -rng.uniform(0.0, 1.0), length)
    return np.asarray(noise / (noise.std() + 1e-9))


def electrode_noise(length: int, rng: np.random.Generator) -> Signal:
    """Electrode movement: steps and bumps with QRS-like edges that decay, of unit power."""
    impulses = np.zeros(length)
    count = 1 + rng.poisson(length / MODEL_FS * rng.uniform(0.5, 3.0))
    impulses[rng.integers(length, size=count)] = rng.standard_normal(count) * rng.gamma(1.0, 1.0, count)
    decay = np.exp(-1 / (MODEL_FS * rng.uniform(0.05, 1.0)))
    rise = np.exp(-1 / (MODEL_FS * rng.uniform(0.005, 0.08)))
    noise = scipy.signal.lfilter([1 - rise], [1, -(decay + rise), decay * rise], impulses)
    return np.asarray(noise / (noise.std() + 1e-9))


def noise_piece(recorded: Sequence[NDArray[np.float32]], length: int, rng: np.random.Generator) -> Signal:
    """Noise of unit power: recorded where there is any (two times in three), else made."""
    if len(recorded) and rng.random() < 0.65:
        source = recorded[int(rng.integers(len(recorded)))]
        start = int(rng.integers(max(1, len(source) - length)))
        piece = np.resize(source[start : start + length], length).astype(np.float64)
        piece = piece[:: rng.choice([-1, 1])] * rng.choice([-1.0, 1.0])
        piece -= piece.mean()
        return np.asarray(piece / (piece.std() + 1e-9))
    return electrode_noise(length, rng) if rng.random() < 0.5 else coloured_noise(length, rng)


def glitches(length: int, rng: np.random.Generator) -> Signal:
    """Single samples that are wrong by a tenth to three times the height of a QRS, one in 2 to 60 seconds."""
    signal = np.zeros(length)
    count = 1 + rng.poisson(length / MODEL_FS / np.exp(rng.uniform(np.log(2), np.log(60))))
    places = rng.integers(length, size=count)
    signal[places] = rng.choice([-1.0, 1.0], count) * np.exp(rng.uniform(np.log(0.1), np.log(3), count))
    return signal


def clipped(signal: Signal, height: float, rng: np.random.Generator) -> Signal:
    """The signal cut off at a quarter to nine tenths of the height of a QRS, on one side or both."""
    level = rng.uniform(0.25, 0.9) * height
    middle = np.median(signal)
    low, high = [(-np.inf, level), (-level, np.inf), (-level, level)][int(rng.integers(3))]
    return np.asarray(np.clip(signal - middle, low, high) + middle)


def noisy_spans(length: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Where the noise is: all of the window, or spans of 2 to 30 s of it, as a factor 0 to 1."""
    if rng.random() < 0.4:
        return np.ones(length)
    envelope = np.zeros(length)
    place = int(rng.integers(20 * MODEL_FS))
    while place < length:
        span = int(rng.integers(2 * MODEL_FS, 30 * MODEL_FS))
        envelope[place : place + span] = 1.0
        place += span + int(rng.integers(2 * MODEL_FS, 30 * MODEL_FS))
    return envelope
