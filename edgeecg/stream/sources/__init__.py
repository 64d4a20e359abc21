"""Where signal comes from: one small file a source, found by `open_source`."""

from __future__ import annotations

from edgeecg.stream.sources.base import Packet, Source
from edgeecg.stream.sources.registry import SOURCES, open_source

__all__ = ["SOURCES", "Packet", "Source", "open_source"]
