"""Files that are damaged anyhow: a record, or one clear error; never anything else."""

from __future__ import annotations

import contextlib
from pathlib import Path

import edfio
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeecg.errors import RecordError
from edgeecg.io import Annotations, Record, read_record, write_wfdb

N = 400


def wave() -> np.ndarray:
    return np.sin(np.arange(N) / 9)[:, None] * [1.0, 0.5]


def make(folder: Path, suffix: str) -> Path:
    """A small valid recording of a format; the path of the file that gets damaged."""
    if suffix in (".hea", ".dat", ".atr"):
        marks = Annotations([5, 50, 300], ["+", "N", "V"], ["(AFIB", "", ""])
        return write_wfdb(Record("r", wave(), 250.0, ("II", "V1"), marks), folder).with_suffix(suffix)
    path = folder / f"r{suffix}"
    if suffix == ".edf":
        edfio.Edf([edfio.EdfSignal(wave()[:, 0], 100, label="ECG", physical_dimension="mV")]).write(path)
    elif suffix == ".parquet":
        schema = pa.schema([pa.field("II (mV)", pa.float64())], metadata={"fs": "250"})
        pyarrow.parquet.write_table(pa.table([wave()[:, 0]], schema=schema), path)
    else:
        rows = "\n".join(f"{i / 250:.3f},{v:.4f}" for i, v in enumerate(wave()[:, 0]))
        path.write_text(f"time,II (mV)\n{rows}\n")
    return path


@pytest.mark.parametrize("suffix", [".hea", ".dat", ".atr", ".edf", ".csv", ".parquet"])
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    patches=st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=6)), max_size=4),
    length=st.one_of(st.just(1.0), st.floats(0, 1)),
)
def test_damage_is_named_or_harmless(
    tmp_path: Path, suffix: str, patches: list[tuple[float, bytes]], length: float
) -> None:
    path = make(tmp_path, suffix)
    content = bytearray(path.read_bytes())
    for place, piece in patches:
        at = int(place * len(content))
        content[at : at + len(piece)] = piece
    path.write_bytes(content[: int(length * len(content))])
    target = path.with_suffix("") if suffix in (".hea", ".dat", ".atr") else path
    with contextlib.suppress(RecordError):
        record = read_record(target)
        assert record.signal.ndim == 2
        assert np.isfinite(record.signal).any()


def test_an_error_of_a_library_names_the_file(tmp_path: Path) -> None:
    """A date past the year 9999 is an OverflowError of datetime's, which no reader of ours looks for."""
    path = tmp_path / "far.parquet"
    dates = pa.array(2**62 + np.arange(N) * 4000, pa.timestamp("us"))
    pyarrow.parquet.write_table(pa.table({"time": np.arange(N) / 250, "II (mV)": dates}), path)
    with pytest.raises(RecordError, match=r"far\.parquet is damaged.*OverflowError") as caught:
        read_record(path)
    assert isinstance(caught.value.__cause__, OverflowError)


def test_a_header_of_more_signals_than_it_describes_takes_no_memory_for_them(tmp_path: Path) -> None:
    path = make(tmp_path, ".hea")
    first, *rest = path.read_text().splitlines()
    name, _, *words = first.split()
    path.write_text("\n".join([" ".join([name, "999999999", *words]), *rest]) + "\n")
    with pytest.raises(RecordError, match="breaks off: it states 999999999 signals, 2 are there"):
        read_record(path)


def test_errors_that_only_a_library_knows_are_named(tmp_path: Path) -> None:
    """A record compressed by FLAC whose file is none, and a slip of edfio where a data record takes 0 s."""
    header = make(tmp_path, ".hea")
    header.write_text("r 1 250 400\nr.dat 516 200(0)/mV 16 0 0 0 0 II\n")
    header.with_suffix(".dat").write_bytes(b"fLaC" + bytes(800))
    edf = make(tmp_path, ".edf")
    content = bytearray(edf.read_bytes())
    content[244:252] = b"0       "
    edf.write_bytes(content)
    for path in (header, edf):
        with pytest.raises(RecordError, match="is damaged"):
            read_record(path)
