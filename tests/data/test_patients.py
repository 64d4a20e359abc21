"""Who is who in a user's own folder: nobody stands on both sides of a split."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from edgeecg.data.patients import PATIENTS, named_patients
from edgeecg.data.prepare import load_training_data
from edgeecg.data.settings import DataSettings
from edgeecg.data.synthetic import SyntheticSettings, draw_patient, synthesize
from edgeecg.errors import ConfigError, RecordError
from edgeecg.io.wfdb import write_wfdb
from edgeecg.metrics.references import labelled_records


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four recordings of two people."""
    folder = tmp_path_factory.mktemp("root") / "mine"
    folder.mkdir()
    rows = ["record,patient"]
    for number in range(4):
        settings = SyntheticSettings(draw_patient("ventricular", number), seconds=20)
        record = synthesize(settings, seed=number).record
        write_wfdb(record, folder)
        rows.append(f"{record.name},{'one' if number < 2 else 'two'}")
    (folder / PATIENTS).write_text("\n".join(rows), encoding="utf-8")
    return folder


def test_a_folder_of_one_patient_a_record_needs_no_file(tmp_path: Path) -> None:
    assert named_patients(tmp_path, ["a", "b"]) == {
        "a": f"{tmp_path.name}/a",
        "b": f"{tmp_path.name}/b",
    }


def test_recordings_of_one_person_are_held_out_together(mine: Path) -> None:
    settings = DataSettings(root=str(mine.parent), sets={"mine": 1.0}, folds=2)
    made = load_training_data(settings, 0)
    seen, unseen = ({r.patient for r in part} for part in (made.training, made.validation))
    assert sorted([*seen, *unseen]) == ["mine/one", "mine/two"]
    assert len(made.training) == len(made.validation) == 2


def test_a_list_in_a_ward_counts_in_training_as_in_scores(tmp_path: Path) -> None:
    """And a recording whose file is called in capitals is one as well."""
    ward = tmp_path / "mine" / "w1"
    ward.mkdir(parents=True)
    for number, name in enumerate(("a", "b", "c")):
        settings = SyntheticSettings(draw_patient("ventricular", number), seconds=20)
        write_wfdb(replace(synthesize(settings, seed=number).record, name=name), ward)
    (ward / PATIENTS).write_text("record,patient\na,one\nb,one\nc,two\n", encoding="utf-8")
    made = load_training_data(DataSettings(root=str(tmp_path), sets={"mine": 1.0}), 0)
    assert [record.patient for record in made.training] == ["w1/one", "w1/one", "w1/two"]
    scored = [case.load()[1].patient for case in labelled_records([str(tmp_path / "mine")])]
    assert scored == ["w1/one", "w1/one", "w1/two"]


def test_patients_of_two_wards_of_one_name_are_two(tmp_path: Path) -> None:
    for number, site in enumerate(("a", "b")):
        ward = tmp_path / "mine" / site / "w1"
        ward.mkdir(parents=True)
        settings = SyntheticSettings(draw_patient("ventricular", number), seconds=20)
        write_wfdb(replace(synthesize(settings, seed=number).record, name=f"rec{number}"), ward)
        (ward / PATIENTS).write_text(f"record,patient\nrec{number},one\n", encoding="utf-8")
    made = load_training_data(DataSettings(root=str(tmp_path), sets={"mine": 1.0}), 0)
    assert [record.patient for record in made.training] == ["a/w1/one", "b/w1/one"]
    scored = [case.load()[1].patient for case in labelled_records([str(tmp_path / "mine")])]
    assert scored == ["a/w1/one", "b/w1/one"]
    wards = [tmp_path / "mine" / site / "w1" for site in ("a", "b")]
    for named in (wards, [ward / f"rec{number}" for number, ward in enumerate(wards)]):
        with pytest.raises(RecordError, match=r"two folders w1 hold a patients\.csv"):
            labelled_records([str(path) for path in named])


def test_wards_may_have_records_of_the_same_name(tmp_path: Path) -> None:
    """Each is known by its place: held out by it, and nobody with the held-out name is trained on."""
    for number, ward in enumerate(("a", "b", "c")):
        (tmp_path / "mine" / ward).mkdir(parents=True)
        settings = SyntheticSettings(draw_patient("ventricular", number), seconds=20)
        write_wfdb(replace(synthesize(settings, seed=number).record, name="rec"), tmp_path / "mine" / ward)
    held = DataSettings(root=str(tmp_path), sets={"mine": 1.0}, validation=("mine/b/rec",))
    made = load_training_data(held, 0)
    assert [r.name for r in made.validation] == ["mine/b/rec"]
    assert sorted(r.patient for r in made.training) == ["mine/a/rec", "mine/c/rec"]
    with pytest.raises(ConfigError, match="not among the recordings"):
        load_training_data(replace(held, validation=("mine/rec",)), 0)
    truths = [case.load()[1] for case in labelled_records([str(tmp_path / "mine")])]
    assert [truth.record for truth in truths] == ["a/rec", "b/rec", "c/rec"]
    assert len({truth.patient for truth in truths}) == 3


def test_sets_without_a_share_are_named_as_such(mine: Path) -> None:
    with pytest.raises(ConfigError, match="no set has a share"):
        load_training_data(DataSettings(root=str(mine.parent), sets={"mine": 0.0}), 0)


def test_scores_count_people(mine: Path) -> None:
    truths = [case.load()[1] for case in labelled_records([str(mine)])]
    assert sorted({truth.patient for truth in truths}) == ["mine/one", "mine/two"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("record,patient\na,one\n", "names no patient for b: add a row for each, without extension"),
        ("record,patient\na,one\na,two\nb,one\n", "gives a to one and to two"),
        ("name,who\na,one\n", "columns record,patient"),
        ("record,patient\na,\nb,one\n", "a record and a patient"),
    ],
)
def test_what_does_not_say_who_is_who_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / PATIENTS).write_text(text, encoding="utf-8")
    with pytest.raises(RecordError, match=says):
        named_patients(tmp_path, ["a", "b"])


CONTENTS = {
    "cp1252": "record,patient\na,Müller".encode("cp1252"),
    "utf-16": "record,patient\na,b".encode("utf-16"),
    "long": b'record,patient\n"' + b"a" * 200_000 + b'",b',
}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_a_list_in_another_encoding_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / PATIENTS).write_bytes(content)
    with pytest.raises(RecordError, match=r"patients\.csv") as told:
        named_patients(tmp_path, ["a"])
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("name", ["mine/", "ward/mine", "..", ".", ""])
def test_a_set_is_named_by_a_bare_name(mine: Path, name: str) -> None:
    """Its windows were never drawn, and patients of two wards were one."""
    settings = DataSettings(root=str(mine.parent), sets={name: 1.0, "synthetic": 1.0}, synthetic_patients=3)
    with pytest.raises(ConfigError, match="give the bare name"):
        load_training_data(settings, 0)


def test_a_recording_that_cannot_be_used_is_named(mine: Path, tmp_path: Path) -> None:
    copied = tmp_path / "mine"
    shutil.copytree(mine, copied)
    header = sorted(copied.glob("*.hea"))[0]
    text = header.read_text().split()
    for rate in ("50", "abc", "-5", "nan", "1e3"):
        header.write_text(header.read_text().replace(f" {text[2]} ", f" {rate} ", 1))
        text[2] = rate
        with pytest.raises(RecordError, match=header.stem):
            load_training_data(DataSettings(root=str(tmp_path), sets={"mine": 1.0}), 0)


def test_a_recording_without_beats_is_named_with_the_way_on(mine: Path, tmp_path: Path) -> None:
    copied = tmp_path / "mine"
    shutil.copytree(mine, copied)
    bare = sorted(copied.glob("*.atr"))[0]
    bare.unlink()
    with pytest.raises(RecordError, match=rf"{bare.stem} has no beat annotations .*, or move it") as told:
        load_training_data(DataSettings(root=str(tmp_path), sets={"mine": 1.0}), 0)
    assert "none is skipped" in str(told.value)
    for header in copied.glob("*.hea"):
        header.unlink()
    with pytest.raises(ConfigError, match="holds no recording: put yours there"):
        load_training_data(DataSettings(root=str(tmp_path), sets={"mine": 1.0}), 0)


def test_it_is_told_how_many_recordings_are_ready(mine: Path) -> None:
    told: list[tuple[str, int, int]] = []
    settings = DataSettings(
        root=str(mine.parent), sets={"mine": 1.0, "synthetic": 1.0}, synthetic_patients=7, synthetic_seconds=5
    )
    load_training_data(settings, 0, lambda *what: told.append(what))
    records = len(list(mine.glob("*.hea")))
    assert [what for what in told if what[0] == "mine"] == [("mine", n + 1, records) for n in range(records)]
    assert [what for what in told if what[0] == "synthetic"] == [("synthetic", 4, 7), ("synthetic", 7, 7)]
