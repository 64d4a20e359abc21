"""What an input is compared with: the patient's usual beats on time, or nothing at all.

Relevance is always relative to something. Against a flat line an absent P wave cannot matter: it is what
the flat line has. So the default asks "why not what this patient usually has": the median of the patient's
own normal beats, laid out in a regular rhythm that ends with the beat in question. The earlier beats then
stand where they would if it had come on time, since the network sees prematurity in the samples too: with
usual beats left at their own places it mostly still says S.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgeecg.errors import ConfigError
from edgeecg.explain.question import Question
from edgeecg.explain.trace import Trace
from edgeecg.specs import MODEL_FS

__all__ = ["Baseline", "BaselineKind", "baseline", "usual_beat"]

BaselineKind = Literal["usual", "flat"]
BEFORE, AFTER = round(0.30 * MODEL_FS), round(0.50 * MODEL_FS)  # samples around an R peak that are its own
TAPER = 8  # samples at each end of the usual beat that fade out
FEWEST = 5  # normal beats that make a usual one
REFERENCE = 8  # intervals before a beat whose median is the usual one
FEWEST_INTERVALS = 4  # of those between normal beats


@dataclass(frozen=True, eq=False)
class Baseline:
    """Samples ``(leads, n)`` and intervals ``(m,)`` to compare with, and what they are."""

    samples: Tensor
    intervals: Tensor
    kind: BaselineKind


def usual_beat(trace: Trace, leave_out: NDArray[np.int64]) -> NDArray[np.float32] | None:
    """Median of the beats that the model calls normal, in no fibrillation, between two others if there are.

    Parameters
    ----------
    trace : Trace
    leave_out : (k,) int
        Beats that are asked about.

    Returns
    -------
    (leads, BEFORE + AFTER) float32, fading to zero at both ends; ``None`` for fewer than five such beats.
    """
    normal = np.array([label == "N" for label in trace.labels]) & (trace.fibrillation < 0.5)
    places = np.rint(trace.place).astype(np.int64)
    normal &= (places >= BEFORE) & (places + AFTER <= trace.signal.shape[1])
    normal[leave_out] = False
    steady = normal & np.roll(normal, 1) & np.roll(normal, -1)
    steady[[0, -1]] = False
    chosen = steady if steady.sum() >= FEWEST else normal  # in a bigeminy none stands between two others
    if chosen.sum() < FEWEST:
        return None
    places = places[chosen]
    cut = trace.signal[:, places[:, None] + np.arange(-BEFORE, AFTER)]
    window = np.ones(BEFORE + AFTER, np.float32)
    window[:TAPER] = (np.arange(TAPER) + 0.5) / TAPER
    window[-TAPER:] = window[:TAPER][::-1]
    beat: NDArray[np.float32] = np.median(cut, axis=1).astype(np.float32) * window
    return beat


def baseline(question: Question, kind: BaselineKind | None = None) -> Baseline:
    """What a question's input is compared with.

    Parameters
    ----------
    question : Question
    kind : str, optional
        ``usual`` or ``flat``; where left out, ``usual`` unless the patient has no usual beat.

    Raises
    ------
    ConfigError
        If ``usual`` is asked for and there are fewer than five normal beats.
    """
    if kind not in (None, "usual", "flat"):
        raise ConfigError(f"no baseline {kind!r}: choose usual or flat")
    beat = None if kind == "flat" else usual_beat(question.trace, question.targets)
    if beat is None and kind == "usual":
        raise ConfigError("this stretch has fewer than 5 normal beats to make a usual one of: use 'flat'")
    interval = usual_interval(question)
    intervals = torch.full_like(question.intervals, interval)
    if beat is None:
        return Baseline(torch.zeros_like(question.samples), intervals, "flat")
    return Baseline(torch.from_numpy(_laid_out(question, beat, interval)), intervals, "usual")


def usual_interval(question: Question) -> float:
    """Median of the last eight intervals between two normal beats before the first target, seconds.

    In a run of ectopic beats the last intervals are the run's own. Where the stretch has fewer than four
    such intervals, the last eight of all; the beat's own where it is the first.
    """
    found, target = question.trace, int(question.targets[0])
    normal = np.array([label == "N" for label in found.labels[:target]], bool)
    normal &= found.fibrillation[:target] < 0.5
    usual = found.intervals[1:target][normal[1:] & normal[:-1]][-REFERENCE:]
    if len(usual) >= FEWEST_INTERVALS:
        return float(np.median(usual))
    end = question.interval_of(target)
    values = question.intervals.numpy()
    recent = values[max(0, end - REFERENCE) : max(0, end)]
    return float(np.median(recent if len(recent) else values)) if len(values) else 0.8


def _laid_out(question: Question, beat: NDArray[np.float32], interval: float) -> NDArray[np.float32]:
    """The usual beat every ``interval`` seconds, one of them at the last target's place, ``(leads, n)``."""
    last, live = question.trace.place[question.targets[-1]] - question.live.start, question.live
    length, step = live.stop - live.start, interval * MODEL_FS
    line = np.zeros((len(question.leads), length + 2 * (BEFORE + AFTER)), np.float32)
    lead_in = BEFORE + AFTER  # beats that lie partly outside are cut by a margin on both sides
    count = int((last + AFTER) // step), int((length - last + BEFORE) // step)
    for number in range(-count[0], count[1] + 1):
        start = lead_in + round(last + number * step) - BEFORE
        line[:, start : start + BEFORE + AFTER] += beat[list(question.leads)]  # overlapping waves add up
    return np.ascontiguousarray(line[:, lead_in : lead_in + length])
