"""What an evaluation says: gross, average, per record, with intervals over patients.

A report is plain frozen values, so ``msgspec.json`` writes it and reads it back. ``None`` stands for a
figure that nothing was there to compute from.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edgeecg.errors import InputError
from edgeecg.io.atomic import atomic_path
from edgeecg.metrics import bootstrap
from edgeecg.metrics.beats import Score
from edgeecg.metrics.bootstrap import Estimate
from edgeecg.metrics.calibration import Reliability
from edgeecg.metrics.match import LEARNING, WINDOW
from edgeecg.metrics.rhythm import RECORD_FRACTION, EpisodeScore

__all__ = [
    "SCHEMA",
    "AfLabel",
    "AfReport",
    "AfRow",
    "Average",
    "BeatTable",
    "Figures",
    "GroupReport",
    "Protocol",
    "Rates",
    "RecordRow",
    "Report",
    "RunRates",
    "rates_of",
    "read_report",
    "write_report",
]

SCHEMA = 1
"""Version of the report's layout; a reader refuses others."""


@dataclass(frozen=True)
class Protocol:
    """How the figures were made."""

    match_window_seconds: float = WINDOW
    learning_seconds: float = LEARNING
    primary_mapping: str = "dechazal"
    af_record_fraction: float = RECORD_FRACTION
    bootstrap_draws: int = bootstrap.DRAWS
    bootstrap_level: float = bootstrap.LEVEL
    bootstrap_seed: int = 0


@dataclass(frozen=True)
class Rates:
    """A :class:`~edgeecg.metrics.beats.Score` with its ratios written out, 0 to 1."""

    hits: int
    misses: int
    false: int
    sensitivity: float | None
    predictivity: float | None
    f1: float | None


def rates_of(score: Score) -> Rates:
    """A score with its ratios."""
    ratios = score.sensitivity, score.predictivity, score.f1
    return Rates(score.hits, score.misses, score.false, *ratios)


@dataclass(frozen=True)
class Average:
    """Means over the records in which a figure is defined, with intervals over patients.

    ``records``: those that hold the class, for sensitivity and F1; ``told``: those in which it was told,
    rightly or wrongly, for predictivity.
    """

    sensitivity: Estimate
    predictivity: Estimate
    f1: Estimate
    records: int
    told: int | None = None


@dataclass(frozen=True)
class Figures:
    """One class: gross counts and ratios with intervals over patients, and the averages."""

    gross: Rates
    sensitivity: Estimate
    predictivity: Estimate
    f1: Estimate
    average: Average


@dataclass(frozen=True)
class RecordRow:
    """One record of a beat table."""

    record: str
    patient: str
    scores: dict[str, Rates]
    confusion: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class BeatTable:
    """Beat scores under one mapping over one period; ``confusion`` as in :class:`.beats.Confusion`."""

    mapping: str
    period: str
    classes: dict[str, Figures]
    confusion: tuple[tuple[int, ...], ...]
    records: tuple[RecordRow, ...]


@dataclass(frozen=True)
class RunRates:
    """A :class:`~edgeecg.metrics.runs.RunScore` with its ratios written out."""

    found: int
    missed: int
    right: int
    wrong: int
    sensitivity: float | None
    predictivity: float | None


@dataclass(frozen=True)
class AfLabel:
    """Whether a record is labelled AF, and whether it was called AF."""

    true: bool
    called: bool


@dataclass(frozen=True)
class AfRow:
    """AF in one record: by its beats, and by its label, where the reference has them."""

    record: str
    patient: str
    beats: Rates | None
    label: AfLabel | None


@dataclass(frozen=True)
class AfReport:
    """Atrial fibrillation; each part is ``None`` where the references do not allow it.

    ``duration_*`` and ``episode_*`` are gross; ``beats`` asks at each reference beat; ``records`` is
    the score of whole-record labels; ``rows`` holds the counts of each record (none in older reports).
    """

    episodes: EpisodeScore | None
    duration_sensitivity: Estimate | None
    duration_predictivity: Estimate | None
    episode_sensitivity: float | None
    episode_predictivity: float | None
    beats: Figures | None
    records: Figures | None
    rows: tuple[AfRow, ...] = ()


@dataclass(frozen=True)
class GroupReport:
    """All figures over one group of records."""

    title: str
    records: tuple[str, ...]
    patients: int
    beats: tuple[BeatTable, ...]
    runs: dict[str, RunRates]
    af: AfReport | None
    calibration: dict[str, Reliability]


@dataclass(frozen=True)
class Report:
    """What ``edgeecg evaluate`` writes.

    ``system`` says what was evaluated, ``reference`` against what, ``unscored`` why each record that no
    figure speaks of could not be scored (none in older reports).
    """

    system: dict[str, str]
    reference: str
    protocol: Protocol
    groups: tuple[GroupReport, ...]
    schema: int = SCHEMA
    unscored: tuple[str, ...] = ()


def write_report(path: str | os.PathLike[str], report: Report) -> None:
    """Write a report as indented JSON; the file appears only when it is complete."""
    with atomic_path(Path(path)) as partial:
        partial.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")


def read_report(path: str | os.PathLike[str]) -> Report:
    """Read a report back.

    Raises
    ------
    InputError
        If the file is missing, is no report, or has another schema version.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"no report {file}: write one with 'edgeecg evaluate --json {file}'")
    try:
        report = msgspec.json.decode(file.read_bytes(), type=Report)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise InputError(f"{file} is not a report of 'edgeecg evaluate': {error}") from error
    if report.schema != SCHEMA:
        raise InputError(f"{file} has report schema {report.schema}, this version reads {SCHEMA}")
    return report
