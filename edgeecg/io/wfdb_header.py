"""The header of a WFDB record: what it must say, and whether its signal files fit it."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType
from typing import Any

from edgeecg.errors import RecordError

__all__ = ["BROKEN", "check_sizes", "one_line", "read_header", "units_of", "without_gain"]

_BYTES = {"8": 1.0, "16": 2.0, "24": 3.0, "32": 4.0, "61": 2.0, "80": 1.0, "160": 2.0, "212": 3 / 2}
_GAIN = re.compile(r"^(?P<gain>-?\d+(\.\d*)?([eE][-+]?\d+)?)(\(-?\d+\))?(/(?P<unit>\S+))?$")
_NUMBER = r"\d*\.?\d+\.?"
_RATE = re.compile(rf"{_NUMBER}(/-?{_NUMBER}(\(-?{_NUMBER}\))?)?")  # the rate, that of a counter, its base
_PUBLISHED_WITHOUT_GAIN = (
    # Records of PhysioNet's svdb and the noise of nstdb state gain 0, which stands for 200 counts per mV:
    # name, names of the signals, rate.
    (re.compile(r"^8\d\d$"), ("ECG1", "ECG2"), 128.0),
    (re.compile(r"^(bw|em|ma)$"), ("noise1", "noise2"), 360.0),
)
BROKEN = (ValueError, IndexError, KeyError, TypeError, AttributeError, ArithmeticError)
"""What wfdb raises on a broken header."""


def read_header(wfdb: ModuleType, stem: Path) -> Any:
    """The parsed header of a record, or of a record of segments."""
    path = stem.parent / f"{stem.name}.hea"
    if not path.is_file():
        there = sorted(stem.parent.iterdir()) if stem.parent.is_dir() else []
        for file in there:
            if file.name.lower() == path.name.lower():
                told = f"its header is called {file.name}: rename it to {path.name}"
                raise RecordError(f"record {stem}: {told}")
        near = [file.stem for file in there if file.suffix == ".hea"][:5]
        hint = f"; that folder has {', '.join(near)} ..." if near else ""
        raise RecordError(f"no record at {stem}: its header {path.name} is missing{hint}")
    if path.stat().st_size == 0:
        raise RecordError(f"header {path} is empty: copy or fetch it again")
    _check_first_line(path)
    try:
        header = wfdb.rdheader(str(stem))
    except (*BROKEN, OSError) as error:
        raise RecordError(
            f"header {path} is not a WFDB header ({one_line(error)}): copy or fetch it again"
        ) from error
    if not header.n_sig or not header.fs > 0:
        wrong = "lists no signals" if not header.n_sig else f"states a rate of {header.fs} Hz"
        raise RecordError(f"record {stem}: its header {wrong}: copy or fetch it again")
    if getattr(header, "n_seg", None) is None and None in (header.file_name, header.fmt, header.adc_gain):
        raise RecordError(
            f"record {stem}: its header breaks off after the first line: copy or fetch it again"
        )
    return header


def _check_first_line(path: Path) -> None:
    """Refuse a rate that is no number, and more signals than are described.

    wfdb would take 250 Hz for such a rate, or the digits that it begins with, and memory for every signal.
    """
    lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    said = [line.split() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    first = said[0] if said else []
    if len(first) > 2 and not _RATE.fullmatch(first[2]):
        raise RecordError(f"{path}: rate {first[2]!r} is not a number of hertz: correct the first line")
    described = len(said) - 1
    if described > 0 and "/" not in first[0]:
        count = first[1] if len(first) > 1 else ""
        if count.isdecimal() and float(count) > described:
            raise RecordError(
                f"header {path} breaks off: it states {count[:20]} signals, {described} are there: "
                "copy or fetch it again"
            )


def check_sizes(stem: Path, header: Any) -> None:
    """Every signal file must be as long as the header says."""
    for name in dict.fromkeys(header.file_name):
        members = [i for i, file in enumerate(header.file_name) if file == name]
        path = stem.parent / name
        if not path.is_file():
            raise RecordError(f"record {stem}: its signal file {name} is missing: copy or fetch it again")
        size = path.stat().st_size
        if size == 0:
            raise RecordError(f"record {stem}: its signal file {name} is empty: copy or fetch it again")
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
                "copy or fetch it again, or correct the number of samples in the header"
            )


def units_of(stem: Path, n_sig: int) -> list[str | None]:
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


def without_gain(name: str, header: Any) -> bool:
    """Whether this is one of the public records whose gain is known though their header has none."""
    signals, fs = tuple(header.sig_name or ()), float(header.fs)
    return any(
        pattern.match(name) and (signals, fs) == (names, rate)
        for pattern, names, rate in _PUBLISHED_WITHOUT_GAIN
    )


def one_line(error: BaseException) -> str:
    """An exception's message on one line; of a damaged file it may hold bytes that no terminal should get."""
    plain = "".join(letter if letter.isprintable() else " " for letter in str(error))
    return " ".join(plain.split()) or type(error).__name__
