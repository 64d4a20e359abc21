"""Recordings in folders of any size to annotation files: by one process, by several, or by a cluster.

A process annotates several records side by side, since short ones together cost half as much.

Each record gives ``STEM.edg`` (WFDB annotations) and then ``STEM.edg.json`` (what was found, and by which
bundle and settings); both appear whole or not at all. A record whose JSON is there and tells of the same
bundle and settings is finished: a second run skips it. A record that cannot be read is told and stops
nothing; one whose worker dies is done again.
"""

from __future__ import annotations

import errno
import hashlib
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Union

import msgspec

from edgeecg.bundle import Bundle, LeadPolicy, Precision
from edgeecg.errors import ConfigError, EdgeECGError
from edgeecg.io import read_record, write_annotations
from edgeecg.io.atomic import atomic_path, clear_partials
from edgeecg.io.identity import fingerprint
from edgeecg.io.record import Record
from edgeecg.pipeline import Recordings
from edgeecg.runtime.engine import Backend, Engine, open_engine
from edgeecg.runtime.trt import Options
from edgeecg.runtime.trt.recover import OnDeviceError
from edgeecg.specs import AAMI, Beat, Event, Gap, Rhythm
from edgeecg.stream.jobs import Job
from edgeecg.stream.sinks.wfdb_files import to_annotations

__all__ = ["ArchiveSettings", "Outcome", "annotate_archive", "annotate_jobs"]

MOST = 1 << 24
"""Samples of the records that are annotated side by side, all leads counted: 128 MiB of them."""


@dataclass(frozen=True)
class ArchiveSettings:
    """How records are read and annotated.

    Parameters
    ----------
    bundle : Bundle
    backend, precision
        As for :func:`edgeecg.open_engine`.
    lead_policy : str, optional
        The bundle's where left out.
    leads, fs, gain, units
        As for :func:`edgeecg.io.read_record`.
    withhold : bool
        Leave out beats on unreadable signal.
    extension : str
        Annotator name of the files.
    on_device_error : str
        What to do when TensorRT's GPU is lost: ``rebuild``, ``cpu`` or ``raise``.
    """

    bundle: Bundle
    backend: Union[Backend, Literal["auto"]] = "auto"
    precision: Precision | None = None
    lead_policy: LeadPolicy | None = None
    leads: tuple[str, ...] = ()
    fs: float | None = None
    gain: float | None = None
    units: str | None = None
    withhold: bool = True
    extension: str = "edg"
    on_device_error: OnDeviceError = "rebuild"

    def open(self) -> Engine:
        """Open the bundle."""
        options = Options(on_device_error=self.on_device_error)
        return open_engine(self.bundle, self.backend, self.precision, tensorrt=options)

    @property
    def key(self) -> str:
        """Names the bundle and all that changes what is found."""
        told = (self.precision, self.lead_policy, self.leads, self.fs, self.gain, self.units, self.withhold)
        return hashlib.sha256(f"{self.bundle.digest} {told!r}".encode()).hexdigest()


@dataclass(frozen=True)
class Outcome:
    """What became of a record.

    ``beats``: by AAMI class; ``afib``: seconds of atrial fibrillation; ``missing``: seconds without
    signal; ``elapsed``: its share of the seconds of work; ``error``: why there is no annotation file;
    ``before``: whether an earlier run had finished it; ``source``: which recording it is
    (:func:`edgeecg.io.identity.fingerprint`), and ``place`` where it lay; ``marks``: size and digest of the
    annotation file.
    """

    record: str
    key: str
    seconds: float = 0.0
    beats: dict[str, int] = field(default_factory=dict)
    afib: float = 0.0
    missing: float = 0.0
    elapsed: float = 0.0
    error: str | None = None
    before: bool = False
    source: str = ""
    place: str = ""
    marks: str = ""


FULL = "the disk is full: make room, then give the same command again"
"""Error of a record whose files had no room."""


def annotate_archive(
    jobs: Sequence[Job], settings: ArchiveSettings, workers: int = 1, cluster: str | None = None
) -> Iterator[Outcome]:
    """Annotate records, each as soon as there is a worker for it.

    Parameters
    ----------
    workers : int
        Processes on this machine. With more than one a script calls this under ``if __name__ ==
        "__main__":``, since each of them imports the script.
    cluster : str, optional
        Address of a Dask scheduler instead, ``tcp://HOST:PORT``; its workers must see the same paths.

    Yields
    ------
    Outcome
        In the order in which records are finished.

    Raises
    ------
    BackendError, BundleError
        The bundle cannot be run here.
    ConfigError
        ``workers`` is not positive.
    LinkError, MissingExtra
        The cluster cannot be reached, or distributed is not installed.
    """
    if workers < 1:
        raise ConfigError(f"workers is {workers}: give at least 1")
    left = []
    for job in jobs:
        wrong = Outcome(str(job.path), settings.key, error=job.wrong) if job.wrong else None
        done = wrong or finished(job, settings)
        if done is None:
            left.append(job)
        else:
            yield done
    if not left:
        return
    made = [path for job in left for path in _files_of(job, settings)]
    clear_partials(*made)  # of a run that was killed
    try:
        yield from _annotate(left, settings, workers, cluster)
    finally:
        clear_partials(*made)  # of a worker that was


def _annotate(
    left: list[Job], settings: ArchiveSettings, workers: int, cluster: str | None
) -> Iterator[Outcome]:
    if cluster is not None:
        from edgeecg.stream.cluster import on_cluster  # loads distributed

        yield from on_cluster(left, settings, cluster)
    elif workers == 1:
        with settings.open() as engine:
            yield from annotate_jobs(engine, left, settings)
    else:
        from edgeecg.stream.workers import on_processes

        settings.open().close()  # or it would fail in each
        yield from on_processes(left, settings, min(workers, len(left)))


@dataclass
class Work:
    """A record in the process: ``spent`` is its share of the seconds so far."""

    job: Job
    record: Record
    spent: float


def annotate_jobs(engine: Engine, jobs: Iterable[Job], settings: ArchiveSettings) -> Iterator[Outcome]:
    """Annotate records, several side by side, and write the files of each as soon as it is finished.

    What is wrong with a record is told in its outcome.
    """
    crowd = Recordings[Work](engine, lead_policy=settings.lead_policy, withhold=settings.withhold)
    waiting, going = deque(jobs), list[Work]()
    while waiting or going:
        while waiting and not crowd.full and sum(work.record.signal.size for work in going) < MOST:
            job, begin = waiting.popleft(), time.monotonic()
            try:
                record = read_record(
                    job.path,
                    leads=settings.leads or None,
                    fs=settings.fs,
                    gain=settings.gain,
                    units=settings.units,
                    annotator="",  # what others found in it is of no concern here
                )
                work = Work(job, record, time.monotonic() - begin)
                crowd.add(work, record)
            except (EdgeECGError, OSError) as error:
                yield Outcome(str(job.path), settings.key, error=str(error))
            else:
                going.append(work)
        begin = time.monotonic()
        done = crowd.step()
        for work in going:
            work.spent += (time.monotonic() - begin) / len(going)
        for work, events in done:
            going.remove(work)
            yield _written(work, events, settings)


def _written(work: Work, events: Sequence[Event], settings: ArchiveSettings) -> Outcome:
    """Write what was found in a record."""
    job = work.job
    try:
        outcome = _summary(work, events, settings)
        job.stem.parent.mkdir(parents=True, exist_ok=True)
        marks, told = _files_of(job, settings)
        told.unlink(missing_ok=True)  # it tells of the annotations that are replaced now
        write_annotations(job.stem, to_annotations(events), work.record.fs, extension=settings.extension)
        outcome = replace(outcome, marks=_seal(marks))
        with atomic_path(told) as path:
            path.write_bytes(msgspec.json.format(msgspec.json.encode(outcome), indent=2))
    except (EdgeECGError, OSError) as error:
        full = isinstance(error, OSError) and error.errno == errno.ENOSPC
        return Outcome(str(job.path), settings.key, error=FULL if full else str(error))
    return outcome


def _summary(work: Work, events: Sequence[Event], settings: ArchiveSettings) -> Outcome:
    record = work.record
    beats = Counter(AAMI[event.label] for event in events if isinstance(event, Beat))
    afib = sum(e.end - e.start for e in events if isinstance(e, Rhythm) and e.end is not None)
    missing = sum(event.length for event in events if isinstance(event, Gap))
    return Outcome(
        str(work.job.path),
        settings.key,
        record.seconds,
        dict(beats),
        afib / record.fs,
        missing / record.fs,
        work.spent,
        source=fingerprint(work.job.path),
        place=_place(work.job.path),
    )


def _seal(file: Path) -> str:
    """Size and digest of a file, so that one that was cut off or written over is seen."""
    data = file.read_bytes()
    return f"{len(data)} {hashlib.sha256(data).hexdigest()[:16]}"


def _place(path: Path) -> str:
    """Where a recording lies, as text also where a link leads to a name that is none."""
    return str(path.resolve()).encode(errors="backslashreplace").decode()


def _files_of(job: Job, settings: ArchiveSettings) -> tuple[Path, Path]:
    """What a record gives: its annotations, and the JSON beside them."""
    name = f"{job.stem.name}.{settings.extension}"
    return job.stem.with_name(name), job.stem.with_name(f"{name}.json")


def finished(job: Job, settings: ArchiveSettings) -> Outcome | None:
    """What an earlier run made of a record with the same bundle and settings, if it finished it.

    Its files may be those of another recording of the same name, or somebody's corrections: these are not
    written over.
    """
    file, told = _files_of(job, settings)
    if not told.is_file() or not file.is_file():
        return None
    try:
        outcome = msgspec.json.decode(told.read_bytes(), type=Outcome)
        source, marks = fingerprint(job.path), _seal(file)
    except (msgspec.MsgspecError, OSError):
        return None
    here = _place(job.path)
    before = outcome.place or _place(Path(outcome.record))  # an older version kept no more
    if outcome.source not in ("", source) or (not outcome.source and before != here):
        if before == here:
            return None
        taken = f"{file} holds what was found in {outcome.record}, another recording"
        return Outcome(str(job.path), settings.key, error=f"{taken}: name another --out")
    if file.stat().st_size and outcome.marks not in ("", marks):  # an older version kept none
        changed = f"{file} is no longer as it was written: by damage, or by somebody who corrected it"
        return Outcome(str(job.path), settings.key, error=f"{changed}; move it away to have it made again")
    return replace(outcome, before=True) if outcome.key == settings.key else None
