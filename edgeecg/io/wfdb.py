"""WFDB records: PhysioNet's header and signal files, any format that the wfdb package reads."""

from __future__ import annotations

import errno
import os
import re
from collections import deque
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeecg.errors import RecordError
from edgeecg.io.annotation import marks_within, read_annotations, write_annotations
from edgeecg.io.atomic import named_when_full, workshop
from edgeecg.io.channels import Channel, chosen_channels, in_millivolts
from edgeecg.io.library import load_wfdb
from edgeecg.io.record import Annotations, Record
from edgeecg.io.wfdb_header import BROKEN, check_sizes, one_line, read_header, units_of, without_gain

__all__ = ["find_headers", "folders_in", "read_wfdb", "wfdb_stem", "write_wfdb"]

LOST = "lost+found"
"""At the root of every Linux disk or card, where root alone may read it; nobody puts recordings there."""

MOST_SAMPLES = 2**32
"""Samples of a lead in segments, at most: 32 GiB. A gap of any length can be written into a header."""

_NAME = re.compile(r"^[A-Za-z0-9_-]+$")


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
        In millivolts; missing samples are NaN; annotations past the end are left out (with a warning
        where they are more than a few).

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
    header = read_header(wfdb, stem)
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
    """The headers in a folder and those under it, sorted; what is still being written lies in hidden ones.

    One whose name ends in capitals is there as it ought to be called, so that its reader says so.
    """
    files = (file for place in folders_in(folder) for file in place.iterdir())
    headers = (file for file in files if file.suffix.lower() == ".hea" and not file.name.startswith("."))
    return sorted({header.with_suffix(".hea") for header in headers})


def folders_in(root: Path) -> list[Path]:
    """A folder and all in it but hidden ones and ``lost+found``, each once, by its own name before a link's.

    Raises
    ------
    OSError
        One may not be read.
    """
    found: dict[Path, Path] = {}
    waiting = deque([root])
    while waiting:
        folder = waiting.popleft()
        place = folder.resolve()
        if place in found:  # a link may lead back
            continue
        found[place] = folder
        for item in sorted(folder.iterdir()):
            if item.is_dir() and not item.name.startswith(".") and item.name != LOST:
                (waiting.append if item.is_symlink() else waiting.appendleft)(item)
    return sorted(found.values())


def wfdb_stem(path: str | os.PathLike[str]) -> Path:
    """A record's path without the extension of one of its files."""
    plain = Path(path)
    return plain.with_suffix("") if plain.suffix.lower() in (".hea", ".dat", ".mat") else plain


def _read_segments(wfdb: ModuleType, stem: Path, header: Any, as_counts: bool) -> list[Channel]:
    """Signals of a record in several segments, by name, on one time line; NaN where a segment lacks one."""
    joined: dict[str, Channel] = {}
    total = sum(header.seg_len)
    if header.sig_len not in (None, total):
        raise RecordError(
            f"record {stem}: its header states {header.sig_len} samples, its segments hold {total}: "
            "correct the first line"
        )
    begin = 0  # in frames
    for name, length in zip(header.seg_name, header.seg_len, strict=True):
        if name != "~" and length > 0:  # neither a gap nor a layout, which holds names only
            for channel in _read_segment(wfdb, stem, header, name, length, as_counts):
                frame = round(channel.fs / header.fs)
                whole = joined.get(channel.name)
                if whole is None:
                    whole = channel._replace(samples=_nothing(stem, total * frame))
                    joined[channel.name] = whole
                if (whole.fs, whole.unit) != (channel.fs, channel.unit):
                    raise RecordError(
                        f"record {stem}: lead {channel.name} changes its rate or unit in segment {name}: "
                        f"read the segments one by one"
                    )
                whole.samples[begin * frame : (begin + length) * frame] = channel.samples
        begin += length
    return list(joined.values())


def _read_segment(
    wfdb: ModuleType, stem: Path, header: Any, name: str, length: int, as_counts: bool
) -> list[Channel]:
    """Signals of one segment, which must be what the record's header says of it."""
    part = read_header(wfdb, stem.parent / name)
    if getattr(part, "n_seg", None) is not None:
        raise RecordError(f"record {stem}: segment {name} is in segments itself: read it by itself")
    if part.fs != header.fs:
        raise RecordError(
            f"record {stem}: it has {header.fs:g} Hz, its segment {name} {part.fs:g}: correct the header "
            "that is wrong, or read the segments one by one"
        )
    channels = _read_signals(wfdb, stem.parent / name, part, as_counts)
    if any(len(channel.samples) != length * round(channel.fs / header.fs) for channel in channels):
        raise RecordError(
            f"record {stem}: segment {name} does not hold the {length} samples that the record's header "
            "states: correct the headers"
        )
    return channels


def _nothing(stem: Path, samples: int) -> NDArray[np.float64]:
    """So many missing samples."""
    try:
        if samples > MOST_SAMPLES:
            raise MemoryError
        return np.full(samples, np.nan)
    except (ValueError, MemoryError) as error:
        raise RecordError(
            f"record {stem}: its header states {samples} samples, which no memory holds: correct it"
        ) from error


def _read_signals(wfdb: ModuleType, stem: Path, header: Any, as_counts: bool) -> list[Channel]:
    """Signals of a record in one piece, in the header's units or as counts above their baseline."""
    check_sizes(stem, header)
    units = units_of(stem, header.n_sig)
    if without_gain(stem.name, header):
        units = ["mV"] * len(units)
    try:
        raw = wfdb.rdrecord(str(stem), smooth_frames=False)  # each signal as it was sampled
    except (*BROKEN, OSError) as error:
        raise RecordError(f"record {stem}: its files do not fit its header ({one_line(error)})") from error
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


def _annotations(stem: Path, annotator: str | None, n: int, fs: float) -> Annotations | None:
    """Reference marks inside the record, at its rate."""
    extension = annotator or "atr"
    if annotator is None and not (stem.parent / f"{stem.name}.{extension}").is_file():
        return None
    return marks_within(read_annotations(stem, extension, fs=fs), n, f"{stem}.{extension}")


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
