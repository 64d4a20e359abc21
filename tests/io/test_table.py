"""CSV, TSV and Parquet with a column a lead."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeecg.cli.main import main
from edgeecg.errors import RecordError
from edgeecg.io import read_record
from edgeecg.io.channels import Channel, in_millivolts


def ecg(n: int = 1000, fs: float = 250.0) -> np.ndarray:
    return np.sin(2 * np.pi * 1.3 * np.arange(n) / fs)


def csv(folder: Path, head: str, columns: list[np.ndarray], sep: str = ",", name: str = "r.csv") -> Path:
    rows = "\n".join(sep.join(f"{value:.9g}" for value in row) for row in zip(*columns, strict=True))
    path = folder / name
    path.write_text((head + "\n" if head else "") + rows + "\n")
    return path


@pytest.mark.parametrize(
    ("head", "scale"),
    [("time,ECG (mV)", 1.0), ("time,ECG [uV]", 1000.0), ("t,ecg_uV", 1000.0), ("seconds,lead II (V)", 0.001)],
)
def test_columns_that_state_their_unit(tmp_path: Path, head: str, scale: float) -> None:
    record = read_record(csv(tmp_path, head, [np.arange(1000) / 250, scale * ecg()]))
    assert record.fs == 250
    assert len(record.leads) == 1
    assert np.abs(record.signal[:, 0] - ecg()).max() < 1e-6


@pytest.mark.parametrize(("sep", "name"), [(",", "r.csv"), (";", "r.csv"), ("\t", "r.tsv")])
def test_delimiters_comments_and_an_index(tmp_path: Path, sep: str, name: str) -> None:
    head = "# exported by a monitor\n" + sep.join(["index", "II (mV)", "V1 (mV)"])
    record = read_record(csv(tmp_path, head, [np.arange(1000.0), ecg(), 2 * ecg()], sep, name), fs=125)
    assert record.leads == ("II", "V1")
    assert record.fs == 125
    assert np.abs(record.lead("V1") - 2 * ecg()).max() < 1e-6


def test_without_names_unit_and_rate_must_be_said(tmp_path: Path) -> None:
    path = csv(tmp_path, "", [ecg() * 200])
    with pytest.raises(RecordError, match=r"no time column: give its rate .* or add a column 'time'"):
        read_record(path)
    with pytest.raises(RecordError, match="raw counts"):
        read_record(path, fs=250)
    assert np.abs(read_record(path, fs=250, gain=200).signal[:, 0] - ecg()).max() < 1e-6


@pytest.mark.parametrize("fs", [130, 250, 257, 300, 360, 1000])
def test_the_rate_is_found_in_times_written_in_milliseconds(tmp_path: Path, fs: int) -> None:
    times = np.round(np.arange(5000) / fs, 3)
    if (np.diff(times) <= 0).any():
        pytest.skip("milliseconds cannot tell these samples apart")
    assert read_record(csv(tmp_path, "time,II (mV)", [times, ecg(5000)])).fs == fs


def test_milliseconds_as_unit_of_time(tmp_path: Path) -> None:
    assert read_record(csv(tmp_path, "time (ms),II (mV)", [np.arange(1000) * 4.0, ecg()])).fs == 250


@pytest.mark.parametrize("name", ["time_ms", "t_ms", "Elapsed time (ms)", "elapsed_time_ms", "Timestamp ms"])
def test_a_time_column_that_states_its_unit_is_no_lead(tmp_path: Path, name: str) -> None:
    record = read_record(csv(tmp_path, f"{name},II (mV)", [np.arange(1000) * 4.0, ecg()]))
    assert record.leads == ("II",)
    assert record.fs == 250


def test_rows_that_are_missing_become_nan(tmp_path: Path) -> None:
    keep = np.r_[0:400, 500:1000]
    record = read_record(csv(tmp_path, "time,II (mV)", [keep / 250, ecg()[keep]]))
    assert len(record) == 1000
    assert np.isnan(record.signal[400:500]).all()
    assert np.abs(record.signal[keep, 0] - ecg()[keep]).max() < 1e-6


def jittered(n: int, fs: float, sd: float) -> np.ndarray:
    """Times of an even clock, each off by a little; none so far that it would come before the one ahead."""
    off = np.random.default_rng(8).normal(0, sd, n)
    return np.arange(n) / fs + np.clip(off, -0.49 / fs, 0.49 / fs)


def test_a_jittering_clock_invents_no_holes(tmp_path: Path) -> None:
    record = read_record(csv(tmp_path, "time,II (mV)", [jittered(30_000, 360, 0.5e-3), ecg(30_000, 360)]))
    assert record.fs == 360
    assert len(record) == 30_000
    assert not np.isnan(record.signal).any()


def test_a_true_gap_is_told_from_jitter(tmp_path: Path) -> None:
    keep = np.r_[0:4000, 4001:9000, 9100:30_000]
    columns = [jittered(30_000, 360, 0.5e-3)[keep], ecg(30_000, 360)[keep]]
    record = read_record(csv(tmp_path, "time,II (mV)", columns))
    assert record.fs == 360
    assert len(record) == 30_000
    assert np.abs(np.flatnonzero(np.isnan(record.signal[:, 0])) - np.r_[4000, 9000:9100]).max() <= 1


@pytest.mark.parametrize("digits", [3, 9])
@pytest.mark.parametrize("lost", [0.01, 0.2])
def test_rows_that_are_lost_one_by_one_leave_the_others_in_their_places(
    tmp_path: Path, digits: int, lost: float
) -> None:
    keep = np.flatnonzero(np.random.default_rng(3).random(5000) >= lost)
    keep = keep[keep.searchsorted(1) :] - keep[keep.searchsorted(1)]
    signal = ecg(5000, 360)
    record = read_record(csv(tmp_path, "time,II (mV)", [np.round(keep / 360, digits), signal[keep]]))
    assert len(record) == keep[-1] + 1
    np.testing.assert_allclose(record.signal[keep, 0], signal[keep], atol=1e-6)


@pytest.mark.parametrize(("before", "after"), [(360, 250), (250, 500), (500, 250), (250, 256)])
def test_a_rate_that_changes_is_refused(tmp_path: Path, before: int, after: int) -> None:
    times = np.cumsum(np.r_[0, np.full(2999, 1 / before), np.full(3000, 1 / after)])
    path = csv(tmp_path, "time,II (mV)", [np.round(times, 3), ecg(6000)])
    with pytest.raises(RecordError, match=r"Hz at first .* from about row 3\d\d\d on: cut the file"):
        read_record(path)


def test_empty_cells_become_nan(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("II (mV),V1 (mV)\n" + "0.5,\n" * 200 + "0.5,NaN\n" + "0.5,0.25\n")
    record = read_record(path, fs=100)
    assert np.isnan(record.lead("V1")[:201]).all()
    assert record.lead("V1")[201] == 0.25


def test_infinite_samples_are_missing_ones(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("II (mV),V1 (mV)\n" + "0.5,0.25\n" * 200 + "inf,0.25\n-inf,1\n")
    record = read_record(path, fs=100)
    assert np.isnan(record.lead("II")[200:]).all()
    assert not np.isnan(record.lead("II")[:200]).any()
    assert not np.isnan(record.lead("V1")).any()


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, "empty"),
        ("# only a comment\n", {}, "no rows"),
        ("II (mV)\n", {"fs": 250}, "no rows"),
        ("II (mV)\n0.5\nhello\n", {"fs": 250}, "text such as 'hello'"),
        ("II;V1\n0,5;0,1\n0,6;0,2\n", {"fs": 250}, "decimal commas, such as '0,5'"),
        ("II\nmV\n0.5\n0.6\n", {"fs": 250}, "begins with 'mV': delete that line"),
        ("timestamp,II (mV)\n0,0.5\n4,0.6\n8,0.5\n", {}, r"a sample comes every 4 s.*'timestamp \(ms\)'"),
        ("t,II (mV)\n0,0.5\n4000,0.6\n8000,0.5\n", {"fs": 250}, r"'t \(us\)'"),
        ("t,II (mV)\n0,0.5\n4000000,0.6\n8000000,0.5\n", {}, r"'t \(ns\)'"),
        ("time,II (mV)\n0,1\n0.004,2\n0.004,3\n", {}, "row 3 does not"),
        ("time,II (mV)\n0.008,1\n0.004,2\n", {}, "ascend"),
        ("time,II (mV)\n0,1\n0.004,2\n0.008,3\n", {"fs": 100}, "does not fit"),
        ("time (days),II (mV)\n0,1\n1,2\n", {}, "days"),
        ("II (mV)\n1\n2\n", {"fs": -1}, "rate"),
        ("II (mmHg)\n1\n2\n", {"fs": 250}, "no voltage"),
        ("II (mV)\n1\n2\n", {"fs": 250, "leads": ["V1"]}, "no column 'V1'"),
        ("II\n1\n2\n", {"fs": 250, "gain": 0}, "gain"),
        ("II\n1\n2\n", {"fs": 250, "units": "furlong"}, "furlong"),
        ("II (mV)\ninf\n-inf\n", {"fs": 250}, "no valid sample: all are NaN, infinite"),
        ("II (mV)\nnan\nnan\n", {"fs": 250}, "no valid sample"),
        ("II (mV),V1 (mV)\n1,2\n3\n", {"fs": 250}, r"line 3 .*\(1, not 2\): delete that line"),
        ("# made\n\nII (mV),V1 (mV)\n1,2\n\n3,4,5\n6,7\n8", {"fs": 250}, r"line 6 .*\(3, not 2\): delete"),
        ("label\nN\nV\nN\n", {"fs": 250, "units": "mV"}, "text such as 'N'"),
        ("II,V1\n0.5,mV\n0.6,0.1\n", {"fs": 250, "units": "mV"}, "'V1' begins with 'mV'"),
        ("II (mV)\n1\n2\n", {"fs": 250, "annotator": "atr"}, "annotator"),
        ("time,II (mV)\n0,1\n0.004,2\n1700000000,3\n1700000000.004,4\n", {}, "leap by 19675.9 days at row 3"),
        ("time,II (mV)\n0,1\n", {}, "holds a single row"),
        (
            "".join(f"{n / 250:.3f},{n % 7}\n" for n in range(50)),
            {"fs": 250, "units": "mV"},
            "first column rises by the same in every row.*'time,ECG'",
        ),
        ("time,II (mV)\n,1\n2024-05-06T07:08:09,2\n", {}, "row 1 of column 'time' has no time"),
    ],
)
def test_wrong_tables_say_how_to_mend_them(
    tmp_path: Path, text: str, options: dict[str, object], message: str
) -> None:
    path = tmp_path / "r.csv"
    path.write_text(text)
    with pytest.raises(RecordError, match=message) as caught:
        read_record(path, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_text_beside_the_lead_does_not_matter_when_the_lead_is_named(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("II (mV),note\n" + "0.5,good\n" * 300)
    assert read_record(path, fs=250, leads=["II"]).leads == ("II",)


def test_labels_and_names_beside_the_leads_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("patient,time,II (mV),label,good\n" + "P7,0.000,0.5,N,true\nP7,0.004,0.6,V,false\n")
    assert read_record(path).leads == ("II",)
    assert read_record(path, units="mV").leads == ("II",)
    with pytest.raises(RecordError, match="text such as 'N'"):
        read_record(path, leads=["label"])


@pytest.mark.parametrize("name", ["ts", "__index_level_0__"])
def test_a_column_of_dates_is_the_time_whatever_its_name(tmp_path: Path, name: str) -> None:
    begin = datetime(2024, 5, 6, 7, 8, 9)
    times = [begin + timedelta(milliseconds=4 * i) for i in range(1000)]
    born = [datetime(1950, 1, 1)] * 1000
    table = pa.table({"born": born, "II (mV)": ecg(), name: times})
    pyarrow.parquet.write_table(table, tmp_path / "r.parquet")
    record = read_record(tmp_path / "r.parquet")
    assert (record.fs, record.start, record.leads) == (250, begin, ("II",))
    pyarrow.parquet.write_table(table.drop_columns([name]), tmp_path / "r.parquet")
    record = read_record(tmp_path / "r.parquet", fs=125)
    assert (record.fs, record.start) == (125, None)


def test_names_in_quotes_as_physionet_writes_them(tmp_path: Path) -> None:
    rows = "".join(f"{i},{1024 + 200 * v:.1f},{1024 - 200 * v:.1f}\n" for i, v in enumerate(ecg()))
    path = tmp_path / "100.csv"
    path.write_text("'sample #','MLII','V5'\n" + rows)
    assert read_record(path, fs=360, gain=200).leads == ("MLII", "V5")
    assert read_record(path, fs=360, gain=200, leads=["MLII"]).leads == ("MLII",)
    path.write_text('"sample #" , "MLII" , "V5"\n' + rows)
    assert read_record(path, fs=360, gain=200, leads=["V5"]).leads == ("V5",)


def test_units_on_the_second_line_as_physionet_writes_them(tmp_path: Path) -> None:
    rows = "".join(f"{i / 360:.3f},{v:.4f},{1000 * v:.2f}\n" for i, v in enumerate(ecg()))
    path = tmp_path / "100.csv"
    path.write_text("'Elapsed time','MLII','V5'\n'seconds','mV','uV'\n" + rows)
    record = read_record(path)
    assert record.fs == 360
    assert record.leads == ("MLII", "V5")
    assert np.abs(record.signal - ecg()[:, None]).max() < 1e-3


def test_a_file_cut_anywhere_in_its_last_row_is_read_without_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "r.csv"
    whole = "time,II (mV),V1 (mV)\n" + "".join(f"{i / 250:.3f},0.5,0.25\n" for i in range(300))
    last = "1.200,0.5,-1.5e-2"
    for length in range(1, len(last) + 1):
        caplog.clear()
        path.write_text(whole + last[:length])
        record = read_record(path)
        complete = length > last.rindex(",") and last[length - 1] not in "-e"
        assert len(record) == 300 + complete
        assert ("ends in the middle of a row" in caplog.text) == (not complete)


def test_microvolts_that_say_they_are_millivolts(tmp_path: Path) -> None:
    path = csv(tmp_path, "II (mV)", [1000 * ecg()])
    with pytest.raises(RecordError, match=r"no ECG does: .* correct the file, or give"):
        read_record(path, fs=250)
    assert np.abs(read_record(path, fs=250, units="uV").signal[:, 0] - ecg()).max() < 1e-6


def test_parquet_with_metadata(tmp_path: Path) -> None:
    field = pa.field("MLII", pa.float32(), metadata={"unit": "uV"})
    schema = pa.schema([field], metadata={"fs": "360"})
    table = pa.table([pa.array((1000 * ecg()).astype(np.float32))], schema=schema)
    pyarrow.parquet.write_table(table, tmp_path / "r.parquet")
    record = read_record(tmp_path / "r.parquet")
    assert record.fs == 360
    assert np.abs(record.lead("MLII") - ecg()).max() < 1e-4


def test_parquet_with_time_stamps(tmp_path: Path) -> None:
    begin = datetime(2024, 5, 6, 7, 8, 9, tzinfo=timezone.utc)
    times = [begin + timedelta(milliseconds=4 * i) for i in range(1000)]
    table = pa.table({"timestamp": times, "II (mV)": ecg()})
    pyarrow.parquet.write_table(table, tmp_path / "r.parquet")
    record = read_record(tmp_path / "r.parquet")
    assert record.fs == 250
    assert record.start == begin


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        ({"fs": "250"}, "rate '250' is not a positive number of hertz"),
        ({"fs": [250]}, r"rate \[250\] is not a positive number of hertz"),
        ({"fs": 250, "gain": "200"}, "gain '200' is not a number of counts"),
    ],
)
def test_numbers_written_as_text_are_refused(tmp_path: Path, stated: dict[str, Any], words: str) -> None:
    with pytest.raises(RecordError, match=words):
        read_record(csv(tmp_path, "", [ecg() * 200]), **stated)


@pytest.mark.parametrize("packet", [2, 5, 10])
def test_times_at_which_packets_arrived_are_no_clock(tmp_path: Path, packet: int) -> None:
    n = 1000 // packet * packet
    times = np.repeat(np.arange(n // packet) * packet / 250, packet) + np.tile(
        np.arange(packet) * 2e-4, n // packet
    )
    table = pa.table({"time": times, "II (mV)": ecg()[:n]})
    pyarrow.parquet.write_table(table, tmp_path / "r.parquet")
    with pytest.raises(RecordError, match=f"bursts at 5000 Hz, with a gap behind every {packet}: .*--fs 250"):
        read_record(tmp_path / "r.parquet")


def test_clock_times_as_text_are_told(tmp_path: Path) -> None:
    rows = "".join(f"00:00:{i / 250:06.3f},0.1\n" for i in range(100))
    (tmp_path / "r.csv").write_text("time,II (mV)\n" + rows)
    with pytest.raises(RecordError, match=r"holds times such as '00:00:00.000': write seconds, or drop it"):
        read_record(tmp_path / "r.csv", fs=250)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_time_stamps_of_every_unit_are_read_in_that_unit(tmp_path: Path, unit: str) -> None:
    """Nanoseconds that are no whole microseconds among them."""
    step = {"s": 1, "ms": 4, "us": 3_906, "ns": 3_906_251}[unit]
    first = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit] * 1_700_000_000
    times = pa.array(first + step * np.arange(1000), pa.timestamp(unit))
    pyarrow.parquet.write_table(pa.table({"time": times, "II (mV)": ecg()}), tmp_path / "r.parquet")
    record = read_record(tmp_path / "r.parquet")
    assert record.fs == pytest.approx(first / 1_700_000_000 / step, rel=5e-4)
    assert len(record) == 1000
    assert record.start == datetime(2023, 11, 14, 22, 13, 20)


def test_time_stamps_with_nine_digits_in_a_text_file(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    rows = "".join(f"2024-05-06 07:08:09.{1 + 4_000_000 * i:09d},{v:.4f}\n" for i, v in enumerate(ecg(200)))
    path.write_text("time,II (mV)\n" + rows)
    record = read_record(path)
    assert record.fs == 250
    assert record.start == datetime(2024, 5, 6, 7, 8, 9)


@pytest.mark.parametrize("year", [-40, 20_000])
def test_a_clock_outside_all_calendars_gives_the_rate_only(tmp_path: Path, year: int) -> None:
    first = round((year - 1970) * 365.2425 * 86_400) * 1000
    times = pa.array(first + 4 * np.arange(1000), pa.timestamp("ms"))
    pyarrow.parquet.write_table(pa.table({"time": times, "II (mV)": ecg()}), tmp_path / "r.parquet")
    record = read_record(tmp_path / "r.parquet")
    assert record.fs == 250
    assert record.start is None


def test_columns_of_one_name_are_told_apart(tmp_path: Path) -> None:
    """As are the columns without a name that a delimiter at the end of each line makes."""
    path = tmp_path / "r.csv"
    path.write_text("time,time,II (mV),II (mV),,\n0,0,1,2,,\n0.004,0.004,3,4,,\n")
    record = read_record(path, leads=None)
    assert record.fs == 250
    assert len(set(record.leads)) == len(record.leads)
    np.testing.assert_array_equal(record.signal[:, :2], [[1, 2], [3, 4]])


def test_what_is_written_beside_a_parquet_file(tmp_path: Path) -> None:
    """Bytes that are no text, and numbers that no float holds exactly."""
    path = tmp_path / "r.parquet"
    micro = pa.schema([pa.field("II", pa.float64(), metadata={b"unit": b"\xb5V"})])
    pyarrow.parquet.write_table(pa.table({"II": ecg()}, schema=micro), path)
    with pytest.raises(RecordError, match="no voltage"):
        read_record(path, fs=250)
    pyarrow.parquet.write_table(pa.table({"II": ecg()}).replace_schema_metadata({b"fs": b"\xff"}), path)
    with pytest.raises(RecordError, match="not a number of hertz"):
        read_record(path, units="mV")
    pyarrow.parquet.write_table(pa.table({"II": pa.array([2**60, 3] * 100)}), path)
    with pytest.raises(RecordError, match="no ECG does"):
        read_record(path, fs=250, units="mV")


def test_what_is_no_parquet_file(tmp_path: Path) -> None:
    (tmp_path / "r.parquet").write_bytes(b"x" * 100)
    with pytest.raises(RecordError, match="not a Parquet"):
        read_record(tmp_path / "r.parquet")
    with pytest.raises(RecordError, match="cannot tell its format"):
        read_record(tmp_path / "r.docx")


@given(scale=st.floats(1e-3, 1e3), unit=st.sampled_from(["V", "mV", "uV", "nV"]))
def test_gain_and_unit_are_one_factor(scale: float, unit: str) -> None:
    factor = {"V": 1e3, "mV": 1.0, "uV": 1e-3, "nV": 1e-6}[unit]
    stored = ecg() * scale / factor
    leads = in_millivolts("r", [Channel("II", stored, 250.0, None)], gain=scale, units=unit)
    assert np.allclose(leads.signal[:, 0], ecg(), rtol=1e-12, atol=0)


@pytest.mark.parametrize(("unit", "gain"), [("V", None), ("uV", None), ("mV", 0.01), ("mV", 1000.0)])
def test_a_unit_or_gain_told_wrong_shows_in_the_amplitude(unit: str, gain: float | None) -> None:
    with pytest.raises(RecordError, match="no ECG does"):
        in_millivolts("r", [Channel("II", ecg(), 250.0, "mV")], gain=gain, units=unit)


def test_a_lead_without_any_signal_is_read_in_any_unit() -> None:
    for value in (0.0, 1e-9):
        leads = in_millivolts("r", [Channel("II", np.full(5000, value), 250.0, None)], gain=None, units="uV")
        assert np.ptp(leads.signal) == 0


def test_a_table_that_a_spreadsheet_saved_in_latin_1(tmp_path: Path) -> None:
    rows = "".join(f"{1000 * value:.1f}\n" for value in ecg())
    (tmp_path / "r.csv").write_bytes(f"ECG (µV)\n{rows}".encode("latin-1"))
    assert np.abs(read_record(tmp_path / "r.csv", fs=250).signal[:, 0] - ecg()).max() < 1e-4


def test_names_do_not_steer_the_terminal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "r.csv"
    path.write_text("time,\x07\x1bII (mV)\n" + "".join(f"{i / 250},{i % 9 / 9}\n" for i in range(500)))
    assert read_record(path).leads == ("??II",)
    assert main(["annotate", str(path), "--lead", "V1", "--out", str(tmp_path / "out")]) != 0
    assert main(["stream", str(path), "--lead", "V1"]) != 0
    said = capfd.readouterr()
    assert "no column 'V1'" in said.out + said.err
    assert not {"\x07", "\x1b"} & set(said.out + said.err)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("II (mV)\n0.1\n0.2\nERR\n0.3\n", "holds 'ERR' in line 4: write nan there"),
        ("# made by hand\n\nI (mV),II (mV)\n0,0.1\n1,0.2\n1,0.2\n1,ERR\n1,ERR\n1,1\n", "in line 7 (2 cells"),
        ("time;II (mV)\n0;1\n0.1;bad\n0.2;3\n", "holds 'bad' in line 3"),
        ("0.1\n0.2\nERR\n0.3\n", "holds 'ERR' in line 3"),
    ],
)
def test_a_cell_that_is_no_number_is_named_by_its_line(tmp_path: Path, text: str, where: str) -> None:
    path = tmp_path / "x.csv"
    path.write_text(text)
    with pytest.raises(RecordError) as told:
        read_record(path, fs=10, units="mV")
    assert where in str(told.value)
    assert "\n" not in str(told.value)
    path.write_text(text.replace("ERR", "nan").replace("bad", "nan"))  # as it says
    assert np.isnan(read_record(path, fs=10, units="mV").signal).any()


def test_in_parquet_it_is_named_by_its_row(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pa.parquet.write_table(pa.table({"II (mV)": ["0.1", "0.2", "ERR", "0.4"]}), path)
    with pytest.raises(RecordError, match="holds 'ERR' in row 3"):
        read_record(path, fs=250)
