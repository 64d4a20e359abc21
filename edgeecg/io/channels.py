"""What every reader shares: which channels are ECG leads, of one rate, and in which unit."""

from __future__ import annotations

import re
from collections.abc import Sequence
from numbers import Real
from shlex import quote
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeecg.errors import RecordError

__all__ = [
    "PLAUSIBLE_MILLIVOLTS",
    "WINDOW_SECONDS",
    "Channel",
    "Leads",
    "chosen_channels",
    "in_millivolts",
    "millivolts_per_unit",
    "printable",
    "typical_span",
]

_VOLTAGES = {
    "v": 1e3, "volt": 1e3, "volts": 1e3,
    "mv": 1.0, "millivolt": 1.0, "millivolts": 1.0,
    "uv": 1e-3, "\N{MICRO SIGN}v": 1e-3, "\N{GREEK SMALL LETTER MU}v": 1e-3,
    "microvolt": 1e-3, "microvolts": 1e-3,
    "nv": 1e-6, "nanovolt": 1e-6, "nanovolts": 1e-6,
}  # fmt: skip
_ECG = re.compile(r"ecg|ekg", re.IGNORECASE)
_OTHER = re.compile(r"^(eeg|eog|emg|resp|abp|pleth|acc|scg|pcg)", re.IGNORECASE)
# ECG spans 0.2 to 10 mV in ten seconds; counts and microvolts span hundreds, wrongly shrunk millivolts less
PLAUSIBLE_MILLIVOLTS = 0.01, 50.0
WINDOW_SECONDS = 10.0


class Channel(NamedTuple):
    """One channel as its file holds it: ``unit`` is ``None`` where the file states none."""

    name: str
    samples: NDArray[np.float64]
    fs: float
    unit: str | None


class Leads(NamedTuple):
    """Leads of one rate in millivolts: ``(n, leads)``."""

    signal: NDArray[np.float64]
    fs: float
    names: tuple[str, ...]


def millivolts_per_unit(unit: str | None) -> float | None:
    """Millivolts in one of a unit, ``None`` for anything that is no voltage."""
    return None if unit is None else _VOLTAGES.get(unit.strip().lower())


def chosen_channels(
    record: str, channels: Sequence[Channel], leads: Sequence[str] | None, any_unit: bool
) -> list[Channel]:
    """The channels that are ECG leads, or those that ``leads`` names.

    Parameters
    ----------
    record : str
        Name for messages.
    channels : sequence of Channel
    leads : sequence of str, optional
        Names to take, in this order.
    any_unit : bool
        Whether the caller states the unit, so that channels without one count.

    Raises
    ------
    RecordError
        If a lead is not there, all channels are named as something else (EEG, Resp and so on), or nothing is
        an ECG lead in a known unit.
    """
    channels = [
        channel._replace(name=printable(channel.name), unit=channel.unit and printable(channel.unit))
        for channel in channels
    ]
    names = [channel.name for channel in channels]
    if leads is not None:
        missing = [lead for lead in leads if lead not in names]
        if missing or not leads:
            raise RecordError(
                f"record {record} has no lead {', '.join(map(repr, missing)) or '(none was named)'}; "
                f"choose among {', '.join(names)}"
            )
        return [channels[names.index(lead)] for lead in leads]
    ecg = [channel for channel in channels if _ECG.search(channel.name)]
    others = [channel for channel in channels if not _OTHER.match(channel.name)]
    if channels and not (ecg or others):
        raise RecordError(
            f"record {record} has no ECG by its channels' names ({', '.join(names)}): name the lead if one "
            f"is an ECG after all (--lead {quote(names[0])}, leads=[{names[0]!r}])"
        )
    candidates = ecg or others
    known = [channel for channel in candidates if any_unit or millivolts_per_unit(channel.unit) is not None]
    if not known:
        units = ", ".join(f"{channel.name}: {channel.unit or 'none'}" for channel in channels)
        raise RecordError(
            f"record {record} holds raw counts or a unit that is no voltage ({units or 'no channels'}): "
            "give the gain in counts per millivolt (--gain 200, gain=200) or the unit (--units uV, "
            "units='uV'), or write it into the file"
        )
    return known


def printable(name: str) -> str:
    """A lead's name, or its unit, without characters that would steer a terminal."""
    return "".join(character if character.isprintable() else "?" for character in name)


def in_millivolts(
    record: str, channels: Sequence[Channel], *, gain: float | None, units: str | None
) -> Leads:
    """Chosen channels as one array in millivolts; infinite samples are missing ones, as in a stream.

    Parameters
    ----------
    record : str
        Name for messages.
    channels : sequence of Channel
    gain : float, optional
        Stored numbers per unit, where the caller knows better than the file.
    units : str, optional
        Unit of the numbers (after division by ``gain``), likewise; millivolts where only a gain is given.

    Raises
    ------
    RecordError
        For leads of unequal rate or length, an unknown unit or gain, no valid samples, or amplitudes that no
        ECG in the stated unit has.
    """
    _check_rates(record, channels)
    if gain is not None and not (isinstance(gain, Real) and np.isfinite(gain) and gain != 0):
        raise RecordError(f"record {record}: gain {gain!r} is not a number of counts per unit other than 0")
    stated = units if units is not None else ("mV" if gain is not None else None)
    columns = []
    for channel in channels:
        unit = stated or channel.unit
        factor = millivolts_per_unit(unit)
        if factor is None:
            raise RecordError(
                f"record {record}, lead {channel.name}: unit {unit or 'none'} is no voltage: "
                "say V, mV, uV or nV (--units uV, units='uV'), or give a gain in counts per millivolt "
                "(--gain 200, gain=200)"
            )
        columns.append(channel.samples * (factor / (gain or 1.0)))
    signal = np.stack(columns, axis=1)
    signal[np.isinf(signal)] = np.nan
    leads = Leads(signal, channels[0].fs, _distinct([channel.name for channel in channels]))
    _check_samples(record, leads, told=stated is not None)
    return leads


def _check_rates(record: str, channels: Sequence[Channel]) -> None:
    """All leads must share one rate and one length."""
    if len({(channel.fs, len(channel.samples)) for channel in channels}) > 1:
        rates = ", ".join(f"{c.name}: {len(c.samples)} at {c.fs:g} Hz" for c in channels)
        raise RecordError(
            f"record {record} has leads of unequal rate or length ({rates}): "
            f"choose those of one rate (--lead {quote(channels[0].name)}, leads=[{channels[0].name!r}])"
        )


def _check_samples(record: str, leads: Leads, told: bool) -> None:
    """Some samples must be there, no larger than ECG can be, and in a unit just told no smaller."""
    signal = leads.signal
    if signal.size == 0:
        raise RecordError(f"record {record} is empty: it has no samples")
    if np.isnan(signal).all():
        raise RecordError(f"record {record} has no valid sample: all are NaN, infinite or marked as missing")
    spans = [typical_span(signal[:, i], leads.fs) for i in range(signal.shape[1])]
    largest = int(np.argmax(spans))
    smallest, most = PLAUSIBLE_MILLIVOLTS
    # what a file states is read even where nothing but noise was recorded
    if spans[largest] > most or (told and 0 < spans[largest] < smallest):
        raise RecordError(
            f"record {record}, lead {leads.names[largest]}: samples span {spans[largest]:.2g} mV, no ECG "
            "does: the stated unit or gain is wrong; correct the file, or give the right one "
            "(--units uV, units='uV', or --gain N)"
        )


def typical_span(lead: NDArray[np.float64], fs: float) -> float:
    """Median over ten-second windows of the range that holds the middle 98 % of samples."""
    width = max(1, min(len(lead), round(WINDOW_SECONDS * fs)))
    windows = lead[: len(lead) // width * width].reshape(-1, width)
    windows = windows[np.isfinite(windows).all(axis=1)]
    if len(windows) == 0:
        return 0.0
    low, high = np.percentile(windows, [1, 99], axis=1)
    return float(np.median(high - low))


def _distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Names with a number where two leads are called the same, or nothing."""
    result: list[str] = []
    for i, name in enumerate(names):
        name = name or f"ECG{i + 1}"
        result.append(name if name not in result else f"{name}#{i + 1}")
    return tuple(result)
