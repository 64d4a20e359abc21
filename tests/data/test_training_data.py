"""Windows and splits: the guards against the known false roads, and targets that lie where the beats are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeecg.cli.main import main
from edgeecg.data.augment import AugmentSettings, coloured_noise, electrode_noise, tone, warp
from edgeecg.data.dataset import Windows
from edgeecg.data.prepare import load_training_data, prepare_record
from edgeecg.data.recording import UNKNOWN, TrainingRecord, on_model_grid
from edgeecg.data.settings import DataSettings
from edgeecg.data.split import hold_out
from edgeecg.errors import ConfigError
from edgeecg.io import Annotations, Record
from edgeecg.model.presets import preset
from edgeecg.specs import RR_FEATURES, SignalSpec

PLAIN = AugmentSettings(gain=1.0, invert=0.0, mix=0.0, noise=0.0, warp=0.0, drop=0.0, extra=0.0)


def record(name: str, patient: str, source: str = "mitdb", beats: int = 70, seed: int = 0) -> TrainingRecord:
    rng = np.random.default_rng(seed)
    place = np.cumsum(rng.uniform(90, 110, beats)) + 50
    signal = 0.01 * rng.standard_normal((1, 8000)).astype(np.float32)
    for at in place:
        signal[0, round(at) - 3 : round(at) + 4] += np.array([0.1, 0.4, 0.8, 1.0, 0.8, 0.4, 0.1])
    labels = np.where(np.arange(beats) % 7 == 3, 2, 0)
    return TrainingRecord(name, patient, source, signal, place, labels)


def windows(records: list[TrainingRecord], augment: AugmentSettings = PLAIN, seed: int = 0) -> Windows:
    return Windows(
        records, [], preset("nano"), SignalSpec(), augment, {"mitdb": 1.0}, seconds=20, batch=4, seed=seed
    )


def test_records_of_one_patient_are_held_out_together() -> None:
    records = [
        record("mitdb/201", "mitdb/201"),
        record("mitdb/202", "mitdb/201"),
        record("mitdb/100", "mitdb/100"),
    ]
    training, validation = hold_out(records, DataSettings(validation=("mitdb/202",)))
    assert [r.name for r in training] == ["mitdb/100"]
    assert {r.name for r in validation} == {"mitdb/201", "mitdb/202"}


@pytest.mark.parametrize("fold", range(4))
def test_folds_part_patients(fold: int) -> None:
    records = [record(f"mitdb/{i}", f"mitdb/{i // 2}") for i in range(20)]
    training, validation = hold_out(records, DataSettings(folds=4, fold=fold))
    assert training
    assert validation
    assert not {r.patient for r in training} & {r.patient for r in validation}
    assert len(training) + len(validation) == 20


def test_every_patient_is_validated_in_exactly_one_fold() -> None:
    records = [record(f"mitdb/{i}", f"mitdb/{i}") for i in range(11)]
    held = [r.name for fold in range(4) for r in hold_out(records, DataSettings(folds=4, fold=fold))[1]]
    assert sorted(held) == sorted(r.name for r in records)


def test_wrong_splits_are_refused() -> None:
    records = [record("mitdb/100", "mitdb/100")]
    with pytest.raises(ConfigError, match="mitdb/999"):
        hold_out(records, DataSettings(validation=("mitdb/999",)))
    with pytest.raises(ConfigError, match="none is left"):
        hold_out(records, DataSettings(validation=("mitdb/100",)))


def test_a_patient_of_two_sets_is_held_out_of_training_with_both() -> None:
    """Each set is dealt by itself: held out twice perhaps, never on both sides."""
    records = [record(f"mitdb/{i}", f"mitdb/{i}") for i in range(9)]
    records += [record(f"nstdb/{i}", f"mitdb/{i}", "nstdb") for i in (3, 5, 7, 8)]
    times = []
    for fold in range(4):
        training, validation = hold_out(records, DataSettings(folds=4, fold=fold))
        assert not {r.patient for r in training} & {r.patient for r in validation}
        times += [r.name for r in validation]
    assert set(times) == {r.name for r in records}
    assert len(times) > len(records)


def test_a_batch_is_a_function_of_seed_and_step() -> None:
    source = windows([record(f"mitdb/{i}", f"mitdb/{i}", seed=i) for i in range(3)], AugmentSettings())
    a, b, other = source(5), source(5), source(6)
    assert all(np.array_equal(a[key], b[key]) for key in a)
    assert not np.array_equal(a["signal"], other["signal"])


def test_beats_stay_in_the_order_of_time() -> None:
    """Known false road: grouping beats by class before cutting sequences."""
    batch = windows([record("mitdb/100", "mitdb/100")], AugmentSettings())(0)
    for tokens, present in zip(batch["beat_token"], batch["beat_present"], strict=True):
        assert np.all(np.diff(tokens[present == 1]) >= 0)


def test_token_targets_lie_on_the_beats() -> None:
    batch = windows([record("mitdb/100", "mitdb/100")])(0)
    for row in range(len(batch["signal"])):
        token = np.flatnonzero(batch["beat"][row] == 1)
        assert len(token) > 15
        place = 8 * (token + batch["offset"][row][token])
        peaks = [
            int(p) - 6 + int(np.argmax(batch["signal"][row][int(p) - 6 : int(p) + 7])) for p in place[1:-1]
        ]
        assert np.abs(np.array(peaks) - place[1:-1]).max() <= 1.5
        assert set(batch["shape"][row][token]) <= {0, 2}


def test_interval_features_never_see_what_comes_later() -> None:
    """Known false road: RR statistics of the whole record."""
    first = record("mitdb/100", "mitdb/100")
    later = first.beats.copy()
    later[40:] += np.linspace(5, 300, len(later) - 40)
    second = replace(first, beats=later)
    a, b = (
        windows([r]).beat_targets(r, lambda places: places, 8000, np.random.default_rng(0))
        for r in (first, second)
    )
    np.testing.assert_array_equal(a["beat_rr"][:39], b["beat_rr"][:39])
    assert not np.array_equal(a["beat_rr"][41], b["beat_rr"][41])


def test_the_last_beat_has_no_next() -> None:
    source = record("mitdb/100", "mitdb/100")
    targets = windows([source]).beat_targets(source, lambda places: places, 8000, np.random.default_rng(0))
    last = int(targets["beat_present"].sum()) - 1
    assert targets["beat_rr"][last, RR_FEATURES.index("next_known")] == 0


def test_masked_spans_and_unlabelled_records_have_no_loss() -> None:
    masked = replace(record("mitdb/207", "mitdb/207"), masked=np.array([[0.0, 8000.0]]))
    batch = windows([masked])(0)
    assert np.all(batch["beat"] == UNKNOWN)
    assert np.all(batch["beat_class"] == UNKNOWN)
    silent = replace(
        record("mitdb/1", "mitdb/1"), complete=False, beats=np.empty(0), labels=np.empty(0, np.int64)
    )
    assert np.all(windows([silent])(0)["beat"] == UNKNOWN)


def test_p_waves_are_unknown_away_from_the_beats_whose_waves_are_marked() -> None:
    peaks = np.array([300.0, 400.0, 1500.0])
    selected = replace(
        record("qtdb/sel100", "mitdb/100"),
        p_waves=peaks,
        waves_known=np.array([[280.0, 480.0], [1480.0, 1560.0]]),
    )
    drawn = windows([selected])
    rng = np.random.default_rng(0)
    wave = drawn.token_targets(selected, lambda places: places, 2560, np.ones(2560))["p_wave"]
    middle = (np.arange(drawn.tokens) + 0.5) * drawn.spec.patch
    near = ((middle >= 280) & (middle <= 480)) | ((middle >= 1480) & (middle <= 1560))
    true = (peaks // drawn.spec.patch).astype(int)
    assert np.flatnonzero(wave == 1).tolist() == true.tolist()
    assert np.all(wave[~near] == UNKNOWN)
    assert np.all(np.delete(wave, true)[np.delete(near, true)] == 0)
    whole = replace(selected, waves_known=None)
    assert np.all(windows([whole]).token_targets(whole, lambda p: p, 2560, np.ones(2560))["p_wave"] >= 0)
    for settings in ({"retime": 1.0}, {"insert": 1.0}):  # pieces in another rhythm know no more
        pieces = windows([selected], replace(PLAIN, **settings))
        for _ in range(5):
            made = pieces.window(selected, rng)[0]
            assert np.mean(made["p_wave"] == UNKNOWN) > 0.5


def test_a_recording_with_marks_of_waves_alone_is_not_complete(tmp_path: Path) -> None:
    marks = Annotations([400, 410, 420, 440, 450], ["(", "p", ")", "(", ")"])
    bare = Record("sel30", np.sin(np.arange(3000) / 10)[:, None], 250.0, ("II",), marks, patient="qtdb/sel30")
    made = prepare_record(bare, "qtdb", name="qtdb")
    assert not made.complete
    assert made.waves_known is not None
    np.testing.assert_allclose(made.waves_known, [[400 * 128 / 250, 450 * 128 / 250]])
    assert prepare_record(bare, "mine").waves_known is None


def test_patients_have_the_same_chance_whatever_they_recorded() -> None:
    many = [record(f"mitdb/{i}", "mitdb/one", seed=i) for i in range(9)] + [record("mitdb/x", "mitdb/two")]
    for each in many:  # tell them by a level that the targets carry
        each.weak_rhythm = int(each.patient == "mitdb/two")
    drawn = np.concatenate([windows(many)(step)["weak_rhythm"] for step in range(60)])
    assert 0.35 < drawn.mean() < 0.65


def test_noise_has_unit_power_and_warp_keeps_places() -> None:
    rng = np.random.default_rng(0)
    for make in (coloured_noise, electrode_noise):
        assert make(4000, rng).std() == pytest.approx(1.0, rel=1e-3)
    ramp = np.arange(100.0)
    np.testing.assert_allclose(warp(ramp, 1.25, 100), np.arange(100) / 1.25)


def test_a_tone_moves_no_wave() -> None:
    impulse = np.zeros(101)
    impulse[50] = 1.0
    heard = tone(impulse, 0.3, np.random.default_rng(0))
    assert heard.shape == impulse.shape
    np.testing.assert_allclose(heard, heard[::-1], atol=1e-12)
    assert np.abs(heard[np.abs(np.arange(101) - 50) <= 8]).min() > 0
    assert np.all(heard[np.abs(np.arange(101) - 50) > 8] == 0)
    np.testing.assert_array_equal(tone(impulse, 0.0, np.random.default_rng(0)), impulse)


def test_two_leads_come_together_only_where_there_is_room_for_both() -> None:
    two = [
        replace(
            record("mitdb/1", "mitdb/1"), signal=np.repeat(record("mitdb/1", "mitdb/1").signal, 2, axis=0)
        )
    ]
    source = replace(windows(two, AugmentSettings(pair=1.0)), batch=3)
    assert source(0)["fuse"].tolist() == [1, -1, 0]
    assert set(windows([record("mitdb/1", "mitdb/1")], AugmentSettings(pair=1.0))(0)["fuse"]) == {0}


@pytest.mark.parametrize("fs", [100.0, 250.0, 360.0])
def test_the_model_grid_keeps_time(fs: float) -> None:
    t = np.arange(round(10 * fs)) / fs
    signal = np.exp(-0.5 * ((t - 4.0) / 0.02) ** 2)[:, None]
    y = on_model_grid(signal, fs)
    assert y.shape == (1, 1280)
    assert abs(int(np.argmax(y[0])) - 512) <= 1


def test_synthetic_patients_need_no_recordings() -> None:
    data = load_training_data(DataSettings(synthetic_patients=6, synthetic_seconds=30, folds=2), seed=1)
    assert data.training
    assert data.validation
    assert all(r.p_waves is not None and r.atrial_fibrillation is not None for r in data.training)
    assert data.attribution == ()


@pytest.mark.parametrize("patients", [1, 2, 3, 7, 11, 20])
def test_as_many_synthetic_patients_are_made_as_were_asked_for(patients: int) -> None:
    data = load_training_data(DataSettings(synthetic_patients=patients, synthetic_seconds=5), seed=1)
    assert data.counts() == {"synthetic": patients}
    assert len({r.patient for r in data.training}) == patients


@pytest.mark.parametrize(
    ("people", "folds", "says"),
    [
        (1, 2, "data.folds = 2 needs at least two patients in each set, and mitdb has one"),
        (2, 5, "mitdb has 2: ask for 2 folds"),
        (4, 5, "mitdb has 4: ask for 2 to 4"),
    ],
)
def test_too_few_patients_for_the_folds_are_counted(people: int, folds: int, says: str) -> None:
    records = [record(f"mitdb/{n}", f"mitdb/{n}") for n in range(people)]
    with pytest.raises(ConfigError, match=says):
        hold_out(records, DataSettings(folds=folds))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"synthetic_patients": 0}, "synthetic_patients is 0 and synthetic has a share"),
        ({"sets": {"synthetic": 0.0}, "synthetic_patients": 0}, "no set has a share"),
        ({"sets": {}}, "no set has a share"),
        ({"fold": 3}, r"data.fold 3 holds nobody out without data.folds"),
        ({"folds": 2, "fold": 2}, "data.fold 2 must be 0 to 1"),
        ({"folds": 1}, "data.folds = 1 would hold everybody out"),
    ],
)
def test_settings_that_contradict_each_other_are_refused_before_anything_is_read(
    settings: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        DataSettings(**settings)


@pytest.mark.parametrize(
    ("name", "told"),
    [("nosuch", "unknown set 'nosuch'"), ("mitdb", "fetch it with 'edgeecg data fetch mitdb")],
)
def test_a_set_that_is_not_there_is_told_before_others_are_read(tmp_path: Path, name: str, told: str) -> None:
    begun: list[str] = []
    with pytest.raises(ConfigError, match=told):
        load_training_data(
            DataSettings(root=str(tmp_path), sets={"synthetic": 1.0, name: 1.0}, synthetic_patients=3),
            0,
            lambda source, done, total: begun.append(source),
        )
    assert begun == []


def test_an_unknown_set_or_root_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"{tmp_path}/Synthetic is no folder; the sets known are synth"):
        load_training_data(DataSettings(root=str(tmp_path), sets={"Synthetic": 1.0}), seed=0)
    with pytest.raises(ConfigError, match="not there"):
        load_training_data(DataSettings(root=str(tmp_path / "x"), sets={"mitdb": 1.0}), seed=0)


@pytest.mark.data
def test_real_recordings_are_read_without_the_test_patients(data_root: Path) -> None:
    settings = DataSettings(root=str(data_root), sets={"mitdb": 1.0, "cinc2017": 1.0}, limit=3)
    data = load_training_data(settings, seed=0)
    assert data.counts() == {"cinc2017": 3, "mitdb": 3}
    assert data.noise
    assert all(len(r.beats) > 500 and r.complete for r in data.training if r.source == "mitdb")
    assert all(not r.complete for r in data.training if r.source == "cinc2017")
    assert any("Moody" in thanks for thanks in data.attribution)


@pytest.mark.data
def test_only_what_was_read_is_thanked_for(data_root: Path, tmp_path: Path) -> None:
    (tmp_path / "mitdb").symlink_to(data_root / "mitdb")
    data = load_training_data(DataSettings(root=str(tmp_path), sets={"mitdb": 1.0}, limit=1), seed=0)
    assert not data.noise
    assert [thanks[:5] for thanks in data.attribution] == ["Moody"], "nstdb is not there"


def test_the_data_root_that_is_typed_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Over the configuration's, which counts over the environment's."""
    pytest.importorskip("torch")
    (tmp_path / "c.toml").write_text(f'[data]\nroot = "{tmp_path}/filed"\nsets = {{ mitdb = 1.0 }}')
    monkeypatch.setenv("EDGEECG_DATA", f"{tmp_path}/exported")
    line = ["train", "-c", str(tmp_path / "c.toml"), "--out", str(tmp_path / "run")]
    for more, used in ((["--data", f"{tmp_path}/typed"], "typed"), ([], "filed")):
        assert main([*line, *more]) == 2
        assert f"{tmp_path}/{used} is not there" in capsys.readouterr().err


def test_a_limit_that_leaves_a_validation_record_out_is_named() -> None:
    records = [record("mitdb/101", "mitdb/101"), record("mitdb/106", "mitdb/106")]
    with pytest.raises(ConfigError, match=r"names mitdb/119.*data\.limit reads the first 2 of each set"):
        hold_out(records, DataSettings(validation=("mitdb/119",), limit=2))
    with pytest.raises(ConfigError, match=r"form: mitdb/119\)$"):
        hold_out(records, DataSettings(validation=("mitdb/119",)))


def test_a_weak_label_speaks_for_beats_without_one_only() -> None:
    """Where a record of normal rhythm lends a beat as S, its label is known: nothing speaks against it."""
    weak = replace(record("cinc2017/A1", "cinc2017/A1", "cinc2017"), complete=False, weak_label="N")
    weak.labels[:] = UNKNOWN
    drawn = Windows(
        [weak],
        [],
        preset("nano"),
        SignalSpec(),
        replace(PLAIN, retime=1.0),
        {"cinc2017": 1.0},
        seconds=60,
        batch=8,
    )
    batch = drawn(0)
    early, present = batch["beat_class"] == 1, batch["beat_present"] == 1
    assert early.any()
    assert (batch["beat_weak"][early] == UNKNOWN).all()
    assert (batch["beat_weak"][present & ~early] == 0).all()


@pytest.mark.parametrize(("label", "weak"), [("N", 0), ("A", 1), ("O", UNKNOWN)])
def test_beats_without_a_label_have_what_that_of_the_record_says(label: str, weak: int) -> None:
    unlabelled = replace(record("mitdb/1", "mitdb/1"), complete=False, weak_label=label)
    unlabelled.labels[:] = UNKNOWN
    batch = windows([unlabelled])(0)
    present = batch["beat_present"] == 1
    assert present.any()
    assert (batch["beat_weak"] == np.where(present, weak, UNKNOWN)).all()
