"""What a profile says, as JSON that a later run can be held against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from edgeecg.errors import InputError
from edgeecg.profile.energy import Energy
from edgeecg.profile.latency import Percentiles
from edgeecg.profile.layers import LayerTime
from edgeecg.profile.machine import Machine
from edgeecg.profile.pace import Pace
from edgeecg.profile.sensors import Conditions

__all__ = [
    "SCHEMA",
    "Change",
    "EnergyUse",
    "Memory",
    "Report",
    "Subject",
    "Throughput",
    "call_ways",
    "compare",
    "load",
    "parse_share",
]

SCHEMA = 1

WATCHED = ("p50", "p99")
"""Percentiles of a stage that must not grow."""


@dataclass(frozen=True)
class Subject:
    """What was profiled, and how."""

    bundle: str
    digest: str
    backend: str
    precision: str
    threads: int
    mode: str
    fs: float
    hop: float
    leads: int


@dataclass(frozen=True)
class Throughput:
    """One batch size: milliseconds of a call, and how many patients could be served live.

    ``ways``: on a device, the same call with and without CUDA graph, each with both ways of waiting.
    """

    batch: int
    call: Percentiles
    patients: float
    ways: Mapping[str, Percentiles] = field(default_factory=dict)


@dataclass(frozen=True)
class Memory:
    """Bytes: of this process before the engine, after, and at most; used on the device (0 without one)."""

    before: int
    after: int
    peak: int
    device: int


@dataclass(frozen=True)
class EnergyUse:
    """Energy of many hops in line, and what an idle machine took in the same time."""

    busy: Energy
    idle: Energy
    hops: int

    @property
    def millijoules(self) -> float:
        """Per hop, above idle."""
        return 1e3 * (self.busy.joules - self.idle.watts * self.busy.seconds) / self.hops


@dataclass(frozen=True)
class Report:
    """A profile.

    Parameters
    ----------
    declared : mapping of stage to seconds
        Latency of the algorithm itself, which no machine shortens.
    stages : mapping of stage to Percentiles
        Milliseconds; ``hop`` is the sum, ``sample to event`` that of hops that told one.
    device : mapping
        Enqueue, copy in, compute and copy out of a token step of one patient, where there is a device.
    hops : (hops, stages) milliseconds
        The hops in order, for the timeline.
    notes : sequence of str
        What could not be measured, and why.
    fallback : mapping of graph to layers
        What a DLA that was asked for cannot run, and the GPU does.
    """

    created: str
    version: str
    machine: Machine
    subject: Subject
    before: Conditions
    after: Conditions
    declared: Mapping[str, float]
    stages: Mapping[str, Percentiles]
    device: Mapping[str, Percentiles]
    hops: Sequence[Sequence[float]]
    pace: Pace | None
    throughput: Sequence[Throughput]
    layers: Mapping[str, Sequence[LayerTime]]
    memory: Memory
    energy: Sequence[EnergyUse]
    notes: Sequence[str] = field(default_factory=tuple)
    fallback: Mapping[str, Sequence[str]] = field(default_factory=dict)
    schema: int = SCHEMA

    def to_json(self) -> bytes:
        """Indented JSON."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1)


@dataclass(frozen=True)
class Change:
    """One figure, before and now; ``growth`` is the share by which it got worse."""

    what: str
    unit: str
    before: float
    now: float
    growth: float


def load(path: Path) -> Report:
    """A report that was written before.

    Raises
    ------
    InputError
        It is missing, or no report of this version.
    """
    try:
        report = msgspec.json.decode(path.read_bytes(), type=Report)
    except OSError as error:
        raise InputError(f"cannot read the previous profile {path}: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise InputError(
            f"{path} is not a profile of this version ({error}): make it anew with --json"
        ) from error
    if report.schema != SCHEMA:
        raise InputError(f"{path} has schema {report.schema}, this version reads {SCHEMA}: make it anew")
    return report


def parse_share(text: str) -> float:
    """``10%`` or ``0.1`` to 0.1; a bare number above 1 is more likely a forgotten ``%``.

    Raises
    ------
    InputError
        It is neither, or not above 0.
    """
    number = text.strip()
    try:
        share = float(number.removesuffix("%")) / (100 if number.endswith("%") else 1)
        limit = 100 if number.endswith("%") else 1
    except ValueError:
        share, limit = -1.0, 1
    if not 0 < share <= limit:
        raise InputError(f"--max-regression {text!r}: write 10% or 0.1; a bare number is a share, 1 at most")
    return share


def facts(report: Report) -> dict[str, object]:
    """What must be equal of two reports, so that a difference of their figures says something."""
    subject = report.subject
    return {
        "machine": report.machine.model,
        "backend": subject.backend,
        "precision": subject.precision,
        "threads": subject.threads,
        "power mode": report.before.power_mode,
        "mode": subject.mode,
        "hop": subject.hop,
        "rate": subject.fs,
        "number of leads": subject.leads,
    }


def call_ways(report: Report) -> dict[str, Percentiles]:
    """Whole calls on a device, by batch size and way; nothing without a device."""
    return {f"batch {t.batch}, {way}": call for t in report.throughput for way, call in t.ways.items()}


def same_way(previous: Report, now: Mapping[str, object]) -> None:
    """Refuse a previous report of another machine or way; of ``now`` as much as is known.

    Raises
    ------
    InputError
        One of the :func:`facts` differs.
    """
    known = facts(previous)
    for what, after in now.items():
        if known[what] != after:
            raise InputError(
                f"the previous profile has another {what} ({known[what]}, now {after}): make one like this"
            )


def compare(previous: Report, now: Report) -> list[Change]:
    """Figures that both reports have: latencies of the stages, and calls by batch.

    Raises
    ------
    InputError
        They were not taken on the same machine in the same way, so that a difference says nothing.
    """
    same_way(previous, facts(now))
    changes = [
        change(f"{stage} {name}", "ms", getattr(previous.stages[stage], name), getattr(found, name))
        for stage, found in now.stages.items()
        if stage in previous.stages
        for name in WATCHED
    ]
    calls = {item.batch: item.call.p50 for item in previous.throughput}
    changes += [
        change(f"batch {item.batch} p50", "ms", calls[item.batch], item.call.p50)
        for item in now.throughput
        if item.batch in calls
    ]
    if not changes:
        raise InputError("the previous profile has no figure that this one has: make it anew")
    return changes


def change(what: str, unit: str, before: float, now: float) -> Change:
    """A figure that is worse the greater it is; from nothing to something is infinitely worse."""
    growth = (now - before) / before if before > 0 else float("inf") if now > 0 else 0.0
    return Change(what, unit, before, now, growth)
