"""One patient's way into a cohort: the caller's chunks, picked by the lead policy, to blocks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral, Real
from reprlib import repr as shortly
from typing import Any

from numpy.typing import ArrayLike, NDArray

from edgeecg.bundle import LEAD_POLICIES, Bundle, LeadPolicy
from edgeecg.errors import ConfigError, SignalError
from edgeecg.runtime.engine import Engine
from edgeecg.signal.block import PATCH, Blocks, BlockState, Piece
from edgeecg.signal.chunk import samples_of
from edgeecg.specs import MODEL_FS

__all__ = ["MOST_LEADS", "Intake", "bundle_of", "hop_samples", "plain_rate", "policy_of", "rows_of"]

MOST_LEADS = 256
"""Leads of a recording, body surface maps included: more would take all memory."""

LONGEST_HOP = 8.0  # seconds; a step's attention grows with its square


def hop_samples(seconds: float) -> int:
    """A hop in samples of the model grid.

    Raises
    ------
    ConfigError
        If it is not a multiple of 1/16 s, or out of range.
    """
    samples = round(seconds * MODEL_FS) if isinstance(seconds, Real) and 0 < seconds <= LONGEST_HOP else 0
    if not samples or samples % PATCH or not math.isclose(samples, seconds * MODEL_FS):
        raise ConfigError(
            f"hop is {seconds} s: use a multiple of {PATCH / MODEL_FS} s up to {LONGEST_HOP:g} s"
        )
    return samples


def rows_of(policy: LeadPolicy, leads: int) -> int:
    """Leads that go through the network: all of them, or the first; raises ``ConfigError`` for none."""
    if not isinstance(leads, Integral) or leads < 1:
        raise ConfigError(f"leads is {leads!r}: give their number, a stream has at least one")
    if leads > MOST_LEADS:
        raise ConfigError(f"leads is {leads}: a stream has {MOST_LEADS} at most, choose some")
    return 1 if policy == "first" else int(leads)


def bundle_of(engine: Engine) -> Bundle:
    """The bundle of an engine; raises ``ConfigError`` for what is none, a bundle's name for example."""
    if not isinstance(engine, Engine):
        raise ConfigError(f"engine is {shortly(engine)}: give what edgeecg.open_engine(...) opens")
    return engine.bundle


def policy_of(bundle: Bundle, wanted: LeadPolicy | None) -> LeadPolicy:
    """The lead policy asked for, or the bundle's; raises ``ConfigError`` for one that is not there."""
    policy = wanted or bundle.lead_policy
    for known in LEAD_POLICIES:  # and not the caller's own string, which a snapshot may not hold
        if policy == known:
            return known
    *most, last = LEAD_POLICIES
    raise ConfigError(f"no lead policy {policy!r}: choose {', '.join(most)} or {last}")


def plain_rate(fs: float) -> float:
    """A rate as Python's own number: numpy's would go on into events and snapshots, which have none.

    Raises
    ------
    SignalError
        It is no number; whether it is in range is for the stages to say.
    """
    if not isinstance(fs, Real):
        raise SignalError(f"sampling rate {fs!r} is no number: give hertz, such as fs=250")
    return float(fs)


@dataclass(frozen=True)
class Intake:
    """What patients of one rate and number of leads have in common.

    Parameters
    ----------
    fs : float
        Source rate, hertz.
    leads : int
        Columns of a chunk.
    policy : str
        The bundle's lead policy.
    hop, tail : int
        As :class:`edgeecg.signal.block.Blocks` takes them.
    """

    fs: float
    leads: int
    policy: LeadPolicy
    hop: int
    tail: int

    @cached_property
    def blocks(self) -> Blocks:
        """The block stage over the leads that are used."""
        return Blocks(self.fs, rows_of(self.policy, self.leads), self.hop, self.tail)

    @cached_property
    def _picks(self) -> bool:
        """Whether some leads are left out."""
        return self.blocks.leads != self.leads

    def initial(self) -> BlockState:
        """State of a patient that has not begun."""
        return self.blocks.initial()

    def push(self, chunk: ArrayLike, state: BlockState) -> Sequence[Piece]:
        """Take samples that follow; see :meth:`Blocks.push`."""
        return self.blocks.take(self.checked(chunk), state)

    def checked(self, chunk: ArrayLike) -> NDArray[Any]:
        """The leads of a chunk that are used; raises ``SignalError`` where it is no ``(n, leads)``."""
        data = samples_of(chunk, self.leads)
        return data[:, :1] if self._picks else data

    def gap(self, length: int, state: BlockState) -> Sequence[Piece]:
        """The next ``length`` source samples are missing."""
        return self.blocks.gap(length, state)

    def flush(self, state: BlockState) -> Sequence[Piece]:
        """End the segment here."""
        return self.blocks.flush(state)

    def restored(self, saved: Mapping[str, NDArray[Any]]) -> BlockState:
        """State from saved arrays; see :meth:`Blocks.restored`."""
        return self.blocks.restored(saved)
