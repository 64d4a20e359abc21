"""The generator: exact labels, physiology, and what it may not do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeecg.data.catalog import find_records, load_record
from edgeecg.data.labels import reference_of
from edgeecg.data.noise import noise_rms, qrs_amplitude
from edgeecg.data.synthetic import (
    KINDS,
    LEAD_VECTORS,
    NoiseMix,
    SyntheticPatient,
    SyntheticRecord,
    SyntheticSettings,
    draw_patient,
    plan_cohort,
    synthesize,
    synthetic_cohort,
)
from edgeecg.errors import ConfigError
from edgeecg.specs import BEAT_LABELS


def made(patient: SyntheticPatient, seconds: float = 120.0, seed: int = 1, **more: object) -> SyntheticRecord:
    return synthesize(SyntheticSettings(patient, seconds, **more), seed)  # type: ignore[arg-type]


def intervals(one: SyntheticRecord) -> np.ndarray:
    return np.diff(one.beats) / one.record.fs


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_sound(kind: str) -> None:
    one = made(draw_patient(kind, 5))
    record = one.record
    assert record.signal.shape == one.clean.shape == (120 * 360, 2)
    assert np.isfinite(record.signal).all()
    assert 0.1 < np.ptp(one.clean, axis=0).max() < 20  # millivolts
    assert set(one.labels.tolist()) <= set(BEAT_LABELS)
    assert (np.diff(one.beats) > 0).all()
    assert (np.diff(one.p_waves) >= 0).all()
    assert 25 < 60 * len(one.beats) / record.seconds < 220
    starts, ends, _ = zip(*one.rhythms, strict=True)
    assert starts[0] == 0
    assert ends[-1] == len(record)
    assert starts[1:] == ends[:-1]


@pytest.mark.parametrize("kind", ["ventricular", "paced", "paroxysmal", "atrial"])
def test_annotations_say_what_the_labels_say(kind: str) -> None:
    one = made(draw_patient(kind, 3), 60.0)
    reference = reference_of(one.record)
    assert reference.beats.tolist() == one.beats.tolist()
    assert reference.labels.tolist() == one.labels.tolist()
    merged = [(s, e, label) for s, e, label in one.rhythms]
    assert list(reference.rhythms) == merged


def test_same_seed_same_samples_other_seed_other_samples_same_heart() -> None:
    patient = draw_patient("normal", 7)
    a, b, c = made(patient, seed=1), made(patient, seed=1), made(patient, seed=2)
    assert np.array_equal(a.record.signal, b.record.signal)
    assert not np.array_equal(a.record.signal, c.record.signal)
    half = round(0.06 * 360)

    def template(one: SyntheticRecord) -> np.ndarray:
        beats = one.beats[(one.labels == "N") & (one.beats > half) & (one.beats < len(one.clean) - half)]
        return np.median([one.clean[b - half : b + half, 0] for b in beats], axis=0)

    same = np.corrcoef(template(a), template(c))[0, 1]
    other = np.corrcoef(template(a), template(made(draw_patient("normal", 8))))[0, 1]
    assert same > 0.99
    assert other < same


@pytest.mark.parametrize("kind", ["normal", "ventricular", "block", "fibrillation"])
def test_beats_are_marked_at_their_main_deflection(kind: str) -> None:
    one = made(draw_patient(kind, 11), snr_db=None, resolution=0.0)
    lead = one.clean[:, 0]
    reach = round(0.03 * 360)
    errors = []
    for beat in one.beats[1:-1]:
        near = lead[beat - reach : beat + reach + 1] - np.median(lead)
        sign = np.sign(near[reach])
        errors.append(abs(int(np.argmax(sign * near)) - reach))
    assert np.median(errors) <= 1
    assert np.mean(np.array(errors) <= 2) > 0.9


def test_p_waves_lie_before_sinus_beats_and_not_in_fibrillation() -> None:
    one = made(draw_patient("normal", 2), snr_db=None)
    sinus = one.beats[1:-1]
    before = (sinus[:, None] - one.p_waves) / 360
    assert ((before > 0.08) & (before < 0.30)).any(axis=1).mean() > 0.97
    assert len(made(draw_patient("fibrillation", 2)).p_waves) == 0


def test_p_waves_are_where_they_are_said_to_be() -> None:
    """With the P wave as the only thing in the lead, its peak is within 10 ms of the mark."""
    patient = replace(draw_patient("normal", 2), ventricular=0.0, atrial=0.0)
    one = made(patient, snr_db=None, resolution=0.0)
    lead = one.clean[:, 0]
    errors = []
    for p in one.p_waves[2:-2]:
        piece = lead[p - 18 : p + 19]
        trend = np.linspace(piece[0], piece[-1], len(piece))
        errors.append(abs(int(np.argmax(np.abs(piece - trend))) - 18))
    assert np.median(errors) <= 0.020 * 360


def test_premature_ventricular_beats_are_early_wide_and_followed_by_a_pause() -> None:
    patient = replace(
        draw_patient("ventricular", 4), clusters=0.0, bigeminy=0.0, fusion=0.0, conduction="normal"
    )
    one = made(patient, 600.0, snr_db=None)
    rr = intervals(one)
    alone = [
        i for i in range(2, len(one.labels) - 2)
        if one.labels[i] == "V" and set(one.labels[[i - 2, i - 1, i + 1, i + 2]]) == {"N"}
    ]  # fmt: skip
    assert len(alone) > 20
    usual = np.median(rr)
    assert np.median(rr[np.array(alone) - 1]) < 0.85 * usual  # before it
    assert np.median(rr[np.array(alone)]) > 1.1 * usual  # after it
    both = rr[np.array(alone) - 1] + rr[np.array(alone)]
    assert abs(np.median(both) / usual - 2) < 0.1  # the sinus node keeps its time: compensatory

    def width(label: str) -> float:
        beats = one.beats[one.labels == label]
        beats = beats[(beats > 60) & (beats < len(one.clean) - 60)]
        shapes = np.linalg.norm(np.median([one.clean[b - 45 : b + 46] for b in beats], axis=0), axis=1)
        return float((shapes > 0.2 * shapes.max()).sum())

    assert width("V") > 1.2 * width("N")


def test_premature_atrial_beats_reset_the_sinus_node() -> None:
    patient = replace(draw_patient("atrial", 4), clusters=0.0, ventricular=0.0, dropped=0.0)
    one = made(patient, 600.0)
    rr = intervals(one)
    early = np.flatnonzero(one.labels[1:-1] == "S") + 1
    assert len(early) > 20
    usual = np.median(rr)
    assert np.median(rr[early - 1]) < 0.9 * usual
    assert np.median(rr[early - 1] + rr[early]) < 1.95 * usual  # less than compensatory


def test_fibrillation_is_irregular_and_named() -> None:
    af, sinus = made(draw_patient("fibrillation", 6)), made(draw_patient("normal", 6))

    def irregularity(one: SyntheticRecord) -> float:
        rr = intervals(one)
        return float(np.median(np.abs(np.diff(rr))) / np.median(rr))

    assert irregularity(af) > 3 * irregularity(sinus)
    assert {label for _, _, label in af.rhythms} == {"AFIB"}
    paroxysmal = made(draw_patient("paroxysmal", 6), 600.0)
    labels = [label for _, _, label in paroxysmal.rhythms]
    assert {"N", "AFIB"} <= set(labels)
    share = sum(e - s for s, e, label in paroxysmal.rhythms if label == "AFIB") / len(paroxysmal.record)
    assert 0.1 < share < 0.9


def test_runs_and_bigeminy_are_named_rhythms() -> None:
    seen = {
        label
        for kind in ("bigeminy", "ventricular", "atrial", "flutter", "paced")
        for seed in range(3)
        for _, _, label in made(draw_patient(kind, seed), 300.0).rhythms
    }
    assert {"B", "VT", "SVTA", "AFL", "P"} <= seen


@given(snr=st.floats(-6, 30), fs=st.sampled_from([128.0, 250.0, 360.0, 500.0]), seed=st.integers(0, 99))
@settings(max_examples=15)
def test_the_stated_snr_is_the_one_that_nst_measures(snr: float, fs: float, seed: int) -> None:
    one = made(draw_patient("normal", seed), 60.0, seed=seed, fs=fs, snr_db=snr, resolution=0.0)
    for lead in range(2):
        signal = qrs_amplitude(one.clean[:, lead], fs, one.beats) ** 2 / 8
        noise = noise_rms(one.record.signal[:, lead] - one.clean[:, lead], fs) ** 2
        assert 10 * np.log10(signal / noise) == pytest.approx(snr, abs=1e-6)


@pytest.mark.parametrize(
    ("mix", "bands"),
    [
        (NoiseMix(1, 0, 0, 0), [(0.0, 1.0)]),
        (NoiseMix(0, 1, 0, 0), [(49.0, 51.0), (149.0, 151.0)]),
        (NoiseMix(0, 0, 1, 0), [(14.0, 180.0)]),
        (NoiseMix(0, 0, 0, 1), [(0.0, 14.0)]),
    ],
)
def test_each_noise_lies_in_its_band(mix: NoiseMix, bands: list[tuple[float, float]]) -> None:
    one = made(draw_patient("normal", 1), 60.0, snr_db=6.0, noise=mix, resolution=0.0)
    power = np.abs(np.fft.rfft(one.record.signal[:, 0] - one.clean[:, 0])) ** 2
    frequency = np.fft.rfftfreq(len(one.clean), 1 / 360)
    inside = sum(power[(frequency >= low) & (frequency <= high)].sum() for low, high in bands)
    assert inside / power.sum() > 0.9


def test_leads_see_one_heart() -> None:
    """Einthoven: lead I + lead III = lead II, whatever the heart does."""
    one = made(draw_patient("ventricular", 9), leads=("I", "II", "III"), snr_db=None, resolution=0.0)
    assert np.abs(one.clean[:, 0] + one.clean[:, 2] - one.clean[:, 1]).max() < 0.01
    assert set(LEAD_VECTORS) >= {"I", "II", "III", "aVR", "aVL", "aVF", *(f"V{i}" for i in range(1, 7))}


def test_rate_changes_sampling_not_the_heart() -> None:
    patient = draw_patient("ventricular", 3)
    slow = made(patient, 60.0, fs=180.0, snr_db=None, resolution=0.0)
    fast = made(patient, 60.0, fs=360.0, snr_db=None, resolution=0.0)
    assert slow.labels.tolist() == fast.labels.tolist()
    assert np.abs(slow.beats * 2 - fast.beats).max() <= 2
    assert np.abs(fast.clean[::2] - slow.clean).max() < 0.02 * np.ptp(fast.clean)


def test_a_cohort_is_split_by_patient_and_repeatable() -> None:
    cohort = synthetic_cohort(15, 3, seconds=20.0)
    people = [{one.record.patient for one in cohort[split]} for split in ("train", "validation", "test")]
    assert [len(p) for p in people] == [9, 3, 3]
    assert len(set.union(*people)) == 15
    assert all(
        len({one.settings.patient.anatomy for one in split}) == len(split) for split in cohort.values()
    )
    again = plan_cohort(15, 3, seconds=20.0)["test"][1].make()
    assert np.array_equal(again.record.signal, cohort["test"][1].record.signal)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: draw_patient("unicorn", 1),
        lambda: SyntheticPatient(rate=500),
        lambda: SyntheticPatient(atrial=0.6, ventricular=0.6),
        lambda: SyntheticPatient(fibrillation=0.7, flutter=0.7),
        lambda: SyntheticPatient(conduction="both"),  # type: ignore[arg-type]
        lambda: SyntheticSettings(leads=("V12",)),
        lambda: SyntheticSettings(leads=()),
        lambda: SyntheticSettings(fs=50),
        lambda: SyntheticSettings(seconds=1),
        lambda: NoiseMix(0, 0, 0, 0),
        lambda: synthetic_cohort(2, 1),
        lambda: synthetic_cohort(9, 1, shares=(0.5, 0.2, 0.2)),
    ],
)
def test_wrong_settings_are_refused(wrong: object) -> None:
    with pytest.raises(ConfigError):
        wrong()  # type: ignore[operator]


def _sizes(
    signal: np.ndarray, fs: float, beats: np.ndarray, labels: np.ndarray
) -> dict[str, tuple[float, float]]:
    """Median peak-to-peak millivolts, and milliseconds above a fifth of the peak, of N and V beats."""
    half = round(0.1 * fs)
    result = {}
    for label in "NV":
        chosen = beats[(labels == label) & (beats > half) & (beats < len(signal) - half)]
        if len(chosen) >= 8:
            shape = np.median(signal[chosen[:300, None] + np.arange(-half, half)], axis=0)
            bump = np.abs(shape - np.median(signal))
            result[label] = (float(np.ptp(shape)), 1000 * float((bump > 0.2 * bump.max()).sum()) / fs)
    return result


@pytest.mark.data
def test_beats_are_as_large_and_as_wide_as_real_ones(data_root: Path) -> None:
    real: dict[str, list[tuple[float, float]]] = {"N": [], "V": []}
    made: dict[str, list[tuple[float, float]]] = {"N": [], "V": []}
    for path in find_records(data_root, "mitdb", "DS1")[::2]:
        record = load_record(path, "mitdb").cut(0, 360 * 600)
        reference = reference_of(record)
        for lead in (0, 1):
            sizes = _sizes(record.signal[:, lead], 360, reference.beats, reference.labels)
            for label, size in sizes.items():
                real[label].append(size)
    for case in sum(plan_cohort(24, 5, seconds=60.0).values(), ()):
        one = case.make()
        for lead in (0, 1):
            for label, size in _sizes(one.record.signal[:, lead], 360, one.beats, one.labels).items():
                made[label].append(size)
    for label in "NV":
        low, high = np.percentile(real[label], [25, 75], axis=0)
        middle = np.median(made[label], axis=0)
        assert (low <= middle).all(), (label, low, middle)
        assert (middle <= high).all(), (label, middle, high)
