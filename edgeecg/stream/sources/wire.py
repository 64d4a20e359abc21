"""Packets as messages, for WebSocket and MQTT. Two forms, told apart by their first bytes.

JSON text::

    {"fs": 250, "leads": ["MLII"], "units": "mV", "sample": 1200, "time": 1.7e9, "stamp": null,
     "samples": [0.01, 0.02, null]}

``samples`` is a list of numbers (one lead) or of rows; ``null`` is a missing sample. Only ``samples`` is
needed in every message; ``fs`` must be in the first one.

Binary, little-endian: magic ``ECG1``, then ``uint32`` rows, ``uint16`` leads, ``uint16`` zero, ``float64``
rate (NaN: not told), ``int64`` sample (-1: not told), ``int64`` stamp in ns (-1), ``float64`` Unix time
(NaN), then rows x leads ``float32`` millivolts.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Union

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeecg.errors import PacketError
from edgeecg.pipeline import MOST_LEADS
from edgeecg.stream.sources.base import MILLIVOLTS, Packet
from edgeecg.stream.wallclock import CALENDAR

__all__ = ["Message", "decode_message", "encode_binary", "encode_json"]

LONGEST = 1 << 20
"""Bytes of a message, as a WebSocket has at most: each MiB of JSON takes a second, of everybody else too."""

MAGIC = b"ECG1"
HEAD = struct.Struct("<4sIHHdqqd")
Count = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
Number = Union[float, None]


@dataclass(frozen=True)
class Message:
    """A packet, and what its sender says of rate and leads (``None``, empty: nothing)."""

    packet: Packet
    fs: float | None = None
    leads: tuple[str, ...] = ()


class _Json(msgspec.Struct):
    samples: list[Union[float, list[Number], None]]
    fs: float | None = None
    leads: tuple[str, ...] = ()
    units: str = "mV"
    sample: Count | None = None
    stamp: Count | None = None
    time: float | None = None


def decode_message(data: bytes | str) -> Message:
    """A message of either form.

    Raises
    ------
    PacketError
        If it is neither, or holds what no packet can hold.
    """
    raw = data.encode() if isinstance(data, str) else bytes(data)
    if len(raw) > LONGEST:
        raise PacketError(
            f"a message has {len(raw)} bytes, more than {LONGEST}: send packets of a few seconds"
        )
    message = _decode_binary(raw) if raw[:4] == MAGIC else _decode_json(raw)
    if any(not lead.strip() or not lead.isprintable() for lead in message.leads):
        raise PacketError("a message names a lead that is empty or cannot be printed: write I, II, V1 ...")
    if message.fs is not None and not (math.isfinite(message.fs) and message.fs > 0):
        raise PacketError(f"a message gives fs={message.fs}, which is no rate in hertz")
    if message.leads and len(message.leads) != message.packet.samples.shape[1]:
        raise PacketError(
            f"a message names {len(message.leads)} leads but has {message.packet.samples.shape[1]} columns"
        )
    return message


def _decode_json(raw: bytes) -> Message:
    try:
        said = msgspec.json.decode(raw, type=_Json)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PacketError(f"a message is neither a JSON packet nor a binary one: {error}") from None
    if said.units not in MILLIVOLTS:
        raise PacketError(f"a message has units {said.units[:10]!r}: write {', '.join(MILLIVOLTS)}")
    samples = _table(said.samples, len(said.leads) or 1, MILLIVOLTS[said.units])
    return Message(Packet(samples, said.sample, said.stamp, _moment(said.time)), said.fs, said.leads)


def _moment(time: float | None) -> float | None:
    """A message's time in Unix seconds; none where it is no number."""
    if time is None or not math.isfinite(time):
        return None
    if not CALENDAR[0] <= time < CALENDAR[1]:
        raise PacketError(f"a message gives time={time:.17g}, no Unix time in seconds (milliseconds?)")
    return time


def _table(rows: Sequence[float | list[Number] | None], leads: int, millivolts: float) -> NDArray[np.float64]:
    """``(n, leads)`` millivolts; NaN for what is no number, or none of millivolts."""
    if not rows:
        return np.empty((0, leads))
    listed = [row if isinstance(row, list) else [row] for row in rows]
    width = len(listed[0])
    if width == 0 or any(len(row) != width for row in listed):
        raise PacketError("the rows of a message differ in length or are empty: one number a lead in each")
    _check_leads(width)
    with np.errstate(over="ignore"):
        values = np.array(listed, dtype=np.float64) * millivolts
    return np.where(np.isfinite(values), values, np.nan)


def _check_leads(leads: int) -> None:
    if leads > MOST_LEADS:
        raise PacketError(f"a message has {leads} leads, more than {MOST_LEADS}: a row is a sample of each")


def _decode_binary(raw: bytes) -> Message:
    if len(raw) < HEAD.size:
        raise PacketError(f"a binary message of {len(raw)} bytes is shorter than its head of {HEAD.size}")
    _, rows, leads, _, fs, sample, stamp, time = HEAD.unpack_from(raw)
    if leads == 0 or len(raw) != HEAD.size + 4 * rows * leads:
        raise PacketError(
            f"a binary message says {rows} rows of {leads} leads, but {len(raw) - HEAD.size} bytes follow"
        )
    _check_leads(leads)
    values = np.frombuffer(raw, dtype="<f4", offset=HEAD.size).astype(np.float64).reshape(rows, leads)
    packet = Packet(
        np.where(np.isfinite(values), values, np.nan),
        sample if sample >= 0 else None,
        stamp if stamp >= 0 else None,
        _moment(time),
    )
    return Message(packet, None if math.isnan(fs) else fs)


def encode_json(packet: Packet, fs: float | None = None, leads: tuple[str, ...] = ()) -> bytes:
    """A packet as JSON text, in millivolts."""
    rows = [[None if math.isnan(v) else v for v in row] for row in packet.samples.tolist()]
    body = _Json(list(rows), fs, leads, "mV", packet.sample, packet.stamp, packet.time)
    return msgspec.json.encode(body)


def encode_binary(packet: Packet, fs: float | None = None) -> bytes:
    """A packet as a binary message; samples are rounded to float32."""
    head = HEAD.pack(
        MAGIC,
        *packet.samples.shape,
        0,
        math.nan if fs is None else fs,
        -1 if packet.sample is None else packet.sample,
        -1 if packet.stamp is None else packet.stamp,
        math.nan if packet.time is None else packet.time,
    )
    return head + packet.samples.astype("<f4").tobytes()
