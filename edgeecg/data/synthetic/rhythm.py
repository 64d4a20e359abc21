"""When the heart beats: sinus rhythm, ectopic beats and their pauses, fibrillation, flutter, pacing.

A script is built beat by beat. Each routine takes the time to count the next sinus interval from, appends
what happens, and returns the next such time: that is how pauses become compensatory or not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np

from edgeecg.data.synthetic.patient import SyntheticPatient
from edgeecg.data.synthetic.shape import Anatomy

__all__ = ["Activation", "AtrialWave", "Episode", "Script", "write_script"]

Kind = Literal["sinus", "atrial", "junctional", "ventricular", "fusion", "paced", "conducted"]
REFRACTORY = 0.30  # s; no beat follows another sooner


class Activation(NamedTuple):
    """One activation of the ventricles, at ``time`` seconds; ``focus`` picks among the patient's foci."""

    time: float
    kind: Kind
    focus: int = 0
    aberrant: bool = False
    share: float = 0.0  # of the ventricular shape, in a fusion beat


class AtrialWave(NamedTuple):
    """One P wave, its peak at ``time`` seconds; ``focus`` -1 sinus, -2 retrograde, else ectopic."""

    time: float
    focus: int = -1


class Episode(NamedTuple):
    """A rhythm from ``start`` to ``end`` seconds, by WFDB's name: AFIB, AFL, B, T, VT, SVTA, P."""

    start: float
    end: float
    label: str


@dataclass
class Script:
    """All that happens in a recording, in the order of time."""

    patient: SyntheticPatient
    anatomy: Anatomy
    rng: np.random.Generator
    beats: list[Activation] = field(default_factory=list)
    p_waves: list[AtrialWave] = field(default_factory=list)
    episodes: list[Episode] = field(default_factory=list)
    drift: float = 0.0

    def interval(self, now: float) -> float:
        """The next sinus interval in seconds: breathing, slow vasomotor waves, drift, jitter."""
        patient, rng = self.patient, self.rng
        self.drift = 0.97 * self.drift + rng.normal(0, 0.12)
        breath = np.sin(2 * np.pi * patient.respiration * now)
        slow = np.sin(2 * np.pi * 0.1 * now + 1.0)
        swing = patient.variability * (0.8 * breath + 0.6 * slow + 1.2 * self.drift + 0.25 * rng.normal())
        return float(np.clip(60 / patient.rate * (1 + np.clip(swing, -0.4, 0.4)), 0.28, 2.5))

    def beat(self, time: float, kind: Kind, **details: float | bool) -> None:
        """Append an activation, no sooner after the last than the ventricles recover."""
        floor = self.beats[-1].time + REFRACTORY if self.beats else -np.inf
        self.beats.append(Activation(max(time, floor), kind, **details))  # type: ignore[arg-type]

    def conducted_p(self, beat_time: float) -> None:
        """Append the sinus P wave of a beat."""
        self.p_waves.append(AtrialWave(beat_time - self.anatomy.pr * (0.97 + 0.06 * self.rng.random())))


def write_script(
    patient: SyntheticPatient, anatomy: Anatomy, seconds: float, rng: np.random.Generator
) -> Script:
    """Everything that this heart does from 0 to ``seconds``."""
    script = Script(patient, anatomy, rng)
    now = float(rng.uniform(-0.6, 0.2))
    for start, end, label in _plan(patient, seconds, rng):
        begun = len(script.beats)
        if label == "AFIB":
            now = _fibrillation(script, now, end)
        elif label == "AFL":
            now = _flutter(script, now, end)
        elif patient.paced:
            now = _paced(script, now, end)
        else:
            now = _sinus(script, now, end)
            continue
        if len(script.beats) > begun:
            script.episodes.append(Episode(start, end, "P" if label == "N" else label))
    return script


def _plan(patient: SyntheticPatient, seconds: float, rng: np.random.Generator) -> list[Episode]:
    """Stretches of sinus rhythm, fibrillation and flutter that have the patient's shares of time."""
    share = patient.fibrillation + patient.flutter
    if share == 0:
        return [Episode(0.0, seconds, "N")]
    plan: list[Episode] = []
    now = 0.0
    ill = bool(rng.random() < share)
    while now < seconds:
        mean = patient.episode if ill else patient.episode * (1 - share) / share
        length = mean * float(rng.uniform(0.5, 1.5)) if share < 1 else seconds
        if ill or length > 0:
            kind = "AFL" if rng.random() < patient.flutter / share else "AFIB"
            plan.append(Episode(now, min(now + length, seconds), kind if ill else "N"))
        now += length
        ill = not ill or share == 1
    return plan


def _sinus(script: Script, now: float, end: float) -> float:
    """Sinus rhythm with the patient's ectopic beats."""
    patient, rng = script.patient, script.rng
    shares = np.cumsum([patient.atrial, patient.ventricular, patient.fusion, patient.dropped])
    # Two ectopic events never follow directly; the shares are of all beats, so the odds rise a little.
    odds = shares / max(1 - shares[-1], 0.1)
    while True:
        rr = script.interval(now)
        if now + rr >= end:
            return now
        event = int(np.searchsorted(odds, rng.random()))
        if event == 0:
            now = _atrial(script, now, rr)
        elif event == 1:
            now = _ventricular(script, now, rr, end)
        elif event == 2:
            now = _fusion(script, now, rr)
        elif event == 3:
            now = _dropped(script, now, rr)
        else:
            now = _normal(script, now, rr)
            continue
        if now + (rr := script.interval(now)) < end:
            now = _normal(script, now, rr)


def _normal(script: Script, now: float, rr: float) -> float:
    script.conducted_p(now + rr)
    script.beat(now + rr, "sinus")
    return now + rr


def _atrial(script: Script, now: float, rr: float) -> float:
    """One to many premature supraventricular beats; the sinus node is reset: the pause is short."""
    rng = script.rng
    focus = int(rng.integers(2))
    count = 1 if rng.random() > script.patient.clusters else int(rng.integers(2, 9))
    time = now + rr * float(rng.uniform(0.52, 0.86))
    pace = float(rng.uniform(0.36, 0.55)) if count > 2 else 0.8 * rr
    start = time
    for i in range(count):
        junctional = rng.random() < 0.15
        if not junctional:
            pr = script.anatomy.pr * float(rng.uniform(0.75, 1.1))
            script.p_waves.append(AtrialWave(time - pr, focus))
        script.beat(time, "atrial", aberrant=bool(i == 0 and rng.random() < 0.08))
        time = script.beats[-1].time + pace * float(rng.uniform(0.95, 1.05))
    last = script.beats[-1].time
    if count > 2:
        script.episodes.append(Episode(start, last, "SVTA"))
    return last + rr * float(rng.uniform(0.0, 0.12))


def _ventricular(script: Script, now: float, rr: float, end: float) -> float:
    """A premature ventricular beat, a couplet, a run, or the first of a bigeminy."""
    rng, patient = script.rng, script.patient
    focus = int(rng.choice(3, p=[0.7, 0.2, 0.1]))
    if rng.random() < patient.bigeminy:
        return _bigeminy(script, now, focus, end)
    time = now + rr * float(np.clip(script.anatomy.coupling[focus] + rng.normal(0, 0.05), 0.4, 0.9))
    if rng.random() < patient.clusters:
        return _run(script, time, rr, focus)
    script.beat(time, "ventricular", focus=focus)
    last = script.beats[-1].time
    if rr > 0.8 and last < now + 0.6 * rr and rng.random() < 0.1:  # interpolated: no pause
        return now + 0.08 * rr
    _hidden_p(script, last, now + rr)
    return now + rr


def _run(script: Script, time: float, rr: float, focus: int) -> float:
    """A couplet, or three to twelve ventricular beats."""
    rng = script.rng
    count = 2 if rng.random() < 0.6 else int(rng.integers(3, 13))
    pace = float(rng.uniform(0.33, 0.52))
    for _ in range(count):
        script.beat(time, "ventricular", focus=focus)
        time = script.beats[-1].time + pace * float(rng.uniform(0.92, 1.08))
    last = script.beats[-1].time
    if count > 2:
        script.episodes.append(Episode(script.beats[-count].time, last, "VT"))
    return last + 0.15 * rr


def _bigeminy(script: Script, now: float, focus: int, end: float) -> float:
    """Every sinus beat, or every second one, followed by a ventricular one, four to twenty-five times."""
    rng = script.rng
    start, pairs = now, 0
    trigeminy = bool(rng.random() < 0.3)
    for _ in range(int(rng.integers(4, 26))):
        rr = script.interval(now)
        if now + (3 if trigeminy else 2) * rr >= end:
            break
        if trigeminy:
            now = _normal(script, now, rr)
            rr = script.interval(now)
        time = now + rr * float(np.clip(script.anatomy.coupling[focus] + rng.normal(0, 0.03), 0.4, 0.9))
        script.beat(time, "ventricular", focus=focus)
        _hidden_p(script, script.beats[-1].time, now + rr)
        now = _normal(script, now + rr, rr)
        pairs += 1
    if pairs >= 3:
        script.episodes.append(Episode(start, now, "T" if trigeminy else "B"))
    return now


def _hidden_p(script: Script, beat: float, due: float) -> None:
    """The atria under a ventricular beat: backwards from it, on their own clock, or not to be seen."""
    draw = script.rng.random()
    if draw < 0.25:
        script.p_waves.append(AtrialWave(beat + 0.17, -2))
    elif draw < 0.6:
        script.p_waves.append(AtrialWave(due - script.anatomy.pr))


def _fusion(script: Script, now: float, rr: float) -> float:
    """Sinus node and ventricular focus meet: nearly on time, P in front, a shape in between."""
    rng = script.rng
    script.conducted_p(now + rr)
    time = now + rr * float(rng.uniform(0.94, 1.0))
    script.beat(time, "fusion", share=float(rng.uniform(0.3, 0.7)))
    return now + rr


def _dropped(script: Script, now: float, rr: float) -> float:
    """A P wave that is not conducted, or a sinus pause that a junctional beat ends."""
    rng = script.rng
    if rng.random() < 0.6:
        script.p_waves.append(AtrialWave(now + rr - script.anatomy.pr))
        return now + rr
    time = now + rr * float(rng.uniform(1.5, 2.4))
    script.beat(time, "junctional")
    return time


def _fibrillation(script: Script, now: float, end: float) -> float:
    """Irregularly irregular: a refractory time of the node and a gamma-distributed wait after it."""
    rng, patient = script.rng, script.patient
    mean = 60 / (patient.rate if patient.fibrillation == 1 else min(1.35 * patient.rate, 150))
    floor = 0.33 + 0.25 * max(mean - 0.5, 0)
    shape = float(rng.uniform(1.6, 3.5))
    while True:
        rr = floor + float(rng.gamma(shape, max(mean - floor, 0.06) / shape))
        if now + min(rr, 2.6) >= end:
            return now
        now += min(rr, 2.6)
        if rng.random() < patient.ventricular:
            script.beat(now, "ventricular", focus=int(rng.choice(3, p=[0.8, 0.1, 0.1])))
        else:
            script.beat(now, "conducted")
        now = script.beats[-1].time


def _flutter(script: Script, now: float, end: float) -> float:
    """Every second to fourth flutter wave is conducted, by and large the same share for a while."""
    rng = script.rng
    cycle = 60 / float(rng.uniform(240, 320))
    ratio = int(rng.choice([2, 3, 4], p=[0.45, 0.15, 0.4]))
    while True:
        if rng.random() < 0.07:
            ratio = int(rng.choice([2, 3, 4]))
        rr = ratio * cycle * float(rng.normal(1, 0.012))
        if now + rr >= end:
            return now
        now += rr
        script.beat(now, "conducted")
        now = script.beats[-1].time


def _paced(script: Script, now: float, end: float) -> float:
    """A steady pacemaker that waits after a beat of the heart's own; atria tracked, or on their own."""
    rng, patient = script.rng, script.patient
    own = np.random.default_rng(patient.anatomy + 1)
    base, tracking, silent = 60 / patient.rate, bool(own.random() < 0.5), bool(own.random() < 0.3)
    sensed = float(own.choice([0.0, 0.03, 0.2]))
    atrium = now
    while now + base < end:
        draw = rng.random()
        if draw < patient.ventricular:
            script.beat(now + base * float(rng.uniform(0.5, 0.8)), "ventricular")
        elif draw < patient.ventricular + sensed:
            now += base * float(rng.uniform(0.82, 0.97))
            script.conducted_p(now)
            script.beat(now, "sinus")
        else:
            if tracking:
                script.p_waves.append(AtrialWave(now + base - 0.17))
            script.beat(now + base + float(rng.normal(0, 0.002)), "paced")
        now = script.beats[-1].time
        while not tracking and not silent and (atrium := atrium + script.interval(atrium) * 0.87) < now:
            script.p_waves.append(AtrialWave(atrium))
    return now
