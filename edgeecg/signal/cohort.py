"""The signal stages over blocks of many patients at once: one call for all that share rate and phase.

What a row (one lead of one patient) remembers is one row of a plain float64 array, so patients join
and leave by indexing: ``rows[i] = chain.initial(1)`` begins, ``chain.step(batch, rows[due])`` steps
those whose block is full and leaves the others untouched, and the array itself is the snapshot.
A row that has not begun steps in the same call as the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import lcm
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeecg.errors import SignalError
from edgeecg.signal.frontend import FrontEnd, FrontEndOutput
from edgeecg.signal.pieces import Block
from edgeecg.signal.quality import TICK, Quality, QualityInput, QualityOutput
from edgeecg.specs import SignalSpec

__all__ = ["Batch", "SignalChain", "SignalOutput"]


class Batch(NamedTuple):
    """Blocks of equal phase, one above the other.

    ``samples`` ``(rows, n)`` millivolts; ``missing`` ``(rows, n)`` bool or ``None``; ``restarts``:
    (row, column) at which a row is primed anew; ``phase`` and ``hop``: model samples.
    """

    samples: NDArray[np.float64]
    missing: NDArray[np.bool_] | None
    restarts: tuple[tuple[int, int], ...]
    phase: int
    hop: int


class SignalOutput(NamedTuple):
    """``network`` ``(rows, hop)`` float32: the token graph's ``signal``; ``resampled`` and ``filtered``
    ``(rows, hop)`` millivolts; ``quality``: verdicts on the ticks that end in this block.
    """

    network: NDArray[np.float32]
    resampled: NDArray[np.float64]
    filtered: NDArray[np.float64]
    quality: QualityOutput


@dataclass(frozen=True)
class SignalChain:
    """Front end and quality for patients of one source rate.

    Parameters
    ----------
    spec : SignalSpec
        The bundle's front end.
    fs : float
        Source rate, hertz.
    """

    spec: SignalSpec
    fs: float

    @cached_property
    def frontend(self) -> FrontEnd:
        """Resample, filter, normalise."""
        return FrontEnd(self.spec, self.fs)

    @cached_property
    def quality(self) -> Quality:
        """The verdicts."""
        return Quality(self.fs)

    @property
    def latency(self) -> int:
        """Delay of a QRS from source to ``network``, model samples."""
        return self.frontend.latency

    @cached_property
    def period(self) -> int:
        """Model samples after which blocks look alike: the least common multiple of ratio and tick."""
        return lcm(self.frontend.resampler.ratio.numerator, TICK)

    def phase(self, block: Block) -> int:
        """Blocks of equal phase and hop can be stepped together."""
        return block.made % self.period

    def initial(self, rows: int) -> NDArray[np.float64]:
        """``rows`` rows ``(rows, width)`` of streams that have not begun.

        For a hop that is no multiple of 64 the width changes from block to block.
        """
        return np.concatenate(
            [self.frontend.pack(self.frontend.initial(rows)), self.quality.pack(self.quality.initial(rows))],
            axis=1,
        )

    def gather(self, blocks: Sequence[Block]) -> Batch:
        """Stack the leads of blocks that share phase and hop, in order.

        Raises
        ------
        SignalError
            If they do not.
        """
        phase, hop = self.phase(blocks[0]), blocks[0].hop
        if any(block.hop != hop or self.phase(block) != phase for block in blocks):
            raise SignalError(
                "blocks of different phase or hop in one batch: group them by chain.phase(block)"
            )
        resampler = self.frontend.resampler
        length = resampler.taken_at(phase + hop) - resampler.taken_at(phase)
        if all(_plain(block, length) for block in blocks):  # nearly always
            return Batch(np.concatenate([block.samples for block in blocks]), None, (), phase, hop)
        leads = [len(block.samples) for block in blocks]
        samples = np.empty((sum(leads), length))
        missing: NDArray[np.bool_] | None = None
        restarts: list[tuple[int, int]] = []
        row = 0
        for block, count in zip(blocks, leads, strict=True):
            lead_in = length - block.samples.shape[1]  # 0 but in the first block of a segment
            samples[row : row + count, lead_in:] = block.samples
            samples[row : row + count, :lead_in] = block.samples[:, :1]
            if block.missing is not None:
                missing = np.zeros(samples.shape, dtype=bool) if missing is None else missing
                missing[row : row + count, lead_in:] = block.missing
            restarts += [(row + lead, lead_in + column) for lead, column in block.restarts]
            row += count
        return Batch(samples, missing, tuple(restarts), phase, hop)

    def step(self, batch: Batch, rows: NDArray[np.float64]) -> tuple[SignalOutput, NDArray[np.float64]]:
        """One block of every row.

        Parameters
        ----------
        batch : Batch
        rows : (rows, width)
            What they remember, in the batch's order.

        Returns
        -------
        The block on the model grid, and what the rows remember now.
        """
        signal, front = self._front(batch, rows[:, : self.frontend.width])
        verdicts, judged = self._judged(batch, signal, rows[:, self.frontend.width :])
        output = SignalOutput(signal.network.astype(np.float32), signal.resampled, signal.filtered, verdicts)
        return output, np.concatenate([front, judged], axis=1)

    def _front(self, batch: Batch, packed: NDArray[np.float64]) -> tuple[FrontEndOutput, NDArray[np.float64]]:
        """The front end over a batch, in as many pieces as rows are primed anew."""
        state = self.frontend.unpack(packed, batch.phase)
        upto = batch.phase + batch.hop
        cuts = sorted({column for _, column in batch.restarts})
        pieces: list[FrontEndOutput] = []
        for begin, end in zip([0, *cuts], [*cuts, batch.samples.shape[1]], strict=True):
            back = [row for row, column in batch.restarts if column == begin]
            if back:
                state = self.frontend.restarted(state, back)
            piece, state = self.frontend.process(batch.samples[:, begin:end], state, upto)
            pieces.append(piece)
        if len(pieces) == 1:
            return pieces[0], self.frontend.pack(state)
        whole = FrontEndOutput(*(np.concatenate(parts, axis=1) for parts in zip(*pieces, strict=True)))
        return whole, self.frontend.pack(state)

    def _judged(
        self, batch: Batch, signal: FrontEndOutput, packed: NDArray[np.float64]
    ) -> tuple[QualityOutput, NDArray[np.float64]]:
        """The verdicts on a batch; a row that is primed anew forgets the ticks before that one."""
        state = self.quality.unpack(packed, batch.phase)
        if not batch.restarts:
            heard = QualityInput(batch.samples, signal.resampled, signal.filtered, batch.missing)
            output, state = self.quality.step(heard, state)
            return output, self.quality.pack(state)
        taken_at = self.frontend.resampler.taken_at
        begins = [0, *range(TICK - batch.phase % TICK, batch.hop, TICK)]  # of ticks, model samples
        sources = [taken_at(batch.phase + begin) - taken_at(batch.phase) for begin in begins]
        pieces: list[QualityOutput] = []
        for tick, (begin, start) in enumerate(zip(begins, sources, strict=True)):
            last = tick + 1 == len(begins)
            end, stop = (batch.hop, batch.samples.shape[1]) if last else (begins[tick + 1], sources[tick + 1])
            back = [row for row, column in batch.restarts if start <= column < stop]
            if back:
                state = self.quality.restarted(state, back)
            heard = QualityInput(
                batch.samples[:, start:stop],
                signal.resampled[:, begin:end],
                signal.filtered[:, begin:end],
                None if batch.missing is None else batch.missing[:, start:stop],
            )
            output, state = self.quality.step(heard, state)
            pieces.append(output)
        whole = QualityOutput(*(np.concatenate(parts, axis=1) for parts in zip(*pieces, strict=True)))
        return whole, self.quality.pack(state)


def _plain(block: Block, length: int) -> bool:
    """Whether nothing of a block is missing or begins anew, and it is as long as the others."""
    return block.missing is None and not block.restarts and block.samples.shape[1] == length
