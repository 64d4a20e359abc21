"""The smallest change of a real beat that turns its label: in timing, QRS width and P wave.

Distance is counted in changes that are about as easy to see: a tenth of the usual RR interval, a fifth of
the QRS width, half a P wave. Rays from the beat as it is are followed outwards; the first turn is refined,
and what the turn does not need is taken back. The answer is then put into the source's millivolts and the
whole deployed path, detection included, is asked again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from edgeecg.bundle import Bundle
from edgeecg.errors import ConfigError, SignalError
from edgeecg.explain.baseline import usual_interval
from edgeecg.explain.edits import Edit, Place, apply
from edgeecg.explain.question import Question
from edgeecg.explain.trace import Trace, trace
from edgeecg.explain.versions import ROOM, Versions, place_of
from edgeecg.specs import BEAT_LABELS

__all__ = ["Counterfactual", "counterfactual", "edited_source", "smallest_change"]

STEPS = 14  # along each ray
FARTHEST = 6.0  # units; beyond it a change is no longer small
HALVINGS = 5
OVERSHOOT = (1.0, 1.05, 1.1, 1.2, 1.35)  # tried in turn, until the deployed path agrees
UNIT_TIMING, UNIT_WIDTH, UNIT_P = 0.1, 0.2, 0.5  # of the usual RR, of the QRS width (log), of a P wave

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Counterfactual:
    """A small change that turns the label.

    Parameters
    ----------
    before, after : str
        What the model says of the beat, and of the changed one.
    edit : Edit
        The change.
    distance : float
        Its size, in the units that the module states.
    probability : float
        Of ``after``, detections frozen.
    confirmed : bool
        Whether the deployed path says ``after`` of the changed recording, having found the beat itself.
    """

    before: str
    after: str
    edit: Edit
    distance: float
    probability: float
    confirmed: bool

    def sentence(self) -> str:
        """The change in words."""
        edit, parts = self.edit, []
        if edit.timing:
            parts.append(f"came {abs(edit.timing) * 1e3:.0f} ms {'later' if edit.timing > 0 else 'earlier'}")
        if edit.width != 1:
            share = abs(edit.width - 1)
            parts.append(f"had a QRS {share:.0%} {'wider' if edit.width > 1 else 'narrower'}")
        if edit.p:
            parts.append(f"had {abs(edit.p):.0%} of a usual P wave {'more' if edit.p > 0 else 'less'}")
        first = ", ".join(parts[:-1])
        told = f"{first} and {parts[-1]}" if first else parts[-1]
        word = "It would be" if self.confirmed else "With the detections frozen it would be"
        return f"{word} {self.after} if it {told}."


def counterfactual(bundle: Bundle, versions: Versions, *, wanted: str | None = None) -> Counterfactual | None:
    """The smallest change that turns the label of a beat.

    Parameters
    ----------
    bundle : Bundle
        For the last check.
    versions : Versions
        Of the beat.
    wanted : str, optional
        The label to reach; any other where left out.

    Returns
    -------
    ``None`` where no change of at most six units does it.

    Raises
    ------
    ConfigError
        If ``wanted`` is no label of a beat, or the one that it has.
    """
    before = BEAT_LABELS[int(versions.logits([Edit()])[0].argmax())]
    if wanted is not None and (wanted not in BEAT_LABELS or wanted == before):
        raise ConfigError(f"cannot turn {before} into {wanted!r}: choose another of {', '.join(BEAT_LABELS)}")
    ray = _first_turn(versions, before, wanted)
    if ray is None:
        return None
    least = _spared(versions, _refined(versions, ray, before, wanted), before, wanted)
    found = _judged(bundle, versions, least, before)
    for factor in OVERSHOOT[1:]:
        if found.confirmed or not _fits(versions, factor * least):
            break
        further = _judged(bundle, versions, factor * least, before)
        found = further if further.confirmed else found
    return found


def smallest_change(bundle: Bundle, question: Question, beat: int) -> tuple[Counterfactual | None, str]:
    """The smallest change to the label asked about, or away from what was told; or why there is none."""
    told = question.trace.labels[beat]
    if question.trace.verdict.rule[beat]:
        return None, f"No change was looked for: {told} is told by a rule, not by the network."
    if not _movable(question):
        return None, "No change was looked for: the beat is the stretch's first, or too close to its end."
    versions = Versions.of(bundle, question.network, question.trace, beat)
    wanted = question.label if question.label != told else None
    turned = counterfactual(bundle, versions, wanted=wanted)
    if turned is None:
        where = f"to {wanted}" if wanted else f"away from {told}"
        return None, f"No small change of timing, QRS width and P wave turns it {where}."
    return turned, ""


def _movable(question: Question) -> bool:
    """Whether the recording goes on long enough after the beat for it to be moved."""
    spec, found = question.network.spec, question.trace
    beat = int(question.targets[0])
    ahead = spec.delay + spec.token.lag + 1 + ROOM
    return beat > 0 and int(found.token[beat]) + ahead <= found.share.shape[1]


def _judged(bundle: Bundle, versions: Versions, vector: Vector, before: str) -> Counterfactual:
    """What the frozen function and the deployed path say of a change."""
    edit = _edit(versions, vector)
    logits = versions.logits([edit])[0].astype(np.float64)
    after = BEAT_LABELS[int(logits.argmax())]
    probability = float(np.exp(logits.max() - np.logaddexp.reduce(logits)))
    confirmed = after != before and _asked_again(bundle, versions, edit) == after
    return Counterfactual(before, after, edit, float(np.linalg.norm(vector)), probability, confirmed)


def _edit(versions: Versions, vector: Vector) -> Edit:
    """A point in units to an edit, within what the beat allows."""
    limits = versions.limits
    values = {
        "timing": vector[0] * UNIT_TIMING * usual_interval(versions.question),
        "width": math.exp(vector[1] * math.log(1 + UNIT_WIDTH)),
        "p": vector[2] * UNIT_P,
    }
    return Edit(**{name: float(np.clip(value, *limits[name])) for name, value in values.items()})


def _fits(versions: Versions, vector: Vector) -> bool:
    """Whether the beat has room for this change."""
    edit, limits = _edit(versions, vector), versions.limits
    wide = math.exp(vector[1] * math.log(1 + UNIT_WIDTH))
    moved = vector[0] * UNIT_TIMING * usual_interval(versions.question)
    inside = limits["p"][0] <= vector[2] * UNIT_P <= limits["p"][1]
    return math.isclose(edit.width, wide) and math.isclose(edit.timing, moved, abs_tol=1e-9) and inside


def _turned(versions: Versions, vectors: list[Vector], before: str, wanted: str | None) -> NDArray[np.bool_]:
    """Which of these changes turn the label."""
    said = versions.logits([_edit(versions, vector) for vector in vectors]).argmax(axis=1)
    if wanted is not None:
        return np.asarray(said == BEAT_LABELS.index(wanted))
    return np.asarray(said != BEAT_LABELS.index(before))


def _first_turn(versions: Versions, before: str, wanted: str | None) -> Vector | None:
    """The nearest turn on 26 rays, looked for from the inside outwards."""
    rays = [np.array(ray, np.float64) for ray in product((-1, 0, 1), repeat=3) if any(ray)]
    for radius in np.linspace(0, FARTHEST, STEPS + 1)[1:]:
        shell = [radius * ray / np.linalg.norm(ray) for ray in rays]
        shell = [vector for vector in shell if _fits(versions, vector)]
        if not shell:
            continue
        turned = _turned(versions, shell, before, wanted)
        if turned.any():
            nearest: Vector = shell[int(np.argmax(turned))]
            return nearest
    return None


def _refined(versions: Versions, vector: Vector, before: str, wanted: str | None) -> Vector:
    """The turn on the same ray, between this step and the one before."""
    low, high = 1 - FARTHEST / STEPS / float(np.linalg.norm(vector)), 1.0
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        if _turned(versions, [middle * vector], before, wanted)[0]:
            high = middle
        else:
            low = middle
    shorter: Vector = high * vector
    return shorter


def _spared(versions: Versions, vector: Vector, before: str, wanted: str | None) -> Vector:
    """Without what the turn does not need, the smallest part first."""
    for axis in np.argsort(np.abs(vector)):
        for share in (0.0, 0.5):
            fewer = vector.copy()
            fewer[axis] *= share
            if vector[axis] and fewer.any() and _turned(versions, [fewer], before, wanted)[0]:
                vector = fewer
                break
    return vector


def edited_source(found: Trace, beat: int, edit: Edit) -> tuple[NDArray[np.float64], int]:
    """The source's millivolts ``(n, leads)`` with a beat changed, and the beat's new sample."""
    record = found.record
    place: Place = place_of(found, beat, range(len(found.signal)))
    shift = found.anchor - found.latency / found.ratio
    source = place.on(1 / found.ratio, shift)
    level = found.millivolts(beat)
    source = replace(source, fs=record.fs, usual_p=source.usual_p * level[:, None])
    signal = record.signal.copy()
    columns = list(found.columns)
    signal[:, columns] = apply(record.signal[:, columns].T, source, edit).T
    return signal, found.sample(float(found.place[beat])) + round(edit.timing * record.fs)


def _asked_again(bundle: Bundle, versions: Versions, edit: Edit) -> str | None:
    """What the deployed path says of the changed recording; ``None`` where it does not find the beat."""
    question = versions.question
    signal, at = edited_source(question.trace, int(question.targets[0]), edit)
    record = replace(question.trace.record, signal=signal, annotations=None)
    try:
        again = trace(bundle, question.network, record, at, lead_policy=question.trace.policy)
        return again.labels[again.nearest(at, within=0.1)]
    except SignalError:
        return None
