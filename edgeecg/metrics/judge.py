"""A recording's reference, and what an annotation file says of it, in the form that scores are made of."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from edgeecg.data.catalog import load_reference
from edgeecg.data.labels import BXB, DE_CHAZAL, Reference, reference_of
from edgeecg.data.sets import data_set
from edgeecg.io.record import Annotations, Record
from edgeecg.metrics.match import inside
from edgeecg.metrics.rhythm import Stretch
from edgeecg.metrics.score import Said, Truth
from edgeecg.specs import AAMI

__all__ = ["MAPPINGS", "said_of", "truth_of"]

MAPPINGS: Mapping[str, Mapping[str, str]] = {"dechazal": DE_CHAZAL, "bxb": BXB}
"""Both readings of WFDB's beat symbols, the primary one first."""


def truth_of(record: Record, name: str | None = None, *, af_record: bool | None = None) -> Truth:
    """Reference of a record.

    Parameters
    ----------
    record : Record
        With its annotations, if it has any.
    name : str, optional
        Of its set, which says whether its beats were classed and its rhythm annotated. Without it
        the rhythm counts as annotated where there is any rhythm mark, and beats where there is any,
        or no mark of rhythm or waves either. In a set no beats mean that nobody annotated them.
    af_record : bool, optional
        Whether the whole record is labelled AF.
    """
    length = len(record)
    patient = record.patient or record.name
    if record.annotations is None or (name is not None and data_set(name).beats is None):
        return Truth(record.name, patient, record.fs, length, np.empty(0, np.int64), {}, af_record=af_record)
    read = {key: load_reference(record, name, mapping) for key, mapping in MAPPINGS.items()}
    main = next(iter(read.values()))
    rhythms = bool(main.rhythms) and (name is None or data_set(name).rhythm is not None)
    # marks of rhythm or waves alone say nothing of beats
    silent = name is None and not main.rhythms and len(main.p_waves) == 0
    beats = len(main.beats) > 0 or silent
    return Truth(
        record=record.name,
        patient=patient,
        fs=record.fs,
        length=length,
        sample=main.beats,
        labels={key: _aami(reference) for key, reference in read.items()} if beats else {},
        masks=main.masked,
        af=_stretches(main, "AFIB") if rhythms else None,
        af_excluded=_stretches(main, "AFL") if rhythms else (),
        af_record=af_record,
        paced=bool(np.any(main.labels == "P")),
        classed=name is None or data_set(name).classed,
    )


def said_of(marks: Annotations, record: Record) -> Said:
    """What a test annotation file of a record says; its symbols are read by both mappings.

    An episode begins at its mark, and beats between ``[`` and ``]``, or before the record, are none, as
    `epicmp` and `bxb` have it.
    """
    marked = Record(record.name, record.signal, record.fs, record.leads, marks)
    read = {key: reference_of(marked, mapping, opening=0) for key, mapping in MAPPINGS.items()}
    main = next(iter(read.values()))
    beats = ~inside(main.beats, main.masked) & (main.beats >= 0)
    labels = {key: _aami(reference)[beats] for key, reference in read.items()}
    return Said(main.beats[beats], labels, af=_stretches(main, "AFIB"), masks=main.masked)


def _aami(reference: Reference) -> NDArray[np.str_]:
    return np.array([AAMI.get(label, label) for label in reference.labels.tolist()], dtype=np.str_)


def _stretches(reference: Reference, rhythm: str) -> tuple[Stretch, ...]:
    """Intervals of one rhythm; those that touch are one."""
    found: list[Stretch] = []
    for start, end, label in reference.rhythms:
        if label != rhythm:
            continue
        if found and found[-1][1] == start:
            start = found.pop()[0]
        found.append((start, end))
    return tuple(found)
