"""Recordings made ready for training: on the model grid, with what is known of their beats and rhythm."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgeecg.signal.resample import Resampler
from edgeecg.specs import MODEL_FS

__all__ = ["UNKNOWN", "TrainingRecord", "on_model_grid", "qrs_power"]

UNKNOWN = -1
"""Label of a beat, a token or a record about which nothing is claimed: it has no loss."""


def on_model_grid(signal: NDArray[np.float64], fs: float) -> NDArray[np.float32]:
    """``(n, leads)`` source millivolts to ``(leads, m)`` at 128 Hz; sample m lies at m / 128 s."""
    resampler = Resampler(fs)
    tail = np.repeat(signal[-1:], int(fs), axis=0)  # pushes the last samples through the filter's delay
    padded = np.nan_to_num(np.concatenate([signal, tail]).T)
    y, _ = resampler.step(padded, resampler.initial(len(padded)))
    length = resampler.ready(len(signal))
    return np.ascontiguousarray(y[:, resampler.latency : resampler.latency + length], dtype=np.float32)


def qrs_power(lead: NDArray[np.float32], beats: NDArray[np.float64]) -> float:
    """Signal power in mV^2 as WFDB's ``nst`` counts it: peak-to-peak QRS amplitude squared over 8."""
    half = round(0.05 * MODEL_FS)
    places = np.rint(beats).astype(np.int64)
    places = places[(places >= half) & (places < len(lead) - half)][:300]
    if len(places) == 0:
        return float(np.percentile(np.abs(lead - np.median(lead)), 99)) ** 2 / 2
    cut = lead[places[:, None] + np.arange(-half, half + 1)]
    return float(np.median(np.ptp(cut, axis=1))) ** 2 / 8


@dataclass
class TrainingRecord:
    """One recording on the model grid; positions are model samples from its start.

    Parameters
    ----------
    name, patient, source : str
        ``source`` is the set it comes from.
    signal : (leads, n) float32, millivolts
    beats : (beats,) float64
    labels : (beats,) int64
        Index into ``BEAT_LABELS`` or ``UNKNOWN``.
    complete : bool
        Whether every beat is in ``beats``: else silence there means nothing.
    atrial_fibrillation : (n_spans, 2) float64 or None
        Spans in AF; ``None`` where nobody labelled the rhythm.
    weak_rhythm : int
        1: the whole record is AF, 0: it is not, ``UNKNOWN``.
    weak_label : str
        Label of the whole record (``N``, ``A``, ``O``, ``~``) or empty.
    masked : (n_spans, 2) float64
        Spans that are left out, such as ventricular flutter.
    ectopic : (n_spans, 2) float64
        Spans in a rhythm that does not come from the sinus, AF among them.
    p_waves : (waves,) float64 or None
    digest : str
        SHA-256 of the samples as they were read; empty for made ones.
    """

    name: str
    patient: str
    source: str
    signal: NDArray[np.float32]
    beats: NDArray[np.float64]
    labels: NDArray[np.int64]
    complete: bool = True
    atrial_fibrillation: NDArray[np.float64] | None = None
    weak_rhythm: int = UNKNOWN
    weak_label: str = ""
    masked: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 2)))
    ectopic: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 2)))
    p_waves: NDArray[np.float64] | None = None
    digest: str = ""
    power: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        self.power = tuple(qrs_power(lead, self.beats) for lead in self.signal)
