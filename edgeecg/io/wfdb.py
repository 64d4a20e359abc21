"""WFDB records: PhysioNet's header and signal files, any format that the wfdb package reads."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from edgeecg.errors import RecordError
from edgeecg.io.annotation import read_annotations, write_annotations
from edgeecg.io.atomic import is_hidden, named_when_full, workshop
from edgeecg.io.channels import Channel, chosen_channels, in_millivolts
from edgeecg.io.library import load_wfdb
from edgeecg.io.record import Annotations, Record

__all__ = ["find_headers", "read_wfdb", "wfdb_stem", "write_wfdb"]

_BYTES = {"8": 1.0, "16": 2.0, "24": 3.0, "32": 4.0, "61": 2.0, "80": 1.0, "160": 2.0, "212": 3 / 2}
_GAIN = re.compile(r"^(?P<gain>-?\d+(\.\d*)?([eE][-+]?\d+)?)(\(-?\d+\))?(/(?P<unit>\S+))?$")
_NAME = re.compile(r"^[A-Za-z0-9_-]+$")
_NUMBER = r"\d*\.?\d+\.?"
_RATE = re.compile(rf"{_NUMBER}(/-?{_NUMBER}(\(-?{_NUMBER}\))?)?")  # the rate, that of a counter, its base
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
        Extension of the annotation file; by default ``atr`` where it is there, and none where empty.

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
    read = _read_segments if getattr(header, "n_seg", None) is not None else _read_signals
    channels = read(wfdb, stem, header, gain is not None)
    chosen = chosen_channels(stem.name, channels, leads, any_unit=gain is not None or units is not None)
    signal, fs, names = in_millivolts(stem.name, chosen, gain=gain, units=units)
    marks = None if annotator == "" else _annotations(stem, annotator, len(signal), fs)
    start = header.base_datetime if isinstance(header.base_datetime, datetime) else None
    return Record(stem.name, signal, fs, names, marks, None, start)


def write_wfdb(record: Record, folder: str | os.PathLike[str], *, annotator: str = "atr") -> Path:
    """Write a record in format 16, its annotations beside it; returns the path of its header.

    The files appear under their names only when complete, the header last. A header knows no time zone: of
    a start that has one, the clock at its place is written.

    Raises
    ------
    RecordError
        If the name cannot be a WFDB record's.
    OSError
        If the disk is full.
    """
    wfdb = load_wfdb("writing WFDB records")
    if not _NAME.match(record.name):
        raise RecordError(f"record name {record.name!r} must be letters, digits, hyphens and underscores")
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    gains, baselines = _scales(record)
    with workshop(target / record.name) as made, named_when_full(target / record.name):
        wfdb.wrsamp(
            record.name,
            fs=record.fs,
            units=["mV"] * len(record.leads),
            sig_name=list(record.leads),
            p_signal=record.signal,
            fmt=["16"] * len(record.leads),
            adc_gain=gains,
            baseline=baselines,
            base_datetime=None if record.start is None else record.start.replace(tzinfo=None),
            write_dir=str(made),
        )
        samples = made / f"{record.name}.dat"
        if samples.stat().st_size != 2 * record.signal.size:  # tofile may lose some without a word
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if record.annotations is not None:
            write_annotations(target / record.name, record.annotations, record.fs, extension=annotator)
        for suffix in (".dat", ".hea"):
            os.replace(made / (record.name + suffix), target / (record.name + suffix))
    return target / f"{record.name}.hea"


def find_headers(folder: Path) -> list[Path]:
    """The headers in a folder and those under it, sorted; what is still being written lies in hidden ones."""
    found = (header for header in folder.rglob("*.hea") if not is_hidden(header.relative_to(folder)))
    return sorted(found)


def wfdb_stem(path: str | os.PathLike[str]) -> Path:
    """A record's path without the extension of one of its files."""
    plain = Path(path)
    return plain.with_suffix("") if plain.suffix in (".hea", ".dat", ".mat") else plain


def _line(error: BaseException) -> str:
    """An exception's message on one line."""
    return " ".join(str(error).split()) or type(error).__name__


def _header(wfdb: ModuleType, stem: Path) -> Any:
    """The parsed header of a record, or of a record of segments."""
    path = stem.parent / f"{stem.name}.hea"
    if not path.is_file():
        near = sorted(p.stem for p in stem.parent.glob("*.hea"))[:5] if stem.parent.is_dir() else []
        hint = f"; that folder has {', '.join(near)} ..." if near else ""
        raise RecordError(f"no record at {stem}: its header {path.name} is missing{hint}")
    if path.stat().st_size == 0:
        raise RecordError(f"header {path} is empty: fetch it again")
    _check_rate(path)
    try:
        header = wfdb.rdheader(str(stem))
    except (*_BROKEN, OSError) as error:
        raise RecordError(f"header {path} is not a WFDB header ({_line(error)}): fetch it again") from error
    if not header.n_sig or not header.fs > 0:
        wrong = "lists no signals" if not header.n_sig else f"states a rate of {header.fs} Hz"
        raise RecordError(f"record {stem}: its header {wrong}: fetch it again")
    if getattr(header, "n_seg", None) is None and None in (header.file_name, header.fmt, header.adc_gain):
        raise RecordError(f"record {stem}: its header breaks off after the first line: fetch it again")
    return header


def _check_rate(path: Path) -> None:
    """Refuse a rate that is no number: wfdb would take 250 Hz for it, or the digits that it begins with."""
    for line in path.read_text(encoding="ascii", errors="replace").splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            words = line.split()
            if len(words) > 2 and not _RATE.fullmatch(words[2]):
                raise RecordError(
                    f"{path}: rate {words[2]!r} is not a number of hertz: correct the first line"
                )
            return


def _read_segments(wfdb: ModuleType, stem: Path, header: Any, as_counts: bool) -> list[Channel]:
    """Signals of a record in several segments, by name, on one time line; NaN where a segment lacks one."""
    joined: dict[str, Channel] = {}
    begin = 0  # in frames
    for name, length in zip(header.seg_name, header.seg_len, strict=True):
        if name != "~" and length > 0:  # neither a gap nor a layout, which holds names only
            part = stem.parent / name
            for channel in _read_signals(wfdb, part, _header(wfdb, part), as_counts):
                whole = joined.get(channel.name)
                if whole is None:
                    frame = round(channel.fs / header.fs)
                    whole = channel._replace(samples=np.full(header.sig_len * frame, np.nan))
                    joined[channel.name] = whole
                if (whole.fs, whole.unit) != (channel.fs, channel.unit):
                    raise RecordError(
                        f"record {stem}: lead {channel.name} changes its rate or unit in segment {name}: "
                        f"read the segments one by one"
                    )
                at = round(begin * channel.fs / header.fs)
                whole.samples[at : at + len(channel.samples)] = channel.samples
        begin += length
    return list(joined.values())


def _read_signals(wfdb: ModuleType, stem: Path, header: Any, as_counts: bool) -> list[Channel]:
    """Signals of a record in one piece, in the header's units or as counts above their baseline."""
    _check_sizes(stem, header)
    units = _units(stem, header.n_sig)
    if _published(stem.name, header):
        units = ["mV"] * len(units)
    try:
        raw = wfdb.rdrecord(str(stem), smooth_frames=False)  # each signal as it was sampled
    except (*_BROKEN, OSError) as error:
        raise RecordError(f"record {stem}: its files do not fit its header ({_line(error)})") from error
    return [
        Channel(
            name or f"ECG{i + 1}",
            np.asarray(samples, dtype=np.float64) * (gain if as_counts else 1.0),
            float(raw.fs) * (frame or 1),
            unit,
        )
        for i, (name, samples, gain, frame, unit) in enumerate(
            zip(raw.sig_name, raw.e_p_signal, raw.adc_gain, raw.samps_per_frame, units, strict=True)
        )
    ]


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


def _units(stem: Path, n_sig: int) -> list[str | None]:
    """Unit of each signal by the header's own text, ``None`` where the gain is missing or 0.

    wfdb would fill in 200 for such a gain, and drop the first letter of a microvolt that is not ASCII.
    """
    content = (stem.parent / f"{stem.name}.hea").read_bytes()
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    lines = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    units: list[str | None] = []
    for fields in lines[1 : 1 + n_sig]:
        match = _GAIN.match(fields[2]) if len(fields) > 2 else None
        units.append((match["unit"] or "mV") if match is not None and float(match["gain"]) != 0 else None)
    return units


def _published(name: str, header: Any) -> bool:
    """Whether this is one of the public records whose gain is known though their header has none."""
    signals, fs = tuple(header.sig_name or ()), float(header.fs)
    return any(
        pattern.match(name) and (signals, fs) == (names, rate)
        for pattern, names, rate in _PUBLISHED_WITHOUT_GAIN
    )


def _annotations(stem: Path, annotator: str | None, n: int, fs: float) -> Annotations | None:
    """Reference marks inside the record, at its rate."""
    extension = annotator or "atr"
    if annotator is None and not (stem.parent / f"{stem.name}.{extension}").is_file():
        return None
    marks = read_annotations(stem, extension, fs=fs)
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
