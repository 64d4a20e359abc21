"""What another recorder makes of the same signal: its filters, its steps, its room, a baseline that swings.

Every function takes and gives one lead in millivolts on the model grid, with the height of its QRS, and draws
from the generator it is given. Beats stay where they are: the delay of a low-pass is taken back.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.signal
from numpy.typing import NDArray

from edgeecg.data.augment import clipped
from edgeecg.specs import MODEL_FS

__all__ = ["elsewhere", "qrs_height"]

Signal = NDArray[np.float64]
Generator = np.random.Generator

TENTH = MODEL_FS // 10
QRS_BAND = 2 * np.pi * np.array([11.5, 12.5]) / MODEL_FS
"""Where a QRS has most of its power, radians a sample."""


def qrs_height(lead: Signal) -> float:
    """About the height of a QRS: what the range within a tenth of a second exceeds once in fourteen.

    Where nothing moves does not count: a recording that is shorter than a window is filled up with its end.
    """
    ranges = np.ptp(lead[: len(lead) // TENTH * TENTH].reshape(-1, TENTH), axis=1)
    moving = ranges[ranges > 0]
    return (float(np.percentile(moving, 93)) if len(moving) else 0.0) + 1e-3


def between(low: float, high: float, rng: Generator) -> float:
    """A number between two, every factor as likely as another."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def swinging(lead: Signal, height: float, rng: Generator) -> Signal:
    """On a baseline that moves with breath and body, by a tenth of a QRS to some three times its height."""
    hertz, far = between(0.12, 0.6, rng), height * between(0.1, 2.0, rng)
    second = rng.uniform(1.3, 2.2), rng.uniform(0.0, 0.6)
    phase = 2 * np.pi * np.arange(len(lead)) / MODEL_FS
    swing = np.sin(hertz * phase + rng.uniform(0, 7))
    swing += second[1] * np.sin(second[0] * hertz * phase + rng.uniform(0, 7))
    depth = rng.uniform(0.0, 0.8) * np.sin(phase / between(8, 60, rng) + rng.uniform(0, 7))
    far *= 0.5 if hertz > 0.4 else 1.0
    return np.asarray(lead + far * (1 + depth) * swing)


def filtered(lead: Signal, height: float, rng: Generator) -> Signal:
    """Through a causal high-pass (0.1 to 1.2 Hz), a low-pass (15 to 45 Hz), or both."""
    kinds = [("high",), ("low",), ("high", "low"), ("high", "low")][int(rng.integers(4))]
    lead = lead - lead[0]
    for kind in kinds:
        edge = between(0.1, 1.2, rng) if kind == "high" else between(15, 45, rng)
        sections = scipy.signal.butter(int(rng.integers(1, 3)), edge, kind, fs=MODEL_FS, output="sos")
        lead = scipy.signal.sosfilt(sections, lead)
        if kind == "low":
            late = delay(sections)
            lead = np.concatenate([lead[late:], np.full(late, lead[-1])])
    return np.asarray(lead)


def delay(sections: NDArray[np.float64]) -> int:
    """Samples by which a filter delays a QRS."""
    _, response = scipy.signal.sosfreqz(sections, QRS_BAND)
    return max(0, round(float(-np.diff(np.unwrap(np.angle(response)))[0] / np.diff(QRS_BAND)[0])))


def coarse(lead: Signal, height: float, rng: Generator) -> Signal:
    """In steps of a hundredth to a tenth of a QRS."""
    step = height * between(0.01, 0.1, rng)
    return np.asarray(np.rint(lead / step) * step)


def turned(lead: Signal, height: float, rng: Generator) -> Signal:
    """Upside down."""
    return -lead


def shaken(lead: Signal, height: float, rng: Generator) -> Signal:
    """With a wave of 2 to 9 Hz, up to half as high as a QRS, for 3 to 30 s."""
    hertz, far = rng.uniform(2, 9), height * between(0.05, 0.5, rng)
    seconds = np.arange(len(lead)) / MODEL_FS
    pace = hertz * (1 + 0.05 * np.sin(2 * np.pi * seconds / rng.uniform(2, 10)))
    begin = int(rng.integers(len(lead)))
    span = slice(begin, begin + int(rng.integers(3 * MODEL_FS, 30 * MODEL_FS)))
    wave = np.zeros(len(lead))
    wave[span] = far * np.sin(2 * np.pi * np.cumsum(pace) / MODEL_FS)[span]
    return lead + wave


KINDS: tuple[tuple[Callable[[Signal, float, Generator], Signal], float], ...] = (
    (swinging, 0.45),
    (filtered, 0.4),
    (coarse, 0.1),
    (clipped, 0.08),
    (turned, 0.15),
    (shaken, 0.12),
)
"""What may happen, one after the other, and how often each does."""


def elsewhere(leads: Signal, share: float, rng: Generator) -> Signal:
    """``(rows, n)`` millivolts, a share of the rows as another recorder would have them."""
    made = np.array(leads)
    for row, lead in enumerate(leads):
        if rng.random() >= share:
            continue
        height = qrs_height(lead)
        chosen = [change for change, chance in KINDS if rng.random() < chance]
        for change in chosen or [(swinging, filtered)[int(rng.integers(2))]]:
            made[row] = change(made[row], height, rng)
    return made
