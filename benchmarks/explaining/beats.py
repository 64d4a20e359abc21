"""The beats that are asked about: those to which model and reference give the same label."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edgeecg.bundle import Bundle
from edgeecg.data.catalog import data_root, record_labels
from edgeecg.errors import ConfigError, SignalError
from edgeecg.explain.baseline import baseline
from edgeecg.explain.question import AFIB, Question, ask
from edgeecg.explain.trace import Trace, trace
from edgeecg.metrics.references import LabelledRecord, labelled_records
from edgeecg.metrics.score import Truth
from edgeecg.model.transformer import Network

TRIES = 3  # places in a recording that are looked at for a beat
SHORT = "cinc2017"  # at most a minute: no place for what the beat encoder can look back on
EACH = 2  # beats of a recording, at most
MATCH = 0.15  # s between the model's beat and the reference's
PAST, FUTURE = 12, 4  # beats of a trace before and after those that are asked about

Records = tuple[LabelledRecord, ...]


def recordings(root: Path | None, seed: int) -> tuple[dict[str, Records], str]:
    """Recordings for each label, and where they come from: real ones where there are any, else synthetic."""
    try:
        folder = data_root(root)
        beats = labelled_records(["mitdb:DS1", "svdb:development"], folder)
    except ConfigError:
        made = labelled_records(["synthetic"], seed=seed)
        return {"V": made, "S": made, AFIB: made}, "synthetic patients"
    rhythm, source = labelled_records(["mitdb:DS1"], folder), "mitdb DS1, svdb"
    try:
        said = record_labels(folder, SHORT)
        short = labelled_records([f"{SHORT}:development"], folder)
        rhythm += tuple(r for r in short if said.get(r.name) == "A")
        source += f", {SHORT} (AF)"
    except ConfigError:
        pass  # AF by mitdb alone
    return {"V": beats, "S": beats, AFIB: rhythm}, source


def questions(
    bundle: Bundle, network: Network, records: Records, label: str, count: int, seed: int
) -> list[Question]:
    """Up to ``count`` questions, at most two a recording, recordings in random order, short ones last."""
    rng = np.random.default_rng([seed, ord(label[0])])
    found: list[Question] = []
    for number in sorted(rng.permutation(len(records)), key=lambda n: records[n].home == SHORT):
        found += list(_of_record(bundle, network, records[number], label, rng))
        if len(found) >= count:
            break
    return found[:count]


def _of_record(
    bundle: Bundle, network: Network, labelled: LabelledRecord, label: str, rng: np.random.Generator
) -> Iterator[Question]:
    record, truth = labelled.load()
    places, made = _places(truth, label), 0
    for at in rng.permutation(places)[:TRIES]:
        try:
            seen = trace(bundle, network, record, int(at))
        except SignalError:
            continue  # in a gap
        beats = _wanted(seen, truth, label)
        if not beats:
            continue
        question = ask(bundle, network, seen, int(rng.choice(beats)), label)
        if label == AFIB or baseline(question).kind == "usual":
            made += 1
            yield question
        if made == EACH:
            return


def _places(truth: Truth, label: str) -> np.ndarray:
    """Samples at which the reference has the label."""
    if label != AFIB:
        return truth.sample[truth.labels["dechazal"] == label] if len(truth.sample) else truth.sample
    if truth.af_record:
        return np.array([truth.length - 1])
    stretches = [(int(start), int(stop)) for start, stop in truth.af or ()]
    return np.concatenate([[], *(np.linspace(a, b - 1, 20) for a, b in stretches)]).astype(np.int64)


def _wanted(seen: Trace, truth: Truth, label: str) -> list[int]:
    """Beats of a trace to which model and reference give the label."""
    beats = range(PAST, len(seen) - FUTURE)
    if label == AFIB:
        return [b for b in beats if seen.fibrillation[b] > 0.5 and _in_af(truth, int(seen.samples[b]))]
    return [b for b in beats if seen.labels[b] == label and _near(truth, int(seen.samples[b])) == label]


def _in_af(truth: Truth, sample: int) -> bool:
    return bool(truth.af_record) or any(start <= sample < stop for start, stop in truth.af or ())


def _near(truth: Truth, sample: int) -> str:
    """Reference label at a sample, or nothing."""
    if not len(truth.sample):
        return ""
    nearest = int(np.argmin(np.abs(truth.sample - sample)))
    close = abs(int(truth.sample[nearest]) - sample) < MATCH * truth.fs
    return str(truth.labels["dechazal"][nearest]) if close else ""
