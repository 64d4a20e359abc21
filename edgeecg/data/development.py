"""Who may be trained on, and who is kept for others to judge models by."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from edgeecg.data.catalog import patient_of
from edgeecg.data.sets import data_set

__all__ = ["DEVELOPMENT", "is_development"]

DEVELOPMENT = {
    "mitdb": ("DS1", "paced"),
    "svdb": ("development",),
    "cinc2017": ("development",),
}
"""Splits that training reads, of the sets that have others."""

SHARED = {"mitdb/201"}  # one patient on both sides of de Chazal's split: 201 is in DS1, 202 in DS2


def is_development(name: str, record: str, folder: Path | None = None) -> bool:
    """Whether a record of a set may be trained on: not if it, or its patient in another set, is for judging.

    Parameters
    ----------
    name : str
        Of a set of the catalogue.
    record : str
    folder : path, optional
        Where it lies: some sets tell the patient in the header.
    """
    splits = data_set(name).splits
    if name in DEVELOPMENT and not any(record in splits[split] for split in DEVELOPMENT[name]):
        return False
    return patient_of(name, record, folder=folder) not in _judged()


@cache
def _judged() -> frozenset[str]:
    """Patients that are kept for judging."""
    kept = (
        patient_of(name, record)
        for name, read in DEVELOPMENT.items()
        for split, records in data_set(name).splits.items()
        for record in (records if split not in read else ())
    )
    return frozenset(kept) - SHARED
