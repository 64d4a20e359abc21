"""Examples of what cardiologists speak of: premature, wide QRS, absent P and so on, one beat each.

A concept is a set of beats that share one thing and differ in all else. The generator makes them: the same
hearts with their P waves left out, their T waves turned over, their rhythm made irregular while every beat
keeps its P wave. Real labels give some of them too. Random sets are beats of all kinds of patients.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeecg.bundle import Bundle
from edgeecg.data.noise import noise_rms, qrs_amplitude, snr_gain
from edgeecg.data.synthetic import KINDS, SyntheticPatient, SyntheticSettings, draw_patient
from edgeecg.data.synthetic.disturbance import disturbance
from edgeecg.data.synthetic.render import render
from edgeecg.data.synthetic.rhythm import Activation, Script, write_script
from edgeecg.data.synthetic.shape import Anatomy, draw_anatomy
from edgeecg.errors import ConfigError
from edgeecg.explain.edits import Edit, apply
from edgeecg.explain.question import reach
from edgeecg.explain.trace import Trace, trace
from edgeecg.explain.versions import place_of
from edgeecg.io.atomic import atomic_path
from edgeecg.io.record import Record
from edgeecg.model.transformer import Network
from edgeecg.specs import RR_FEATURES

__all__ = ["CONCEPTS", "ConceptSets", "moments", "real_examples", "synthetic_sets"]

CONCEPTS = (
    "premature",
    "wide QRS",
    "absent P",
    "compensatory pause",
    "irregular RR",
    "inverted T",
    "high amplitude",
    "noise",
)

SECONDS = 150.0
FS = 256.0
LEAD = ("MLII",)
EARLY, LATE = 0.85, 1.15  # of the usual interval
TALL = 1.8
P_AFTER = 0.3  # s after a beat, from when on a P wave belongs to the next one
MATCH = 0.1  # s between a beat of the script and the one that the model found

Examples = NDArray[np.float32]
Report = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class ConceptSets:
    """Examples of each concept, ``(n, width)`` each as :func:`moments` packs them; a pool of any beats."""

    concepts: dict[str, Examples]
    pool: Examples

    def save(self, path: Path) -> None:
        """Keep them as an npz file; it appears whole or not at all."""
        with atomic_path(path) as partial:
            np.savez_compressed(partial, pool=self.pool, **self.concepts)  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: Path) -> ConceptSets:
        """Read what :meth:`save` wrote; raises ``ConfigError`` where it is not that."""
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return cls({name: arrays[name] for name in CONCEPTS}, arrays["pool"])
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise ConfigError(f"{path} holds no concept sets ({error}): delete it") from error

    def random(self, count: int, seed: int) -> Examples:
        """``count`` beats of the pool."""
        chosen = np.random.default_rng([seed, count]).permutation(len(self.pool))[:count]
        return self.pool[chosen]


def moments(network: Network, found: Trace, beats: Sequence[int]) -> tuple[Examples, list[int]]:
    """What the model's decision about each beat hangs on, packed flat, on the beat's main lead.

    The samples that its tokens see, then the beat encoder's inputs of the beats before, then its own RR
    features.

    Returns
    -------
    (n, width) float32, and the beats that have all of it.
    """
    spec = network.spec
    older = spec.beat.layers * spec.beat.left
    ahead = spec.delay + spec.token.lag + 1
    rows, kept = [], []
    for beat in beats:
        token = int(found.token[beat])
        if beat < older or token < reach(network) or token + ahead > found.share.shape[1]:
            continue
        lead = int(np.argmax(found.share[:, token]))
        samples = found.signal[lead, (token - reach(network)) * spec.patch : (token + ahead) * spec.patch]
        timing = found.inputs[beat, -len(RR_FEATURES) :]
        rows.append(np.concatenate([samples, found.inputs[beat - older : beat].ravel(), timing]))
        kept.append(beat)
    width = (reach(network) + ahead) * spec.patch + older * spec.beat_inputs + len(RR_FEATURES)
    return np.array(rows, np.float32).reshape(len(rows), width), kept


def synthetic_sets(
    bundle: Bundle,
    network: Network,
    *,
    patients: int = 10,
    each: int = 5,
    seed: int = 0,
    report: Report | None = None,
) -> ConceptSets:
    """All concepts from the generator.

    Parameters
    ----------
    bundle, network : Bundle, Network
        Whose beats they are: detections and histories are the model's.
    patients : int
        Patients of each concept; of the pool four times as many.
    each : int
        Beats of each patient.
    seed : int
    report : callable, optional
        Called with patients done and patients in all.

    Raises
    ------
    ConfigError
        If the model finds too few beats to make a set.
    """
    plan = [(name, number) for name in CONCEPTS for number in range(patients)]
    plan += [("", number) for number in range(4 * patients)]
    parts: dict[str, list[Examples]] = {name: [] for name in (*CONCEPTS, "")}
    for done, (name, number) in enumerate(plan):
        rng = np.random.default_rng([seed, number, (*CONCEPTS, "").index(name)])
        parts[name].append(_examples(bundle, network, name, number, each, rng))
        if report is not None:
            report(done + 1, len(plan))
    sets = {name: np.concatenate(rows) for name, rows in parts.items()}
    for name, rows in sets.items():
        if len(rows) < 2 * patients:
            raise ConfigError(
                f"only {len(rows)} examples of {name or 'any beat'}: the model finds too few "
                "synthetic beats; ask for more patients"
            )
    return ConceptSets({name: sets[name] for name in CONCEPTS}, sets[""])


KIND_OF = {"premature": "atrial", "compensatory pause": "ventricular"}
"""Patients who have a concept by themselves; the others are made of normal ones."""


def _examples(
    bundle: Bundle, network: Network, name: str, number: int, each: int, rng: np.random.Generator
) -> Examples:
    """Beats of one patient that show a concept, or any beats."""
    kind = KIND_OF.get(name, "normal") if name else KINDS[number % len(KINDS)]
    patient = draw_patient(kind, int(rng.integers(2**31)))
    if name:
        patient = replace(patient, **_traits(name))  # type: ignore[arg-type]
    level = rng.uniform(2, 7) if name == "noise" else rng.uniform(14, 30)
    record, script = _made(patient, name, float(level), rng)
    found = trace(bundle, network, record, len(record) - round(4 * FS), before=SECONDS, lead_policy="first")
    beats = [beat for beat in range(1, len(found) - 1) if _shows(name, found, beat, script)]
    beats = [int(beat) for beat in rng.permutation(beats)]
    packed, kept = moments(network, found, beats)
    packed, kept = packed[:each], kept[:each]
    if name == "high amplitude":
        samples = network.spec.patch * (reach(network) + network.spec.delay + network.spec.token.lag + 1)
        for row, beat in zip(packed, kept, strict=True):
            start = (int(found.token[beat]) - reach(network)) * network.spec.patch
            place = place_of(found, beat, (0,)).on(1.0, -float(start))
            row[:samples] = apply(row[None, :samples].astype(np.float64), place, Edit(r=TALL))[0]
    return packed


def _traits(name: str) -> dict[str, object]:
    """What a patient of a concept has, and has not."""
    if name == "premature":
        return {"atrial": 0.15, "ventricular": 0.0, "clusters": 0.0, "dropped": 0.0, "conduction": "normal"}
    if name == "compensatory pause":
        return {"ventricular": 0.12, "clusters": 0.0, "fusion": 0.0, "atrial": 0.0}
    plain: dict[str, object] = {"atrial": 0.0, "ventricular": 0.0}
    if name == "irregular RR":
        return {**plain, "fibrillation": 1.0, "conduction": "normal"}
    return {**plain, "conduction": "normal"}


def _made(
    patient: SyntheticPatient, name: str, snr: float, rng: np.random.Generator
) -> tuple[Record, Script]:
    """A recording of a patient with one thing about the heart changed."""
    settings = SyntheticSettings(patient, SECONDS, FS, LEAD, snr)
    anatomy = draw_anatomy(patient)
    if name == "inverted T":
        anatomy = _turned_over(anatomy)
    script = write_script(patient, anatomy, SECONDS, rng)
    if name == "absent P":
        script.p_waves.clear()
    elif name == "irregular RR":  # the ventricles of fibrillation, under atria that beat
        script.episodes.clear()
        for beat in script.beats:
            script.conducted_p(beat.time)
    elif name == "wide QRS":
        _widen(script, rng)
    clean, times = render(script, settings, rng)
    beats = np.round(times * FS).astype(np.int64)
    beats = beats[(beats >= 0) & (beats < len(clean))]
    noise = disturbance(len(clean), FS, 1, settings.noise, settings.mains, patient.respiration, rng)[:, 0]
    gain = snr_gain(qrs_amplitude(clean[:, 0], FS, beats), noise_rms(noise, FS), snr)
    return Record(patient.name, clean + gain * noise[:, None], FS, LEAD), script


def _widen(script: Script, rng: np.random.Generator) -> None:
    """Now and then a beat spreads through muscle: on time, early or late, behind a P wave or not."""
    for number in range(3, len(script.beats) - 1, 6):
        own, before = script.beats[number], script.beats[number - 1].time
        moved = own.time + (own.time - before) * float(rng.choice((0.0, rng.uniform(-0.4, 0.2))))
        script.beats[number] = own._replace(time=moved, kind="ventricular", focus=int(rng.integers(3)))
        if rng.random() < 0.5:
            script.p_waves[:] = [
                wave for wave in script.p_waves if not before + P_AFTER < wave.time < own.time
            ]


def _turned_over(anatomy: Anatomy) -> Anatomy:
    """The same heart with its normal beats' recovery the other way."""
    recovery = anatomy.normal.recovery
    return replace(
        anatomy, normal=replace(anatomy.normal, recovery=replace(recovery, dipole=-recovery.dipole))
    )


def _shows(name: str, found: Trace, beat: int, script: Script) -> bool:
    """Whether a beat is an example of a concept."""
    if not name:
        return True
    acts = [_activation(script, found, number) for number in (beat - 1, beat)]
    if acts[0] is None or acts[1] is None:
        return False
    before, own = acts[0], acts[1]
    past = found.intervals[max(1, beat - 8) : beat]
    ratio = found.intervals[beat] / np.median(past) if len(past) else 1.0
    if name == "premature":
        return own.kind == "atrial" and not own.aberrant and ratio < EARLY
    if name == "wide QRS":
        return own.kind == "ventricular"
    if name == "compensatory pause":
        return own.kind == "sinus" and before.kind == "ventricular" and ratio > LATE
    return own.kind in ("sinus", "conducted")


def _activation(script: Script, found: Trace, beat: int) -> Activation | None:
    """What the heart did at a beat that the model found."""
    times = np.array([act.time for act in script.beats])
    nearest = int(np.argmin(np.abs(times - found.samples[beat] / FS)))
    return script.beats[nearest] if abs(times[nearest] - found.samples[beat] / FS) < MATCH else None


def real_examples(bundle: Bundle, network: Network, record: Record, *, each: int = 10) -> dict[str, Examples]:
    """Examples of concepts in an annotated recording, as far as its labels tell them.

    Premature: supraventricular ectopic beats; wide QRS: bundle branch block and ventricular beats;
    compensatory pause: the normal beat after a ventricular one; irregular RR and absent P: atrial
    fibrillation, where both are true at once.

    Parameters
    ----------
    bundle, network : Bundle, Network
    record : Record
        With annotations.
    each : int
        Beats of each concept, at most, evenly from the recording.
    """
    if record.annotations is None:
        raise ConfigError(f"record {record.name} has no annotations to find concepts by")
    length = record.seconds
    found = trace(bundle, network, record, len(record) - 1, before=length, lead_policy="first")
    symbols = _symbols(record, found)
    af = _in_fibrillation(record, found)
    previous = np.concatenate([[""], symbols[:-1]])
    masks = {
        "premature": np.isin(symbols, ["A", "a", "J", "S"]),
        "wide QRS": np.isin(symbols, ["L", "R", "V"]),
        "compensatory pause": (symbols == "N") & (previous == "V"),
        "irregular RR": af,
        "absent P": af,
    }
    examples = {}
    for name, mask in masks.items():
        beats = np.flatnonzero(mask)
        packed, _ = moments(network, found, beats.tolist())
        if len(packed):
            examples[name] = packed[np.unique(np.linspace(0, len(packed) - 1, each).astype(int))]
    return examples


def _symbols(record: Record, found: Trace) -> NDArray[np.str_]:
    """Annotated symbol of each beat that the model found; empty where there is none."""
    assert record.annotations is not None
    marks = record.annotations.beats()
    symbols = np.full(len(found), "", dtype="<U1")
    if not len(marks):
        return symbols
    for number, sample in enumerate(found.samples):
        nearest = int(np.argmin(np.abs(marks.sample - sample)))
        if abs(int(marks.sample[nearest]) - int(sample)) < MATCH * record.fs:
            symbols[number] = marks.symbol[nearest]
    return symbols


def _in_fibrillation(record: Record, found: Trace) -> NDArray[np.bool_]:
    """Which beats lie in annotated atrial fibrillation."""
    from edgeecg.data.labels import reference_of

    inside = np.zeros(len(found), dtype=bool)
    for start, stop, name in reference_of(record).rhythms:
        if name == "AFIB":
            inside |= (found.samples >= start) & (found.samples < stop)
    return inside
