"""From a script of activations to samples and to the marks on them."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeecg.data.synthetic.patient import SyntheticPatient, SyntheticSettings
from edgeecg.data.synthetic.rhythm import Activation, Script
from edgeecg.data.synthetic.shape import Anatomy, BeatShape, Waves, lead_matrix

__all__ = ["Rendered", "render"]

Array = NDArray[np.float64]
BEFORE, AFTER = 0.25, 0.95  # s around an activation in which its waves lie
SWAY = np.array([1.0, -0.6, 0.8])  # how breathing turns the heart
QRS_REACH = 0.09  # s around the activation in which the main deflection lies


class Rendered(NamedTuple):
    """Clean millivolts ``(n, leads)``, and the second of each beat's main deflection in the first lead."""

    signal: Array
    beat_times: Array


def render(script: Script, settings: SyntheticSettings, rng: np.random.Generator) -> Rendered:
    """Samples of everything in the script, without noise."""
    fs = settings.fs
    n = round(settings.seconds * fs)
    anatomy, patient = script.anatomy, script.patient
    projection = lead_matrix(anatomy, settings.leads)
    dipole = np.zeros((n, 3))
    for wave in script.p_waves:
        _add(dipole, fs, wave.time, 0.15, _p_shape(anatomy, wave.focus), 1 + 0.05 * rng.normal())
    times = np.array([beat.time for beat in script.beats])
    stretch = _recovery_stretch(times, patient)
    breath = np.sin(2 * np.pi * patient.respiration * times + 0.7)
    swell = 1 + 0.06 * breath + rng.normal(0, 0.025, len(times))
    sway = 0.05 * breath[:, None] * SWAY + rng.normal(0, 0.02, (len(times), 3))
    fiducials = np.empty(len(times))
    for i, beat in enumerate(script.beats):
        shape = _beat_shape(anatomy, beat)
        if beat.kind in ("ventricular", "fusion"):  # they vary from beat to beat
            shape = _varied(shape, rng)
        _add_beat(dipole, fs, beat.time, _sampled(shape, fs), stretch[i], swell[i] * (1 + sway[i]))
        fiducials[i] = beat.time + _main_deflection(shape, projection[:, 0])
    dipole += _atrial_activity(script, n, fs, rng)
    return Rendered(dipole @ projection, fiducials)


def _varied(shape: BeatShape, rng: np.random.Generator) -> BeatShape:
    """The same beat as it comes another time: a little faster or slower, each wave a little other."""
    pace = float(np.exp(rng.normal(0, 0.05)))
    qrs = shape.qrs
    dipole = qrs.dipole * np.exp(rng.normal(0, 0.08, (len(qrs.dipole), 1)))
    other = replace(qrs, centre=qrs.centre * pace, rise=qrs.rise * pace, fall=qrs.fall * pace, dipole=dipole)
    return BeatShape(other, shape.recovery)


def _p_shape(anatomy: Anatomy, focus: int) -> Waves:
    if focus == -1:
        return anatomy.p
    return anatomy.retrograde_p if focus == -2 else anatomy.ectopic_p[focus]


def _beat_shape(anatomy: Anatomy, beat: Activation) -> BeatShape:
    """The waves of a beat; a fusion beat has those of both its parents."""
    if beat.kind == "ventricular":
        return anatomy.foci[beat.focus]
    if beat.kind == "paced":
        return anatomy.paced
    if beat.kind == "fusion":
        return _blend(anatomy.normal, anatomy.foci[0], beat.share)
    return anatomy.aberrant if beat.aberrant else anatomy.normal


def _blend(a: BeatShape, b: BeatShape, share: float) -> BeatShape:
    return BeatShape(_mixed(a.qrs, b.qrs, share), _mixed(a.recovery, b.recovery, share))


def _mixed(a: Waves, b: Waves, share: float) -> Waves:
    return Waves(
        np.concatenate([a.centre, b.centre]),
        np.concatenate([a.rise, b.rise]),
        np.concatenate([a.fall, b.fall]),
        np.concatenate([(1 - share) * a.dipole, share * b.dipole]),
    )


def _sampled(shape: BeatShape, fs: float) -> BeatShape:
    """The shape with its narrowest waves as wide as a recorder at this rate makes them."""
    least = 0.4 / fs
    qrs = shape.qrs
    wide = replace(qrs, rise=np.maximum(qrs.rise, least), fall=np.maximum(qrs.fall, least))
    return BeatShape(wide, shape.recovery)


def _recovery_stretch(times: Array, patient: SyntheticPatient) -> Array:
    """How much longer or shorter recovery is than at one beat a second; it follows the rate slowly."""
    intervals = np.diff(times, prepend=times[0] - 60 / patient.rate) if len(times) else np.empty(0)
    recent = np.empty_like(intervals)
    level = 60 / patient.rate
    for i, interval in enumerate(intervals):
        level += 0.25 * (interval - level)
        recent[i] = min(level, 1.6 * interval)
    stretch: Array = np.clip(recent, 0.25, 1.8) ** 0.45
    return stretch


def _window(n: int, fs: float, time: float, before: float, after: float) -> slice:
    """Samples within reach of a time, cut to the recording."""
    start = int(np.clip(np.ceil((time - before) * fs), 0, n))
    return slice(start, int(np.clip(np.floor((time + after) * fs) + 1, start, n)))


def _add(dipole: Array, fs: float, time: float, reach: float, waves: Waves, scale: float) -> None:
    window = _window(len(dipole), fs, time, reach, reach)
    seconds = np.arange(window.start, window.stop) / fs - time
    dipole[window] += scale * waves.at(seconds)


def _add_beat(dipole: Array, fs: float, time: float, shape: BeatShape, stretch: float, scale: Array) -> None:
    window = _window(len(dipole), fs, time, BEFORE, AFTER)
    seconds = np.arange(window.start, window.stop) / fs - time
    dipole[window] += scale * shape.at(seconds, stretch)


def _main_deflection(shape: BeatShape, lead: Array) -> float:
    """Seconds from activation to the largest deflection of the QRS in a lead, a pacing spike left out."""
    qrs = shape.qrs
    muscle = qrs.rise > 0.004
    own = Waves(qrs.centre[muscle], qrs.rise[muscle], qrs.fall[muscle], qrs.dipole[muscle])
    seconds = np.arange(-QRS_REACH, QRS_REACH, 0.0005)
    return float(seconds[np.argmax(np.abs(own.at(seconds) @ lead))])


def _atrial_activity(script: Script, n: int, fs: float, rng: np.random.Generator) -> Array:
    """Fibrillation and flutter waves where the rhythm has them, ``(n, 3)`` millivolts."""
    total = np.zeros((n, 3))
    own = np.random.default_rng(script.patient.anatomy + 2)
    size = float(np.clip(np.exp(own.normal(-2.8, 0.45)), 0.025, 0.12))  # mV
    axis = np.array([0.25, 0.5, -0.75]) * own.uniform(0.5, 1.5, 3)
    for episode in script.episodes:
        if episode.label not in ("AFIB", "AFL"):
            continue
        window = _window(n, fs, episode.start, 0.0, episode.end - episode.start)
        t = np.arange(window.start, window.stop) / fs
        flutter = episode.label == "AFL"
        rate = 5.0 if flutter else float(own.uniform(4.8, 7.5))
        for share in (1.0, 0.5):
            wave = _waves_of_atria(t, rate * float(rng.uniform(0.97, 1.03)), flutter, rng)
            turned = axis * rng.uniform(0.6, 1.4, 3)
            total[window] += share * (1.5 if flutter else 1.0) * size * wave[:, None] * turned
    return total


def _waves_of_atria(t: Array, rate: float, flutter: bool, rng: np.random.Generator) -> Array:
    """A sawtooth: steady in flutter, wandering in rate and size in fibrillation."""
    if len(t) == 0:
        return t
    steps = rng.normal(0, 1, 2 + int(len(t) // 50))
    knots = np.linspace(t[0], t[-1], len(steps))
    wobble = np.interp(t, knots, np.cumsum(steps) * (0.02 if flutter else 0.35))
    phase = 2 * np.pi * rate * (t - t[0]) + wobble
    saw = sum((np.sin(k * phase) / k for k in (1, 2, 3)), np.zeros(len(t)))
    if flutter:
        return saw
    strength = 1 + 0.45 * np.interp(t, knots, rng.normal(0, 1, len(steps)))
    return saw * strength
