"""Token scores to classified beats: peaks, the decision clock, RR features, the beat graph.

A beat at token t is known when token ``t + REACH`` is settled and decided when token ``t + D`` is. What
a decision reads depends on tokens alone, never on steps, so steps of any length give the same beats.
Everything here runs over all rows at once; a row is one stream.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeecg.bundle import Thresholds
from edgeecg.decode import fibrillation, peaks
from edgeecg.decode.confidence import Confidence
from edgeecg.decode.premature import NO_RUN, late
from edgeecg.decode.rr import HISTORY, rr_features
from edgeecg.decode.supraventricular import alternating, behind_interpolated, told
from edgeecg.decode.ventricular import alike, sustained
from edgeecg.pipeline.pending import Decided, Pending, Recent, Runs, no_beats, nothing, runs_of
from edgeecg.pipeline.rows import Rows, StateRows
from edgeecg.pipeline.tokens import Tokens
from edgeecg.runtime.executor import Executor
from edgeecg.specs import BEAT_LABELS, HEADS, MODEL_FS, RHYTHM_LABELS, ModelSpec

__all__ = ["BeatRows"]

SEEN = [HEADS.index(name) for name in ("offset", "quality", "shape_V", "shape_N")]
N, S, V = (BEAT_LABELS.index(label) for label in "NSV")
AFIB = RHYTHM_LABELS.index("AFIB")
NONE = np.iinfo(np.int64).max


class BeatRows:
    """The stage and its state for ``rows`` streams.

    Parameters
    ----------
    executor : Executor
        The beat graph.
    spec : ModelSpec
    thresholds : Thresholds
        Of the bundle: beat threshold and class biases.
    rows : int
    """

    def __init__(self, executor: Executor, spec: ModelSpec, thresholds: Thresholds, rows: int) -> None:
        self.spec, self._least, self._noise = spec, thresholds.beat, thresholds.noise
        self._bias = np.array([thresholds.bias.get(label, 0.0) for label in BEAT_LABELS], np.float32)
        self._kept = max(spec.delay, peaks.REACH)  # tokens of earlier steps that a decision may read
        self._graph = StateRows(executor, rows)
        self._scores = peaks.initial(rows).scores
        self._heads = np.zeros((rows, self._kept, len(SEEN)), np.float32)
        self._embedding = np.zeros((rows, self._kept, spec.token.dim), np.float32)
        self._intervals = np.full((rows, HISTORY + 1), np.nan)
        self._last = np.full(rows, np.nan)  # place of the last decided beat
        self._label = np.full(rows, -1)  # and its label, negative where there was none
        self._confidence = Confidence(thresholds.confidence)
        self._run = np.zeros(rows, np.int64)  # V in a row up to it
        self._usual = np.full(rows, NO_RUN)  # seconds that were usual before the run of S in which it stands
        self._floor = np.zeros(rows, np.int64)  # first token that may hold a beat
        self._limit, self._afib = thresholds.afib, fibrillation.initial(rows)
        self._pending = nothing()
        self._every = np.arange(rows)

    def grow(self, rows: int) -> None:
        """Make room for ``rows`` streams in all."""
        more = BeatRows(self._graph.executor, self.spec, Thresholds(), rows - len(self._last))
        self._graph.grow(rows)
        for name in _ARRAYS:
            setattr(self, name, np.concatenate([getattr(self, name), getattr(more, name)]))
        self._every = np.arange(rows)

    def reset(self, rows: Rows, token: int = 0) -> None:
        """Make these rows fresh streams: no beat, no history, and none found before ``token``."""
        self._floor[rows] = token
        self._graph.reset(rows)
        self._scores[rows], self._heads[rows], self._embedding[rows] = 0, 0, 0
        self._intervals[rows], self._last[rows], self._label[rows] = np.nan, np.nan, -1
        self._afib[rows], self._run[rows], self._usual[rows] = 0, 0, NO_RUN
        if len(self._pending.row):
            fresh = np.zeros(len(self._last), bool)
            fresh[rows] = True
            self._pending = self._pending.take(~fresh[self._pending.row])

    def step(self, tokens: Tokens, first: NDArray[np.int64], rows: Rows) -> Decided:
        """Take the tokens that follow; give the beats that are decided by them.

        Parameters
        ----------
        tokens : Tokens
            ``(rows, T, ...)`` in the order of ``rows``.
        first : (rows,) int64
            Token of column 0, from the segment's start; columns before token 0 are left out.
        rows : Rows
        """
        index = self._every[rows]
        seen = Recent(tokens.heads[..., SEEN], self._heads[rows])
        known = Recent(tokens.embedding, self._embedding[rows])
        self._find(tokens.heads[..., 0], seen, first, rows, index)
        decided = self._due(known, first, index)
        self._heads[rows], self._embedding[rows] = seen.last(), known.last()
        return decided

    def _due(self, embedding: Recent, first: NDArray[np.int64], index: NDArray[np.intp]) -> Decided:
        """Decide the beats whose decision token has come."""
        pending = self._pending
        if not len(pending.row):
            return no_beats()
        place_of = np.full(len(self._last), -1)
        place_of[index] = np.arange(len(index))
        at = place_of[pending.row]
        due = (at >= 0) & (pending.token + self._kept < first[at] + embedding.now.shape[1])
        if not due.any():
            return no_beats()
        ahead, known = self._ahead(pending)
        self._pending = pending.take(~due)
        pending, at = pending.take(due), at[due]
        column = pending.token - first[at]
        embeddings = embedding.take(at, column), embedding.take(at, column + self.spec.delay)
        return self._decide(pending, ahead[due], known[due], embeddings)

    def _find(
        self,
        logits: NDArray[np.float32],
        heads: Recent,
        first: NDArray[np.int64],
        rows: Rows,
        index: NDArray[np.intp],
    ) -> None:
        """Append the step's peaks to those that wait."""
        scores = _sigmoid(logits)
        floor = self._floor[rows]
        if (first < floor).any():
            scores[np.arange(scores.shape[1]) + first[:, None] < floor[:, None]] = 0
        found, state = peaks.step(scores, peaks.PeakState(self._scores[rows]), self._least)
        self._scores[rows] = state.scores
        if not len(found.row):
            return
        seen = heads.take(found.row, found.column)
        token = first[found.row] + found.column
        place = self.spec.patch * (token + np.clip(seen[:, 0], 0.0, peaks.INSIDE, dtype=np.float64))
        quality, shape = _sigmoid(seen[:, 1]), _sigmoid(seen[:, 2] - seen[:, 3])
        enough = peaks.clear(found.mass, quality, self._least, self._noise)
        new, old = Pending(index[found.row], token, place, quality, shape).take(enough), self._pending
        if len(old.row):
            new = old.joined(new)
        self._pending = new

    def _ahead(self, pending: Pending) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Seconds to the next beat where it was settled by the decision, else the time waited."""
        following = np.full(len(pending.row), NONE)
        same = pending.row[1:] == pending.row[:-1]
        following[:-1][same] = pending.token[1:][same] + peaks.REACH
        known = following <= pending.token + self.spec.delay
        seconds = np.full(len(known), self.spec.delay * self.spec.patch / MODEL_FS)
        where = np.flatnonzero(known)
        seconds[where] = (pending.place[where + 1] - pending.place[where]) / MODEL_FS
        return seconds, known

    def _decide(
        self,
        due: Pending,
        ahead: NDArray[np.float64],
        known: NDArray[np.bool_],
        embeddings: tuple[NDArray[np.float32], NDArray[np.float32]],
    ) -> Decided:
        runs = runs_of(due.row)
        intervals = self._history(due, runs)
        features = rr_features(intervals, ahead, known)
        inputs = np.concatenate([*embeddings, features], axis=1)
        classes, rhythm = self._classify(inputs, runs)
        probabilities, afib = _softmax(classes + self._bias), _softmax(rhythm)[:, AFIB]
        before = _before(probabilities.argmax(axis=1), self._label, runs)
        never = (self._burden(afib, runs) >= self._limit) | behind_interpolated(before, intervals)
        bigeminal = alternating(intervals)
        label, probability = told(probabilities, never, bigeminal)
        normal = self._late(label, intervals, bigeminal, runs)
        probability[normal] += probabilities[normal, N]
        label[normal] = N
        kept = self._sustained(label, due.shape, intervals, runs)
        probability[kept] += probabilities[kept, V]
        label[kept] = V
        sure = self._confidence(label, probability)
        return Decided(due.row, due.token, due.place, label, sure, due.quality, afib)

    def _burden(self, afib: NDArray[np.float32], runs: Runs) -> NDArray[np.float64]:
        """P(AFIB) smoothed up to each beat."""
        rows, begin, counts = runs
        smoothed = np.empty(len(afib))
        if counts.max() > len(rows):  # all beats of one row at a time
            for row, start, count in zip(rows, begin, counts, strict=True):
                its = slice(start, start + count)
                smoothed[its], self._afib[row] = fibrillation.burdens(afib[its], self._afib[row])
            return smoothed
        for nth in range(int(counts.max())):  # the n-th beat of every row that has one
            going = counts > nth
            beat = begin[going] + nth
            state = fibrillation.burden(afib[beat], self._afib[rows[going]])
            self._afib[rows[going]] = state
            smoothed[beat] = state[:, 0] / state[:, 1]
        return smoothed

    def _late(
        self,
        label: NDArray[np.intp],
        intervals: NDArray[np.float64],
        bigeminal: NDArray[np.bool_],
        runs: Runs,
    ) -> list[int]:
        """S that do not come early."""
        found: list[int] = []
        usual = self._usual[runs.rows]
        for n in np.flatnonzero(
            ~np.isnan(usual) | np.logical_or.reduceat(label == S, runs.begin)
        ):  # else no S
            begin = int(runs.begin[n])
            its = slice(begin, begin + int(runs.counts[n]))
            places, usual[n] = late(label[its], intervals[its], bigeminal[its], float(usual[n]))
            found += [begin + place for place in places]
        self._usual[runs.rows] = usual
        return found

    def _sustained(
        self, label: NDArray[np.intp], shape: NDArray[np.float32], intervals: NDArray[np.float64], runs: Runs
    ) -> list[int]:
        """Beats that are V because a run of V goes on."""
        kept: list[int] = []
        before = self._run[runs.rows]
        for n in np.flatnonzero((before > 0) | np.logical_or.reduceat(label == V, runs.begin)):  # else no V
            begin = int(runs.begin[n])
            its = slice(begin, begin + int(runs.counts[n]))

            def goes_on(place: int, begin: int = begin) -> bool:
                return alike(intervals[begin + place], float(shape[begin + place]))

            places, before[n] = sustained(label[its].tolist(), int(before[n]), goes_on)
            kept += [begin + place for place in places]
        self._run[runs.rows] = before
        return kept

    def _history(self, due: Pending, runs: Runs) -> NDArray[np.float64]:
        """Intervals that end at each beat and those before, ``(beats, HISTORY + 1)``."""
        rows, begin, counts = runs
        most = int(counts.max())
        intervals = due.place / MODEL_FS - _before(due.place, self._last, runs) / MODEL_FS
        nth = np.arange(len(due.row)) - np.repeat(begin, counts)
        row = np.repeat(np.arange(len(rows)), counts)
        line = np.full((len(rows), HISTORY + 1 + most), np.nan)
        line[:, : HISTORY + 1] = self._intervals[rows]
        line[row, HISTORY + 1 + nth] = intervals
        windows = np.lib.stride_tricks.sliding_window_view(line, HISTORY + 1, axis=1)
        self._intervals[rows] = windows[np.arange(len(rows)), counts]
        return np.ascontiguousarray(windows[row, nth + 1])

    def _classify(
        self, inputs: NDArray[np.float32], runs: Runs
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The beat graph over ``(beats, 2 d + 8)`` in as few calls as the order of time allows."""
        rows, begin, counts = runs
        classes = np.empty((len(inputs), len(BEAT_LABELS)), np.float32)
        rhythm = np.empty((len(inputs), len(RHYTHM_LABELS)), np.float32)
        if counts.max() <= len(rows):  # rounds: the n-th beat of every row that has one
            for nth in range(int(counts.max())):
                going = counts > nth
                chosen = begin[going] + nth
                out = self._graph.run(inputs[chosen, None], rows[going])
                classes[chosen], rhythm[chosen] = out["classes"][:, 0], out["rhythm"][:, 0]
        else:  # sequences: all beats of one row at a time
            for n, (start, count) in enumerate(zip(begin, counts, strict=True)):
                its = slice(start, start + count)
                out = self._graph.run(inputs[None, its], rows[n : n + 1])
                classes[its], rhythm[its] = out["classes"][0], out["rhythm"][0]
        return classes, rhythm

    def snapshot(self, row: int) -> dict[str, NDArray[Any]]:
        """State of one row as plain arrays."""
        waiting = self._pending.take(self._pending.row == row)
        columns = {f"pending_{name}": value for name, value in waiting._asdict().items() if name != "row"}
        arrays = {name[1:]: getattr(self, name)[row].copy() for name in _ARRAYS}
        return {"graph": self._graph.read(row), **arrays, **columns}

    def restore(self, row: int, saved: dict[str, NDArray[Any]]) -> None:
        """Put a :meth:`snapshot` into a row."""
        self.reset(slice(row, row + 1))
        self._graph.write(row, saved["graph"])
        for name in _ARRAYS:
            getattr(self, name)[row] = saved[name[1:]]
        columns = [saved[f"pending_{name}"] for name in Pending._fields[1:]]
        new = Pending(np.full(len(columns[0]), row, np.intp), *columns)
        self._pending = self._pending.joined(new)


_ARRAYS = (
    "_scores", "_heads", "_embedding", "_intervals", "_last", "_label", "_afib", "_run", "_usual", "_floor",
)  # fmt: skip


def _before(values: NDArray[Any], last: NDArray[Any], runs: Runs) -> NDArray[Any]:
    """Value of the beat before each; ``last`` holds that of each row's last beat, and takes the new ones."""
    before = np.empty_like(values)
    before[1:] = values[:-1]
    before[runs.begin] = last[runs.rows]
    last[runs.rows] = values[runs.begin + runs.counts - 1]
    return before


def _sigmoid(x: NDArray[np.float32]) -> NDArray[np.float32]:
    half = np.float32(0.5)
    y: NDArray[np.float32] = half * (1 + np.tanh(half * x))  # no overflow
    return y


def _softmax(x: NDArray[np.float32]) -> NDArray[np.float32]:
    e = np.exp(x - x.max(axis=1, keepdims=True))
    y: NDArray[np.float32] = e / e.sum(axis=1, keepdims=True)
    return y
