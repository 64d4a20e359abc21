"""What is odd in recordings of one's own, and would teach something false, is refused or told."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeecg.cli.main import main
from edgeecg.data.augment import AugmentSettings
from edgeecg.data.dataset import Windows
from edgeecg.data.prepare import TrainingData, load_training_data, prepare_record
from edgeecg.data.recording import UNKNOWN, on_model_grid
from edgeecg.data.settings import DataSettings
from edgeecg.data.split import hold_out
from edgeecg.data.synthetic import SyntheticSettings, draw_patient, synthesize
from edgeecg.errors import ConfigError, RecordError
from edgeecg.io import Annotations, read_record, write_annotations
from edgeecg.io.record import Record
from edgeecg.io.wfdb import write_wfdb
from edgeecg.metrics.references import labelled_records
from edgeecg.model.presets import preset
from edgeecg.specs import MODEL_FS, SignalSpec
from edgeecg.stream.jobs import find_jobs


def made(seed: int = 1, seconds: float = 20.0) -> Record:
    return synthesize(SyntheticSettings(draw_patient("ventricular", seed), seconds=seconds), seed=seed).record


def load(root: Path, *names: str, **settings: object) -> TrainingData:
    return load_training_data(DataSettings(root=str(root), sets=dict.fromkeys(names, 1.0), **settings), 0)  # type: ignore[arg-type]


def word(code: int, interval: int) -> bytes:
    """A mark of an annotation file: WFDB's code, samples since the one before."""
    return ((code << 10) | interval).to_bytes(2, "little")


@pytest.fixture
def strange(tmp_path: Path) -> Path:
    """A record whose annotation file has two marks of a code that WFDB has no symbol for."""
    header = write_wfdb(made(), tmp_path / "mine")
    header.with_suffix(".atr").write_bytes(word(1, 200) + 2 * word(42, 200) + word(5, 200) + b"\0\0")
    return header.with_suffix("")


def test_a_ward_that_is_a_link_is_a_folder_as_any_other(tmp_path: Path) -> None:
    """`annotate` follows links, so that training and scoring would have lost a ward without a word."""
    mine = tmp_path / "root" / "mine"
    for number, folder in enumerate((mine / "ward", mine / "ward", tmp_path / "elsewhere")):
        write_wfdb(replace(made(number), name=f"r{number}"), folder, annotator="atr")
    (mine / "linked").symlink_to(tmp_path / "elsewhere")
    (mine / "again").symlink_to(mine)
    names = ["linked/r2", "ward/r0", "ward/r1"]
    (mine / "patients.csv").write_text("record,patient\nward/r0,a\nward/r1,b\nlinked/r2,a\n")
    trained = load(mine.parent, "mine", validation=("mine/ward/r0",))
    assert [record.name for record in trained.training] == ["mine/ward/r1"]  # the linked one is a's too
    cases = labelled_records([str(mine)])
    assert [case.name for case in cases] == names
    assert [case.load()[1].patient for case in cases] == ["mine/a", "mine/a", "mine/b"]


def test_a_folder_that_may_not_be_read_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "mine"
    (mine / "lost+found").mkdir(parents=True)
    for number, ward in enumerate(("open", "shut")):
        write_wfdb(replace(made(number), name=f"r{number}"), mine / ward, annotator="atr")
    listed = os.scandir

    def scandir(place: str | os.PathLike[str]) -> object:
        if str(place).endswith(("shut", "lost+found")):
            raise PermissionError(errno.EACCES, "Permission denied", str(place))
        return listed(place)

    monkeypatch.setattr(os, "listdir", lambda place: [item.name for item in scandir(place)])
    monkeypatch.setattr(os, "scandir", scandir)
    for read in (lambda: load(tmp_path, "mine"), lambda: labelled_records([str(mine)])):
        with pytest.raises(PermissionError, match="shut"):
            read()
    (mine / "shut").rename(tmp_path / "elsewhere")  # but the lost+found of a card is
    assert [case.name for case in labelled_records([str(mine)])] == ["open/r0"]
    assert [job.path.name for job in find_jobs([mine], tmp_path / "out")] == ["r0.hea"]


def test_marks_that_nobody_knows_are_not_taught_as_no_beat(strange: Path) -> None:
    with pytest.raises(RecordError, match=f"{strange} has 2 marks of a code without symbol"):
        load(strange.parents[1], "mine")


@pytest.mark.parametrize("side", ["reference", "test"])
def test_marks_that_nobody_knows_are_not_scored_as_no_beat(
    strange: Path, side: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = strange.parent
    if side == "test":
        folder = tmp_path / "out"
        folder.mkdir()
        strange.with_suffix(".atr").rename(folder / f"{strange.name}.atr")
        write_wfdb(made(), strange.parent)
    assert main(["evaluate", str(strange.parent), "-a", str(folder), "--extension", "atr"]) == 2
    assert f"{strange.name}.atr has 2 marks of a code without symbol" in " ".join(
        capsys.readouterr().err.split()
    )


def test_neither_beats_nor_their_absence_are_taught_where_samples_are_missing() -> None:
    whole = made()
    fs, signal = int(whole.fs), whole.signal + 4.0  # an offset, as an amplifier without a filter has
    signal[5 * fs : 12 * fs] = np.nan
    record = prepare_record(replace(whole, signal=signal), "mine")
    start, end = 5 * MODEL_FS, 12 * MODEL_FS
    assert not ((record.beats >= start) & (record.beats < end)).any()
    assert ((record.masked[:, 0] < start) & (record.masked[:, 1] > end)).any()
    assert record.signal[:, start:end].min() > 2, "0 mV is a value as any other"
    plain = AugmentSettings(gain=1.0, invert=0.0, mix=0.0, noise=0.0, warp=0.0, drop=0.0, extra=0.0)
    windows = Windows([record], [], preset("nano"), SignalSpec(), plain, {"mine": 1.0}, seconds=20, batch=1)
    batch, shift = windows(0), windows.bandpass.latency
    inside = slice((start + shift) // 8 + 1, (end + shift) // 8 - 1)
    for head in ("beat", "shape", "rhythm"):
        assert (batch[head][0][inside] == UNKNOWN).all()
    assert (batch["beat"][0] == 1).any()


def test_a_short_run_is_held_and_a_long_one_has_no_step() -> None:
    signal = np.repeat(np.linspace(1.0, 2.0, 1280)[:, None], 2, axis=1)
    broken = signal.copy()
    broken[300:305, 0] = broken[600:900, 1] = broken[:200, 1] = np.nan
    expected = signal.copy()
    expected[300:305, 0], expected[:200, 1] = signal[299, 0], signal[200, 1]
    assert np.allclose(on_model_grid(broken, 128.0), on_model_grid(expected, 128.0))


def test_a_lead_that_fell_off_is_masked_and_an_empty_one_left_out() -> None:
    whole = made()
    fs, signal = int(whole.fs), np.repeat(whole.signal[:, :1], 3, axis=1)
    signal[5 * fs : 12 * fs, 1] = signal[:, 2] = np.nan
    record = prepare_record(replace(whole, signal=signal, leads=("a", "b", "c")), "mine")
    assert len(record.signal) == 2
    assert len(record.masked) == 1
    assert len(record.beats) == len(prepare_record(whole, "mine").beats), "the other lead shows them"


def test_one_recording_is_not_on_both_sides_of_a_split(tmp_path: Path) -> None:
    for number, place in enumerate(("one/a", "one/b", "two/c", "two/d")):
        home, name = place.split("/")
        write_wfdb(replace(made(number % 3), name=name), tmp_path / home)  # d is a
    apart = load(tmp_path, "one", "two", validation=("one/b",))
    assert len(apart.training) == 3, "twice on one side is only said twice"
    with pytest.raises(ConfigError, match="one/a and two/d are one recording, and only the first is held"):
        load(tmp_path, "one", "two", validation=("one/a",))
    both = load(tmp_path, "one", "two", validation=("one/a", "two/d"))
    assert len(both.validation) == 2


@pytest.mark.data
def test_equal_recordings_of_a_public_set_stay_where_they_are(data_root: Path) -> None:
    names = ("A00227", "A01176")
    records = [read_record(next((data_root / "cinc2017").rglob(f"{name}.hea"))) for name in names]
    pair = [prepare_record(record, "cinc2017", name="cinc2017") for record in records]
    assert pair[0].digest == pair[1].digest
    training, validation = hold_out(pair, DataSettings(validation=("cinc2017/A00227",)))
    assert (len(training), len(validation)) == (1, 1)


@pytest.fixture
def longer(tmp_path: Path) -> Path:
    """A record whose marks go on past its end: all of 20 s, of which the record holds 8 or 16."""
    for name, seconds in (("short", 8), ("half", 16)):
        whole = made()
        header = write_wfdb(replace(whole.cut(0, round(seconds * whole.fs)), name=name), tmp_path / name)
        write_annotations(header.with_suffix(""), whole.annotations, whole.fs, extension="atr")
    return tmp_path


def test_marks_past_the_end_are_counted(longer: Path, caplog: pytest.LogCaptureFixture) -> None:
    said = r"short: \d+ of \d+ marks lie past the end: does the annotation file count at another rate\?"
    with pytest.raises(RecordError, match=said):
        load(longer, "short")
    assert not caplog.records
    assert load(longer, "half").training[0].name.startswith("half/")
    assert read_record(longer / "half" / "half").annotations is not None
    assert ["marks lie past the end" in record.getMessage() for record in caplog.records] == [True, True]


def test_a_reference_at_another_rate_is_not_scored(longer: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["-a", str(longer / "half"), "--extension", "atr"]
    assert main(["evaluate", str(longer / "short"), *out]) == 2
    assert "short.atr: " in (told := capsys.readouterr().err)
    assert "marks lie past the end" in told


def test_marks_that_all_lie_past_the_end_are_not_missing(tmp_path: Path) -> None:
    header = write_wfdb(made(), tmp_path / "mine")
    marks = Annotations([9_000_000, 9_000_200], ["N", "N"])
    write_annotations(header.with_suffix(""), marks, made().fs, extension="atr")
    with pytest.raises(RecordError, match="2 of 2 marks lie past the end"):
        load(tmp_path, "mine")
