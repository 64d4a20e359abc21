"""Stretches that few recordings hold, put into a piece of one: V that last, and a heart that stands still.

Both are made from the recording's own waves, so that they look as this patient would. What follows comes
later by their length.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgeecg.data.recording import TrainingRecord
from edgeecg.specs import BEAT_LABELS, MODEL_FS

__all__ = ["inserted"]

Floats = NDArray[np.float64]

N, V = BEAT_LABELS.index("N"), BEAT_LABELS.index("V")
LASTING = 0.7  # chance of V that last, where the recording has any
SHAPES = 8  # V of the recording that a run is made of, at most
ONSET = round(0.13 * MODEL_FS)  # samples of a V before its peak
PAST = round(0.10 * MODEL_FS)  # samples before the next beat that are still this one's
V_INTERVAL = (0.27, 0.80)  # seconds: 75 to 220 a minute
V_SECONDS = (4.0, 60.0)
P_START, P_END = round(0.26 * MODEL_FS), round(0.06 * MODEL_FS)  # samples of a P wave before its beat
P_BEATS = 40  # whose mean is the patient's P
ATRIAL_INTERVAL = (0.5, 1.2)
STILL_SECONDS = (3.0, 25.0)
ESCAPES = 0.3  # chance that beats end a standstill's silence, at 24 to 45 a minute
ESCAPE_INTERVAL = (1.3, 2.5)
FLOOR = (0.002, 0.02)  # millivolts of noise


@dataclass(frozen=True)
class _Made:
    """A stretch to put in: ``(leads, n)`` millivolts, and its beats from its start."""

    signal: Floats
    beats: Floats
    label: int
    p_waves: Floats


def inserted(record: TrainingRecord, begin: int, span: int, rng: np.random.Generator) -> TrainingRecord:
    """A piece of a recording, longer by a stretch of lasting V, or of standstill.

    Recordings without V cannot have more of them; where nobody labelled the beats, or some other rhythm
    reigns, the piece is left as it is.

    Parameters
    ----------
    begin, span : int
        Model samples: where the piece begins, and its length.
    """
    made = None
    if record.complete:
        made = _lasting(record, rng) if rng.random() < LASTING else None
        made = made or _standstill(record, rng)
    place = _gap(record, begin, span, rng)
    if made is None or place is None:
        place, made = begin, _Made(np.empty((len(record.signal), 0)), np.empty(0), N, np.empty(0))
    return _cut(record, begin, span, place, made)


def _gap(record: TrainingRecord, begin: int, span: int, rng: np.random.Generator) -> int | None:
    """A place between two beats of the piece, in the middle of diastole, outside other rhythms."""
    middle = record.beats[:-1] + 0.65 * np.diff(record.beats)
    fits = (middle > begin + 5 * MODEL_FS) & (middle < begin + 0.8 * span) & record.sinus_leads(middle)
    return int(rng.choice(middle[fits])) if fits.any() else None


def _lasting(record: TrainingRecord, rng: np.random.Generator) -> _Made | None:
    """The patient's own V again and again."""
    peaks = record.beats[record.labels == V]
    peaks = peaks[(peaks > ONSET) & (peaks < record.signal.shape[1] - MODEL_FS)]
    if not len(peaks):
        return None
    peaks = rng.choice(peaks, min(SHAPES, len(peaks)), replace=False)
    usual = np.exp(rng.uniform(*np.log(V_INTERVAL)))
    seconds = np.exp(rng.uniform(*np.log(V_SECONDS)))
    count = max(3, round(seconds / usual))
    gaps = usual * (1 + rng.normal(0, rng.uniform(0.003, 0.05), count)) * MODEL_FS
    alike = rng.random() < 0.6  # one focus
    pieces, beats, place = [], [], 0
    for number, size in enumerate(np.maximum(np.rint(gaps), 0.2 * MODEL_FS).astype(np.int64).tolist()):
        peak = peaks[0 if alike else number % len(peaks)]
        pieces.append(_beat(record, peak, round(peak) - ONSET, size))
        beats.append(place + ONSET)
        place += size
    return _Made(np.concatenate(pieces, axis=1), np.array(beats, dtype=np.float64), V, np.empty(0))


def _beat(record: TrainingRecord, peak: float, start: int, size: int) -> Floats:
    """One beat as ``(leads, size)`` whose ends are zero; held where the next beat begins too soon."""
    later = record.beats[record.beats > peak + 1]
    end = min(start + size, record.signal.shape[1], int(later[0]) - PAST if len(later) else start + size)
    wave = record.signal[:, start : max(end, start + ONSET + PAST)].astype(np.float64)
    wave -= np.linspace(wave[:, 0], wave[:, -1], wave.shape[1]).T
    return np.pad(wave, ((0, 0), (0, max(0, size - wave.shape[1]))))[:, :size]


def _standstill(record: TrainingRecord, rng: np.random.Generator) -> _Made | None:
    """P waves, or nothing, and no QRS; sometimes the beats of an escape rhythm."""
    inside = (record.beats > MODEL_FS) & (record.beats < record.signal.shape[1] - MODEL_FS)
    sinus = record.beats[(record.labels == N) & inside & record.sinus_leads(record.beats)]
    if not len(sinus):
        return None
    length = round(np.exp(rng.uniform(*np.log(STILL_SECONDS))) * MODEL_FS)
    signal = rng.normal(0, rng.uniform(*FLOOR), (len(record.signal), length))
    waves = np.empty(0)
    if rng.random() < 0.8:
        wave = _p_wave(record, sinus) * rng.uniform(0.5, 2.0)
        waves = _regular(rng.uniform(*ATRIAL_INTERVAL), length, rng)
        _add(signal, wave, waves)
        waves = waves + wave.shape[1] / 2
    beats = np.empty(0)
    if rng.random() < ESCAPES:
        peak = float(rng.choice(sinus))
        beats = _regular(rng.uniform(*ESCAPE_INTERVAL), length, rng)
        before = round(0.06 * MODEL_FS)
        _add(signal, _beat(record, peak, round(peak) - before, round(0.5 * MODEL_FS)), beats)
        beats = beats + before
    return _Made(signal, beats, N, waves)


def _p_wave(record: TrainingRecord, sinus: Floats) -> Floats:
    """The patient's mean P wave, ``(leads, n)``, its ends at zero."""
    places = np.rint(sinus[:P_BEATS]).astype(np.int64)
    cut = record.signal[:, places[:, None] + np.arange(-P_START, -P_END)].mean(axis=1, dtype=np.float64)
    cut -= np.linspace(cut[:, 0], cut[:, -1], cut.shape[1]).T
    return np.asarray(cut * np.sqrt(np.hanning(cut.shape[1] + 2)[1:-1]))


def _regular(seconds: float, length: int, rng: np.random.Generator) -> Floats:
    """Places at about such a distance, the first after one of them, the last with half a second to spare."""
    steps = seconds * MODEL_FS * (1 + rng.normal(0, 0.02, int(length / (seconds * MODEL_FS)) + 2))
    places = np.rint(np.cumsum(steps))
    return np.asarray(places[places < length - 0.6 * MODEL_FS])


def _add(signal: Floats, wave: Floats, places: Floats) -> None:
    """Add a wave at each of these places, in place."""
    for place in places.astype(np.int64).tolist():
        room = signal[:, place : place + wave.shape[1]]
        room += wave[:, : room.shape[1]]


def _cut(record: TrainingRecord, begin: int, span: int, place: int, made: _Made) -> TrainingRecord:
    """The piece from ``begin``, with the stretch put in at ``place``; everything behind it comes later."""
    signal, at, extra = record.signal[:, begin : begin + span], place - begin, made.signal.shape[1]
    inside = (record.beats >= begin) & (record.beats < begin + signal.shape[1])

    def moved(places: Floats) -> Floats:
        return np.asarray(np.where(places >= place, places + extra, places) - begin)

    beats = np.r_[moved(record.beats[inside]), made.beats + at]
    labels = np.r_[record.labels[inside], np.full(len(made.beats), made.label)]
    order = np.argsort(beats, kind="stable")
    order = order[beats[order] < span]
    lodged = signal[:, at : at + 1] + made.signal
    longer = np.concatenate([signal[:, :at], lodged, signal[:, at:]], axis=1)
    piece = record.piece(longer[:, :span], beats[order], labels[order], moved)
    if piece.p_waves is None:
        return piece
    return replace(piece, p_waves=np.sort(np.r_[piece.p_waves, made.p_waves + at]))
