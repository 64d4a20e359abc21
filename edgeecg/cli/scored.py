"""The two things that ``edgeecg evaluate`` scores: files of annotations, and a bundle that is run."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from edgeecg.cli.common import human_console, progress_bar
from edgeecg.data.shown import was_shown
from edgeecg.errors import ConfigError, InputError
from edgeecg.io import read_annotations
from edgeecg.io.annotation import check_symbols
from edgeecg.metrics.judge import MAPPINGS, said_of
from edgeecg.metrics.references import LabelledRecord
from edgeecg.metrics.report import Protocol
from edgeecg.metrics.score import RecordScores, Truth, said_by_events, score

if TYPE_CHECKING:
    from edgeecg.bundle import Bundle

__all__ = ["score_bundle", "score_files"]


def _why_not(case: LabelledRecord, error: InputError) -> str:
    """The error, the record's name before it where it does not say it."""
    return str(error) if case.name in str(error) else f"{case.group} {case.name}: {error}"


def score_files(
    folder: Path,
    extension: str,
    cases: Sequence[LabelledRecord],
    protocol: Protocol,
    failed: dict[int, str],
) -> tuple[dict[str, str], dict[int, RecordScores]]:
    """Score annotation files; scores by the case's number, and of what cannot be scored the reason."""
    if not folder.is_dir():
        raise ConfigError(
            f"--annotations {folder} is not a folder: name the one that holds the .{extension} files"
        )

    scores: dict[int, RecordScores] = {}
    names = Counter(Path(case.name).name for case in cases)
    with progress_bar() as bar:
        for number, case in enumerate(bar.track(cases, description="records")):
            stem = _stem_of(folder, case, extension, alone=names[Path(case.name).name] == 1)
            try:
                record, truth = case.load()
                marks = read_annotations(stem, extension, fs=record.fs, record=case.stem)
                check_symbols(marks, f"{stem}.{extension}")
                said = said_of(marks, record)
            except InputError as error:
                failed[number] = _why_not(case, error)
                continue
            scores[number] = score(truth, said, af_fraction=protocol.af_record_fraction)
    return {"annotations": str(folder), "extension": extension}, scores


def _stem_of(folder: Path, case: LabelledRecord, extension: str, *, alone: bool) -> Path:
    """Where a record's annotation file is: at its place, in its set's folder, or beside all others.

    The last only where the record is ``alone`` in its name: it might be another ward's.
    """
    places = [folder / case.name, folder / case.home / case.name]
    places += [folder / Path(case.name).name] if alone else []
    there = (stem for stem in places if stem.with_name(f"{stem.name}.{extension}").is_file())
    return next(there, places[0])


def score_bundle(
    name: str,
    backend: str,
    precision: str | None,
    cases: Sequence[LabelledRecord],
    protocol: Protocol,
    failed: dict[int, str],
) -> tuple[dict[str, str], dict[int, RecordScores]]:
    """Run a bundle over the records and score its events; see :func:`score_files`."""
    from edgeecg.bundle import Precision
    from edgeecg.cli.builder import builder_options
    from edgeecg.pipeline import Recordings
    from edgeecg.runtime.engine import Backend, open_engine

    chosen = cast("Literal[Backend, 'auto']", backend)  # names that fit nothing are refused by open_engine
    with progress_bar() as bars:
        options = builder_options(bars)
        opened = open_engine(name, chosen, cast("Precision | None", precision), tensorrt=options)
    with opened as engine:
        known = _warn_of_training(engine.bundle, cases)
        crowd = Recordings[tuple[int, Truth, int]](engine)
        waiting, scores = deque(enumerate(cases)), dict[int, RecordScores]()
        with progress_bar() as bar:
            task = bar.add_task("records", total=len(cases))
            while waiting or len(crowd):
                while waiting and not crowd.full:
                    number, case = waiting.popleft()
                    bar.update(task, description=f"{case.group} {case.name}")
                    try:
                        record, truth = case.load()
                        crowd.add((number, truth, len(record)), record)
                    except InputError as error:
                        failed[number] = _why_not(case, error)
                for (number, truth, length), events in crowd.step():
                    said = said_by_events(events, list(MAPPINGS), length)
                    scores[number] = score(truth, said, af_fraction=protocol.af_record_fraction)
                    bar.advance(task)
        system = {
            "bundle": engine.bundle.name,
            "digest": engine.bundle.digest,
            "backend": engine.backend,
            "precision": engine.precision,
            **({"trained on": f"patients of {known}"} if known else {}),
        }
    return system, scores


def _warn_of_training(bundle: Bundle, cases: Sequence[LabelledRecord]) -> str:
    """Say so where a bundle is asked about sets that it, or what it was made of, was trained on; these."""
    training = bundle.manifest.provenance.get("training", {})
    places = {place for case in cases for place in case.places if was_shown(*place, training)}
    known = ", ".join(sorted({home for home, _ in places}))
    if known:
        human_console().print(
            f"note: {bundle.name} was trained on patients of {known}: their figures are too good"
        )
    return known
