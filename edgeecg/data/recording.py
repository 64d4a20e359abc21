"""Recordings made ready for training: on the model grid, with what is known of their beats and rhythm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from edgeecg.signal.block import HOLD_SECONDS
from edgeecg.signal.missing import fill_in, present
from edgeecg.signal.resample import Resampler
from edgeecg.specs import MODEL_FS

__all__ = ["UNKNOWN", "TrainingRecord", "gaps", "on_model_grid", "qrs_power"]

UNKNOWN = -1
"""Label of a beat, a token or a record about which nothing is claimed: it has no loss."""


def gaps(missing: NDArray[np.bool_], fs: float) -> list[tuple[int, int]]:
    """Runs of ``(n,)`` missing samples that a stream does not hold, as ``[start, end)``."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], missing, [False]])))
    runs = edges.reshape(-1, 2)
    return [(int(a), int(b)) for a, b in runs[runs[:, 1] - runs[:, 0] > int(HOLD_SECONDS * fs)]]


def _filled(signal: NDArray[np.float64], fs: float) -> NDArray[np.float64]:
    """``(n, leads)`` without missing samples: short runs are held, as in a stream.

    A longer one, where a stream begins anew, is a line to the next sample: no step comes from it.
    """
    there = present(signal).T
    if there.all():
        return signal
    y, index = signal.T.copy(), np.arange(len(signal))
    known = there.any(axis=1)
    first = y[np.arange(len(y)), there.argmax(axis=1)]
    fill_in(y, there, np.where(known, first, 0.0))
    for lead in np.flatnonzero(known):
        for start, end in gaps(~there[lead], fs):
            y[lead, start:end] = np.interp(index[start:end], index[there[lead]], y[lead, there[lead]])
    return np.asarray(y.T)


def on_model_grid(signal: NDArray[np.float64], fs: float) -> NDArray[np.float32]:
    """``(n, leads)`` source millivolts, NaN where missing, to ``(leads, m)`` at 128 Hz.

    Sample m lies at m / 128 s. What is missing is filled: see :func:`gaps` for where nothing is known.
    """
    resampler, signal = Resampler(fs), _filled(signal, fs)
    tail = np.repeat(signal[-1:], int(fs), axis=0)  # pushes the last samples through the filter's delay
    padded = np.concatenate([signal, tail]).T
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
        Spans that are left out: ventricular flutter, and where samples are missing.
    ectopic : (n_spans, 2) float64
        Spans in a rhythm that does not come from the sinus, AF among them.
    p_waves : (waves,) float64 or None
    waves_known : (n_spans, 2) float64 or None
        Spans whose P waves are all in ``p_waves``: elsewhere its silence means nothing. ``None``: everywhere.
    remade : bool
        A piece in another rhythm than the recording's own: what a network says of it is no guide.
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
    waves_known: NDArray[np.float64] | None = None
    remade: bool = False
    digest: str = ""
    power: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        self.power = tuple(qrs_power(lead, self.beats) for lead in self.signal)

    def sinus_leads(self, places: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which of these places lie in no other rhythm, and in nothing that is left out."""
        leads = np.ones(len(places), bool)
        for start, end in np.concatenate([self.masked, self.ectopic]):
            leads &= (places < start) | (places > end)
        return leads

    def piece(
        self,
        signal: NDArray[np.floating],
        beats: NDArray[np.float64],
        labels: NDArray[np.int64],
        moved: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    ) -> TrainingRecord:
        """The record cut down to a piece with these beats; ``moved`` says where a place of it lies there."""
        af, waves, known = self.atrial_fibrillation, self.p_waves, self.waves_known
        return replace(
            self,
            signal=signal.astype(np.float32),
            beats=beats,
            labels=labels,
            atrial_fibrillation=None if af is None else moved(af),
            masked=moved(self.masked),
            ectopic=moved(self.ectopic),
            p_waves=None if waves is None else moved(waves),
            waves_known=None if known is None else moved(known),
            remade=True,
        )
