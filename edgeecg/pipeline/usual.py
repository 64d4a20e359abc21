"""How large each lead of a patient usually is, so that leads of different size can be compared.

Silence is judged by the level of the lead that is read best. That may be another one from one moment to the
next, and a small lead in place of a large one is no heart that has gone quiet.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgeecg.signal.quality import UNREADABLE

__all__ = ["compared"]

MEMORY = 0.05  # weight of one more tick
QUIET, DOUBT = 0.25, 0.003  # below that share of it a tick weighs only so much: a heart that pauses
LEAST = 1e-4  # millivolts


def compared(
    level: NDArray[np.float64], label: NDArray[np.int64], usual: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Levels as the first of the patient's leads that were ever readable would have them.

    Parameters
    ----------
    level : (patients, leads, ticks) millivolts
    label : (patients, leads, ticks)
        Index into ``QUALITY_LABELS``; what cannot be read says nothing of a lead's size.
    usual : (patients, leads) millivolts
        NaN for leads that were never readable.

    Returns
    -------
    Levels of the same shape, and what is usual before each tick and after the last one.
    """
    found, known_before = np.empty(level.shape), [usual]
    for tick in range(level.shape[2]):
        now, known = np.maximum(level[..., tick], LEAST), ~np.isnan(usual)
        weight = np.where(now < QUIET * usual, DOUBT, MEMORY)
        weight = np.where(label[..., tick] < UNREADABLE, np.where(known, weight, 1.0), 0.0)
        usual = np.where(weight > 0, np.where(known, usual, now) * (1 - weight) + weight * now, usual)
        first = np.argmax(~np.isnan(usual), axis=1)[:, None]
        share = np.take_along_axis(usual, first, axis=1) / usual
        found[..., tick] = level[..., tick] * np.where(np.isnan(share), 1.0, share)
        known_before.append(usual)
    return found, np.stack(known_before, axis=-1)
