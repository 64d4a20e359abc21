"""Who is who in a user's own folder: nobody stands on both sides of a split."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeecg.data.patients import PATIENTS, named_patients
from edgeecg.data.prepare import DataSettings, load_training_data
from edgeecg.data.synthetic import SyntheticSettings, draw_patient, synthesize
from edgeecg.errors import RecordError
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


def test_scores_count_people(mine: Path) -> None:
    truths = [case.load()[1] for case in labelled_records([str(mine)])]
    assert sorted({truth.patient for truth in truths}) == ["mine/one", "mine/two"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("record,patient\na,one\n", "names no patient for b"),
        ("record,patient\na,one\na,two\nb,one\n", "gives a to one and to two"),
        ("name,who\na,one\n", "columns record,patient"),
        ("record,patient\na,\nb,one\n", "a record and a patient"),
    ],
)
def test_what_does_not_say_who_is_who_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / PATIENTS).write_text(text, encoding="utf-8")
    with pytest.raises(RecordError, match=says):
        named_patients(tmp_path, ["a", "b"])
