"""Recordings and annotations, in and out: WFDB, EDF, CSV and Parquet to :class:`Record`."""

from __future__ import annotations

from edgeecg.io.annotation import read_annotations, write_annotations
from edgeecg.io.reading import is_record, read_record
from edgeecg.io.record import BEAT_SYMBOLS, Annotations, Record
from edgeecg.io.wfdb import write_wfdb

__all__ = [
    "BEAT_SYMBOLS",
    "Annotations",
    "Record",
    "is_record",
    "read_annotations",
    "read_record",
    "write_annotations",
    "write_wfdb",
]
