"""Sources by name: what ``edgeecg stream SOURCE`` and a gateway's TOML file may say."""

from __future__ import annotations

from typing import Any

from edgeecg.stream.address import Form, build
from edgeecg.stream.sources.base import Source

__all__ = ["SOURCES", "open_source"]

_ROOM = "edgeecg.stream.sources"

SOURCES = (
    Form("", "PATH", f"{_ROOM}.replay:ReplaySource", "a recording: WFDB, EDF, CSV or Parquet"),
    Form("-", "-", f"{_ROOM}.stdin:StdinSource", "standard input: lines of text, or packed float32"),
    Form("lsl", "lsl:NAME", f"{_ROOM}.lsl:LslSource", "a Lab Streaming Layer stream", extra="lsl"),
    Form(
        "polar",
        "polar:ADDRESS",
        f"{_ROOM}.polar:PolarSource",
        "a Polar H10 chest strap (or polar:auto)",
        extra="ble",
    ),
    Form(
        "serial",
        "serial:DEVICE",
        f"{_ROOM}.serial_port:SerialSource",
        "a serial port, a line a sample",
        extra="serial",
    ),
    Form(
        "ws",
        "ws://HOST/PATH",
        f"{_ROOM}.websocket:WebSocketSource",
        "a WebSocket server",
        whole=True,
        extra="websocket",
    ),
    Form(
        "wss",
        "wss://HOST/PATH",
        f"{_ROOM}.websocket:WebSocketSource",
        "the same with TLS",
        whole=True,
        extra="websocket",
    ),
    Form("mqtt", "mqtt://HOST/TOPIC", f"{_ROOM}.mqtt:MqttSource", "an MQTT topic", whole=True, extra="mqtt"),
    Form(
        "mqtts",
        "mqtts://HOST/TOPIC",
        f"{_ROOM}.mqtt:MqttSource",
        "the same with TLS",
        whole=True,
        extra="mqtt",
    ),
    Form("synthetic", "synthetic:SEED", f"{_ROOM}.replay:SyntheticSource", "a patient of the generator"),
)
"""Every form, in the order of help texts."""


def open_source(text: str, **options: Any) -> Source:
    """Open the source that ``text`` names.

    Parameters
    ----------
    text : str
        One of the forms of `SOURCES`; options may follow: ``serial:/dev/ttyUSB0?fs=250&board=ad8232``.
    **options
        Options of the source by keyword; they win over those in the text, and ``None`` means not given.

    Returns
    -------
    Source
        Open; close it, or use it in a ``with`` statement.

    Raises
    ------
    ConfigError
        If no form fits, or an option is unknown or out of range.
    LinkError
        If the device or peer cannot be reached.
    MissingExtra
        If the library behind it is not installed.

    Examples
    --------
    >>> with open_source("synthetic:1", seconds=5, speed=0) as source:
    ...     packets = list(source)
    >>> source.fs, source.leads, sum(len(packet) for packet in packets)
    (360.0, ('MLII', 'V1'), 1800)
    """
    source: Source = build("source", text, SOURCES, options)
    source.open()
    return source
