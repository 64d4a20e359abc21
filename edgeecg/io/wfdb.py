"""WFDB records: PhysioNet's header and signal files, any format that the wfdb package reads."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from edgeecg.errors import RecordError
from edgeecg.io.annotation import read_annotations, write_annotations
from edgeecg.io.channels import Channel, chosen_channels, in_millivolts
from edgeecg.io.library import load_wfdb
from edgeecg.io.record import Annotations, Record

__all__ = ["read_wfdb", "wfdb_stem", "write_wfdb"]

_BYTES = {"8": 1.0, "16": 2.0, "24": 3.0, "32": 4.0, "61": 2.0, "80": 1.0, "160": 2.0, "212": 3 / 2}
_GAIN = re.compile(r"^-?\d+(\.\d*)?([eE][-+]?\d+)?")
_NAME = re.compile(r"^[A-Za-z0-9_-]+$")
_PUBLISHED_WITHOUT_GAIN = (
    # Records of PhysioNet's svdb and the noise of nstdb state gain 0, which stands for 200 counts per mV:
    # name, names of the signals, rate.
    (re.compile(r"^8\d\d$"), ("ECG1", "ECG2"), 128.0),
    (re.compile(r"^(bw|em|ma)$"), ("noise1", "noise2"), 360.0),
)
_BROKEN = (ValueError, IndexError, KeyError, TypeError, AttributeError)  # what wfdb raises on a broken header


def read_wfdb(
    path: str | os.PathLike[str],
    *,
    leads: Sequence[str] | None = None,
    gain: float | None = None,
    units: str | None = None,
    annotator: str | None = None,
) -> Record:
    """Read a WFDB record and its reference annotations.

    Parameters
    ----------
    path : path
        The record without extension, or its ``.hea``, ``.dat`` or ``.mat`` file.
    leads : sequence of str, optional
        Which signals; by default those that are ECG in a unit of voltage.
    gain : float, optional
        Counts per unit, where the header has none or a wrong one.
    units : str, optional
        Unit of the samples, likewise.
    annotator : str, optional
        Extension of the annotation file; by default ``atr`` where it is there.

    Returns
    -------
    Record
        In millivolts; missing samples are NaN; annotations past the end are left out.

    Raises
    ------
    RecordError
        If a file is missing or truncated, the header cannot be understood, there is no gain, or the leads
        differ in rate.
    MissingExtra
        If wfdb is not installed.
    """
    wfdb = load_wfdb("reading WFDB records")
    stem = wfdb_stem(path)
    header = _header(wfdb, stem)
    calibrated = _check_files(stem, header)
    try:
        raw = wfdb.rdrecord(str(stem), smooth_frames=False, m2s=True)
    except (*_BROKEN, OSError) as error:
        raise RecordError(f"record {stem}: its files do not fit its header ({_line(error)})") from error
    if _published(stem.name, raw):
        calibrated = [True] * len(calibrated)
    channels = _channels(raw, calibrated)
    chosen = chosen_channels(stem.name, channels, leads, any_unit=gain is not None or units is not None)
    if gain is not None:
        chosen = [_counts(channel, raw, channels.index(channel)) for channel in chosen]
    signal, fs, names = in_millivolts(stem.name, chosen, gain=gain, units=units)
    marks = _annotations(stem, annotator, len(signal), fs / float(raw.fs))
    start = raw.base_datetime if isinstance(raw.base_datetime, datetime) else None
    return Record(stem.name, signal, fs, names, marks, None, start)


def write_wfdb(record: Record, folder: str | os.PathLike[str], *, annotator: str = "atr") -> Path:
    """Write a record in format 16, its annotations beside it; returns the path of its header.

    The files appear under their names only when complete, the header last.

    Raises
    ------
    RecordError
        If the name cannot be a WFDB record's.
    """
    wfdb = load_wfdb("writing WFDB records")
    if not _NAME.match(record.name):
        raise RecordError(f"record name {record.name!r} must be letters, digits, hyphens and underscores")
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    gains, baselines = _scales(record)
    with tempfile.TemporaryDirectory(dir=target, prefix=".writing-") as workshop:
        wfdb.wrsamp(
            record.name,
            fs=record.fs,
            units=["mV"] * len(record.leads),
            sig_name=list(record.leads),
            p_signal=record.signal,
            fmt=["16"] * len(record.leads),
            adc_gain=gains,
            baseline=baselines,
            base_datetime=record.start,
            write_dir=workshop,
        )
        if record.annotations is not None:
            write_annotations(target / record.name, record.annotations, record.fs, extension=annotator)
        for suffix in (".dat", ".hea"):
            os.replace(Path(workshop, record.name + suffix), target / (record.name + suffix))
    return target / f"{record.name}.hea"


def wfdb_stem(path: str | os.PathLike[str]) -> Path:
    """A record's path without the extension of one of its files."""
    plain = Path(path)
    return plain.with_suffix("") if plain.suffix in (".hea", ".dat", ".mat") else plain


def _line(error: BaseException) -> str:
    """An exception's message on one line."""
    return " ".join(str(error).split()) or type(error).__name__


def _header(wfdb: ModuleType, stem: Path) -> Any:
    """The parsed header, segments included."""
    path = stem.parent / f"{stem.name}.hea"
    if not path.is_file():
        near = sorted(p.stem for p in stem.parent.glob("*.hea"))[:5] if stem.parent.is_dir() else []
        hint = f"; that folder has {', '.join(near)} ..." if near else ""
        raise RecordError(f"no record at {stem}: its header {path.name} is missing{hint}")
    try:
        header = wfdb.rdheader(str(stem), rd_segments=True)
    except (*_BROKEN, OSError) as error:
        raise RecordError(f"header {path} is not a WFDB header ({_line(error)}): fetch it again") from error
    if not header.n_sig:
        raise RecordError(f"record {stem} has no signals: its header lists none")
    return header


def _check_files(stem: Path, header: Any) -> list[bool]:
    """Whether each signal is calibrated; raises where a signal file is missing or too short."""
    if getattr(header, "n_seg", None) is None:
        _check_sizes(stem, header)
        return _calibrated(stem, header.n_sig)
    known: dict[str | None, bool] = {}
    for name, segment in zip(header.seg_name, header.segments, strict=True):
        if segment is None:  # a gap, written as ~
            continue
        part = stem.parent / name
        if segment.sig_len:  # a layout header has names only
            _check_sizes(part, segment)
            flags = _calibrated(part, segment.n_sig)
            for signal, flag in zip(segment.sig_name or [], flags, strict=False):
                known[signal] = known.get(signal, True) and flag
    return [known.get(signal, False) for signal in header.get_sig_name()]


def _check_sizes(stem: Path, header: Any) -> None:
    """Every signal file must be as long as the header says."""
    for name in dict.fromkeys(header.file_name):
        members = [i for i, file in enumerate(header.file_name) if file == name]
        path = stem.parent / name
        if not path.is_file():
            raise RecordError(f"record {stem}: its signal file {name} is missing: fetch it again")
        size = path.stat().st_size
        if size == 0:
            raise RecordError(f"record {stem}: its signal file {name} is empty: fetch it again")
        width = _BYTES.get(str(header.fmt[members[0]]))
        if width is None or not header.sig_len:  # compressed, or the length is not stated
            continue
        frame = width * sum(header.samps_per_frame[i] or 1 for i in members)
        offset = header.byte_offset[members[0]] or 0
        # Format 212 packs two samples in three bytes: an odd last sample may lack its padding.
        if size - offset + 1 < int(header.sig_len * frame):
            there = max(0, int((size - offset) / frame))
            raise RecordError(
                f"record {stem}: {name} is truncated, it holds {there} of {header.sig_len} samples: "
                "fetch it again, or correct the number of samples in the header"
            )


def _calibrated(stem: Path, n_sig: int) -> list[bool]:
    """Which signals have a gain in the header: wfdb fills in 200 where there is none."""
    text = (stem.parent / f"{stem.name}.hea").read_text(encoding="utf-8", errors="replace")
    lines = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    flags = []
    for fields in lines[1 : 1 + n_sig]:
        match = _GAIN.match(fields[2]) if len(fields) > 2 else None
        flags.append(match is not None and float(match.group()) != 0)
    return flags


def _published(name: str, raw: Any) -> bool:
    """Whether this is one of the public records whose gain is known though their header has none."""
    signals, fs = tuple(raw.sig_name or ()), float(raw.fs)
    return any(
        pattern.match(name) and (signals, fs) == (names, rate)
        for pattern, names, rate in _PUBLISHED_WITHOUT_GAIN
    )


def _channels(raw: Any, calibrated: Sequence[bool]) -> list[Channel]:
    """Signals as they are sampled, in the header's units."""
    frames = raw.samps_per_frame or [1] * raw.n_sig
    signals = raw.e_p_signal if raw.e_p_signal is not None else list(raw.p_signal.T)
    names = raw.sig_name or [None] * raw.n_sig
    return [
        Channel(
            name or f"ECG{i + 1}",
            np.asarray(signals[i], dtype=np.float64),
            float(raw.fs) * (frames[i] or 1),
            (raw.units[i] or "mV") if calibrated[i] else None,
        )
        for i, name in enumerate(names)
    ]


def _counts(channel: Channel, raw: Any, number: int) -> Channel:
    """A signal as counts above its baseline, to apply a gain that the caller knows."""
    used = raw.adc_gain[number] if raw.adc_gain is not None else 200.0
    return channel._replace(samples=channel.samples * used)


def _annotations(stem: Path, annotator: str | None, n: int, frames: float) -> Annotations | None:
    """Reference marks inside the record; ``frames`` samples lie in one tick of the annotation's clock."""
    extension = annotator or "atr"
    if annotator is None and not (stem.parent / f"{stem.name}.{extension}").is_file():
        return None
    marks = read_annotations(stem, extension)
    if frames != 1:
        marks = Annotations(np.round(marks.sample * frames), marks.symbol, marks.aux)
    return marks.select((marks.sample >= 0) & (marks.sample < n))


def _scales(record: Record) -> tuple[list[float], list[int]]:
    """Gain and baseline of each lead: a microvolt a count where the range allows it."""
    gains, baselines = [], []
    for i in range(len(record.leads)):
        lead = record.signal[:, i]
        finite = lead[np.isfinite(lead)]
        low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)
        gain = min(1000.0, 65000 / max(high - low, 1e-9))
        centre = 0 if max(abs(low), abs(high)) * gain < 32700 else -round(gain * (low + high) / 2)
        gains.append(gain)
        baselines.append(int(centre))
    return gains, baselines
