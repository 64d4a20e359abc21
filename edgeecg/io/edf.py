"""EDF, EDF+ and BDF recordings, read by edfio."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from edgeecg.errors import MissingExtra, RecordError
from edgeecg.io.channels import Channel, chosen_channels, in_millivolts
from edgeecg.io.record import BEAT_SYMBOLS, Annotations, Record

__all__ = ["read_edf"]

log = logging.getLogger("edgeecg.io")


def read_edf(
    path: str | os.PathLike[str],
    *,
    leads: Sequence[str] | None = None,
    gain: float | None = None,
    units: str | None = None,
) -> Record:
    """Read an EDF(+) or BDF(+) file.

    Parameters
    ----------
    path : path
        File that ends in ``.edf`` or ``.bdf``.
    leads : sequence of str, optional
        Labels of the signals; by default those labelled ECG or EKG, else all in a unit of voltage.
    gain : float, optional
        Stored numbers per unit, where the file's unit is none or wrong.
    units : str, optional
        Unit of the samples, likewise.

    Returns
    -------
    Record
        EDF+ annotations become marks: a beat where their text is one of WFDB's beat symbols, else a
        comment (``"``) with the text as aux. Where the header states no number of data records (-1), those
        that are whole are read, with a warning.

    Raises
    ------
    RecordError
        If the file is missing, truncated, discontinuous (EDF+D), no EDF, without ECG in a known unit, or
        its leads differ in rate.
    MissingExtra
        If edfio is not installed.
    """
    file = Path(path)
    if not file.is_file():
        raise RecordError(f"no file {file}: check the path")
    edf = _parsed(file)
    channels = [
        Channel(
            signal.label,
            np.asarray(signal.data, dtype=np.float64),
            float(signal.sampling_frequency),
            signal.physical_dimension or None,
        )
        for signal in edf.signals
    ]
    chosen = chosen_channels(file.name, channels, leads, any_unit=gain is not None or units is not None)
    signal, fs, names = in_millivolts(file.name, chosen, gain=gain, units=units)
    return Record(
        file.stem, signal, fs, names, _annotations(edf, fs, len(signal)), _patient(edf), _start(edf)
    )


def _parsed(file: Path) -> Any:
    """The file as edfio reads it; its warnings tell of truncation, and become errors."""
    try:
        import edfio
    except ImportError as error:
        raise MissingExtra("edfio", "records", "reading EDF and BDF files") from error
    if file.stat().st_size == 0:
        raise RecordError(f"{file} is empty: copy it again")
    died = _has_no_count(file)
    reader = edfio.read_bdf if file.suffix.lower() == ".bdf" else edfio.read_edf
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            if died:  # then the whole data records that are there are all there is
                warnings.filterwarnings("ignore", ".*header indicates -1 data records", UserWarning)
                warnings.filterwarnings("ignore", "Incomplete data record at the end", UserWarning)
            edf = reader(file)
    except UserWarning as warning:
        raise RecordError(
            f"{file} is truncated or its header wrong: copy it again ({' '.join(str(warning).split())})"
        ) from warning
    except (ValueError, IndexError, KeyError, TypeError, OSError) as error:
        raise RecordError(f"{file} is not an EDF file, or damaged: copy it again ({error})") from error
    if not edf.is_continuous:
        raise RecordError(
            f"{file} is discontinuous (EDF+D): split it at its gaps into continuous files first"
        )
    if died:
        log.warning(
            "%s was never closed by its recorder: its %d whole data records are read",
            file,
            edf.num_data_records,
        )
    return edf


def _has_no_count(file: Path) -> bool:
    """Whether the header's number of data records is -1, as it stays where a recorder died."""
    with file.open("rb") as content:
        return content.read(244)[236:].strip() == b"-1"


def _annotations(edf: Any, fs: float, n: int) -> Annotations | None:
    """EDF+ annotations inside the recording, as marks."""
    marks = sorted(edf.annotations, key=lambda mark: mark.onset)
    if not marks:
        return None
    samples = np.round(np.array([mark.onset for mark in marks]) * fs).astype(np.int64)
    texts = [mark.text.strip() for mark in marks]
    symbols = np.array([text if text in BEAT_SYMBOLS else '"' for text in texts])
    aux = np.array(["" if text in BEAT_SYMBOLS else text for text in texts])
    return Annotations(samples, symbols, aux).select((samples >= 0) & (samples < n))


def _patient(edf: Any) -> str | None:
    """The patient's code; ``X`` stands for an anonymous one."""
    try:
        code = edf.patient.code
    except ValueError:  # plain EDF: the field is free text
        code = edf.local_patient_identification.strip()
    return None if code in ("", "X") else str(code)


def _start(edf: Any) -> datetime | None:
    """Wall-clock time of the first sample; ``None`` where the date was taken out."""
    try:
        start = edf.startdatetime
    except ValueError:  # edfio's AnonymizedDateError is one
        return None
    return start if isinstance(start, datetime) else None
