"""Several leads of a patient to one stream of tokens, by the bundle's lead policy.

Every lead is graded by the causal quality index, a tick at a time. A token is joined by the newest tick
that was complete when its scores came out, so what is chosen does not depend on the length of steps.

A lead that has just fallen off is not yet graded so: its verdict needs a second or two. Meanwhile the
tokens in which it stands still, and those from which on it is idle (a few microvolts, mains hum, or noise as
strong) for as long as is known when their scores come out, are left to the others that can be read. So are
the tokens just before strong noise, for the network has looked ahead into it; and those from which on it
moves far less than it does in a QRS while another lead shows one, as an open input of ten microvolts does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeecg.bundle import LeadPolicy
from edgeecg.pipeline.signal import Verdicts
from edgeecg.pipeline.tokens import Tokens
from edgeecg.signal.quality import FLAT, TICK, UNREADABLE
from edgeecg.specs import HEADS, ModelSpec

__all__ = ["LeadRows", "Tick", "best_ticks"]

BEAT, QUALITY = HEADS.index("beat"), HEADS.index("quality")
SURE = 2.0  # logit: an artefact in one lead has seldom as much
_TOKENS = ("still", "idle", "rough", "small", "large")  # of each lead, for tokens whose scores are not out
_STATE = ("label", "score", "chosen", *_TOKENS)

ROUGH_TOKENS = 6
"""Tokens, three eighths of a second: of those known when scores come out, as many must be noise."""


class Tick(NamedTuple):
    """A graded tick of a patient's best lead: ``label``, ``level`` and ``score`` as in :class:`Verdicts`.

    ``leads``: the label of each lead, told only where one of several has no signal.
    """

    label: int
    level: float
    score: float = 1.0
    leads: tuple[int, ...] = ()


def best_ticks(verdicts: Sequence[Verdicts], slots: int) -> list[list[Tick]]:
    """The ticks that a step completed, of each patient's best lead."""
    ticks: list[list[Tick]] = [[] for _ in range(slots)]
    for group in verdicts:
        columns = [group.label, group.level, group.score]
        several = group.label.shape[1] > 1
        if several:
            best = group.label.argmin(axis=1)[:, None]
            columns = [np.take_along_axis(each, best, axis=1) for each in columns]
        found = list(map(Tick, *(each.ravel().tolist() for each in columns)))
        if several:
            for at in np.flatnonzero((group.label >= FLAT).any(axis=1)).tolist():
                member, tick = divmod(at, group.label.shape[2])
                found[at] = found[at]._replace(leads=tuple(group.label[member, :, tick].tolist()))
        count = group.label.shape[2]
        for place, i in enumerate(group.members):
            ticks[i] = found[place * count : (place + 1) * count]
    return ticks


class LeadRows:
    """The stage and its state for ``slots`` patients of ``leads`` leads each.

    Parameters
    ----------
    policy : str
        ``first`` (there is one lead), ``best`` or ``fused``.
    spec : ModelSpec
    slots, leads : int
    """

    def __init__(self, policy: LeadPolicy, spec: ModelSpec, slots: int, leads: int) -> None:
        self.policy, self.spec, self.leads = policy, spec, leads
        self._label = np.empty((0, leads), np.int64)  # of each lead's newest tick
        self._score = np.empty((0, leads))
        self._chosen = np.empty(0, np.int64)  # lead of the newest tick
        for name in _TOKENS:
            setattr(self, f"_{name}", np.empty((0, leads, spec.token.lag), bool))
        self.grow(slots)

    def grow(self, slots: int) -> None:
        """Make room for ``slots`` patients in all."""
        for name in _STATE:
            old = getattr(self, f"_{name}")
            more = np.zeros((slots - len(old), *old.shape[1:]), old.dtype)
            setattr(self, f"_{name}", np.concatenate([old, more]))

    def reset(self, slot: int) -> None:
        """The next block of this slot is the first of a segment."""
        self._label[slot], self._score[slot], self._chosen[slot] = 0, 1.0, 0
        for name in _TOKENS:
            getattr(self, f"_{name}")[slot] = False

    def join(self, tokens: Tokens, slots: NDArray[np.intp], verdicts: Sequence[Verdicts]) -> Tokens:
        """Tokens of all leads ``(slots * leads, T, ...)`` to those of the patients ``(slots, T, ...)``."""
        if self.leads == 1:
            return tokens
        shape = (len(slots), self.leads, *tokens.heads.shape[1:])
        heads, embedding = tokens.heads.reshape(shape), tokens.embedding.reshape(*shape[:3], -1)
        weights = np.empty(shape[:3])
        sure = np.any(heads[..., BEAT] >= SURE, axis=1)[:, None]
        for group in verdicts:
            its = group.members
            weights[its] = self._weigh(slots[its], group, sure[its])
        if self.policy == "fused":
            weights /= 1 + np.exp(-heads[..., QUALITY])
        total = weights.sum(axis=1, keepdims=True)
        share = np.where(total > 0, weights / np.where(total > 0, total, 1), 1 / self.leads)
        share = share.astype(np.float32)
        joined = (np.einsum("slt,sltk->stk", share, values) for values in (heads, embedding))
        return Tokens(*joined)

    def _weigh(
        self, slots: NDArray[np.intp], group: Verdicts, sure: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        """Weight of each lead in each token, ``(slots, leads, tokens)``; keeps the newest tick.

        ``sure`` (slots, 1, tokens): where some lead surely has a beat.
        """
        tokens = sure.shape[2]
        label = np.concatenate([self._label[slots][..., None], group.label], axis=2)
        score = np.concatenate([self._score[slots][..., None], group.score], axis=2)
        chosen = np.empty((len(slots), label.shape[2]), np.int64)
        chosen[:, 0] = self._chosen[slots]
        every = np.arange(len(slots))
        for tick in range(1, label.shape[2]):  # a lead is left only for a better one
            best, now = label[..., tick].argmin(axis=1), chosen[:, tick - 1]
            better = label[every, best, tick] < label[every, now, tick]
            chosen[:, tick] = np.where(better, best, now)
        self._label[slots], self._score[slots] = label[..., -1], score[..., -1]
        self._chosen[slots] = chosen[:, -1]
        done = group.phase // self.spec.patch + 1 + np.arange(tokens)  # tokens in when each one comes out
        newest = done // (TICK // self.spec.patch) - group.phase // TICK
        label, score = label[..., newest], score[..., newest]
        label = np.where(self._fallen(slots, group, sure), np.maximum(label, UNREADABLE), label)
        if self.policy == "fused":
            return np.asarray(np.where(label < UNREADABLE, score, 0.0))
        lead, now = np.arange(self.leads)[:, None], chosen[:, None, newest]
        leave = np.take_along_axis(label, now, axis=1) >= UNREADABLE  # only for one that can be read
        best = label.argmin(axis=1)[:, None]
        better = leave & (np.take_along_axis(label, best, axis=1) < UNREADABLE)
        return np.asarray(np.where(better, best, now) == lead, np.float64)

    def _fallen(self, slots: NDArray[np.intp], group: Verdicts, sure: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which leads look fallen off, ``(slots, leads, tokens)``, in the tokens whose scores come out."""
        tokens, lag = group.still.shape[2], self.spec.token.lag
        still, idle, rough, small, large = (self._known(name, slots, group) for name in _TOKENS)
        here = still[..., :tokens]
        ahead, noise, tiny, beat = (
            np.lib.stride_tricks.sliding_window_view(known, lag + 1, axis=2)
            for known in (idle, rough, small, large)
        )
        missed = tiny.all(axis=-1) & np.any(beat, axis=(1, 3))[:, None] & sure
        return np.asarray(here | missed | ahead.all(axis=-1) | noise[..., -ROUGH_TOKENS:].all(axis=-1))

    def _known(self, name: str, slots: NDArray[np.intp], group: Verdicts) -> NDArray[np.bool_]:
        """A property of the tokens whose scores come out, and of those behind them, which are kept."""
        kept, new = getattr(self, f"_{name}"), getattr(group, name)
        known = np.concatenate([kept[slots], new], axis=2)
        kept[slots] = known[..., new.shape[2] :]
        return known

    def snapshot(self, slot: int) -> dict[str, NDArray[Any]]:
        """State of one slot as plain arrays."""
        return {name: np.array(getattr(self, f"_{name}")[slot]) for name in _STATE}

    def restore(self, slot: int, saved: Mapping[str, NDArray[Any]]) -> None:
        """Put a :meth:`snapshot` into a slot."""
        for name in _STATE:
            getattr(self, f"_{name}")[slot] = saved[name]
