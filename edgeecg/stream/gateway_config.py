"""The gateway's TOML file, typed: a misspelt key or a wrong value is an error that names its place."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import msgspec

from edgeecg.bundle import LeadPolicy, Precision
from edgeecg.decode.alarms import AlarmSettings
from edgeecg.errors import ConfigError
from edgeecg.io.reading import check_reader
from edgeecg.io.toml import read_toml
from edgeecg.pipeline import step_tokens
from edgeecg.ranges import choices
from edgeecg.runtime.trt import Options
from edgeecg.runtime.trt.recover import OnDeviceError
from edgeecg.stream.address import Form, build, check_extra, split
from edgeecg.stream.gateway_conflicts import check_conflicts
from edgeecg.stream.pool import check_queue
from edgeecg.stream.sinks.registry import SINKS
from edgeecg.stream.sinks.wfdb_files import check_file_name
from edgeecg.stream.sources.registry import SOURCES

__all__ = ["GatewayConfig", "PatientConfig", "read_gateway_config"]


@dataclass(frozen=True)
class PatientConfig:
    """A patient and where the signal comes from.

    Parameters
    ----------
    name : str
        What events call the patient; a pseudonym will do.
    source : str
        As for ``edgeecg stream``, with options: ``serial:/dev/ttyUSB0?fs=250``.
    """

    name: str
    source: str

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise ConfigError("a [[patients]] table has an empty name: give every patient one")


@dataclass(frozen=True)
class GatewayConfig:
    """All that a gateway can be told.

    Parameters
    ----------
    patients : tuple of PatientConfig
        A ``[[patients]]`` table each.
    bundle, backend, precision : str
        As for :func:`edgeecg.open_engine`.
    sinks : tuple of str
        As for ``edgeecg stream --sink``; every patient's events go to all of them.
    hop, queue, lead_policy, withhold
        As for :class:`edgeecg.StreamPool`.
    poll : float
        Seconds between two looks at what has come.
    on_device_error : str
        What to do when TensorRT's GPU is lost: ``rebuild`` (the engines, or go on with ONNX Runtime), ``cpu``
        or ``raise``, which ends the gateway.
    alarms : AlarmSettings
        An ``[alarms]`` table with the limits that differ from the usual ones.
    health : str, optional
        ``PORT`` or ``HOST:PORT`` of the health page; none if left out.
    snapshot : str, optional
        File, relative to the TOML file, that the context of all patients is kept in; without it the
        gateway begins afresh at each start.
    snapshot_every : float
        Seconds between two snapshots.
    """

    patients: tuple[PatientConfig, ...]
    bundle: str = "small"
    backend: Literal["auto", "onnxruntime", "native", "tensorrt"] = "auto"
    precision: Precision | None = None
    sinks: tuple[str, ...] = ("-",)
    hop: float = 0.5
    queue: float = 10.0
    lead_policy: LeadPolicy | None = None
    withhold: bool = True
    poll: float = 0.1
    on_device_error: OnDeviceError = "rebuild"
    alarms: AlarmSettings = field(default_factory=AlarmSettings)
    health: str | None = None
    snapshot: str | None = None
    snapshot_every: float = 60.0
    folder: Path = field(default=Path())

    def __post_init__(self) -> None:
        if not self.patients:
            raise ConfigError("the gateway has no patient: add a [[patients]] table with name and source")
        names = [patient.name for patient in self.patients]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigError(f"two patients are called {twice[0]!r}: names must differ")
        self._check_files(names)
        if not 0 < self.poll <= 10 or not self.snapshot_every > 0:
            raise ConfigError("poll must lie between 0 and 10 s, and snapshot_every be more than 0 s")
        step_tokens(self.hop)  # refuses a hop that there is not
        check_queue(self.queue, self.hop)

    def _check_files(self, names: list[str]) -> None:
        """Refuse patients who would share a file of a sink that writes one for each, or get none."""
        if {sink.partition(":")[0] for sink in self.sinks} & {"wfdb", "fhir"}:
            for number, name in enumerate(names):
                check_file_name(name, names[:number])

    def check_extras(self) -> None:
        """Import what the sources and sinks need; raises ``MissingExtra`` where that is not installed."""
        for patient in self.patients:
            check_extra(patient.source, SOURCES)
            scheme, rest, _ = split(patient.source, SOURCES)
            if not scheme and rest != "-":
                check_reader(rest)
        for sink in self.sinks:
            check_extra(sink, SINKS)

    @property
    def tensorrt(self) -> Options:
        """How a TensorRT engine is opened for the gateway: built for steps of its hop."""
        return Options(hop_tokens=step_tokens(self.hop), on_device_error=self.on_device_error)

    @property
    def snapshot_path(self) -> Path | None:
        """Where the context is kept."""
        return None if self.snapshot is None else self.folder / os.path.expanduser(self.snapshot)


def read_gateway_config(path: Path | str) -> GatewayConfig:
    """Read and check a gateway's file, its sources and sinks included; nothing is opened.

    Raises
    ------
    ConfigError
        The file is missing, no TOML, or says something that there is not; the message names the place.
    """
    path = Path(path)
    told = _tables(path)
    try:
        config = msgspec.convert({**told, "folder": str(path.parent)}, GatewayConfig, dec_hook=_decode)
        for patient in config.patients:
            _check_buildable(f"the source of {patient.name!r}", "source", patient.source, SOURCES)
        for number, sink in enumerate(config.sinks, 1):
            _check_buildable(f"sink {number}", "sink", sink, SINKS)
        if config.snapshot_path is not None and config.snapshot_path.is_dir():
            raise ConfigError(f"snapshot = {config.snapshot!r} is a folder: name a file in it")
        check_conflicts(config, path)
    except (msgspec.ValidationError, ConfigError) as error:
        raise ConfigError(f"{path}: {error}{choices(str(error), GatewayConfig)}") from error
    return config


def _check_buildable(place: str, kind: str, text: str, forms: Sequence[Form]) -> None:
    """Refuse a source or sink that cannot be made, and say which of many it is."""
    try:
        build(kind, text, forms, {})
    except ConfigError as error:
        raise ConfigError(f"{place}: {error}") from error


def _tables(path: Path) -> dict[str, Any]:
    """What a gateway's file says, with no key that there is not."""
    told = read_toml(path, "configuration")
    if type(told.get("health")) is int:
        told["health"] = str(told["health"])
    tables = told.get("patients")
    _no_strangers(path, told, {item.name for item in fields(GatewayConfig)} - {"folder"})
    alarms = told.get("alarms")
    if isinstance(alarms, dict):
        _no_strangers(path, alarms, {item.name for item in fields(AlarmSettings)})
    for table in tables if isinstance(tables, list) else []:
        if isinstance(table, dict):
            more = '; options of a source stand in it, source = "...?units=uV"'
            _no_strangers(path, table, {item.name for item in fields(PatientConfig)}, more)
    return told


def _no_strangers(path: Path, table: dict[str, Any], known: set[str], more: str = "") -> None:
    unknown = sorted(set(table) - known)
    if unknown:
        raise ConfigError(f"{path}: no key {unknown[0]!r}; there are {', '.join(sorted(known))}{more}")


def _decode(kind: type, value: object) -> object:
    return kind(value)
