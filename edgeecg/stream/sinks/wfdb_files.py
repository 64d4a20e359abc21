"""WFDB annotation files, one a patient, that PhysioNet's own tools read.

Beats carry their AAMI class (``N S V F Q``), rhythms are ``+`` with ``(AFIB`` at the onset and ``(N`` at
the end, signal quality is ``~``; alarms, gaps and a lead without a signal are comments (``"``). A file is
written whole at each flush and at the end, under a temporary name that is then changed, so that half of one
never appears. A file that is there already, of an earlier run, is set aside (``earlier-1/PATIENT.edg``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import count
from pathlib import Path

from edgeecg.errors import ConfigError, InputError, LinkError
from edgeecg.io.annotation import write_annotations
from edgeecg.io.atomic import check_folder, parents_of
from edgeecg.io.library import load_wfdb
from edgeecg.io.record import Annotations
from edgeecg.specs import AAMI, Beat, Event, Gap, Quality, Rhythm
from edgeecg.stream.sinks.base import BaseSink, Header, event_sample

__all__ = ["WfdbSink", "check_file_name", "file_key", "file_name", "to_annotations"]

LONGEST = 180
"""Characters of a patient's name in a file's, which may have 255 with all that stands around it."""


def to_annotations(events: Iterable[Event]) -> Annotations:
    """Events as WFDB marks, ascending in time; a rhythm change goes before a beat at the same sample.

    Readers stretch the first rhythm mark back to the start, so one of the rhythm before it opens the file.
    """
    made = [(event_sample(event), *_mark(event)) for event in events]
    rhythms = [sample for sample, symbol, _ in made if symbol == "+"]
    if rhythms and min(rhythms) > 0:
        made.append((0, "+", "(N"))
    marks = sorted(made, key=lambda mark: (mark[0], mark[1] != "+"))
    return Annotations(
        [sample for sample, _, _ in marks], [symbol for _, symbol, _ in marks], [aux for _, _, aux in marks]
    )


def _mark(event: Event) -> tuple[str, str]:
    """Symbol and text of an event."""
    if isinstance(event, Beat):
        return AAMI[event.label], ""
    if isinstance(event, Gap):
        return '"', f"gap of {event.length} samples"
    over = event.end is not None
    if isinstance(event, Rhythm):
        return "+", "(N" if over else f"({event.label}"
    if isinstance(event, Quality) and event.lead is not None:
        return '"', f"lead {event.lead}: {event.label} {'ends' if over else 'begins'}"
    if isinstance(event, Quality):
        return "~", "good" if over else event.label
    return '"', f"{event.label} {'ends' if over else 'begins'}"


def file_name(patient: str) -> str:
    """A name for files from a patient's: letters, digits, ``-`` and ``_`` stay."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", patient) or "ecg"


def file_key(patient: str) -> str:
    """What is equal for patients whose files would be one, also on a memory card, which knows no capitals."""
    return file_name(patient).casefold()


def check_file_name(patient: str, others: Iterable[str]) -> None:
    """Refuse a patient whose name is too long for a file's, or gives that of another patient.

    Names that differ in capitals alone are one on the file systems of memory cards.

    Raises
    ------
    ConfigError
        It is.
    """
    name = file_name(patient)
    if len(name) > LONGEST:
        raise ConfigError(
            f"a patient's name of {len(name)} characters is too long for a file's: give {LONGEST} at most",
            public=True,
        )
    for other in others:
        if file_key(other) == file_key(patient):
            raise ConfigError(
                f"patients {other!r} and {patient!r} would share files called {name!r}: give one a name that "
                "differs in letters from A to Z or digits, as files keep no others"
            )


class WfdbSink(BaseSink):
    """Annotation files ``FOLDER/PATIENT.edg``.

    Parameters
    ----------
    folder : str
        Made when the first file is written.
    extension : str
        Name of the annotator.

    Raises
    ------
    ConfigError
        If two patients would share a file, or a name is too long for one.
    """

    def __init__(self, folder: str, *, extension: str = "edg") -> None:
        super().__init__()
        self._folder, self._extension = Path(folder), extension
        self._events: dict[str, list[Event]] = {}
        self._changed: set[str] = set()
        self._own: list[str] = []  # patients whose file is of this run, the one written last at the end

    def _connect(self, header: Header) -> None:
        load_wfdb("writing WFDB annotations")  # or hours of events would come to nothing
        try:
            check_folder(self._folder)
        except InputError as error:
            raise LinkError(str(error)) from error

    def _begin(self, header: Header) -> None:
        check_file_name(header.patient, self._events)
        self._events[header.patient] = []
        self._changed.add(header.patient)

    def _send(self, event: Event, header: Header, time: float | None) -> None:
        self._events[header.patient].append(event)
        self._changed.add(header.patient)

    def flush(self) -> None:
        """Write the files that have changed; what cannot be written is tried again by the next flush."""
        failures = [error for patient in sorted(self._changed) if (error := self._written(patient))]
        if failures:
            more = f", nor can {len(failures) - 1} others" if len(failures) > 1 else ""
            raise self._wrong(failures[0], more) from failures[0]

    def keep(self) -> None:
        """Write the file that has waited longest, of those that have changed: all would take too long."""
        if self._changed:
            patient = min(self._changed, key=self._turn)
            if failure := self._written(patient):
                raise self._wrong(failure) from failure

    def _wrong(self, error: OSError, more: str = "") -> LinkError:
        told = f"an annotation file cannot be written in {self._folder}: {error.strerror}{more}"
        return LinkError(told)

    def _turn(self, patient: str) -> int:
        """How lately a patient's file was written."""
        return self._own.index(patient) if patient in self._own else -1

    def _written(self, patient: str) -> OSError | None:
        """Write the file of a patient; what came in the way, if anything did."""
        marks = to_annotations(self._events[patient])
        stem = self._folder / file_name(patient)
        try:
            if patient in self._own:
                self._own.remove(patient)
            else:
                _set_aside(stem, self._extension)
            self._own.append(patient)
            with parents_of(stem):
                write_annotations(stem, marks, self._headers[patient].fs, extension=self._extension)
        except OSError as error:
            return error
        self._changed.remove(patient)
        return None


def _set_aside(stem: Path, extension: str) -> None:
    """Move a file of an earlier run into a folder of its own, which no patient's name can be."""
    name = f"{stem.name}.{extension}"
    if stem.with_name(name).is_file():
        folders = (stem.parent / f"earlier-{number}" for number in count(1))
        free = next(folder for folder in folders if not (folder / name).exists())
        free.mkdir(exist_ok=True)
        stem.with_name(name).rename(free / name)
