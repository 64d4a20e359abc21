"""Labelled recordings by name: synthetic patients, public sets and their splits, or a user's own records."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from edgeecg.data.catalog import ENVIRONMENT, data_root, find_records, load_record, record_labels
from edgeecg.data.patients import PATIENTS, patients_in
from edgeecg.data.sets import SETS
from edgeecg.data.synthetic import plan_cohort
from edgeecg.errors import RecordError
from edgeecg.io.annotation import check_symbols, marks_within, read_annotations
from edgeecg.io.reading import find_annotated, is_record, read_record
from edgeecg.io.record import Record
from edgeecg.metrics.judge import truth_of
from edgeecg.metrics.score import Truth

__all__ = ["SYNTHETIC", "LabelledRecord", "labelled_records"]

SYNTHETIC = "synthetic"
"""Name of the built-in patients."""

log = logging.getLogger("edgeecg.metrics")

COHORT = 60  # patients in the plan; the test split is a fifth of them, one of each kind
RECORD_LABELS = "cinc2017"


@dataclass(frozen=True)
class LabelledRecord:
    """One recording with its reference, read when asked for.

    Parameters
    ----------
    group : str
        What it was named by: ``mitdb DS1``, a folder, ``synthetic``.
    name : str
        In a folder of the user's its place there, ``ward/a01``.
    load : callable
        Reads the samples and the reference.
    read : callable, optional
        Reads the samples alone, where there need be no reference.
    home : str
        The set, or the folder, that it lies in.
    stem : Path, optional
        Where it lies, without extension; nothing for what is made.
    """

    group: str
    name: str
    load: Callable[[], tuple[Record, Truth]]
    read: Callable[[], Record] | None = None
    home: str = ""
    stem: Path | None = None

    @property
    def places(self) -> Iterator[tuple[str, str]]:
        """Set and name; of a record of the user's every folder above it, and its name as seen from there."""
        yield self.home, self.name
        if self.home not in SETS and self.stem is not None:
            place = self.stem.resolve()
            for folder in place.parents:
                yield folder.name, place.relative_to(folder).as_posix()

    @property
    def title(self) -> str:
        """What an error calls it: where it lies, without extension, or what made it."""
        return str(self.stem or f"{self.group} {self.name}")

    def samples(self) -> Record:
        """The recording without its reference."""
        return self.read() if self.read is not None else self.load()[0]


def labelled_records(
    wanted: Sequence[str], root: Path | None = None, seed: int = 0, annotator: str = "atr"
) -> tuple[LabelledRecord, ...]:
    """Find labelled recordings.

    Parameters
    ----------
    wanted : sequence of str
        ``synthetic``; the name of a set, with a split behind a colon (``mitdb:DS1``); a record; or a
        folder of them, here or in ``root``, which is searched with all its folders (``./mitdb`` where it is
        called as a set is).
    root : Path, optional
        Folder of the sets, and of your own; by default the one that ``EDGEECG_DATA`` names.
    seed : int
        Of the synthetic patients.
    annotator : str
        Extension of the reference annotations of the user's own records.

    Raises
    ------
    InputError
        If a name fits nothing, nothing is there, or a recording would count twice.
    """
    found: list[LabelledRecord] = []
    for name in wanted:
        head, _, split = name.partition(":")
        if head in (SYNTHETIC, *SETS) and Path(name).is_dir() and not _is_set(Path(name), root):
            log.warning("%s is the set of that name; for the folder that lies here say ./%s", name, name)
        if name == SYNTHETIC:
            found += _synthetic(seed)
        elif head in SETS:  # wherever the command is given: a folder is asked for as ./mitdb
            found += _of_set(head, split or "all", root)
        else:
            found += _own(_place(name, root), annotator)
    _once(found, wanted)
    return tuple(found)


def _place(name: str, root: Path | None) -> Path:
    """Where a record or folder of the user's is: here, or beside the sets."""
    here, named = Path(name), root if root is not None else os.environ.get(ENVIRONMENT)
    if named is None or here.is_dir() or is_record(here) or not Path(named, name).is_dir():
        return here
    return Path(named, name)


def _is_set(here: Path, root: Path | None) -> bool:
    """Whether a folder is the one that the set of its name is read from."""
    named = root if root is not None else os.environ.get(ENVIRONMENT)
    return named is not None and Path(named, here.name).resolve() == here.resolve()


def _once(found: Sequence[LabelledRecord], wanted: Sequence[str]) -> None:
    """Refuse a recording that is named twice, and two folders of one name: their patients would be one."""
    places = [case.stem.resolve() if case.stem else Path(case.group, case.name) for case in found]
    cases = Counter((case.group, place) for case, place in zip(found, places, strict=True))
    twice = next((place for (_, place), times in cases.items() if times > 1), None)
    if twice is not None:
        raise RecordError(f"{', '.join(wanted)}: {twice} is named twice, and would count twice")
    known = {(case.home, case.name, place) for case, place in zip(found, places, strict=True)}
    homes = Counter((home, f"a record {name}") for home, name, _ in known)
    mine = [(case, case.stem) for case in found if case.stem is not None and case.home not in SETS]
    above = {(case.home, stem.parents[case.name.count("/")].resolve()) for case, stem in mine}
    homes.update((home, f"a {PATIENTS}") for home, folder in above if (folder / PATIENTS).is_file())
    same = next((key for key, times in homes.items() if times > 1), None)
    if same is not None:
        raise RecordError(
            f"two folders {same[0]} hold {same[1]}, and would be taken for one: evaluate them by themselves, "
            "or name the folder above both"
        )


def _synthetic(seed: int) -> list[LabelledRecord]:
    def make(number: int) -> tuple[Record, Truth]:
        record = cases[number].make().record
        return record, truth_of(record)

    cases = plan_cohort(COHORT, seed)["test"]
    return [
        LabelledRecord(SYNTHETIC, f"{case.settings.patient.name}-{case.seed}", partial(make, number))
        for number, case in enumerate(cases)
    ]


def _of_set(name: str, split: str, root: Path | None) -> list[LabelledRecord]:
    folder = data_root(root)
    paths = find_records(folder, name, split)
    labels = record_labels(folder, name) if name == RECORD_LABELS else {}

    def read(path: Path) -> tuple[Record, Truth]:
        record = load_record(path, name)
        af = labels[path.name] == "A" if path.name in labels else None
        truth = truth_of(record, name, af_record=af)
        if not truth.labels and truth.af is None and af is None:
            raise RecordError(f"{name} {path.name} has {_lack(name, record, bool(labels))}")
        return record, truth

    group = name if split == "all" else f"{name} {split}"
    return [
        LabelledRecord(group, path.name, partial(read, path), partial(load_record, path, name), name, path)
        for path in paths
    ]


def _lack(name: str, record: Record, labelled: bool) -> str:
    """Why a recording of a set cannot be scored, and what to do."""
    beats = SETS[name].beats
    if beats is None and not labelled:
        return "no reference annotations: the set has none, name another"
    way_out = "leave it out, or fetch the set again if it should have some"
    if record.annotations is not None and SETS[name].waves:  # qtdb's records of sudden deaths
        return f"no reference of all its beats (.{beats}), only marks of the waves of some: {way_out}"
    return f"no reference annotations: {way_out}"


def _own(path: Path, annotator: str) -> list[LabelledRecord]:
    def read(stem: Path, name: str) -> tuple[Record, Truth]:
        record = read_record(stem, annotator="")
        beside = _bare(stem)
        if not beside.with_name(f"{beside.name}.{annotator}").is_file():
            raise RecordError(
                f"record {stem} has no reference annotations: put its .{annotator} file beside it"
            )
        marks = read_annotations(beside, annotator, fs=record.fs)
        check_symbols(marks, f"{beside}.{annotator}")
        record = replace(
            record,
            name=name,
            patient=patients[name],
            annotations=marks_within(marks, len(record), f"{beside}.{annotator}", most=True),
        )
        truth = truth_of(record)
        if truth.labels and not len(truth.sample):
            log.warning("%s.%s marks no beat: every beat that is found counts as false", beside, annotator)
        return record, truth

    def alone(stem: Path, name: str) -> Record:
        return replace(read_record(stem, annotator=""), name=name)

    def case(group: str, stem: Path, name: str, home: str) -> LabelledRecord:
        loads = partial(read, stem, name), partial(alone, stem, name)
        return LabelledRecord(group, name, *loads, home, _bare(stem))

    if path.is_dir():
        found, group = find_annotated(path, annotator), path.resolve().name
        if not found:
            raise RecordError(
                f"folder {path} holds no WFDB or EDF record, and no table with a .{annotator} file beside "
                "it: name another one"
            )
        names = [_bare(file).relative_to(path).as_posix() for file in found]
    elif is_record(path):
        found, group, names = [path], "records", [_bare(path).name]
    else:
        raise RecordError(
            f"{path} is neither a record, nor a folder, nor a set: sets are {', '.join((SYNTHETIC, *SETS))}"
        )
    home = (path if path.is_dir() else path.parent).resolve()
    patients = patients_in(home, {name: home / name for name in names})
    return [case(group, file, name, home.name) for file, name in zip(found, names, strict=True)]


def _bare(path: Path) -> Path:
    """A record's place without the extension of a file."""
    return path.with_suffix("") if path.is_file() else path
