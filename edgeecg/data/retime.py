"""A recording in another rhythm, made from its own beats.

The time between beats is bent, diastole first and the rest only where that does not suffice, while the QRS
stays as it is. The P wave of a beat that was made early comes from another place of the atrium: it changes
its height, sign or both. Which rhythm: `edgeecg.data.replan`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgeecg.data.recording import UNKNOWN, TrainingRecord
from edgeecg.data.replan import replan
from edgeecg.specs import BEAT_LABELS, MODEL_FS

__all__ = ["retimed", "time_map"]

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

N = BEAT_LABELS.index("N")
BEFORE, AFTER = 0.08 * MODEL_FS, 0.10 * MODEL_FS  # samples about a beat that keep their shape: its QRS
P_ONSET = 0.20 * MODEL_FS  # samples before a beat
T_END = 0.38  # seconds after a beat, at one beat a second; with the square root of the interval
SAME_P = 0.25  # chance that early beats keep their P wave


def time_map(old: Floats, new: Floats) -> tuple[Floats, Floats]:
    """Knots of the map between old and new time, model samples, ascending; beyond them time only shifts.

    The QRS of each beat is moved as it is; between two beats first diastole gives way, then T and PR.

    Parameters
    ----------
    old, new : (beats,) model samples, ascending
    """
    gap, wanted = np.diff(old), np.diff(new)
    rigid = np.minimum(BEFORE + AFTER, 0.6 * np.minimum(gap, wanted))
    lead = rigid * BEFORE / (BEFORE + AFTER)  # of the second beat
    trail = rigid - lead  # of the first
    t_end = T_END * MODEL_FS * np.sqrt(gap / MODEL_FS)
    p_onset = gap - P_ONSET
    middle = (t_end + p_onset) / 2  # where a fast heart leaves no diastole
    t_end = np.clip(np.minimum(t_end, middle), trail, gap - lead)
    p_onset = np.clip(np.maximum(p_onset, middle), trail, gap - lead)
    diastole = p_onset - t_end
    rest = np.maximum(gap - rigid - diastole, 1e-6)
    room = wanted - rigid
    calm = np.maximum(room - rest, 0.1 * diastole)  # diastole as it will be
    calm = np.where(diastole < 0.05 * gap, np.minimum(calm, diastole), calm)  # too little to stretch
    factor = np.maximum((room - calm) / rest, 0.02)
    before = np.stack([trail, t_end, p_onset, gap - lead, gap], axis=1)
    after_t = trail + factor * (t_end - trail)
    before_p = wanted - lead - factor * (gap - lead - p_onset)
    after = np.stack([trail, after_t, before_p, wanted - lead, wanted], axis=1)
    return _knots(old, before), _knots(new, after)


def _knots(beats: Floats, between: Floats) -> Floats:
    """Ascending knots: the beats, five places after each, and a day on either side."""
    inner = np.maximum.accumulate(np.r_[beats[0], (beats[:-1, None] + between).ravel()])
    day = 86_400.0 * MODEL_FS
    knots: Floats = np.r_[inner[0] - day, inner, inner[-1] + day]
    knots += 1e-6 * np.arange(len(knots))  # no two alike: the map goes both ways
    return knots


def _ectopic_p(lead: Floats, beats: Floats, rng: np.random.Generator) -> None:
    """Change the P wave before each of these beats in place, all in the same way; sometimes not at all."""
    if rng.random() < SAME_P:
        return
    change = rng.uniform(-1.0, 0.6) - 1
    start, end = round(0.22 * MODEL_FS), round(0.07 * MODEL_FS)
    taper = np.sqrt(np.hanning(start - end + 2)[1:-1])
    for beat in np.rint(beats).astype(np.int64).tolist():
        if start <= beat <= len(lead):
            wave = lead[beat - start : beat - end]
            wave += change * taper * (wave - np.linspace(wave[0], wave[-1], len(wave)))


def retimed(
    record: TrainingRecord, begin: int, span: int, rng: np.random.Generator, only: str | None = None
) -> TrainingRecord:
    """A piece of a recording with another rhythm made from its own beats.

    Beats that are no sinus beats stay as they are, and so does any rhythm that the sinus does not lead.

    Parameters
    ----------
    begin, span : int
        Model samples: where the piece begins, and its length where there is enough.
    only : str, optional
        The one rhythm that is wanted, out of `edgeecg.data.replan.KINDS`.
    """
    signal = record.signal[:, begin : begin + 2 * span]  # beats that come faster need more of it
    inside = (record.beats >= begin) & (record.beats < begin + signal.shape[1])
    old, labels = record.beats[inside] - begin, record.labels[inside]
    if len(old) < 2:
        return record.piece(signal[:, :span], old, labels, lambda places: places - begin)
    plan = replan(old, labels, _plain(record, inside), rng, only)
    knots_old, knots_new = time_map(old, plan.places)

    def moved(places: Floats) -> Floats:
        return np.asarray(np.interp(places - begin, knots_old, knots_new))

    length = min(span, int(moved(np.array([begin + signal.shape[1] - 1.0]))[0]))
    source = np.interp(np.arange(length), knots_new, knots_old)
    leads = np.stack([np.interp(source, np.arange(signal.shape[1]), lead) for lead in signal])
    for lead in leads:
        _ectopic_p(lead, plan.places[plan.made], rng)
    return record.piece(leads, plan.places, plan.labels, moved)


def _plain(record: TrainingRecord, inside: Flags) -> Flags:
    """Sinus beats among those inside."""
    labels, places = record.labels[inside], record.beats[inside]
    plain = labels == N
    if record.weak_label == "N":  # a record of normal rhythm, whose beats nobody labelled
        plain |= labels == UNKNOWN
    return np.asarray(plain & record.sinus_leads(places))
