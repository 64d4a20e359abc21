"""The generator's examples of concepts: hearts that have one, and the same hearts without it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from edgeecg.bundle import Bundle
from edgeecg.data.noise import noise_rms, qrs_amplitude, snr_gain
from edgeecg.data.synthetic import SyntheticPatient, SyntheticSettings, draw_patient
from edgeecg.data.synthetic.disturbance import disturbance
from edgeecg.data.synthetic.render import render
from edgeecg.data.synthetic.rhythm import Activation, Script, write_script
from edgeecg.data.synthetic.shape import Anatomy, draw_anatomy
from edgeecg.errors import ConfigError
from edgeecg.explain.concepts import CONCEPTS, MATCH, ConceptSets, Examples, moments
from edgeecg.explain.edits import Edit, apply
from edgeecg.explain.question import reach
from edgeecg.explain.trace import Trace, trace
from edgeecg.explain.versions import place_of
from edgeecg.io.record import Record
from edgeecg.model.transformer import Network

__all__ = ["synthetic_sets"]

SECONDS = 150.0
FS = 256.0
LEAD = ("MLII",)
EARLY, LATE = 0.85, 1.15  # of the usual interval
ON_TIME = (0.9, 1.1)
TALL = 1.8
P_AFTER = 0.3  # s after a beat, from when on a P wave belongs to the next one

Report = Callable[[int, int], None]

KIND_OF = {"premature": "atrial", "compensatory pause": "ventricular"}
"""Patients who have a concept now and then; it is put into, or taken from, all others."""


def synthetic_sets(
    bundle: Bundle,
    network: Network,
    *,
    patients: int = 10,
    each: int = 10,
    seed: int = 0,
    report: Report | None = None,
) -> ConceptSets:
    """All concepts from the generator, and for each the beats of the same hearts without it.

    Parameters
    ----------
    bundle, network : Bundle, Network
        Whose beats they are: detections and histories are the model's.
    patients : int
        Patients of each concept.
    each : int
        Beats of each patient with the concept, and as many without.
    seed : int
    report : callable, optional
        Called with patients done and patients in all.

    Raises
    ------
    ConfigError
        If the model finds too few beats to make a set.
    """
    plan = [
        (name, shown, number) for name in CONCEPTS for shown in (True, False) for number in range(patients)
    ]
    parts: dict[tuple[str, bool], list[Examples]] = {}
    for done, (name, shown, number) in enumerate(plan):
        rows = _examples(bundle, network, _Wanted(name, shown, number, seed), each)
        parts.setdefault((name, shown), []).append(rows)
        if report is not None:
            report(done + 1, len(plan))
    sets = {key: np.concatenate(rows) for key, rows in parts.items()}
    for (name, shown), rows in sets.items():
        if len(rows) < 2 * patients:
            raise ConfigError(
                f"only {len(rows)} examples {'of' if shown else 'without'} {name}: the model finds too few "
                "synthetic beats; ask for more patients"
            )
    return ConceptSets({n: sets[n, True] for n in CONCEPTS}, {n: sets[n, False] for n in CONCEPTS})


@dataclass(frozen=True)
class _Wanted:
    """Beats of one synthetic patient, with the concept (``shown``) or without it."""

    name: str
    shown: bool
    number: int
    seed: int

    @property
    def rng(self) -> np.random.Generator:
        """The same for both, so that they differ in the concept alone."""
        return np.random.default_rng([self.seed, self.number, CONCEPTS.index(self.name)])


def _examples(bundle: Bundle, network: Network, wanted: _Wanted, each: int) -> Examples:
    """Beats of one patient."""
    rng = wanted.rng
    patient = draw_patient(KIND_OF.get(wanted.name, "normal"), int(rng.integers(2**31)))
    patient = replace(patient, **_traits(wanted))  # type: ignore[arg-type]
    clear, loud = rng.uniform(14, 30), rng.uniform(2, 7)
    snr = float(loud if wanted.name == "noise" and wanted.shown else clear)
    record, script, moved = _made(patient, wanted, snr, rng)
    found = trace(bundle, network, record, len(record) - round(4 * FS), before=SECONDS, lead_policy="first")
    fitting = [beat for beat in range(1, len(found) - 1) if _fits(wanted, found, beat, script, moved)]
    packed, kept = moments(network, found, [int(beat) for beat in rng.permutation(fitting)])
    packed, kept = packed[:each], kept[:each]
    if wanted.name == "high amplitude" and wanted.shown:
        _raise(packed, kept, found, network)
    return packed


def _raise(packed: Examples, kept: list[int], found: Trace, network: Network) -> None:
    """Make the beats themselves taller, in place."""
    spec = network.spec
    samples = spec.patch * (reach(network) + spec.delay + spec.token.lag + 1)
    for row, beat in zip(packed, kept, strict=True):
        start = (int(found.token[beat]) - reach(network)) * spec.patch
        place = place_of(found, beat, (0,)).on(1.0, -float(start))
        row[:samples] = apply(row[None, :samples].astype(np.float64), place, Edit(r=TALL))[0]


def _traits(wanted: _Wanted) -> dict[str, object]:
    """What a patient of a concept has, and has not."""
    if wanted.name == "premature":
        return {"atrial": 0.15, "ventricular": 0.0, "clusters": 0.0, "dropped": 0.0, "conduction": "normal"}
    if wanted.name == "compensatory pause":
        return {"ventricular": 0.12, "clusters": 0.0, "fusion": 0.0, "atrial": 0.0}
    plain: dict[str, object] = {"atrial": 0.0, "ventricular": 0.0, "conduction": "normal"}
    if wanted.name == "irregular RR":
        return {**plain, "fibrillation": float(wanted.shown)}
    return plain


def _made(
    patient: SyntheticPatient, wanted: _Wanted, snr: float, rng: np.random.Generator
) -> tuple[Record, Script, set[float]]:
    """A recording, what the heart did in it, and the times of beats that were moved for the concept."""
    settings = SyntheticSettings(patient, SECONDS, FS, LEAD, snr)
    anatomy, moved = draw_anatomy(patient), set[float]()
    if wanted.name == "inverted T" and wanted.shown:
        anatomy = _turned_over(anatomy)
    script = write_script(patient, anatomy, SECONDS, rng)
    if wanted.name == "absent P" and wanted.shown:
        script.p_waves.clear()
    elif wanted.name == "irregular RR" and wanted.shown:  # fibrillation's ventricles under atria that beat
        script.episodes.clear()
        for beat in script.beats:
            script.conducted_p(beat.time)
    elif wanted.name == "wide QRS":
        moved = _widen(script, wanted.shown, rng)
    clean, times = render(script, settings, rng)
    beats = np.round(times * FS).astype(np.int64)
    beats = beats[(beats >= 0) & (beats < len(clean))]
    noise = disturbance(len(clean), FS, 1, settings.noise, settings.mains, patient.respiration, rng)[:, 0]
    gain = snr_gain(qrs_amplitude(clean[:, 0], FS, beats), noise_rms(noise, FS), snr)
    return Record(patient.name, clean + gain * noise[:, None], FS, LEAD), script, moved


def _widen(script: Script, shown: bool, rng: np.random.Generator) -> set[float]:
    """Now and then a beat spreads through muscle: on time, early or late, behind a P wave or not.

    Without the concept it comes at the same time, and is as narrow as the others. Gives the times.
    """
    moved = set()
    for number in range(3, len(script.beats) - 1, 6):
        own, before = script.beats[number], script.beats[number - 1].time
        time = own.time + (own.time - before) * float(rng.choice((0.0, rng.uniform(-0.4, 0.2))))
        focus = int(rng.integers(3))
        wide = own._replace(time=time, kind="ventricular", focus=focus)
        script.beats[number] = wide if shown else own._replace(time=time)
        moved.add(time)
        if rng.random() < 0.5:
            script.p_waves[:] = [
                wave for wave in script.p_waves if not before + P_AFTER < wave.time < own.time
            ]
    return moved


def _turned_over(anatomy: Anatomy) -> Anatomy:
    """The same heart with its normal beats' recovery the other way."""
    recovery = anatomy.normal.recovery
    return replace(
        anatomy, normal=replace(anatomy.normal, recovery=replace(recovery, dipole=-recovery.dipole))
    )


def _fits(wanted: _Wanted, found: Trace, beat: int, script: Script, moved: set[float]) -> bool:
    """Whether a beat is an example."""
    before, own = (_activation(script, found, number) for number in (beat - 1, beat))
    if before is None or own is None:
        return False
    if wanted.name == "wide QRS":
        return own.time in moved
    if wanted.name not in KIND_OF:
        return own.kind in ("sinus", "conducted")
    past = found.intervals[max(1, beat - 8) : beat]
    ratio = found.intervals[beat] / np.median(past) if len(past) else 1.0
    if not wanted.shown:
        return before.kind == own.kind == "sinus" and ON_TIME[0] < ratio < ON_TIME[1]
    if wanted.name == "premature":
        return own.kind == "atrial" and not own.aberrant and ratio < EARLY
    return own.kind == "sinus" and before.kind == "ventricular" and ratio > LATE


def _activation(script: Script, found: Trace, beat: int) -> Activation | None:
    """What the heart did at a beat that the model found."""
    times = np.array([act.time for act in script.beats])
    nearest = int(np.argmin(np.abs(times - found.samples[beat] / FS)))
    return script.beats[nearest] if abs(times[nearest] - found.samples[beat] / FS) < MATCH else None
