"""The catalogue: sets, splits, patients, and finding records whatever their layout."""

from __future__ import annotations

import re
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeecg.data.catalog import (
    SETS,
    data_root,
    data_set,
    find_records,
    load_record,
    load_reference,
    patient_folds,
    patient_of,
    record_labels,
)
from edgeecg.errors import ConfigError, RecordError
from edgeecg.io import Annotations, Record, write_annotations, write_wfdb


def put(folder: Path, name: str, marks: Annotations | None = None, leads: tuple[str, ...] = ("II",)) -> Path:
    signal = np.sin(np.arange(3000) / 10)[:, None] * np.ones(len(leads))
    return write_wfdb(Record(name, signal, 250.0, leads, marks), folder).with_suffix("")


def test_every_set_says_where_it_is_and_under_which_terms() -> None:
    assert list(SETS) == [
        "mitdb", "svdb", "nstdb", "cinc2017", "incartdb", "afdb", "ltafdb", "ludb", "qtdb"
    ]  # fmt: skip
    for entry in SETS.values():
        assert entry.licence == "ODC-BY 1.0"
        assert "PhysioNet" in entry.attribution
        assert entry.address.startswith("https://physionet.org/content/")
        assert entry.records > 0
        assert 100 <= entry.fs <= 1000
        for split in entry.splits.values():
            assert all(re.fullmatch(entry.pattern, name) for name in split)


def test_mitdb_is_split_as_de_chazal_did() -> None:
    splits = data_set("mitdb").splits
    assert len(splits["DS1"]) == len(splits["DS2"]) == 22
    assert splits["paced"] == ("102", "104", "107", "217")
    everyone = [*splits["DS1"], *splits["DS2"], *splits["paced"]]
    assert len(set(everyone)) == 48
    assert {"201"} <= set(splits["DS1"])
    assert {"202"} <= set(splits["DS2"])  # the same patient: figures are given with and without 202


def test_svdb_is_halved_by_number() -> None:
    splits = data_set("svdb").splits
    assert len(splits["development"]) == len(splits["test"]) == 39
    assert max(splits["development"]) < min(splits["test"])


@pytest.mark.parametrize(
    ("name", "record", "patient"),
    [
        ("mitdb", "100", "mitdb/100"),
        ("mitdb", "201", "mitdb/201"),
        ("mitdb", "202", "mitdb/201"),
        ("nstdb", "118e06", "mitdb/118"),
        ("nstdb", "119e_6", "mitdb/119"),
        ("nstdb", "em118", "mitdb/118"),
        ("nstdb", "bw", "nstdb/bw"),
        ("qtdb", "sel102", "mitdb/102"),
        ("qtdb", "sel803", "svdb/803"),
        ("qtdb", "sele0104", "qtdb/sele0104"),
        ("qtdb", "sel16265", "qtdb/sel16265"),
        ("afdb", "04015", "afdb/04015"),
    ],
)
def test_one_person_has_one_name_across_sets(name: str, record: str, patient: str) -> None:
    assert patient_of(name, record) == patient


def test_incartdb_states_its_patients_in_its_headers(tmp_path: Path) -> None:
    for record, patient in (("I01", 1), ("I02", 1), ("I03", 2)):
        put(tmp_path / "incartdb", record)
        with (tmp_path / "incartdb" / f"{record}.hea").open("a") as header:
            header.write(f"# <age>: 65 <sex>: F\n# patient {patient}\n")
    people = [load_record(p, "incartdb").patient for p in find_records(tmp_path, "incartdb")]
    assert people == ["incartdb/patient01", "incartdb/patient01", "incartdb/patient02"]


def test_records_are_found_flat_or_as_physionet_lays_them_out(tmp_path: Path) -> None:
    put(tmp_path / "flat" / "cinc2017", "A00001")
    put(tmp_path / "deep" / "challenge-2017" / "1.0.0" / "training" / "A00", "A00001")
    put(tmp_path / "deep" / "challenge-2017" / "1.0.0" / "training" / "A00", "A00002")
    assert [p.name for p in find_records(tmp_path / "flat", "cinc2017")] == ["A00001"]
    assert [p.name for p in find_records(tmp_path / "deep", "cinc2017")] == ["A00001", "A00002"]
    assert [p.name for p in find_records(tmp_path / "flat" / "cinc2017", "cinc2017")] == ["A00001"]


def test_splits_choose_records_and_other_files_are_left_alone(tmp_path: Path) -> None:
    for name in ("100", "101", "102", "202", "100s", "notes"):
        put(tmp_path / "mitdb", name)
    assert [p.name for p in find_records(tmp_path, "mitdb")] == ["100", "101", "102", "202"]
    assert [p.name for p in find_records(tmp_path, "mitdb", "DS1")] == ["101"]
    assert [p.name for p in find_records(tmp_path, "mitdb", "DS2")] == ["100", "202"]
    assert [p.name for p in find_records(tmp_path, "mitdb", "paced")] == ["102"]
    with pytest.raises(ConfigError, match="no split"):
        find_records(tmp_path, "mitdb", "DS3")
    with pytest.raises(ConfigError, match="data fetch svdb"):
        find_records(tmp_path, "svdb")
    with pytest.raises(ConfigError, match="choose among"):
        find_records(tmp_path, "nodb")


def test_beats_and_rhythm_of_two_files_become_one_reference(tmp_path: Path) -> None:
    stem = put(tmp_path / "afdb", "04015", Annotations([30, 1000], ["+", "+"], ["(N", "(AFIB"]))
    write_annotations(stem, Annotations([50, 300, 1000], ["N", "N", "N"]), 250.0, extension="qrs")
    (tmp_path / "afdb" / "00735.hea").write_text("00735 0 250 1000\n")  # rhythm only, no signals
    assert [p.name for p in find_records(tmp_path, "afdb")] == ["04015"]
    record = load_record(stem, "afdb")
    reference = load_reference(record, "afdb")
    assert reference.beats.tolist() == [50, 300, 1000]
    assert reference.labels.tolist() == ["Q", "Q", "Q"]  # found by a detector: nobody checked their class
    assert reference.rhythms == ((0, 1000, "N"), (1000, 3000, "AFIB"))


def delineated(*beats: int) -> Annotations:
    """Marks of P, QRS and T of these beats, at 250 Hz."""
    places, symbols = (-45, -38, -30, -12, 0, 12, 70, 90), ("(", "p", ")", "(", "N", ")", "t", ")")
    return Annotations([beat + at for beat in beats for at in places], [*symbols] * len(beats))


@pytest.mark.parametrize("checked", [True, False])
def test_beats_of_qtdb_are_those_of_its_beat_annotator_alone(tmp_path: Path, checked: bool) -> None:
    """Waves are marked at some beats: those are not all there are, nor is there no P elsewhere."""
    every = [*range(100, 3000, 220)]
    stem = put(tmp_path / "qtdb", "sel30", Annotations(every, ["N"] * len(every)) if checked else None)
    write_annotations(stem, delineated(760, 980, 1860), 250.0, extension="q1c")
    record = load_record(stem, "qtdb")
    reference = load_reference(record, "qtdb")
    assert reference.beats.tolist() == (every if checked else [])
    assert reference.p_waves.tolist() == [722, 942, 1822]
    assert reference.waves_known == ((715, 1070), (1815, 1950))
    assert load_reference(record).waves_known is None


def test_marks_that_are_none_of_the_sets_are_left_alone(tmp_path: Path) -> None:
    assert load_record(put(tmp_path / "cinc2017", "A00001", delineated(500)), "cinc2017").annotations is None
    stem = put(tmp_path / "afdb", "04015", Annotations([30, 300], ["+", "N"], ["(N", ""]))
    assert load_reference(load_record(stem, "afdb"), "afdb").beats.tolist() == []


def test_record_labels_of_the_newest_table(tmp_path: Path) -> None:
    folder = tmp_path / "cinc2017"
    put(folder, "A00001")
    with pytest.raises(RecordError, match=r"REFERENCE\.csv"):
        record_labels(tmp_path)
    (folder / "REFERENCE-v2.csv").write_text("A00001,N\n")
    (folder / "REFERENCE-v3.csv").write_text("A00001,A\nA00002,~\n")
    assert record_labels(tmp_path) == {"A00001": "A", "A00002": "~"}
    (folder / "REFERENCE-v3.csv").write_text("A00001;A\n")
    with pytest.raises(RecordError, match="not a table"):
        record_labels(tmp_path)


def test_the_root_is_named_or_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEECG_DATA", str(tmp_path))
    assert data_root() == tmp_path
    assert data_root(tmp_path.parent) == tmp_path.parent
    monkeypatch.delenv("EDGEECG_DATA")
    with pytest.raises(ConfigError, match="EDGEECG_DATA"):
        data_root()
    with pytest.raises(ConfigError, match=r"not there: correct --data, EDGEECG_DATA or, .* data\.root"):
        data_root(tmp_path / "nowhere")


@given(
    people=st.lists(st.text("abc0123", min_size=1, max_size=6), min_size=4, max_size=40, unique=True),
    folds=st.integers(2, 4),
    seed=st.integers(0, 9),
)
def test_folds_are_even_and_do_not_depend_on_the_order(people: list[str], folds: int, seed: int) -> None:
    dealt = patient_folds(people, folds, seed)
    assert dealt == patient_folds([*reversed(people), *people], folds, seed)
    sizes = Counter(dealt.values())
    assert len(sizes) == folds
    assert max(sizes.values()) - min(sizes.values()) <= 1


def test_more_folds_than_patients_are_refused() -> None:
    with pytest.raises(ConfigError, match="folds"):
        patient_folds(["a", "b"], 3)


def test_the_folds_that_kept_networks_were_trained_with_stay_as_they_are() -> None:
    """Dealt by rank: with one patient less, as where two recordings are one person's, most would move."""
    dealt = {
        "mitdb": (("DS1", "paced"), 3101070688),
        "svdb": (("development",), 529277451),
        "cinc2017": (("development",), 2468904661),
    }
    for name, (splits, told) in dealt.items():
        records = [record for split in splits for record in SETS[name].splits[split]]
        folds = patient_folds((patient_of(name, record) for record in records), 5)
        assert zlib.crc32("".join(str(folds[p]) for p in sorted(folds)).encode()) == told


@pytest.mark.data
def test_two_pairs_of_recordings_are_equal(data_root: Path) -> None:
    """docs/evaluation.md names them."""
    folder = data_root / "cinc2017"
    stems = {path.name: path for path in find_records(data_root, "cinc2017", "development")}
    for pair in (("A00227", "A01176"), ("A02656", "A03123")):
        if not set(pair) <= set(stems):
            pytest.skip(f"{folder} lacks them")
        one, other = (load_record(stems[name], "cinc2017").signal for name in pair)
        assert np.array_equal(one, other)


@pytest.mark.data
def test_the_beats_of_ds1_are_those_of_the_literature(data_root: Path) -> None:
    counts: Counter[str] = Counter()
    for path in find_records(data_root, "mitdb", "DS1"):
        counts.update(load_reference(load_record(path, "mitdb"), "mitdb").labels.tolist())
    # de Chazal 2004, table III, counts 45866 N, 944 S, 3788 V, 415 F, 8 Q in DS1.
    assert counts["S"] == 944
    assert counts["V"] == 3788
    assert counts["F"] == 415
    assert counts["Q"] == 8
    assert abs(counts["N"] - 45866) <= 25


@pytest.mark.data
def test_real_sets_are_found_whole(data_root: Path) -> None:
    assert len(find_records(data_root, "mitdb")) == 26
    assert len(find_records(data_root, "svdb", "development")) == 39
    labels = Counter(record_labels(data_root).values())
    assert labels == {"N": 3774, "A": 577, "O": 1807, "~": 208}
    flutter = load_reference(load_record(data_root / "mitdb" / "207", "mitdb"), "mitdb").masked
    assert len(flutter) == 6
