"""EDF and BDF files, whole and broken."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import edfio
import numpy as np
import pytest

from edgeecg.errors import RecordError
from edgeecg.io import read_record


def signal(
    label: str, fs: int = 250, unit: str = "mV", scale: float = 1.0, seconds: int = 8
) -> edfio.EdfSignal:
    t = np.arange(seconds * fs) / fs
    data = scale * np.sin(2 * np.pi * 1.3 * t)
    return edfio.EdfSignal(data, fs, label=label, physical_dimension=unit)


def write(folder: Path, *signals: edfio.EdfSignal, **options: object) -> Path:
    path = folder / "night.edf"
    edfio.Edf(list(signals), **options).write(path)  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize(("unit", "scale"), [("mV", 1.0), ("uV", 1000.0), ("V", 0.001)])
def test_units_become_millivolts(tmp_path: Path, unit: str, scale: float) -> None:
    record = read_record(write(tmp_path, signal("ECG II", unit=unit, scale=scale)))
    assert record.leads == ("ECG II",)
    assert record.fs == 250
    expected = np.sin(2 * np.pi * 1.3 * np.arange(2000) / 250)
    assert np.abs(record.signal[:, 0] - expected).max() < 1e-4


def test_only_the_ecg_of_a_sleep_study_is_read(tmp_path: Path) -> None:
    path = write(
        tmp_path, signal("EEG Fpz-Cz", 100, "uV", 50), signal("ECG", 250, "uV", 900), signal("Resp", 10, "")
    )
    record = read_record(path)
    assert record.leads == ("ECG",)
    assert record.fs == 250


def test_a_file_without_ecg_is_refused_until_a_lead_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, signal("EEG Fpz-Cz", 100, "uV", 50), signal("Resp", 10))
    for options in ({}, {"gain": 1.0}, {"units": "uV"}):
        with pytest.raises(RecordError, match=r"EEG Fpz-Cz, Resp\): name the lead .*--lead 'EEG Fpz-Cz'"):
            read_record(path, **options)  # type: ignore[arg-type]
    assert read_record(path, leads=["EEG Fpz-Cz"]).leads == ("EEG Fpz-Cz",)


def test_leads_of_unequal_rate(tmp_path: Path) -> None:
    path = write(tmp_path, signal("ECG I", 250), signal("ECG II", 500))
    with pytest.raises(RecordError, match=r"unequal rate.*--lead 'ECG I', leads"):
        read_record(path)
    assert read_record(path, leads=["ECG II"]).fs == 500


def test_a_signal_without_a_unit_is_refused_until_it_is_said(tmp_path: Path) -> None:
    path = write(tmp_path, signal("ECG", unit="", scale=1000))
    with pytest.raises(RecordError, match="gain"):
        read_record(path)
    assert 0.9 < read_record(path, units="uV").signal.max() < 1.1
    assert 0.9 < read_record(path, gain=1000).signal.max() < 1.1


def test_patient_start_and_annotations(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        signal("ECG"),
        patient=edfio.Patient(code="P-17"),
        recording=edfio.Recording(startdate=dt.date(2024, 2, 3)),
        starttime=dt.time(4, 5, 6),
        annotations=[
            edfio.EdfAnnotation(0.5, None, "N"),
            edfio.EdfAnnotation(1.0, None, "lights off"),
            edfio.EdfAnnotation(1.5, None, "V"),
            edfio.EdfAnnotation(99.0, None, "N"),
        ],
    )
    record = read_record(path)
    assert record.patient == "P-17"
    assert record.start == dt.datetime(2024, 2, 3, 4, 5, 6)
    assert record.annotations is not None
    assert record.annotations.sample.tolist() == [125, 250, 375]
    assert record.annotations.symbol.tolist() == ["N", '"', "V"]
    assert record.annotations.aux.tolist() == ["", "lights off", ""]


def test_an_anonymous_file_has_neither_patient_nor_date(tmp_path: Path) -> None:
    record = read_record(write(tmp_path, signal("ECG")))
    assert record.patient is None
    assert record.start is None


def test_bdf(tmp_path: Path) -> None:
    t = np.arange(2000) / 250
    made = edfio.BdfSignal(1000 * np.sin(9 * t), 250, label="ECG", physical_dimension="uV")
    edfio.Bdf([made]).write(tmp_path / "r.bdf")
    assert np.abs(read_record(tmp_path / "r.bdf").signal[:, 0] - np.sin(9 * t)).max() < 1e-5


@pytest.mark.parametrize("keep", [0, 100, 600, -300])
def test_truncated_files_are_refused(tmp_path: Path, keep: int) -> None:
    path = write(tmp_path, signal("ECG"))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(RecordError, match="copy it again"):
        read_record(path)


@pytest.mark.parametrize(("lost", "left"), [(0, 2000), (300, 1750)])
def test_a_file_whose_recorder_died_is_read_as_far_as_it_goes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, lost: int, left: int
) -> None:
    path = tmp_path / "night.edf"
    edfio.Edf([signal("ECG")], data_record_duration=1).write(path)
    whole = read_record(path)
    content = path.read_bytes()
    assert content[236:244] == b"8       "
    path.write_bytes((content[:236] + b"-1      " + content[244:])[: len(content) - lost])
    record = read_record(path)
    np.testing.assert_array_equal(record.signal, whole.signal[:left])
    assert f"its {left // 250} whole data records are read" in caplog.text
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(RecordError):
        read_record(path)


def test_what_is_no_edf_is_one_error(tmp_path: Path) -> None:
    path = tmp_path / "r.edf"
    path.write_bytes(b"x" * 4000)
    with pytest.raises(RecordError, match="not an EDF"):
        read_record(path)
    with pytest.raises(RecordError, match="no file"):
        read_record(tmp_path / "nothing.edf")
    with pytest.raises(RecordError, match="own rate"):
        read_record(write(tmp_path, signal("ECG")), fs=250)


def test_a_discontinuous_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, signal("ECG"), annotations=[edfio.EdfAnnotation(0.5, None, "N")])
    content = bytearray(path.read_bytes())
    content[192:197] = b"EDF+D"
    path.write_bytes(content)
    assert len(read_record(path)) == 2000  # it says so, but its pieces follow each other
    assert content.count(b"+7\x14\x14") == 1
    path.write_bytes(content.replace(b"+7\x14\x14", b"+9\x14\x14"))
    with pytest.raises(RecordError, match="discontinuous"):
        read_record(path)


def test_an_empty_file_is_called_so(tmp_path: Path) -> None:
    for name in ("r.edf", "r.hea"):
        (tmp_path / name).touch()
        with pytest.raises(RecordError, match=f"{name} is empty"):
            read_record(tmp_path / name)
