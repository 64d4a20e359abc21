"""Headers and events as lines of JSON, and back: the text behind JSON lines, MQTT, WebSocket and LSL.

A header line has ``"edgeecg": "header"`` and the schema's version; an event line has ``"event"``::

    {"edgeecg":"header","schema":1,"software":"0.1.0","patient":"bed-3","fs":250.0,"leads":["MLII"],
     "model":"small","digest":"9f2c...","backend":"onnxruntime","precision":"fp32","start":null,
     "number":3}
    {"event":"beat","patient":"bed-3","time":"2026-05-01T08:00:01.372Z","sample":343,"label":"N",
     "probability":0.998,"quality":0.97,"rr":0.81}
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Union

import msgspec

import edgeecg
from edgeecg.errors import RecordError
from edgeecg.specs import Alarm, Beat, Event, Gap, Quality, Rhythm
from edgeecg.stream.sinks.base import SCHEMA, Header, event_name
from edgeecg.stream.wallclock import iso_time

__all__ = ["EventLine", "event_line", "header_line", "parse_line", "read_lines"]

_KINDS: dict[str, type[Any]] = {kind.__name__.lower(): kind for kind in (Beat, Rhythm, Quality, Gap, Alarm)}


@dataclass(frozen=True)
class EventLine:
    """An event as it was read back, with its patient and the time of its sample (UTC)."""

    patient: str
    event: Event
    time: datetime | None = None


def header_line(header: Header) -> bytes:
    """A header as one line of JSON, without the line's end."""
    told = {"edgeecg": "header", "schema": SCHEMA, "software": edgeecg.__version__}
    return msgspec.json.encode(told | msgspec.to_builtins(header))


def event_line(event: Event, patient: str, time: float | None = None) -> bytes:
    """An event as one line of JSON, without the line's end."""
    told: dict[str, Any] = {"event": event_name(event), "patient": patient}
    if time is not None:
        told["time"] = iso_time(time)
    return msgspec.json.encode(told | msgspec.to_builtins(event))


def parse_line(line: bytes | str) -> Union[Header, EventLine]:
    """What a line says.

    Raises
    ------
    RecordError
        If it is no line of this schema.
    """
    try:
        told = msgspec.json.decode(line, type=dict[str, Any])
        if told.get("edgeecg") == "header":
            if told.get("schema") != SCHEMA:
                raise RecordError(
                    f"events of schema {told.get('schema')!r}: this version reads schema {SCHEMA}"
                )
            return msgspec.convert(told, Header)
        kind = _KINDS.get(str(told.get("event")))
        if kind is None:
            raise RecordError("a line is neither a header nor an event: is this a file of EdgeECG events?")
        stamp = msgspec.convert(told.get("time"), Union[datetime, None])
        return EventLine(msgspec.convert(told.get("patient"), str), msgspec.convert(told, kind), stamp)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RecordError(f"a line is no event: {error}") from None


def read_lines(path: Path | str) -> Iterator[Union[Header, EventLine]]:
    """Headers and events of a JSON lines file, in the order in which they were written.

    Raises
    ------
    RecordError
        If the file is missing or a line is damaged; the message names the line.
    """
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                yield _numbered(path, number, line)
    except OSError as error:
        raise RecordError(f"{path} cannot be read: {error.strerror}") from error


def _numbered(path: Path | str, number: int, line: bytes) -> Union[Header, EventLine]:
    try:
        return parse_line(line)
    except RecordError as error:
        raise RecordError(f"{path}, line {number}: {error}") from None
