"""What two lines of a gateway's file may not share: a port, a live source, a file, a topic.

Slips of copy and paste: a second patient who gets the signal of the first, events that are told twice.
"""

from __future__ import annotations

import os
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from edgeecg.errors import ConfigError
from edgeecg.stream.address import place, split
from edgeecg.stream.mqtt_link import MqttAddress
from edgeecg.stream.sinks.base import port_of
from edgeecg.stream.sinks.registry import SINKS
from edgeecg.stream.sources.registry import SOURCES

if TYPE_CHECKING:
    from edgeecg.stream.gateway_config import GatewayConfig

__all__ = ["check_conflicts"]

LISTENING = ("page", "prometheus", "ws")  # sinks that others come to
EVERYWHERE = {"0.0.0.0", "::", "[::]"}  # every address of this machine
FILE, RECORDING, FOLDERS = "file", "recording", {"wfdb": "wfdb folder", "fhir": "fhir folder"}

Thing = tuple[str, ...]
"""What stands behind an address, the same for all ways to write it: its kind, and where it is."""


def check_conflicts(config: GatewayConfig, file: Path) -> None:
    """Refuse what would read or write the same twice.

    Parameters
    ----------
    config : GatewayConfig
        Whose sources and sinks can be read.
    file : Path
        Where it stands.

    Raises
    ------
    ConfigError
        Two listeners on one port, two patients on one live source, or two things in one file or topic.
    """
    _check_ports(config)
    sources = [(f"the source of {p.name!r}", _source(p.source)) for p in config.patients]
    sinks = [(f"sink {n} ({s.partition(':')[0]})", _sink(s)) for n, s in enumerate(config.sinks, 1)]
    files: list[tuple[str, Thing | None]] = [("the gateway's own file", _file(file))]
    files += [(f"rr= of {p.name!r}", _intervals(p.source)) for p in config.patients]
    if config.snapshot_path is not None:
        files.append(("the snapshot", _file(config.snapshot_path)))
    for (one, thing), (other, another) in combinations([*sources, *sinks, *files], 2):
        if thing is not None and another is not None and _clash(thing, another):
            raise ConfigError(f"{one} and {other} are the same {thing[0]}: name another for one of them")


def _check_ports(config: GatewayConfig) -> None:
    """Refuse two listeners on one port: one of them would never be reached."""
    listeners = [] if config.health is None else [("health", *port_of(config.health, "health"))]
    for sink in config.sinks:
        scheme, rest, _ = split(sink, SINKS)
        if scheme in LISTENING:
            listeners.append((f"sink {scheme}", *port_of(rest, scheme)))
    for (one, host, port), (other, there, same) in combinations(listeners, 2):
        hosts = {_host(name) for name in (host, there)}
        if port == same != 0 and (len(hosts) == 1 or hosts & EVERYWHERE):
            raise ConfigError(f"{one} and {other} want the same port, {port}: give one of them another")


def _clash(one: Thing, other: Thing) -> bool:
    """Whether two are one that cannot be shared, as a recording can that is played twice."""
    kinds = {one[0], other[0]}
    if kinds <= {FILE, RECORDING, *FOLDERS.values()}:
        return one[1:] == other[1:] and (FILE in kinds or (one == other and one[0] != RECORDING))
    return one == other


def _source(text: str) -> Thing | None:
    """What a source reads; ``None`` where each patient gets his own by the same words."""
    scheme, target = place("source", text, SOURCES)
    if not scheme:
        return RECORDING, _real(target)
    if scheme == "-":
        return "standard input", split(text, SOURCES)[2].get("fd", "0")
    if scheme == "serial":
        return "serial port", _real(target)
    if scheme == "polar":
        return None if target == "auto" else ("strap", target.casefold())
    if scheme == "synthetic":
        return None
    leads = split(text, SOURCES)[2].get("leads", "")  # an amplifier's stream may carry several patients
    return (*_peer(scheme, target), leads) if scheme == "lsl" and leads else _peer(scheme, target)


def _intervals(text: str) -> Thing | None:
    """The file into which a strap's own intervals go."""
    scheme, _, options = split(text, SOURCES)
    return _file(os.path.expanduser(options["rr"])) if scheme == "polar" and "rr" in options else None


def _sink(text: str) -> Thing | None:
    """What a sink writes to; ``None`` for a listener, which has a port."""
    scheme, target = place("sink", text, SINKS)
    if target == "-":
        return ("standard output",)
    if scheme == "jsonl":
        return _file(target)
    if scheme in FOLDERS:
        return FOLDERS[scheme], _real(target)
    return None if scheme in LISTENING else _peer(scheme, target)


def _peer(scheme: str, target: str) -> Thing:
    """What is reached over the network."""
    if scheme == "lsl":
        return "stream", target.removeprefix("name=")
    if scheme.startswith("mqtt"):
        address = MqttAddress.parse(target)
        return "topic", _host(address.host), str(address.port), address.topic
    parts = urlsplit(target)
    port = parts.port or {"ws": 80, "wss": 443}[scheme]
    what = f"{port}{parts.path or '/'}?{parts.query}"
    return "WebSocket", parts.username or "", _host(parts.hostname or ""), what


def _host(name: str) -> str:
    """A machine's name; its own in one way."""
    return "127.0.0.1" if name.lower() == "localhost" else name.lower()


def _file(path: Path | str) -> Thing:
    return FILE, _real(path)


def _real(path: Path | str) -> str:
    """A path behind its links, and from the root on."""
    try:
        return os.path.realpath(path)
    except ValueError:  # a zero in it
        raise ConfigError(f"{os.fspath(path)!r} cannot be a path") from None
