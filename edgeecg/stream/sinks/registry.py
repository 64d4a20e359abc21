"""Sinks by name: what ``edgeecg stream --sink SPEC`` and a gateway's TOML file may say."""

from __future__ import annotations

from typing import Any

from edgeecg.stream.address import Form, build
from edgeecg.stream.sinks.base import Sink

__all__ = ["SINKS", "open_sink"]

_ROOM = "edgeecg.stream.sinks"

SINKS = (
    Form("jsonl", "jsonl:PATH", f"{_ROOM}.jsonl:JsonLinesSink", "JSON lines into a file"),
    Form("-", "-", f"{_ROOM}.jsonl:JsonLinesSink", "JSON lines to standard output"),
    Form("wfdb", "wfdb:FOLDER", f"{_ROOM}.wfdb_files:WfdbSink", "WFDB annotation files", extra="records"),
    Form("lsl", "lsl:NAME", f"{_ROOM}.lsl:LslSink", "Lab Streaming Layer markers", extra="lsl"),
    Form("mqtt", "mqtt://HOST/TOPIC", f"{_ROOM}.mqtt:MqttSink", "an MQTT topic", whole=True, extra="mqtt"),
    Form(
        "mqtts", "mqtts://HOST/TOPIC", f"{_ROOM}.mqtt:MqttSink", "the same with TLS", whole=True, extra="mqtt"
    ),
    Form("ws", "ws:PORT", f"{_ROOM}.websocket:WebSocketSink", "a WebSocket server", extra="websocket"),
    Form("page", "page:PORT", f"{_ROOM}.page:PageSink", "a page for people: traces, rates, alarms"),
    Form(
        "prometheus",
        "prometheus:PORT",
        f"{_ROOM}.prometheus:PrometheusSink",
        "metrics for Prometheus",
        extra="prometheus",
    ),
    Form("fhir", "fhir:FOLDER", f"{_ROOM}.fhir:FhirSink", "FHIR R4 Observations of findings", extra="fhir"),
)
"""Every form, in the order of help texts."""


def open_sink(text: str, **options: Any) -> Sink:
    """Make the sink that ``text`` names; its first `Sink.open` reaches whatever is behind it.

    Parameters
    ----------
    text : str
        One of the forms of `SINKS`; options may follow after a ``?``.
    **options
        Options of the sink by keyword; they win over those in the text, and ``None`` means not given.

    Raises
    ------
    ConfigError
        If no form fits, or an option is unknown or out of range.

    Examples
    --------
    >>> from edgeecg.specs import Beat
    >>> from edgeecg.stream.sinks import Header
    >>> with open_sink("jsonl:events.jsonl") as sink:  # doctest: +SKIP
    ...     sink.open(Header("bed-3", 250.0, ("MLII",), "small", "9f2c"))
    ...     sink.write(Beat(343, "N", 0.998, 0.97, 0.81), "bed-3")
    """
    sink: Sink = build("sink", text, SINKS, options)
    return sink
