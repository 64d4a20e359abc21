"""WFDB records, as PhysioNet publishes them and as they break."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import wfdb

from edgeecg.errors import RecordError
from edgeecg.io import Annotations, Record, read_record, write_annotations, write_wfdb
from edgeecg.io.reading import find_annotated

FS = 250


def ecg(n: int = 1000, leads: int = 2) -> np.ndarray:
    """Something as large as an ECG, millivolts, in steps of 5 microvolts."""
    t = np.arange(n)[:, None] / FS
    return np.round((np.sin(2 * np.pi * 1.3 * t) + 0.1 * np.arange(leads)) / 0.005) * 0.005


def write(folder: Path, signal: np.ndarray, name: str = "r", **options: object) -> Path:
    leads = signal.shape[1]
    settings = {
        "units": ["mV"] * leads,
        "sig_name": [f"L{i}" for i in range(leads)],
        "fmt": ["16"] * leads,
        "adc_gain": [200.0] * leads,
        "baseline": [0] * leads,
    } | options
    wfdb.wrsamp(name, fs=FS, p_signal=signal, write_dir=str(folder), **settings)
    return folder / name


def header(folder: Path, text: str, name: str = "r") -> Path:
    (folder / f"{name}.hea").write_text(text)
    return folder / name


@pytest.mark.parametrize("fmt", ["16", "212", "80", "24", "32"])
def test_formats_of_physionet(tmp_path: Path, fmt: str) -> None:
    signal = ecg() if fmt != "80" else np.clip(ecg(), -0.6, 0.6)
    stem = write(tmp_path, signal, fmt=[fmt] * 2)
    for path in (stem, stem.with_suffix(".hea"), stem.with_suffix(".dat"), str(stem)):
        record = read_record(path)
        assert record.fs == FS
        assert record.leads == ("L0", "L1")
        assert np.abs(record.signal - signal).max() < 1e-9
        assert record.annotations is None


def test_mat_file_with_wrong_initial_value_and_no_checksum(tmp_path: Path) -> None:
    samples = np.arange(-500, 500, dtype=np.int16)[None, :]
    scipy.io.savemat(tmp_path / "A1.mat", {"val": samples}, format="4")
    header(tmp_path, "A1 1 300 1000 05:05:15 1/05/2000\nA1.mat 16+24 1000/mV 16 0 -127 0 0 ECG\n", "A1")
    for path in (tmp_path / "A1", tmp_path / "A1.mat"):
        record = read_record(path)
        assert np.array_equal(record.signal[:, 0], samples[0] / 1000)
        assert record.start == datetime(2000, 5, 1, 5, 5, 15)


@pytest.mark.parametrize(("unit", "factor"), [("uV", 1e-3), ("V", 1e3), ("mV", 1.0), ("µV", 1e-3)])
def test_every_voltage_becomes_millivolts(tmp_path: Path, unit: str, factor: float) -> None:
    signal = ecg() / factor
    stem = write(tmp_path, signal, units=[unit] * 2, adc_gain=[200.0 * factor] * 2)
    assert np.abs(read_record(stem).signal - ecg()).max() < 1e-9


def test_annotations_come_along_and_those_past_the_end_do_not(tmp_path: Path) -> None:
    stem = write(tmp_path, ecg())
    write_annotations(stem, Annotations([0, 999, 1000, 5000], ["N", "V", "N", "N"]), FS, extension="atr")
    write_annotations(stem, Annotations([7], ["N"]), FS, extension="qrs")
    marks = read_record(stem).annotations
    assert marks is not None
    assert marks.sample.tolist() == [0, 999]
    other = read_record(stem, annotator="qrs").annotations
    assert other is not None
    assert other.sample.tolist() == [7]
    with pytest.raises(RecordError, match="atr, dat, hea, qrs"):
        read_record(stem, annotator="man")


def test_missing_samples_are_nan(tmp_path: Path) -> None:
    signal = ecg()
    signal[100:110, 0] = np.nan
    record = read_record(write(tmp_path, signal))
    assert np.isnan(record.signal[100:110, 0]).all()
    assert np.isfinite(record.signal).sum() == signal.size - 10
    nothing = np.full((1000, 1), np.nan)
    with pytest.raises(RecordError, match="no valid sample"):
        read_record(write(tmp_path, nothing, name="q"))


@pytest.mark.parametrize("gain", ["", " 0", " 0 16 0"])
def test_raw_counts_without_a_gain_are_refused_until_it_is_said(tmp_path: Path, gain: str) -> None:
    counts = np.arange(1000, dtype="<i2")
    counts.tofile(tmp_path / "r.dat")
    stem = header(tmp_path, f"r 1 {FS} 1000\nr.dat 16{gain}\n")
    with pytest.raises(RecordError, match="gain"):
        read_record(stem)
    assert np.allclose(read_record(stem, gain=500).signal[:, 0], counts / 500)
    assert np.allclose(read_record(stem, gain=2, units="uV").signal[:, 0], counts / 2000)


def test_public_records_whose_gain_is_known_need_none(tmp_path: Path) -> None:
    np.arange(2000, dtype="<i2").tofile(tmp_path / "820.dat")
    lines = "820.dat 16 0 10 0 0 0 0 ECG1\n820.dat 16 0 10 0 0 0 0 ECG2\n"
    stem = header(tmp_path, "820 2 128 1000\n" + lines, "820")
    assert read_record(stem).signal[1].tolist() == [2 / 200, 3 / 200]
    stem = header(tmp_path, "820 2 250 1000\n" + lines, "820")  # not that set: another rate
    with pytest.raises(RecordError, match="gain"):
        read_record(stem)


def test_a_wrong_unit_shows_in_the_amplitude(tmp_path: Path) -> None:
    stem = write(tmp_path, ecg() * 1000, adc_gain=[1.0] * 2)  # microvolts that say they are millivolts
    with pytest.raises(RecordError, match="no ECG does"):
        read_record(stem)
    assert np.abs(read_record(stem, units="uV").signal - ecg()).max() < 1e-9


def test_channels_that_are_no_ecg_are_left_out(tmp_path: Path) -> None:
    signal = np.concatenate([ecg(), 80 + 40 * ecg(leads=1)], axis=1)
    stem = write(
        tmp_path,
        signal,
        units=["mV", "mV", "mmHg"],
        sig_name=["II", "V", "ABP"],
        adc_gain=[200.0, 200.0, 20.0],
    )
    assert read_record(stem).leads == ("II", "V")
    assert read_record(stem, leads=["V"]).leads == ("V",)
    with pytest.raises(RecordError, match="no voltage"):
        read_record(stem, leads=["ABP"])
    with pytest.raises(RecordError, match="II, V, ABP"):
        read_record(stem, leads=["V5"])


def test_leads_of_one_higher_rate_are_read_at_it(tmp_path: Path) -> None:
    counts = np.arange(4000, dtype="<i2") % 400
    counts.tofile(tmp_path / "r.dat")
    line = "r.dat 16x2 200/mV 16 0 0 0 0 "
    stem = header(tmp_path, f"r 2 {FS} 1000\n{line}I\n{line}II\n")
    record = read_record(stem)
    assert record.fs == 2 * FS
    assert len(record) == 2000
    frames = counts.reshape(1000, 2, 2)
    assert np.allclose(record.lead("I"), frames[:, 0].reshape(-1) / 200)


def test_annotations_count_at_the_rate_of_the_leads(tmp_path: Path) -> None:
    np.zeros(4000, dtype="<i2").tofile(tmp_path / "r.dat")
    stem = header(tmp_path, f"r 1 {FS} 2000\nr.dat 16x2 200/mV 16 0 0 0 0 I\n")
    wfdb.wrann("r", "atr", np.array([10, 1000]), symbol=["N", "N"], write_dir=str(tmp_path))  # in frames
    wfdb.wrann("r", "qrs", np.array([10, 1000]), symbol=["N", "N"], fs=1000, write_dir=str(tmp_path))
    for annotator, expected in (("atr", [20, 2000]), ("qrs", [5, 500])):
        marks = read_record(stem, annotator=annotator).annotations
        assert marks is not None
        assert marks.sample.tolist() == expected


def test_leads_of_unequal_rate_are_named_and_can_be_chosen(tmp_path: Path) -> None:
    np.zeros(3000, dtype="<i2").tofile(tmp_path / "r.dat")
    stem = header(tmp_path, f"r 2 {FS} 1000\nr.dat 16x2 200/mV 16 0 0 0 0 I\nr.dat 16 200/mV 16 0 0 0 0 II\n")
    with pytest.raises(RecordError, match=r"unequal rate.*\(--lead I, leads=\['I'\]\)"):
        read_record(stem)
    assert read_record(stem, leads=["I"]).fs == 2 * FS


def test_segments_are_joined_and_holes_are_nan(tmp_path: Path) -> None:
    write(tmp_path, ecg(600), name="a")
    write(tmp_path, ecg(400), name="b")
    header(tmp_path, f"r/3 2 {FS} 1200\na 600\n~ 200\nb 400\n")
    record = read_record(tmp_path / "r")
    assert len(record) == 1200
    assert np.abs(record.signal[:600] - ecg(600)).max() < 1e-9
    assert np.isnan(record.signal[600:800]).all()
    assert np.abs(record.signal[800:] - ecg(400)).max() < 1e-9
    write_annotations(tmp_path / "r", Annotations([5, 900], ["N", "V"]), FS, extension="atr")
    marks = read_record(tmp_path / "r").annotations
    assert marks is not None
    assert marks.sample.tolist() == [5, 900]
    (tmp_path / "b.dat").unlink()
    with pytest.raises(RecordError, match=r"b\.dat is missing"):
        read_record(tmp_path / "r")


def test_segments_of_other_leads_each_have_their_own_column(tmp_path: Path) -> None:
    write(tmp_path, ecg(600), name="a", sig_name=["II", "V1"])
    write(tmp_path, ecg(400, leads=1), name="b", sig_name=["V1"])
    header(tmp_path, f"layout 2 {FS} 0\n~ 0 200 16 0 0 0 0 II\n~ 0 200 16 0 0 0 0 V1\n", "layout")
    header(tmp_path, f"r/3 2 {FS} 1000\nlayout 0\na 600\nb 400\n")
    record = read_record(tmp_path / "r")
    assert record.leads == ("II", "V1")
    assert np.isnan(record.lead("II")[600:]).all()
    assert np.abs(record.lead("V1")[600:] - ecg(400)[:, 0]).max() < 1e-9


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("r/2 2 250 900\na 600\nb 400\n", "states 900 samples, its segments hold 1000"),
        ("r/2 2 360 1000\na 600\nb 400\n", "it has 360 Hz, its segment a 250"),
        ("r/2 2 250 900\na 500\nb 400\n", "segment a does not hold the 500 samples"),
        ("r/2 2 250 1000\na 600\nr 400\n", "segment r is in segments itself"),
        ("r/2 2 250\na 600\n~ 99999999999999999999\n", "no memory holds"),
        ("r/2 2 250 1000\na 600\nc 400\n", "its header c.hea is missing"),
    ],
)
def test_segments_that_do_not_fit_are_named(tmp_path: Path, text: str, told: str) -> None:
    write(tmp_path, ecg(600), name="a")
    write(tmp_path, ecg(400), name="b")
    header(tmp_path, text)
    with pytest.raises(RecordError, match=told):
        read_record(tmp_path / "r")


def test_the_length_of_segments_need_not_be_stated(tmp_path: Path) -> None:
    write(tmp_path, ecg(600), name="a")
    header(tmp_path, f"r/2 2 {FS}\na 600\n~ 200\n")
    assert len(read_record(tmp_path / "r")) == 800


def test_a_header_in_capitals_is_told_and_left_out_by_nobody(tmp_path: Path) -> None:
    """As old recorders and cards write it: the WFDB library knows no such name."""
    stem = write(tmp_path, ecg())
    capital = stem.with_suffix(".hea").rename(stem.with_suffix(".HEA"))
    assert find_annotated(tmp_path, "atr") == [stem]
    for name in (stem, capital):
        with pytest.raises(RecordError, match=r"r: its header is called r\.HEA: rename it to r\.hea"):
            read_record(name)
    write(tmp_path, ecg())
    assert find_annotated(tmp_path, "atr") == [stem], "one record, however often its header is there"


def test_truncated_signal_file(tmp_path: Path) -> None:
    stem = write(tmp_path, ecg(), fmt=["212"] * 2)
    data = stem.with_suffix(".dat")
    data.write_bytes(data.read_bytes()[:1500])
    with pytest.raises(RecordError, match="truncated, it holds 500 of 1000"):
        read_record(stem)
    data.write_bytes(b"")
    with pytest.raises(RecordError, match="empty"):
        read_record(stem)
    data.unlink()
    with pytest.raises(RecordError, match="missing"):
        read_record(stem)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not a header",
        "r 2 250 1000\nr.dat 16 200/mV 16 0 0 0 0 I\n",  # fewer lines than signals
        "r 1 250 1000\nr.dat 999 200/mV 16 0 0 0 0 I\n",
        "r 0 250 1000\n",
        "r 1 0 1000\nr.dat 16 200/mV\n",
    ],
)
def test_a_broken_header_is_one_error(tmp_path: Path, text: str) -> None:
    np.zeros(1000, dtype="<i2").tofile(tmp_path / "r.dat")
    with pytest.raises(RecordError):
        read_record(header(tmp_path, text))


def test_a_missing_record_says_what_is_near(tmp_path: Path) -> None:
    write(tmp_path, ecg(), name="near")
    with pytest.raises(RecordError, match="near"):
        read_record(tmp_path / "far")
    with pytest.raises(RecordError, match="folder"):
        read_record(tmp_path)


@pytest.mark.parametrize("scale", [1.0, 0.01, 20.0])
def test_what_is_written_is_read_again(tmp_path: Path, scale: float) -> None:
    signal = scale * ecg()
    signal[5, 1] = np.nan
    marks = Annotations([1, 3], ["+", "N"], ["(N", ""])
    record = Record("w-1", signal, 257.5, ("II", "V1"), marks, start=datetime(2021, 2, 3, 4, 5, 6))
    back = read_record(write_wfdb(record, tmp_path / "new"))
    assert back.fs == 257.5
    assert back.leads == record.leads
    assert back.start == record.start
    assert np.nanmax(np.abs(back.signal - signal)) <= max(0.00051, scale * 2.2 / 65000)
    assert np.isnan(back.signal[5, 1])
    assert back.annotations is not None
    assert back.annotations.aux.tolist() == ["(N", ""]
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["w-1.atr", "w-1.dat", "w-1.hea"]
    with pytest.raises(RecordError, match="name"):
        write_wfdb(Record("a b", signal, 250.0, ("II", "V1")), tmp_path)


@pytest.mark.data
def test_real_records_of_every_format(data_root: Path) -> None:
    record = read_record(data_root / "mitdb" / "114")
    assert record.signal.shape == (650000, 2)
    assert record.leads == ("V5", "MLII")
    assert record.annotations is not None
    assert (record.annotations.beats().symbol == "V").sum() == 43
    assert read_record(data_root / "cinc2017" / "A00001").signal.shape == (9000, 1)
    assert read_record(data_root / "svdb" / "820").signal.std() < 1.0
    assert read_record(data_root / "nstdb" / "bw").leads == ("noise1", "noise2")
    assert read_record(data_root / "polar_h10" / "polar_h10_kbroman").fs == 130
