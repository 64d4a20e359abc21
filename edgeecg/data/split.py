"""Training and validation patients: nobody is on both sides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeecg.data.catalog import patient_folds
from edgeecg.data.recording import TrainingRecord
from edgeecg.data.sets import SETS
from edgeecg.data.settings import SYNTHETIC, DataSettings
from edgeecg.errors import ConfigError

__all__ = ["hold_out"]


def hold_out(
    records: Sequence[TrainingRecord], settings: DataSettings
) -> tuple[list[TrainingRecord], list[TrainingRecord]]:
    """Training and validation records: whoever shares a patient with a held-out record is held out.

    Raises
    ------
    ConfigError
        A name that is no record, fewer patients than folds, nobody left to train on, or one recording of the
        user's on both sides under two names.
    """
    patient = {record.name: record.patient for record in records}
    unknown = sorted(set(settings.validation) - set(patient))
    if unknown:
        few = f"; data.limit reads the first {settings.limit} of each set alone" if settings.limit else ""
        raise ConfigError(
            f"data.validation names {', '.join(unknown)}, not among the recordings (form: mitdb/119){few}"
        )
    held = {patient[name] for name in settings.validation}
    if settings.folds:
        for source in sorted({record.source for record in records}):
            people = {record.patient for record in records if record.source == source}
            _check_folds(source, len(people), settings.folds)
            folds = patient_folds(people, settings.folds)
            held |= {person for person, fold in folds.items() if fold == settings.fold}
    training = [record for record in records if record.patient not in held]
    if not training:
        raise ConfigError("every patient is held out for validation: none is left to train on")
    validation = [record for record in records if record.patient in held]
    _check_twins(training, validation)
    return training, validation


def _check_twins(training: Sequence[TrainingRecord], validation: Sequence[TrainingRecord]) -> None:
    """Refuse to hold out what is trained on under another name; what equal public ones are is documented."""
    seen = {record.digest: record for record in training if record.digest}
    twins = [(record, seen[record.digest]) for record in validation if record.digest in seen]
    for held, trained in twins:
        ours = any(record.source not in (*SETS, SYNTHETIC) for record in (held, trained))
        if ours and np.ptp(held.signal, axis=1).any():  # flat ones are equal, whoever it was
            raise ConfigError(
                f"{held.name} and {trained.name} are one recording, and only the first is held out: its "
                "figures would be too good; remove one, or put both into one set whose patients.csv names "
                "one patient"
            )


def _check_folds(source: str, patients: int, folds: int) -> None:
    """Refuse to deal a set's patients to more folds than it has patients."""
    if patients < 2:
        raise ConfigError(
            f"data.folds = {folds} needs at least two patients in each set, and {source} has one: add "
            "recordings of others, or leave folds out"
        )
    if patients < folds:
        raise ConfigError(
            f"data.folds = {folds} needs as many patients in each set, and {source} has {patients}: "
            + ("ask for 2 folds" if patients == 2 else f"ask for 2 to {patients}")
        )
