"""Who is recorded, and how: the frozen settings of the generator, and a draw of varied patients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from edgeecg.errors import ConfigError

__all__ = ["KINDS", "LEAD_VECTORS", "NoiseMix", "SyntheticPatient", "SyntheticSettings", "draw_patient"]

Conduction = Literal["normal", "left", "right"]

LEAD_VECTORS: dict[str, tuple[float, float, float]] = {
    "I": (0.632, -0.235, 0.059),
    "II": (0.235, 1.066, -0.132),
    "III": (-0.397, 1.301, -0.191),
    "aVR": (-0.434, -0.415, 0.037),
    "aVL": (0.515, -0.768, 0.125),
    "aVF": (-0.081, 1.184, -0.162),
    "V1": (-0.515, 0.157, -0.917),
    "V2": (0.044, 0.164, -1.387),
    "V3": (0.882, 0.098, -1.277),
    "V4": (1.213, 0.127, -0.601),
    "V5": (1.125, 0.127, -0.086),
    "V6": (0.831, 0.076, 0.230),
    "MLII": (0.300, 1.050, -0.140),
}
"""What each lead sees of the heart's dipole: Dower's transform of Frank's leads (x to the left, y to the
feet, z to the back); MLII is lead II with its electrodes on the chest."""

KINDS = (
    "normal",
    "ventricular",
    "fibrillation",
    "atrial",
    "bigeminy",
    "paced",
    "block",
    "paroxysmal",
    "tachycardia",
    "fusion",
    "bradycardia",
    "flutter",
)
"""Kinds of patients that :func:`draw_patient` knows, in the order in which a cohort takes them."""


@dataclass(frozen=True)
class SyntheticPatient:
    """A heart: its rate, its conduction and what goes wrong in it.

    Parameters
    ----------
    name : str
        Patient identity; records of one patient carry the same.
    anatomy : int
        Seed of everything that is this patient's own: wave shapes, axes, ectopic foci, torso.
    rate : float
        Mean sinus rate, beats a minute.
    variability : float
        Standard deviation of sinus intervals as a share of their mean.
    respiration : float
        Breaths a second: modulates intervals, amplitudes and baseline.
    atrial, ventricular, fusion : float
        Share of beats that are supraventricular ectopic, ventricular ectopic, fusion.
    clusters : float
        Share of ectopic events that come as couplets or runs.
    bigeminy : float
        Share of ventricular events that begin a bigeminy of some beats.
    dropped : float
        Share of sinus P waves that are not conducted, or sinus pauses ended by an escape beat.
    fibrillation, flutter : float
        Share of time in atrial fibrillation and atrial flutter.
    episode : float
        Mean length of such an episode, seconds.
    paced : bool
        Ventricular pacemaker.
    conduction : {"normal", "left", "right"}
        Bundle branch block, if any.
    """

    name: str = "synthetic"
    anatomy: int = 0
    rate: float = 72.0
    variability: float = 0.04
    respiration: float = 0.25
    atrial: float = 0.0
    ventricular: float = 0.0
    fusion: float = 0.0
    clusters: float = 0.15
    bigeminy: float = 0.0
    dropped: float = 0.0
    fibrillation: float = 0.0
    flutter: float = 0.0
    episode: float = 40.0
    paced: bool = False
    conduction: Conduction = "normal"

    def __post_init__(self) -> None:
        shares = (self.atrial, self.ventricular, self.fusion, self.clusters, self.bigeminy, self.dropped)
        if min(shares) < 0 or max(shares) > 1 or sum(shares[:3]) + self.dropped > 0.9:
            raise ConfigError(f"patient {self.name}: shares of beats must lie in 0..1, in all 0.9 at most")
        if min(self.fibrillation, self.flutter) < 0 or self.fibrillation + self.flutter > 1:
            raise ConfigError(f"patient {self.name}: fibrillation and flutter must add to 0..1 of the time")
        if not 25 <= self.rate <= 220:
            raise ConfigError(f"patient {self.name}: rate {self.rate} is not within 25..220 beats a minute")
        if self.conduction not in ("normal", "left", "right"):
            raise ConfigError(
                f"patient {self.name}: conduction {self.conduction!r} must be normal, left or right"
            )
        if not (0 <= self.variability <= 0.3 and self.respiration > 0 and self.episode > 0):
            raise ConfigError(
                f"patient {self.name}: variability must be 0..0.3, respiration and episode length positive"
            )


@dataclass(frozen=True)
class NoiseMix:
    """Power of each kind of noise relative to the others."""

    wander: float = 1.0
    mains: float = 0.1
    muscle: float = 0.6
    electrode: float = 0.3

    def __post_init__(self) -> None:
        parts = (self.wander, self.mains, self.muscle, self.electrode)
        if min(parts) < 0 or sum(parts) <= 0:
            raise ConfigError("a noise mix needs powers of 0 or more, and one at least above 0")


@dataclass(frozen=True)
class SyntheticSettings:
    """One recording of a patient.

    Parameters
    ----------
    patient : SyntheticPatient
    seconds : float
        Length.
    fs : float
        Rate, 100 to 1000 Hz.
    leads : tuple of str
        Names out of ``LEAD_VECTORS``; beats are marked at the main deflection of the first.
    snr_db : float, optional
        Signal-to-noise ratio as WFDB's ``nst`` defines it; ``None`` for no noise.
    noise : NoiseMix
    mains : float
        Mains frequency, hertz.
    resolution : float
        Step of the recorder's converter, millivolts; 0 for none.
    """

    patient: SyntheticPatient = SyntheticPatient()
    seconds: float = 60.0
    fs: float = 360.0
    leads: tuple[str, ...] = ("MLII", "V1")
    snr_db: float | None = 24.0
    noise: NoiseMix = NoiseMix()
    mains: float = 50.0
    resolution: float = 0.005

    def __post_init__(self) -> None:
        unknown = [lead for lead in self.leads if lead not in LEAD_VECTORS]
        if unknown or not self.leads:
            raise ConfigError(f"unknown leads {unknown}: choose among {', '.join(LEAD_VECTORS)}")
        if not 100 <= self.fs <= 1000:
            raise ConfigError(f"rate {self.fs} Hz is not within 100..1000 Hz")
        if not 5 <= self.seconds <= 86400 * 7:
            raise ConfigError(f"a synthetic recording lasts 5 s to 7 days, not {self.seconds} s")
        if self.resolution < 0 or not self.mains > 0:
            raise ConfigError("resolution must be 0 or more millivolts, and the mains frequency positive")


def draw_patient(kind: str, seed: int, name: str | None = None) -> SyntheticPatient:
    """A patient of one of ``KINDS``, varied by ``seed``.

    Raises
    ------
    ConfigError
        If the kind is not known.
    """
    if kind not in KINDS:
        raise ConfigError(f"unknown kind of patient {kind!r}: choose among {', '.join(KINDS)}")
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    traits: dict[str, object] = {
        "name": name or f"{kind}-{seed}",
        "anatomy": int(rng.integers(2**31)),
        "rate": float(np.clip(rng.normal(74, 12), 52, 105)),
        "variability": float(rng.uniform(0.015, 0.07)),
        "respiration": float(rng.uniform(0.18, 0.34)),
        "atrial": float(rng.choice([0.0, 0.004, 0.02])),
        "ventricular": float(rng.choice([0.0, 0.005, 0.03])),
        "conduction": str(rng.choice(["normal", "left", "right"], p=[0.86, 0.05, 0.09])),
    }
    traits.update(_particulars(kind, rng))
    return SyntheticPatient(**traits)  # type: ignore[arg-type]


def _particulars(kind: str, rng: np.random.Generator) -> dict[str, object]:
    """What makes a patient one of this kind."""
    u = rng.uniform
    table: dict[str, dict[str, object]] = {
        "normal": {},
        "ventricular": {"ventricular": u(0.06, 0.2), "fusion": u(0, 0.01), "clusters": u(0.05, 0.4)},
        "fibrillation": {"fibrillation": 1.0, "atrial": 0.0, "rate": u(65, 115)},
        "atrial": {"atrial": u(0.05, 0.25), "clusters": u(0.05, 0.4), "dropped": u(0, 0.01)},
        "bigeminy": {"ventricular": u(0.05, 0.1), "bigeminy": u(0.2, 0.5), "fusion": u(0, 0.02)},
        "paced": {"paced": True, "rate": u(60, 80), "conduction": "normal"},
        "block": {"conduction": str(rng.choice(["left", "right"]))},
        "paroxysmal": {"fibrillation": u(0.25, 0.6), "atrial": u(0.02, 0.08), "episode": u(25, 60)},
        "tachycardia": {"rate": u(105, 150), "variability": u(0.01, 0.03)},
        "fusion": {"fusion": u(0.05, 0.12), "ventricular": u(0.04, 0.1)},
        "bradycardia": {"rate": u(38, 55), "dropped": u(0.02, 0.06), "variability": u(0.04, 0.09)},
        "flutter": {"flutter": u(0.3, 1.0), "episode": u(30, 90)},
    }
    return table[kind]
