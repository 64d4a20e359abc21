"""Examples of what cardiologists speak of: premature, wide QRS, absent P and so on, one beat each.

A concept is a set of beats that share one thing, beside a set of beats of the same hearts that lack it. Were
the others beats of all kinds of patients, the line between would also say who the patients are: healthy
ones, whose P waves were left out, against people with every illness. :mod:`edgeecg.explain.concept_hearts`
has the generator make them; real labels give some too.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeecg.bundle import Bundle
from edgeecg.errors import ConfigError
from edgeecg.explain.question import reach
from edgeecg.explain.trace import Trace, trace
from edgeecg.io.atomic import atomic_path
from edgeecg.io.record import Record
from edgeecg.model.transformer import Network
from edgeecg.specs import RR_FEATURES

__all__ = ["CONCEPTS", "MATCH", "ConceptSets", "Examples", "moments", "real_examples"]

CONCEPTS = (
    "premature",
    "wide QRS",
    "absent P",
    "compensatory pause",
    "irregular RR",
    "inverted T",
    "high amplitude",
    "noise",
)

MATCH = 0.1  # s between a beat of the script, or of the labels, and the one that the model found

Examples = NDArray[np.float32]

WITHOUT = "without "  # before a concept's name in the file


@dataclass(frozen=True, eq=False)
class ConceptSets:
    """Examples of each concept, and beats of the same hearts without it.

    Parameters
    ----------
    concepts, without : dict of str to (n, width)
        By concept, as :func:`moments` packs them.
    """

    concepts: dict[str, Examples]
    without: dict[str, Examples]

    def __post_init__(self) -> None:
        if list(self.concepts) != list(self.without):
            raise ConfigError(
                f"concepts {list(self.concepts)}, without them {list(self.without)}: give both sides of each"
            )

    def save(self, path: Path) -> None:
        """Keep them as an npz file; it appears whole or not at all."""
        lacking = {f"{WITHOUT}{name}": rows for name, rows in self.without.items()}
        with atomic_path(path) as partial:
            np.savez_compressed(partial, **self.concepts, **lacking)  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: Path) -> ConceptSets:
        """Read what :meth:`save` wrote; raises ``ConfigError`` where it is not that."""
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return cls(
                    {name: arrays[name] for name in CONCEPTS},
                    {name: arrays[f"{WITHOUT}{name}"] for name in CONCEPTS},
                )
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
            raise ConfigError(f"{path} holds no concept sets ({error}): delete it") from error


def moments(network: Network, found: Trace, beats: Sequence[int]) -> tuple[Examples, list[int]]:
    """What the model's decision about each beat hangs on, packed flat, on the beat's main lead.

    The samples that its tokens see, then the beat encoder's inputs of the beats before, then its own RR
    features.

    Returns
    -------
    (n, width) float32, and the beats that have all of it.
    """
    spec = network.spec
    older = spec.beat.layers * spec.beat.left
    ahead = spec.delay + spec.token.lag + 1
    rows, kept = [], []
    for beat in beats:
        token = int(found.token[beat])
        if beat < older or token < reach(network) or token + ahead > found.share.shape[1]:
            continue
        lead = int(np.argmax(found.share[:, token]))
        samples = found.signal[lead, (token - reach(network)) * spec.patch : (token + ahead) * spec.patch]
        timing = found.inputs[beat, -len(RR_FEATURES) :]
        rows.append(np.concatenate([samples, found.inputs[beat - older : beat].ravel(), timing]))
        kept.append(beat)
    width = (reach(network) + ahead) * spec.patch + older * spec.beat_inputs + len(RR_FEATURES)
    return np.array(rows, np.float32).reshape(len(rows), width), kept


def real_examples(bundle: Bundle, network: Network, record: Record, *, each: int = 10) -> ConceptSets:
    """Examples of concepts in an annotated recording, as far as its labels tell them.

    Without the concept: normal beats outside of fibrillation that follow a normal one, of the same patient.

    Premature: supraventricular ectopic beats; wide QRS: bundle branch block and ventricular beats;
    compensatory pause: the normal beat after a ventricular one; irregular RR and absent P: atrial
    fibrillation, where both are true at once.

    Parameters
    ----------
    bundle, network : Bundle, Network
    record : Record
        With annotations.
    each : int
        Beats of each concept, and as many without it, at most, evenly from the recording.
    """
    if record.annotations is None:
        raise ConfigError(f"record {record.name} has no annotations to find concepts by")
    length = record.seconds
    found = trace(bundle, network, record, len(record) - 1, before=length, lead_policy="first")
    symbols = _symbols(record, found)
    af = _in_fibrillation(record, found)
    previous = np.concatenate([[""], symbols[:-1]])
    masks = {
        "premature": np.isin(symbols, ["A", "a", "J", "S"]),
        "wide QRS": np.isin(symbols, ["L", "R", "V"]),
        "compensatory pause": (symbols == "N") & (previous == "V"),
        "irregular RR": af,
        "absent P": af,
    }
    plain = _some(network, found, (symbols == "N") & (previous == "N") & ~af, each)
    sides = {name: _some(network, found, mask, each) for name, mask in masks.items()}
    there = {name: rows for name, rows in sides.items() if len(rows) and len(plain)}
    return ConceptSets(there, dict.fromkeys(there, plain))


def _some(network: Network, found: Trace, mask: NDArray[np.bool_], count: int) -> Examples:
    """So many moments of the beats that a mask names, evenly from the recording."""
    packed, _ = moments(network, found, np.flatnonzero(mask).tolist())
    return packed[np.unique(np.linspace(0, len(packed) - 1, count).astype(int))] if len(packed) else packed


def _symbols(record: Record, found: Trace) -> NDArray[np.str_]:
    """Annotated symbol of each beat that the model found; empty where there is none."""
    assert record.annotations is not None
    marks = record.annotations.beats()
    symbols = np.full(len(found), "", dtype="<U1")
    if not len(marks):
        return symbols
    for number, sample in enumerate(found.samples):
        nearest = int(np.argmin(np.abs(marks.sample - sample)))
        if abs(int(marks.sample[nearest]) - int(sample)) < MATCH * record.fs:
            symbols[number] = marks.symbol[nearest]
    return symbols


def _in_fibrillation(record: Record, found: Trace) -> NDArray[np.bool_]:
    """Which beats lie in annotated atrial fibrillation."""
    from edgeecg.data.labels import reference_of

    inside = np.zeros(len(found), dtype=bool)
    for start, stop, name in reference_of(record).rhythms:
        if name == "AFIB":
            inside |= (found.samples >= start) & (found.samples < stop)
    return inside
