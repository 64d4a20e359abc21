"""Wave shapes: every beat is a sum of Gaussian waves of the heart's dipole, as in the ECGSYN family.

A wave is a bump in time that points somewhere in space; leads see its projection. Wide beats get their T
wave from their own QRS (repolarization follows in the order of depolarization, so it points the other way).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgeecg.data.synthetic.patient import LEAD_VECTORS, SyntheticPatient

__all__ = ["Anatomy", "BeatShape", "Waves", "draw_anatomy", "lead_matrix"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Waves:
    """Gaussian waves: centres and widths before and after the peak in seconds, dipoles in millivolts."""

    centre: Array  # (w,)
    rise: Array  # (w,)
    fall: Array  # (w,)
    dipole: Array  # (w, 3)

    def at(self, seconds: Array) -> Array:
        """The dipole at these times: ``(n, 3)`` millivolts."""
        away = seconds[:, None] - self.centre
        bumps = np.exp(-0.5 * (away / np.where(away < 0, self.rise, self.fall)) ** 2)
        shaped: Array = bumps @ self.dipole
        return shaped

    def area(self) -> Array:
        """Integral over time, ``(3,)`` millivolt seconds."""
        total: Array = np.sqrt(np.pi / 2) * (self.rise + self.fall) @ self.dipole
        return total


def _waves(*rows: tuple[float, float, float, Array]) -> Waves:
    """Waves from (centre, rise, fall, dipole) rows."""
    centre, rise, fall, dipole = zip(*rows, strict=True)
    return Waves(np.array(centre), np.array(rise), np.array(fall), np.array(dipole, dtype=np.float64))


def _joined(*parts: Waves) -> Waves:
    return Waves(
        np.concatenate([p.centre for p in parts]),
        np.concatenate([p.rise for p in parts]),
        np.concatenate([p.fall for p in parts]),
        np.concatenate([p.dipole for p in parts]),
    )


@dataclass(frozen=True, eq=False)
class BeatShape:
    """Depolarization and repolarization of one kind of beat, relative to its activation time."""

    qrs: Waves
    recovery: Waves  # at an interval of one second; its times shrink with the interval

    def at(self, seconds: Array, stretch: float) -> Array:
        """The dipole ``(n, 3)`` around the activation; ``stretch`` scales the recovery in time."""
        scaled = replace(
            self.recovery,
            centre=self.recovery.centre * stretch,
            rise=self.recovery.rise * stretch,
            fall=self.recovery.fall * stretch,
        )
        return self.qrs.at(seconds) + scaled.at(seconds)


@dataclass(frozen=True, eq=False)
class Anatomy:
    """All that is one patient's own shape.

    ``p`` is relative to the P wave's peak, ``pr`` seconds before the activation.
    """

    normal: BeatShape
    aberrant: BeatShape
    paced: BeatShape
    foci: tuple[BeatShape, ...]  # ventricular
    p: Waves
    ectopic_p: tuple[Waves, ...]
    retrograde_p: Waves
    pr: float
    coupling: Array  # (foci,) share of the sinus interval at which each ventricular focus fires
    torso: Array  # (3, 3) how this chest turns and scales the dipole


def lead_matrix(anatomy: Anatomy, leads: tuple[str, ...]) -> Array:
    """Projection of the dipole onto leads, ``(3, leads)``."""
    projection: Array = anatomy.torso @ np.array([LEAD_VECTORS[lead] for lead in leads]).T
    return projection


def draw_anatomy(patient: SyntheticPatient) -> Anatomy:
    """The patient's wave shapes, drawn from the seed in ``patient.anatomy``."""
    rng = np.random.default_rng(patient.anatomy)
    normal_qrs = _normal_qrs(rng)
    if patient.conduction == "left":
        qrs, recovery = _left_block(rng)
    elif patient.conduction == "right":
        qrs = _with_right_block(normal_qrs, rng)
        recovery = _joined(_primary_recovery(rng), _secondary_recovery(qrs, rng, 0.4))
    else:
        qrs, recovery = normal_qrs, _primary_recovery(rng)
    aberrant = _with_right_block(normal_qrs, rng)
    foci = tuple(_ventricular(rng) for _ in range(3))
    p = _p_wave(rng, np.array([0.055, 0.095, -0.018]))
    pr = float(rng.uniform(0.13, 0.21))
    return Anatomy(
        normal=BeatShape(qrs, recovery),
        aberrant=BeatShape(aberrant, _secondary_recovery(aberrant, rng, 1.0)),
        paced=_paced(rng),
        foci=foci,
        p=p,
        ectopic_p=tuple(_p_wave(rng, np.array([0.055, 0.080, 0.025]) * _signs(rng)) for _ in range(2)),
        retrograde_p=_p_wave(rng, np.array([0.02, -0.08, 0.02])),
        pr=pr,
        coupling=rng.uniform(0.5, 0.8, 3),
        torso=np.eye(3) * rng.uniform(0.75, 1.35) + rng.normal(0, 0.10, (3, 3)),
    )


def _signs(rng: np.random.Generator) -> Array:
    return rng.choice([-1.0, 1.0], 3) * rng.uniform(0.4, 1.3, 3)


def _towards(angle_degrees: float, back: float) -> Array:
    """Unit vector in the frontal plane (0 points left, 90 to the feet), tilted to the back."""
    angle = np.deg2rad(angle_degrees)
    return np.array([np.cos(angle), np.sin(angle), back])


def _normal_qrs(rng: np.random.Generator) -> Waves:
    """Septum, free wall, base; with a notch or an old infarct's Q in some."""
    angle = float(np.clip(rng.normal(48, 26), -25, 100))
    size = float(np.exp(rng.normal(0.28, 0.38)))
    width = float(rng.uniform(0.0070, 0.0115))
    main = size * float(rng.uniform(0.9, 1.3)) * _towards(angle, back=float(rng.uniform(-0.1, 0.4)))
    septum = size * np.array([-0.16, -0.02, -0.25]) * rng.uniform(0.2, 1.6, 3)
    base = size * np.array([-0.22, -0.20, 0.45]) * rng.uniform(0.1, 1.7, 3)
    rows = [
        (-2.4 * width, 0.8 * width, 0.8 * width, septum),
        (0.0, width, width, main),
        (2.5 * width, 0.9 * width, 1.2 * width, base),
    ]
    if rng.random() < 0.3:  # a notch
        rows.append(
            (float(rng.uniform(-2, 3)) * width, 0.5 * width, 0.5 * width, 0.2 * size * rng.normal(0, 1, 3))
        )
    if rng.random() < 0.12:  # an inferior infarct
        rows.append((-2.2 * width, width, width, size * np.array([0.1, -0.7, 0.1])))
    return _waves(*rows)


def _primary_recovery(rng: np.random.Generator) -> Waves:
    """ST segment and T wave of a narrow beat: concordant as a rule, flat or inverted in some; U at times."""
    axis = _towards(float(rng.normal(45, 25)), back=float(rng.uniform(-0.6, 0.1)))
    height = float(rng.choice([0.34, 0.12, -0.22], p=[0.74, 0.16, 0.10]) * np.exp(rng.normal(0, 0.35)))
    peak = float(rng.uniform(0.27, 0.33))
    rise = float(rng.uniform(0.045, 0.065))
    rows = [(peak, rise, rise * float(rng.uniform(0.55, 0.8)), height * axis)]
    if rng.random() < 0.35:  # raised or lowered ST segment
        rows.append((0.14, 0.05, 0.07, rng.normal(0, 0.06, 3)))
    if rng.random() < 0.15:  # biphasic T
        rows.append((peak + 0.07, 0.025, 0.03, -0.5 * height * axis))
    if rng.random() < 0.25:  # U wave
        rows.append((peak + 0.17, 0.03, 0.04, 0.12 * abs(height) * axis))
    return _waves(*rows)


def _secondary_recovery(qrs: Waves, rng: np.random.Generator, share: float) -> Waves:
    """T wave opposite to a wide QRS: ``share`` of what full opposition gives."""
    rise, fall = float(rng.uniform(0.055, 0.08)), float(rng.uniform(0.035, 0.055))
    area = qrs.area()
    height = -share * float(rng.uniform(0.45, 0.85)) * area / (np.sqrt(np.pi / 2) * (rise + fall))
    return _waves((0.15, 0.06, 0.06, 0.35 * height), (float(rng.uniform(0.28, 0.34)), rise, fall, height))


def _with_right_block(qrs: Waves, rng: np.random.Generator) -> Waves:
    """A late slow wave to the right and front: rSR' in V1, a broad S in I and V6."""
    late = np.array([-0.42, 0.0, -0.55]) * rng.uniform(0.6, 1.5, 3)
    width = float(rng.uniform(0.014, 0.021))
    return _joined(qrs, _waves((float(rng.uniform(0.05, 0.07)), width, 1.2 * width, late)))


def _left_block(rng: np.random.Generator) -> tuple[Waves, Waves]:
    """A broad notched wave to the left and back."""
    direction = _towards(float(rng.normal(15, 25)), back=float(rng.uniform(0.3, 0.7)))
    size, width = float(np.exp(rng.normal(0, 0.25))), float(rng.uniform(0.017, 0.024))
    turn = rng.normal(0, 0.15, (2, 3))
    qrs = _waves(
        (-1.3 * width, width, width, size * (0.7 * direction + turn[0])),
        (1.5 * width, width, width, size * (0.8 * direction + turn[1])),
    )
    return qrs, _secondary_recovery(qrs, rng, 1.0)


def _ventricular(rng: np.random.Generator) -> BeatShape:
    """A beat that spreads through muscle: wide, odd, with its T the other way."""
    direction = rng.normal(0, 1, 3) * [0.8, 1.2, 0.8]
    direction = direction / np.linalg.norm(direction)
    if abs(direction[1]) < 0.35:  # most foci are seen in the inferior leads
        direction[1] = np.copysign(rng.uniform(0.35, 0.9), direction[1])
    size, width = float(np.exp(rng.normal(0.5, 0.4))), float(rng.uniform(0.012, 0.021))
    turn = rng.normal(0, 0.45, (3, 3))
    skew = rng.uniform(0.7, 1.6, 2)  # slow on one side, as the spread finds the fast fibres or loses them
    qrs = _waves(
        (-2.2 * width, width, width, size * (0.35 * direction + 0.5 * turn[0])),
        (0.0, width * float(skew[0]), width * float(skew[1]), size * direction),
        (2.4 * width, width, 1.3 * width, size * (-0.3 * direction + 0.6 * turn[1])),
        (float(rng.uniform(-2.5, 2.5)) * width, 0.45 * width, 0.45 * width, 0.5 * size * turn[2]),
    )
    return BeatShape(qrs, _secondary_recovery(qrs, rng, 1.5))


def _paced(rng: np.random.Generator) -> BeatShape:
    """A spike, then a beat that rises from the right apex: broad, upward, its T the other way."""
    direction = np.array([0.35, -1.0, 0.45]) + rng.normal(0, 0.25, 3)
    size, width = float(np.exp(rng.normal(0.15, 0.25))), float(rng.uniform(0.018, 0.026))
    turn = rng.normal(0, 0.2, 3)
    muscle = _waves(
        (-1.2 * width, width, width, size * (0.7 * direction + turn)),
        (1.4 * width, width, 1.2 * width, size * (0.7 * direction - turn)),
    )
    spike = float(rng.choice([0.1, 0.5, 1.5])) * rng.normal(0, 0.7, 3)
    before = -3.4 * width
    tail = _waves((before, 0.0008, 0.0008, spike), (before + 0.004, 0.002, 0.006, -0.12 * spike))
    return BeatShape(_joined(tail, muscle), _secondary_recovery(muscle, rng, 1.0))


def _p_wave(rng: np.random.Generator, dipole: Array) -> Waves:
    """Right then left atrium, 80 to 110 ms in all; scarcely to be seen in some patients."""
    size = float(np.exp(rng.normal(0.05, 0.4)))
    width = float(rng.uniform(0.014, 0.020))
    part = size * dipole * rng.uniform(0.6, 1.4, 3)
    later = 0.7 * part + [0.0, 0.0, 0.03 * size]
    return _waves((-0.6 * width, width, width, part), (0.9 * width, width, width, later))
