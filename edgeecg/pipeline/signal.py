"""The signal stages over the blocks of many patients of any rates: rows of one rate and phase together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeecg.pipeline.usual import compared
from edgeecg.signal.block import PATCH, Block
from edgeecg.signal.cohort import Batch, SignalChain
from edgeecg.signal.quality import FLAT_MV, ROUGH_MV, TICK
from edgeecg.signal.resample import FS_RANGE
from edgeecg.specs import SignalSpec

__all__ = ["SignalRows", "Verdicts"]


class Verdicts(NamedTuple):
    """Grades of the ticks that a step completes, for patients of one rate and phase.

    ``members``: their places in the step; ``phase``: model samples before the step, modulo a period of
    the grid; then ``(members, leads, ticks)`` each: ``label``, an index into ``QUALITY_LABELS``,
    ``score``, 0 to 1, and ``level``, the mean absolute value in the pass band in millivolts, of every lead
    as the first would have it (`edgeecg.pipeline.usual`). ``still``, ``idle``, ``rough``, ``small`` and
    ``large`` (members, leads, tokens): that a lead does not move at all, that it moves as one does that has
    fallen off, by microvolts or roughly, that it is rough, bent throughout as by mains hum or broadband
    noise, and that it moves far less than it does in a QRS, or as much; no tokens of a single lead.
    """

    members: list[int]
    phase: int
    label: NDArray[np.int64]
    score: NDArray[np.float64]
    level: NDArray[np.float64]
    still: NDArray[np.bool_]
    idle: NDArray[np.bool_]
    rough: NDArray[np.bool_]
    small: NDArray[np.bool_]
    large: NDArray[np.bool_]


SMALL, LARGE = 2.0, 4.0  # a token's peak to peak by the usual level of its lead: in a QRS it is some ten


class SignalRows:
    """The stages and their state for ``slots`` patients of ``leads`` leads each.

    Parameters
    ----------
    spec : SignalSpec
        Of the bundle.
    slots, leads : int
    """

    def __init__(self, spec: SignalSpec, slots: int, leads: int) -> None:
        self.spec, self.leads = spec, leads
        self._chains: dict[float, SignalChain] = {}
        self._of: list[SignalChain] = []
        self._packed = np.empty((0, leads, 0))  # a row each; its width depends on rate and phase
        self._width = np.empty(0, np.intp)
        self._sum = np.empty((0, leads))  # of the tick that is not complete
        self._usual = np.empty((0, leads))  # level of each lead, millivolts
        self.grow(slots)

    def grow(self, slots: int) -> None:
        """Make room for ``slots`` patients in all."""
        more = slots - len(self._of)
        self._of += [self.chain_at(FS_RANGE[0])] * more
        for name in ("_packed", "_width", "_sum", "_usual"):
            old = getattr(self, name)
            setattr(self, name, np.concatenate([old, np.zeros((more, *old.shape[1:]), old.dtype)]))

    def open(self, slot: int, fs: float) -> None:
        """Give a slot to a patient with this rate; raises ``SignalError`` where it is out of range."""
        self._of[slot], self._usual[slot] = self.chain_at(fs), np.nan
        self.reset(slot)

    def chain(self, slot: int) -> SignalChain:
        """The stages of a slot, by its rate."""
        return self._of[slot]

    def reset(self, slot: int) -> None:
        """The next block of this slot is the first of a segment."""
        self._keep(np.array([slot]), self._of[slot].initial(self.leads))
        self._sum[slot] = 0.0

    def _keep(self, slots: NDArray[np.intp], packed: NDArray[np.float64]) -> None:
        """Put what rows of one rate and phase remember in their place."""
        width = packed.shape[1]
        short = width - self._packed.shape[2]
        if short > 0:
            self._packed = np.pad(self._packed, ((0, 0), (0, 0), (0, short)))
        self._packed[slots, :, :width] = packed.reshape(len(slots), self.leads, width)
        self._width[slots] = width

    def step(
        self, slots: NDArray[np.intp], blocks: Sequence[Block]
    ) -> tuple[NDArray[np.float32], list[Verdicts]]:
        """Take a block of each slot, all of one hop.

        Returns
        -------
        The token graph's input ``(slots * leads, hop)`` in the order of ``slots``, and the verdicts.
        """
        groups: dict[tuple[float, int], list[int]] = {}
        for i, (slot, block) in enumerate(zip(slots.tolist(), blocks, strict=True)):
            chain = self._of[slot]
            groups.setdefault((chain.fs, chain.phase(block)), []).append(i)
        parts = [self._together(fs, phase, slots, members, blocks) for (fs, phase), members in groups.items()]
        if len(parts) == 1:
            return parts[0][0], [parts[0][1]]
        network = np.empty((len(slots), self.leads, blocks[0].hop), np.float32)
        for made, verdicts in parts:
            network[verdicts.members] = made.reshape(len(verdicts.members), self.leads, -1)
        return network.reshape(-1, network.shape[2]), [verdicts for _, verdicts in parts]

    def _together(
        self, fs: float, phase: int, slots: NDArray[np.intp], members: list[int], blocks: Sequence[Block]
    ) -> tuple[NDArray[np.float32], Verdicts]:
        """Blocks of one rate and phase."""
        chain, its = self._chains[fs], slots[members]
        batch = chain.gather([blocks[i] for i in members])
        width = self._width[its[0]]
        output, packed = chain.step(batch, self._packed[its, :, :width].reshape(-1, width))
        self._keep(its, packed)
        level = self._level(its, output.filtered.reshape(len(its), self.leads, -1), phase % TICK)
        label, score = output.quality.label.astype(np.int64), output.quality.score
        label, score = label.reshape(level.shape), score.reshape(level.shape)
        usual = self._usual[its][..., None]
        if self.leads > 1:
            level, usual = compared(level, label, self._usual[its])
            self._usual[its] = usual[..., -1]
        motion = self._motion(chain, batch, output.resampled, usual)
        return output.network, Verdicts(members, phase, label, score, level, *motion)

    def _motion(
        self,
        chain: SignalChain,
        batch: Batch,
        resampled: NDArray[np.float64],
        usual: NDArray[np.float64],
    ) -> list[NDArray[np.bool_]]:
        """Tokens ``(slots, leads, tokens)`` in which a lead is still, idle, rough, small, large."""
        if self.leads == 1:
            return [np.empty((len(batch.samples), 1, 0), bool)] * 5
        ends = range(batch.phase, batch.phase + batch.hop, PATCH)
        taken_at = chain.frontend.resampler.taken_at
        starts = np.array([taken_at(end) for end in ends]) - taken_at(batch.phase)
        high = np.maximum.reduceat(batch.samples, starts, axis=1)
        size = high - np.minimum.reduceat(batch.samples, starts, axis=1)
        bends = np.abs(np.diff(resampled.reshape(*size.shape, PATCH), n=2)).mean(axis=-1)
        per_tick = TICK // PATCH
        before = (
            batch.phase // PATCH % per_tick + np.arange(len(ends))
        ) // per_tick  # ticks before a token's
        usual = usual[..., before].reshape(size.shape)  # NaN says neither small nor large
        rough = bends > ROUGH_MV
        found = size == 0, (size < FLAT_MV) | rough, rough, size < SMALL * usual, size >= LARGE * usual
        return [each.reshape(-1, self.leads, len(ends)) for each in found]

    def _level(
        self, slots: NDArray[np.intp], filtered: NDArray[np.float64], waiting: int
    ) -> NDArray[np.float64]:
        """Mean absolute value of the ticks that are complete; ``waiting`` samples came before."""
        end = waiting + filtered.shape[2]
        size = np.abs(filtered)
        if waiting or end % TICK:
            size = np.pad(size, ((0, 0), (0, 0), (waiting, -end % TICK)))
        sums = size.reshape(*size.shape[:2], -1, TICK).sum(axis=-1)
        sums[..., 0] += self._sum[slots]
        self._sum[slots] = sums[..., -1] if end % TICK else 0.0
        return np.asarray(sums[..., : end // TICK] / TICK)

    def snapshot(self, slot: int) -> dict[str, NDArray[Any]]:
        """State of one slot as plain arrays."""
        return {
            "packed": self._packed[slot, :, : self._width[slot]].copy(),
            "sum": self._sum[slot].copy(),
            "usual": self._usual[slot].copy(),
        }

    def restore(self, slot: int, saved: Mapping[str, NDArray[Any]]) -> None:
        """Put a :meth:`snapshot` into an open slot of the same rate; ``ValueError`` if not its leads."""
        self._keep(np.array([slot]), saved["packed"])
        self._sum[slot], self._usual[slot] = saved["sum"], saved["usual"]

    def chain_at(self, fs: float) -> SignalChain:
        """The stages for a rate; raises ``SignalError`` where it is out of range."""
        if fs not in self._chains:
            chain = SignalChain(self.spec, fs)
            chain.period  # noqa: B018 - refuses a rate out of range
            self._chains[fs] = chain
        return self._chains[fs]
