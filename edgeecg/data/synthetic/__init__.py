"""A seeded generator of physiological ECG with exact labels: the built-in data of every verb.

In the family of ECGSYN: a sum of Gaussian P, Q, R, S and T waves, here of the heart's dipole in space, so
that every lead is a projection of one heart. Rhythm, ectopy, pauses and recovery times follow physiology;
labels are exact because nothing was measured.

Examples
--------
>>> from edgeecg.data.synthetic import SyntheticSettings, draw_patient, synthesize
>>> made = synthesize(SyntheticSettings(draw_patient("ventricular", 1), seconds=60), seed=1)
>>> made.record.signal.shape, made.labels[:3].tolist()
((21600, 2), ['N', 'N', 'N'])
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeecg.data.noise import noise_rms, qrs_amplitude, snr_gain
from edgeecg.data.synthetic.disturbance import disturbance
from edgeecg.data.synthetic.patient import (
    KINDS,
    LEAD_VECTORS,
    NoiseMix,
    SyntheticPatient,
    SyntheticSettings,
    draw_patient,
)
from edgeecg.data.synthetic.render import render
from edgeecg.data.synthetic.rhythm import Activation, Episode, Script, write_script
from edgeecg.data.synthetic.shape import draw_anatomy
from edgeecg.errors import ConfigError
from edgeecg.io.record import Annotations, Record

__all__ = [
    "KINDS",
    "LEAD_VECTORS",
    "NoiseMix",
    "SyntheticCase",
    "SyntheticPatient",
    "SyntheticRecord",
    "SyntheticSettings",
    "draw_patient",
    "plan_cohort",
    "synthesize",
    "synthetic_cohort",
]

SPLITS = ("train", "validation", "test")
_SYMBOLS = {
    "sinus": "N", "conducted": "N", "junctional": "j", "atrial": "A",
    "ventricular": "V", "fusion": "F", "paced": "/",
}  # fmt: skip
_LABELS = {"N": "N", "L": "N", "R": "N", "j": "N", "A": "S", "a": "S", "V": "V", "F": "F", "/": "P"}


@dataclass(frozen=True, eq=False)
class SyntheticRecord:
    """A recording whose truth is known.

    Parameters
    ----------
    record : Record
        Samples with noise, and annotations in WFDB's symbols (beats, and rhythm changes as ``+``).
    clean : (n, leads) float64
        The samples before noise, millivolts.
    beats : (b,) int64
        Sample of each beat's main deflection in the first lead.
    labels : (b,) str
        Label of each beat out of ``specs.BEAT_LABELS``.
    p_waves : (p,) int64
        Sample of each P wave's peak, conducted or not.
    rhythms : tuple of (int, int, str)
        Rhythm intervals ``[start, end)`` that cover the recording, by WFDB's names without ``(``.
    settings : SyntheticSettings
    seed : int
    """

    record: Record
    clean: NDArray[np.float64]
    beats: NDArray[np.int64]
    labels: NDArray[np.str_]
    p_waves: NDArray[np.int64]
    rhythms: tuple[tuple[int, int, str], ...]
    settings: SyntheticSettings
    seed: int


def synthesize(settings: SyntheticSettings, seed: int) -> SyntheticRecord:
    """Record a patient; the same settings and seed give the same samples.

    Parameters
    ----------
    settings : SyntheticSettings
    seed : int
        Seed of what happens in this recording; the patient's own shapes hang on ``patient.anatomy``.
    """
    patient = settings.patient
    rng = np.random.default_rng([seed, patient.anatomy])
    n = round(settings.seconds * settings.fs)
    anatomy = draw_anatomy(patient)
    script = write_script(patient, anatomy, settings.seconds, rng)
    script.p_waves.sort()
    clean, times = render(script, settings, rng)
    samples = np.round(times * settings.fs).astype(np.int64)
    inside = np.flatnonzero((samples >= 0) & (samples < n))
    beats = samples[inside]
    symbols = np.array([_symbol(script.beats[i], patient) for i in inside], dtype=np.str_)
    rhythms = _rhythms(script, settings, n)
    p_waves = np.round(np.array([wave.time for wave in script.p_waves]) * settings.fs).astype(np.int64)
    signal = _with_noise(clean, beats, settings, rng)
    record = Record(
        name=f"{patient.name}-{seed}",
        signal=signal,
        fs=settings.fs,
        leads=settings.leads,
        annotations=_annotations(beats, symbols, rhythms),
        patient=patient.name,
    )
    labels = np.array([_LABELS[symbol] for symbol in symbols], dtype=np.str_)
    p_waves = p_waves[(p_waves >= 0) & (p_waves < n)]
    return SyntheticRecord(record, clean, beats, labels, p_waves, rhythms, settings, seed)


@dataclass(frozen=True)
class SyntheticCase:
    """A recording that can be made: its settings and its seed."""

    settings: SyntheticSettings
    seed: int

    def make(self) -> SyntheticRecord:
        """The recording, the same at every call."""
        return synthesize(self.settings, self.seed)


def synthetic_cohort(
    n: int,
    seed: int,
    *,
    seconds: float = 120.0,
    fs: float = 360.0,
    leads: tuple[str, ...] = ("MLII", "V1"),
    snr_db: tuple[float, float] = (12.0, 30.0),
    shares: tuple[float, float, float] = (0.6, 0.2, 0.2),
    kinds: Sequence[str] = KINDS,
) -> dict[str, tuple[SyntheticRecord, ...]]:
    """Patients of all kinds, one record each, split patient-wise: :func:`plan_cohort`, made.

    Returns
    -------
    dict with keys ``train``, ``validation`` and ``test``.
    """
    plan = plan_cohort(
        n, seed, seconds=seconds, fs=fs, leads=leads, snr_db=snr_db, shares=shares, kinds=kinds
    )
    return {split: tuple(case.make() for case in cases) for split, cases in plan.items()}


def plan_cohort(
    n: int,
    seed: int,
    *,
    seconds: float = 120.0,
    fs: float = 360.0,
    leads: tuple[str, ...] = ("MLII", "V1"),
    snr_db: tuple[float, float] = (12.0, 30.0),
    shares: tuple[float, float, float] = (0.6, 0.2, 0.2),
    kinds: Sequence[str] = KINDS,
) -> dict[str, tuple[SyntheticCase, ...]]:
    """Patients of all kinds, one record each, split patient-wise; nothing is made yet.

    Parameters
    ----------
    n : int
        Patients in all, at least 3.
    seed : int
    seconds, fs, leads
        As in :class:`SyntheticSettings`.
    snr_db : (float, float)
        Range from which each record's signal-to-noise ratio is drawn.
    shares : (float, float, float)
        Of the patients in ``train``, ``validation`` and ``test``; each gets at least one.
    kinds : sequence of str
        Kinds that each split takes in turn.

    Returns
    -------
    dict with keys ``train``, ``validation`` and ``test``.

    Raises
    ------
    ConfigError
        For fewer than 3 patients or shares that do not add to 1.
    """
    if n < len(SPLITS):
        raise ConfigError(f"a cohort needs at least {len(SPLITS)} patients, one for each split, not {n}")
    if abs(sum(shares) - 1) > 1e-9 or min(shares) <= 0:
        raise ConfigError(f"shares {shares} of train, validation and test must be positive and add to 1")
    validation, test = (max(1, round(n * share)) for share in shares[1:])
    counts = (max(1, n - validation - test), validation, test)
    rng = np.random.default_rng([seed, n])
    plan: dict[str, tuple[SyntheticCase, ...]] = {}
    for split, count in zip(SPLITS, counts, strict=True):
        cases = []
        for i in range(count):
            kind = kinds[i % len(kinds)]
            patient = draw_patient(kind, int(rng.integers(2**31)), f"{split}{i:03d}-{kind}")
            snr, mains = float(rng.uniform(*snr_db)), float(rng.choice([50.0, 60.0]))
            settings = SyntheticSettings(patient, seconds, fs, leads, snr, mains=mains)
            cases.append(SyntheticCase(settings, int(rng.integers(2**31))))
        plan[split] = tuple(cases)
    return plan


def _symbol(beat: Activation, patient: SyntheticPatient) -> str:
    """WFDB's symbol of a beat; sinus beats are named after the bundle branch block."""
    symbol = _SYMBOLS[beat.kind]
    if symbol == "N" and patient.conduction != "normal":
        return "L" if patient.conduction == "left" else "R"
    return symbol


def _rhythms(script: Script, settings: SyntheticSettings, n: int) -> tuple[tuple[int, int, str], ...]:
    """Episodes as sample intervals without holes or overlaps; between them is sinus rhythm."""
    base = "SBR" if script.patient.rate < 50 else "N"
    cover: list[tuple[int, int, str]] = []
    reached = 0
    for episode in sorted(script.episodes, key=lambda e: e.start):
        start, end = _span(episode, settings, reached, n)
        if end <= start:
            continue
        if start > reached:
            cover.append((reached, start, base))
        cover.append((start, end, episode.label))
        reached = end
    if reached < n:
        cover.append((reached, n, base))
    merged: list[tuple[int, int, str]] = []
    for start, end, label in cover:
        if merged and merged[-1][2] == label:
            merged[-1] = (merged[-1][0], end, label)
        else:
            merged.append((start, end, label))
    return tuple(merged)


def _span(episode: Episode, settings: SyntheticSettings, reached: int, n: int) -> tuple[int, int]:
    """An episode in samples; a short one ends just after its last beat."""
    margin = 0.12 if episode.label in ("VT", "SVTA", "B", "T") else 0.0
    start = max(round((episode.start - margin) * settings.fs), reached)
    end = n if episode.end >= settings.seconds else round((episode.end + margin) * settings.fs)
    return start, min(end, n)


def _annotations(
    beats: NDArray[np.int64], symbols: NDArray[np.str_], rhythms: tuple[tuple[int, int, str], ...]
) -> Annotations:
    """Beats and rhythm changes in the order of time, a change before the beat it begins with."""
    samples = np.concatenate([np.array([start for start, _, _ in rhythms], dtype=np.int64), beats])
    marks = np.concatenate([np.full(len(rhythms), "+"), symbols])
    aux = np.concatenate([np.array([f"({label}" for _, _, label in rhythms]), np.full(len(beats), "")])
    order = np.argsort(samples, kind="stable")
    return Annotations(samples[order], marks[order], aux[order])


def _with_noise(
    clean: NDArray[np.float64],
    beats: NDArray[np.int64],
    settings: SyntheticSettings,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Clean samples plus disturbances at the stated SNR, as the recorder's converter stores them."""
    signal = clean
    if settings.snr_db is not None:
        n, leads = clean.shape
        noise = disturbance(
            n, settings.fs, leads, settings.noise, settings.mains, settings.patient.respiration, rng
        )
        for lead in range(leads):
            amplitude = qrs_amplitude(clean[:, lead], settings.fs, beats)
            noise[:, lead] *= snr_gain(amplitude, noise_rms(noise[:, lead], settings.fs), settings.snr_db)
        signal = clean + noise
    if settings.resolution > 0:
        signal = np.round(signal / settings.resolution) * settings.resolution
    return signal
