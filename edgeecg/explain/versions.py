"""Thousands of versions of one beat, asked at once: for counterfactuals and for ``predict(features)``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Union

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from edgeecg.bundle import Bundle
from edgeecg.errors import ConfigError
from edgeecg.explain.baseline import BEFORE, usual_beat, usual_interval
from edgeecg.explain.edits import Edit, Place, apply, limits
from edgeecg.explain.question import Question, ask
from edgeecg.explain.segments import P_HALF, P_USUAL, delineate, landmarks
from edgeecg.explain.trace import Trace, load_network, trace
from edgeecg.io.record import Record
from edgeecg.model.transformer import Network
from edgeecg.specs import MODEL_FS

__all__ = ["FEATURES", "FeatureView", "Versions", "feature_view", "place_of"]

FEATURES = ("rr_before", "irregularity", "qrs_width", "p_amplitude", "t_amplitude", "r_amplitude")
"""Columns of :meth:`FeatureView.predict`: seconds, share, milliseconds, and heights as factors (P: of the
patient's usual one; T and R: of this beat's own)."""

BATCH = 32
ROOM = 8  # tokens (0.5 s) that a beat may come later
P_SHARE = 0.12  # of the QRS: height of a P wave for a patient without a usual one


def place_of(trace: Trace, beat: int, leads: Sequence[int]) -> Place:
    """Where a beat of a trace lies, on the trace's grid."""
    own = landmarks(trace, beat)
    length = trace.signal.shape[1]
    quiet = float(landmarks(trace, beat - 1).end) if beat else 0.0
    next_p = float(landmarks(trace, beat + 1).p) if beat + 1 < len(trace) else float(length - 1)
    start = max(float(own.p), quiet)
    peak = float(np.clip(trace.place[beat], own.qrs + 1, own.st - 1))
    return Place(
        fs=MODEL_FS,
        quiet=min(quiet, start),
        p=start,
        qrs=max(float(own.qrs), start),
        peak=peak,
        st=float(own.st),
        t=float(own.t),
        end=float(own.end),
        next_p=max(next_p, float(own.end)),
        usual_p=_usual_p(trace, beat, own.qrs, leads),
    )


def _usual_p(trace: Trace, beat: int, qrs: int, leads: Sequence[int]) -> NDArray[np.float64]:
    """The P wave of the usual beat, or a small bump where there is none."""
    usual = usual_beat(trace, np.array([beat]))
    if usual is None:
        seconds = np.arange(-round(2 * P_USUAL * MODEL_FS), 0) / MODEL_FS
        bump = np.exp(-0.5 * ((seconds + P_USUAL) / (P_HALF / 2)) ** 2)
        size = np.abs(trace.signal[list(leads), qrs : qrs + 16]).max(axis=1)
        return np.asarray(P_SHARE * size[:, None] * bump)
    line = usual[leads[0]].astype(np.float64)
    marks = delineate(line, BEFORE, -float(BEFORE), float(len(line)))
    wave = usual[list(leads), marks.p : marks.qrs].astype(np.float64)
    end = marks.pr - marks.p
    wave[:, :end] -= np.linspace(wave[:, 0], wave[:, end - 1], end, axis=1)
    wave[:, end:] = 0.0
    return wave


@dataclass(frozen=True, eq=False)
class Versions:
    """One beat and everything that can be edited in it.

    Parameters
    ----------
    question : Question
        About a beat's class, with ``room`` behind it.
    place : Place
        On the question's live stretch.
    """

    question: Question
    place: Place

    @classmethod
    def of(cls, bundle: Bundle, network: Network, trace: Trace, beat: int) -> Versions:
        """Versions of a beat of a trace.

        Raises
        ------
        ConfigError
            For the first beat of a stretch, which has no interval.
        """
        if beat == 0:
            raise ConfigError("the first beat of a stretch has no interval before it: choose a later one")
        question = ask(bundle, network, trace, beat, room=ROOM)
        place = place_of(trace, beat, question.leads)
        return cls(question, place.on(1.0, -float(question.live.start)))

    @property
    def limits(self) -> dict[str, tuple[float, float]]:
        """How far each part of an edit may go."""
        found = limits(self.place)
        low, high = found["timing"]
        patch = self.question.network.spec.patch
        return {**found, "timing": (low, min(high, (ROOM - 1) * patch / MODEL_FS))}

    def logits(self, edits: Sequence[Edit], irregularity: ArrayLike = 1.0) -> NDArray[np.float32]:
        """Class logits of each version, ``(edits, 5)``.

        Parameters
        ----------
        edits : sequence of Edit
        irregularity : float or (edits,)
            Factor on how far the older intervals lie from the usual one.
        """
        swing = np.broadcast_to(np.asarray(irregularity, np.float64), len(edits))
        parts = [
            self._logits(edits[start : start + BATCH], swing[start : start + BATCH])
            for start in range(0, len(edits), BATCH)
        ]
        return np.concatenate(parts)

    def _logits(self, edits: Sequence[Edit], swing: NDArray[np.float64]) -> NDArray[np.float32]:
        question = self.question
        own = question.samples.numpy().astype(np.float64)
        samples = np.stack([apply(own, self.place, edit) for edit in edits]).astype(np.float32)
        beat = int(question.targets[0])
        index, count = question.interval_of(beat), len(question.intervals)
        intervals = np.repeat(question.intervals.numpy()[None].astype(np.float64), len(edits), axis=0)
        usual = usual_interval(question)
        intervals[:, :index] = usual + swing[:, None] * (intervals[:, :index] - usual)
        timing = np.array([edit.timing for edit in edits])
        intervals[:, index] += timing
        if index + 1 < count:
            intervals[:, index + 1] -= timing
        patch = question.network.spec.patch
        moved = (question.trace.place[beat] + timing * MODEL_FS) // patch
        shift = np.zeros((len(edits), len(question.inner)), np.int64)
        shift[:, -1] = moved.astype(np.int64) - question.trace.token[beat]
        with torch.no_grad():
            inputs = torch.from_numpy(samples), torch.from_numpy(intervals.astype(np.float32))
            entered = question.entered(*inputs, shift)
            logits = question.logits(question.network.beat.stack(entered))[:, 0]
        return np.asarray(logits.numpy())


@dataclass(frozen=True, eq=False)
class FeatureView:
    """The model as a plain function of named features of one beat.

    Any tool that explains ``predict(table)`` can be pointed at it: SHAP, InterpretML, partial dependence.

    Parameters
    ----------
    versions : Versions
    """

    versions: Versions

    @cached_property
    def usual(self) -> float:
        """The patient's usual interval before this beat, seconds."""
        return usual_interval(self.versions.question)

    @cached_property
    def values(self) -> NDArray[np.float64]:
        """The beat's own features, ``(6,)``."""
        question, place = self.versions.question, self.versions.place
        index = question.interval_of(int(question.targets[0]))
        rr = float(question.intervals[index])
        width = 1e3 * (place.st - place.qrs) / MODEL_FS
        return np.array([rr, self._irregularity, width, self._own_p, 1.0, 1.0])

    @cached_property
    def _irregularity(self) -> float:
        """Mean absolute departure of the older intervals from the usual one, as a share of it."""
        index = self.versions.question.interval_of(int(self.versions.question.targets[0]))
        older = self.versions.question.intervals.numpy()[:index]
        return float(np.mean(np.abs(older - self.usual)) / self.usual) if len(older) else 0.0

    @cached_property
    def _own_p(self) -> float:
        """How much of the usual P wave stands before the beat: least squares, its baseline left out."""
        place = self.versions.place
        wave = place.usual_p - place.usual_p.mean(axis=1, keepdims=True)
        stop = round(place.qrs)
        cut = self.versions.question.samples.numpy()[:, max(0, stop - wave.shape[1]) : stop]
        if cut.shape != wave.shape or not wave.any():
            return 0.0
        return float((cut * wave).sum() / (wave * wave).sum())

    @property
    def ranges(self) -> NDArray[np.float64]:
        """Least and greatest value of each feature, ``(6, 2)``."""
        edge = self.versions.limits
        rr, irregularity, width, p, _, _ = self.values
        return np.array(
            [
                [rr + edge["timing"][0], rr + edge["timing"][1]],
                [0.0, max(0.4, 2 * irregularity)],
                [width * edge["width"][0], width * edge["width"][1]],
                [p + edge["p"][0], p + edge["p"][1]],
                edge["t"],
                edge["r"],
            ]
        )

    def sample(self, count: int, seed: int = 0) -> NDArray[np.float64]:
        """Versions drawn evenly from :attr:`ranges`, ``(count, 6)``: background and training data."""
        low, high = self.ranges.T
        return np.random.default_rng(seed).uniform(low, high, (count, len(FEATURES)))

    def predict(self, features: ArrayLike) -> NDArray[np.float64]:
        """Probabilities ``(n, 5)`` of ``BEAT_LABELS`` for ``(n, 6)`` rows of ``FEATURES``.

        Values beyond :attr:`ranges` count as the nearest one within.

        Raises
        ------
        ConfigError
            If the table has other columns.
        """
        table = np.atleast_2d(np.asarray(features, np.float64))
        if table.ndim != 2 or table.shape[1] != len(FEATURES) or not np.isfinite(table).all():
            raise ConfigError(f"features of shape {table.shape}: give finite (n, 6) of {', '.join(FEATURES)}")
        low, high = self.ranges.T
        rows = np.clip(table, low, high)
        rr, _, width, p, _, _ = self.values
        edits = [
            Edit(timing=row[0] - rr, width=row[2] / width, p=row[3] - p, t=row[4], r=row[5]) for row in rows
        ]
        swing = rows[:, 1] / self._irregularity if self._irregularity > 0 else np.ones(len(rows))
        logits = self.versions.logits(edits, swing).astype(np.float64)
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities: NDArray[np.float64] = odds / odds.sum(axis=1, keepdims=True)
        return probabilities


def feature_view(
    record: Record, at: int, *, bundle: Union[str, os.PathLike[str], Bundle] = "small"
) -> FeatureView:
    """The model as a function of named features of the beat at a source sample.

    Raises
    ------
    SignalError
        If there is no beat at ``at``, or the recording ends too soon after it.
    BundleError
        If the bundle cannot be opened, or has no weights.

    Examples
    --------
    >>> import edgeecg
    >>> record = edgeecg.read_record("mitdb/119")  # doctest: +SKIP
    >>> view = edgeecg.explain.feature_view(record, at=173035)  # doctest: +SKIP
    >>> view.predict(view.values)  # doctest: +SKIP
    """
    opened = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
    network = load_network(opened)
    found = trace(opened, network, record, at)
    return FeatureView(Versions.of(opened, network, found, found.nearest(at)))
