"""Recordings of any set, or made ones, to `TrainingRecord`, split by patient."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeecg.data.catalog import (
    SETS,
    data_root,
    data_set,
    find_records,
    load_record,
    load_reference,
    record_labels,
    set_folder,
)
from edgeecg.data.development import is_development
from edgeecg.data.patients import patients_in
from edgeecg.data.recording import UNKNOWN, TrainingRecord, gaps, on_model_grid
from edgeecg.data.settings import SYNTHETIC, DataSettings
from edgeecg.data.split import hold_out
from edgeecg.data.synthetic import SyntheticRecord, synthetic_cohort
from edgeecg.errors import ConfigError, RecordError
from edgeecg.io.annotation import check_symbols, marks_within, read_annotations
from edgeecg.io.identity import samples_hash
from edgeecg.io.reading import find_annotated, named, read_record
from edgeecg.io.record import Annotations, Record
from edgeecg.io.wfdb import find_headers
from edgeecg.signal.missing import present
from edgeecg.signal.resample import Resampler
from edgeecg.specs import BEAT_LABELS, MODEL_FS

__all__ = [
    "Report",
    "TrainingData",
    "load_training_data",
    "prepare_record",
    "prepare_synthetic",
]

Report = Callable[[str, int, int], None]
"""Told a set, how many of its recordings are ready, and how many there are."""

Tell = Callable[[int, int], None]  # the same of one set

NOISE = "nstdb"
SEED_SPACE = 7_000_000  # apart from the seeds of the synthetic patients that verbs evaluate on
LEAD_PAIRS = (("MLII", "V1"), ("I", "V5"), ("II", "V2"), ("MLII", "V5"), ("V1", "aVF"), ("V3", "V6"))
SINUS = {"N", "SBR", "B", "T", "BII", "PREX"}  # WFDB's rhythms in which the sinus leads, ectopic beats or not
MASK_MARGIN = 0.5  # seconds around ventricular flutter
GAP_MARGIN = 0.1  # seconds around missing samples: a QRS reaches into them


@dataclass(frozen=True)
class TrainingData:
    """Training and validation recordings (no patient in both), recorded noise, and whom to thank."""

    training: list[TrainingRecord]
    validation: list[TrainingRecord]
    noise: list[NDArray[np.float32]]
    attribution: tuple[str, ...]

    def counts(self) -> dict[str, int]:
        """Training recordings of each set."""
        return dict(sorted(Counter(record.source for record in self.training).items()))


def _spans(intervals: Sequence[tuple[int, int]], scale: float, margin: float = 0.0) -> NDArray[np.float64]:
    table = np.array(intervals, dtype=np.float64).reshape(-1, 2) * scale
    return np.asarray(table + np.array([-margin, margin]) * MODEL_FS)


def _places(samples: NDArray[np.int64], scale: float) -> NDArray[np.float64]:
    return samples.astype(np.float64) * scale


def _label_indices(labels: NDArray[np.str_]) -> NDArray[np.int64]:
    table = {label: index for index, label in enumerate(BEAT_LABELS)}
    return np.array([table.get(label, UNKNOWN) for label in labels.tolist()], dtype=np.int64)


def _heard(beats: NDArray[np.int64], there: NDArray[np.bool_], fs: float) -> NDArray[np.bool_]:
    """Which beats lie where some lead has samples, or lacks so few that they are held."""
    heard = np.ones(len(beats), bool)
    for start, end in gaps(np.asarray(~there.any(axis=1)), fs):
        heard &= (beats < start) | (beats >= end)
    return heard


def prepare_record(
    record: Record, source: str, *, name: str | None = None, weak_label: str = ""
) -> TrainingRecord:
    """An annotated recording on the model grid.

    Where samples are missing for longer than a stream holds them, nothing is learnt of any lead, and no beat
    is asked for that no lead shows; a lead without a sample is left out.

    Parameters
    ----------
    record : Record
        Without beat annotations only its whole-record label and its P waves are learnt from.
    source : str
        The set, or the folder, that it comes from.
    name : str, optional
        Name in the catalogue, where the set is there.
    weak_label : str
        cinc2017's label of the whole record.
    """
    reference = load_reference(record, name)
    there: NDArray[np.bool_] = present(record.signal)
    used = there.any(axis=0) | ~there.any()
    scale = float(Resampler(record.fs).ratio)  # not of the rate as it is written: the signal's grid
    signal = on_model_grid(record.signal[:, used], record.fs)
    unheard = [span for lead in there.T[used] for span in gaps(~lead, record.fs)]
    inside = (reference.beats * scale < signal.shape[1]) & _heard(reference.beats, there, record.fs)
    af = [(start, end) for start, end, rhythm in reference.rhythms if rhythm == "AFIB"]
    ectopic = [(start, end) for start, end, rhythm in reference.rhythms if rhythm not in SINUS]
    return TrainingRecord(
        name=f"{source}/{record.name}",
        patient=record.patient or f"{source}/{record.name}",
        source=source,
        signal=signal,
        beats=_places(reference.beats[inside], scale),
        labels=_label_indices(reference.labels[inside]),
        complete=len(reference.beats) > 0,
        atrial_fibrillation=_spans(af, scale) if reference.rhythms else None,
        weak_rhythm={"A": 1, "N": 0, "O": 0}.get(weak_label, UNKNOWN),
        weak_label=weak_label,
        masked=np.concatenate(
            [_spans(reference.masked, scale, MASK_MARGIN), _spans(sorted(set(unheard)), scale, GAP_MARGIN)]
        ),
        ectopic=_spans(ectopic, scale),
        p_waves=_places(reference.p_waves, scale) if len(reference.p_waves) else None,
        waves_known=None if reference.waves_known is None else _spans(reference.waves_known, scale),
        digest=samples_hash(record),
    )


def prepare_synthetic(made: SyntheticRecord) -> TrainingRecord:
    """A synthetic recording on the model grid; everything is known of it, P waves too."""
    scale = float(Resampler(made.record.fs).ratio)
    af = [(start, end) for start, end, rhythm in made.rhythms if rhythm == "AFIB"]
    return TrainingRecord(
        name=f"{SYNTHETIC}/{made.record.name}",
        patient=f"{SYNTHETIC}/{made.record.name}",
        source=SYNTHETIC,
        signal=on_model_grid(made.record.signal, made.record.fs),
        beats=_places(made.beats, scale),
        labels=_label_indices(made.labels),
        atrial_fibrillation=_spans(af, scale),
        ectopic=_spans([(start, end) for start, end, rhythm in made.rhythms if rhythm not in SINUS], scale),
        p_waves=_places(made.p_waves, scale),
    )


def _synthetic(settings: DataSettings, seed: int, tell: Tell) -> Iterator[TrainingRecord]:
    """Patients over several pairs of leads, at least three of a pair; the first pairs take what is over."""
    wanted = settings.synthetic_patients
    pairs, made = min(len(LEAD_PAIRS), max(1, wanted // 3)), 0
    for number, leads in enumerate(LEAD_PAIRS[:pairs]):
        count = wanted // pairs + (number < wanted % pairs)
        cohort = synthetic_cohort(
            max(3, count),  # fewer are no cohort: of those too many are left out
            SEED_SPACE + 1000 * seed + number,
            seconds=float(settings.synthetic_seconds),
            fs=256.0,
            leads=leads,
            snr_db=(14.0, 40.0),
        )
        yield from map(prepare_synthetic, list(chain(*cohort.values()))[:count])
        made += count
        tell(made, wanted)


def _catalogued(root: Path, name: str, limit: int, tell: Tell) -> Iterator[TrainingRecord]:
    """Recordings of a set of the catalogue, its test split left out."""
    weak = record_labels(root, name) if name == "cinc2017" else {}
    paths = [path for path in find_records(root, name) if is_development(name, path.name, path.parent)]
    paths = paths[: limit or None]
    if not paths:
        raise ConfigError(
            f"of {name} nothing but what is kept for judging is in {root}: 'edgeecg data fetch {name}'"
        )
    for number, path in enumerate(paths, 1):
        label = weak.get(path.name, "")
        with named(path):
            made = prepare_record(load_record(path, name), name, name=name, weak_label=label)
        tell(number, len(paths))
        yield made


def _own(folder: Path, limit: int, tell: Tell) -> Iterator[TrainingRecord]:
    """Annotated recordings in a folder of the user's."""
    found = find_annotated(folder, "atr")[: limit or None]
    if not found:
        raise ConfigError(
            f"{folder} holds no recording: put yours there, WFDB, EDF or a table, each with its beats (.atr)"
        )
    stems = [file.with_suffix("") if file.is_file() else file for file in found]
    names = [stem.relative_to(folder).as_posix() for stem in stems]
    home = folder.resolve()
    patients = patients_in(home, {name: home / name for name in names})
    for number, (file, stem, name) in enumerate(zip(found, stems, names, strict=True), 1):
        with named(stem):
            record = read_record(file, annotator="")
            record = replace(record, annotations=_marks(stem, record))
            if record.annotations is None or not record.annotations.is_beat.any():
                raise RecordError(
                    f"{stem} has no beat annotations (.atr) to learn from: annotate it, or move it out of "
                    f"{folder}; none is skipped, every recording there is trained on"
                )
            # by its place: two wards may both have a record 01
            made = prepare_record(replace(record, name=name, patient=patients[name]), folder.name)
        tell(number, len(found))
        yield made


def _marks(stem: Path, record: Record) -> Annotations | None:
    """The marks beside a record of the user's, all of which are to be learnt from."""
    if not stem.with_name(f"{stem.name}.atr").is_file():
        return None
    marks = read_annotations(stem, "atr", fs=record.fs)
    check_symbols(marks, stem)
    return marks_within(marks, len(record), stem, most=True)


def _noise(root: Path) -> list[NDArray[np.float32]]:
    """Recorded noise, where it is there."""
    if not any((root / name).is_dir() for name in (NOISE, data_set(NOISE).slug)):
        return []
    tapes = [p for p in find_headers(set_folder(root, NOISE)) if p.stem in ("bw", "ma", "em", "em118")]
    return [lead for tape in tapes for lead in on_model_grid(read_record(tape).signal, read_record(tape).fs)]


def load_training_data(
    settings: DataSettings, seed: int, report: Report = lambda source, done, total: None
) -> TrainingData:
    """Read or make everything that the settings name.

    Parameters
    ----------
    report : callable
        Told how far it is: thousands of recordings take minutes.

    Raises
    ------
    ConfigError
        A set that is unknown or not there, or a split that leaves nobody.
    RecordError
        A recording that cannot be read.
    """
    for name in settings.sets:
        # by it windows are drawn and patients are told apart
        if name in ("", "..") or Path(name).name != name:
            raise ConfigError(
                f"set {name!r}: give the bare name of a folder, and the folder above it as data.root"
            )
    real = [name for name, share in settings.sets.items() if share > 0 and name != SYNTHETIC]
    root = data_root(settings.root or None) if real else Path()
    for name in real:  # before minutes are spent on the sets that are there
        if name in SETS:
            set_folder(root, name)
        elif not (root / name).is_dir():
            raise ConfigError(
                f"unknown set {name!r}: {root / name} is no folder; the sets known are "
                f"{', '.join((SYNTHETIC, *SETS))}"
            )
    records: list[TrainingRecord] = []
    if settings.sets.get(SYNTHETIC, 0) > 0:
        records += _synthetic(settings, seed, partial(report, SYNTHETIC))
    noise = _noise(root) if real else []
    for name in real:
        limit, tell = settings.limit, partial(report, name)
        records += _catalogued(root, name, limit, tell) if name in SETS else _own(root / name, limit, tell)
    training, validation = hold_out(records, settings)
    read = [*real, NOISE] if noise else real
    thanks = tuple(dict.fromkeys(SETS[name].attribution for name in read if name in SETS))
    return TrainingData(training, validation, noise, thanks)
