"""Where events go: one small file a sink, found by `open_sink`."""

from __future__ import annotations

from edgeecg.stream.sinks.base import SCHEMA, Header, SignalSink, Sink, WardSink
from edgeecg.stream.sinks.fanout import Fanout
from edgeecg.stream.sinks.registry import SINKS, open_sink

__all__ = ["SCHEMA", "SINKS", "Fanout", "Header", "SignalSink", "Sink", "WardSink", "open_sink"]
