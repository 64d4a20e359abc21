"""What the electrodes pick up besides the heart, each kind at unit power."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edgeecg.data.synthetic.patient import NoiseMix

__all__ = ["disturbance", "electrode_motion", "mains_hum", "muscle", "wander"]

Array = NDArray[np.float64]


def disturbance(
    n: int, fs: float, leads: int, mix: NoiseMix, mains: float, respiration: float, rng: np.random.Generator
) -> Array:
    """A mixture of all kinds, ``(n, leads)``, of unit power on average; leads share part of it."""
    parts: tuple[tuple[float, Callable[[], Array]], ...] = (
        (mix.wander, lambda: wander(n, fs, respiration, rng)),
        (mix.mains, lambda: mains_hum(n, fs, mains, rng)),
        (mix.muscle, lambda: muscle(n, fs, rng)),
        (mix.electrode, lambda: electrode_motion(n, fs, rng)),
    )
    total = np.zeros((n, leads))
    for power, make in parts:
        if power > 0:
            common = make()
            own = np.stack([make() for _ in range(leads)], axis=1)
            total += np.sqrt(power) * (np.sqrt(0.4) * common[:, None] + np.sqrt(0.6) * own)
    total /= np.sqrt(sum(power for power, _ in parts))
    return total


def wander(n: int, fs: float, respiration: float, rng: np.random.Generator) -> Array:
    """Baseline wander: breathing, and slow drift between 0.02 and 0.6 Hz."""
    slow = _band_noise(n, fs, 0.02, 0.6, rng)
    t = np.arange(n) / fs
    breath = np.sin(2 * np.pi * respiration * t + rng.uniform(0, 2 * np.pi))
    return _unit(slow + 0.5 * breath)


def mains_hum(n: int, fs: float, mains: float, rng: np.random.Generator) -> Array:
    """Mains with its third harmonic where the rate can hold it, slowly changing in strength."""
    t = np.arange(n) / fs
    strength = 1 + 0.3 * _band_noise(n, fs, 0.01, 0.2, rng)
    hum = np.sin(2 * np.pi * mains * t + rng.uniform(0, 2 * np.pi))
    if 3 * mains < fs / 2:
        hum = hum + 0.25 * np.sin(2 * np.pi * 3 * mains * t + rng.uniform(0, 2 * np.pi))
    return _unit(strength * hum)


def muscle(n: int, fs: float, rng: np.random.Generator) -> Array:
    """Muscle noise above 15 Hz that swells and fades."""
    tension = np.exp(0.6 * _band_noise(n, fs, 0.02, 0.5, rng))
    return _unit(tension * _band_noise(n, fs, 15.0, min(150.0, 0.48 * fs), rng))


def electrode_motion(n: int, fs: float, rng: np.random.Generator) -> Array:
    """Electrodes that are pushed: sudden offsets that decay, and swings as slow as a QRS or a T wave."""
    kicks = np.zeros(n)
    count = int(rng.poisson(0.5 * n / fs)) + 1
    kicks[rng.integers(0, n, count)] = rng.standard_t(3, count)
    shapes = [np.exp(-np.arange(int(6 * tau * fs)) / (tau * fs)) for tau in (0.03, 0.15, 0.5)]
    owner = rng.integers(0, len(shapes), n)
    steps = sum(
        (_convolved(np.where(owner == i, kicks, 0.0), shape) for i, shape in enumerate(shapes)), np.zeros(n)
    )
    swings = _band_noise(n, fs, 0.7, 9.0, rng) * np.exp(0.7 * _band_noise(n, fs, 0.02, 0.3, rng))
    return _unit(_unit(steps) + 0.8 * _unit(swings))


def _convolved(x: Array, kernel: Array) -> Array:
    """Causal convolution, as long as ``x``."""
    size = 1 << (len(x) + len(kernel)).bit_length()
    y: Array = np.fft.irfft(np.fft.rfft(x, size) * np.fft.rfft(kernel, size), size)[: len(x)]
    return y


def _band_noise(n: int, fs: float, low: float, high: float, rng: np.random.Generator) -> Array:
    """Gaussian noise between two frequencies, of unit power; white within a band wider than a decade."""
    frequency = np.fft.rfftfreq(n, 1 / fs)
    shape = np.exp(-((low / np.maximum(frequency, 1e-9)) ** 4)) * np.exp(-((frequency / high) ** 4))
    shape[0] = 0.0
    return _unit(np.fft.irfft(np.fft.rfft(rng.standard_normal(n)) * shape, n))


def _unit(x: Array) -> Array:
    """Zero mean, unit power; zeros where there is no power at all."""
    x = x - x.mean()
    power = float(np.mean(x**2))
    return x / np.sqrt(power) if power > 0 else x
