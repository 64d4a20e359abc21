"""The stages in line: source millivolts to the network's input on the model grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeecg.errors import SignalError
from edgeecg.signal.filter import BandPass, FilterState
from edgeecg.signal.impulse import Impulses, ImpulseState
from edgeecg.signal.normalise import GainControl, GainState
from edgeecg.signal.resample import Resampler, ResampleState
from edgeecg.specs import SignalSpec

__all__ = ["FrontEnd", "FrontEndOutput", "FrontEndState"]

SINGLE = 7  # columns of `FrontEnd.pack` that are one number each: of impulses, offset and gain


class FrontEndState(NamedTuple):
    """States of the stages; the first sample of a row primes it."""

    impulse: ImpulseState
    resample: ResampleState
    filter: FilterState
    gain: GainState


class FrontEndOutput(NamedTuple):
    """What the stages make of a block, each ``(rows, m)`` on the model grid.

    ``resampled`` and ``filtered`` are millivolts, ``network`` is in units of the signal's level.
    """

    resampled: NDArray[np.float64]
    filtered: NDArray[np.float64]
    network: NDArray[np.float64]


@dataclass(frozen=True)
class FrontEnd:
    """Leave impulses out, resample, filter, normalise.

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
    def impulses(self) -> Impulses:
        """First stage, at the source's rate; it delays nothing."""
        return Impulses(self.fs)

    @cached_property
    def resampler(self) -> Resampler:
        """Second stage, from the source's rate to the model grid."""
        return Resampler(self.fs)

    @cached_property
    def bandpass(self) -> BandPass:
        """Third stage, on the model grid."""
        return BandPass(self.spec)

    @cached_property
    def gain(self) -> GainControl:
        """Fourth stage, on the model grid."""
        return GainControl(self.spec)

    @property
    def latencies(self) -> dict[str, int]:
        """Delay of a QRS through each stage, model samples."""
        return {
            "resample": self.resampler.latency,
            "band-pass": self.bandpass.latency,
            "gain": self.gain.latency,
        }

    @property
    def latency(self) -> int:
        """Delay of a QRS from source to output, model samples."""
        return sum(self.latencies.values())

    def initial(self, rows: int) -> FrontEndState:
        """State of ``rows`` streams that have not begun."""
        resample = self.resampler.initial(rows)  # first: it refuses a rate out of range
        return FrontEndState(
            self.impulses.initial(rows),
            resample,
            self.bandpass.initial(rows),
            self.gain.initial(rows),
        )

    def step(self, x: NDArray[np.float64], state: FrontEndState) -> tuple[NDArray[np.float64], FrontEndState]:
        """``(rows, n)`` source millivolts to ``(rows, m)`` network input.

        Raises
        ------
        SignalError
            As :meth:`process`.
        """
        output, state = self.process(x, state)
        return output.network, state

    def process(
        self, x: NDArray[np.float64], state: FrontEndState, upto: int | None = None
    ) -> tuple[FrontEndOutput, FrontEndState]:
        """The same, with the signal between the stages.

        Parameters
        ----------
        x : (rows, n) millivolts
            Source samples that follow those before; all rows share rate and phase.
        state : FrontEndState
        upto : int, optional
            No more than this many model samples in all, as :meth:`Resampler.step`.

        Raises
        ------
        SignalError
            If a sample is NaN or infinite.
        """
        x = np.asarray(x, dtype=np.float64)
        if not np.isfinite(x).all():
            raise SignalError(
                "the signal has NaN or infinite samples: cut it with edgeecg.signal.block.Blocks, "
                "which holds short runs of them and names the long ones as gaps"
            )
        clear, impulse = self.impulses.step(x, state.impulse)
        resampled, resample = self.resampler.step(clear, state.resample, upto)
        filtered, bandpass = self.bandpass.step(resampled, state.filter)
        network, gain = self.gain.step(filtered, state.gain)
        return FrontEndOutput(resampled, filtered, network), FrontEndState(impulse, resample, bandpass, gain)

    def restarted(self, state: FrontEndState, rows: Sequence[int]) -> FrontEndState:
        """The same state, but for some rows that begin anew, on the grid that goes on."""
        index, fresh = list(rows), self.initial(len(rows))
        impulse = ImpulseState(*(part.copy() for part in state.impulse))
        for part, anew in zip(impulse, fresh.impulse, strict=True):
            part[index] = anew
        tail, delays = state.resample.tail.copy(), state.filter.copy()  # a fresh tail takes a new offset
        level, weight = state.gain.level.copy(), state.gain.weight.copy()
        tail[index], delays[:, index] = fresh.resample.tail, fresh.filter
        level[index], weight[index] = fresh.gain.level, fresh.gain.weight
        resample = state.resample._replace(tail=tail)
        return FrontEndState(impulse, resample, delays, GainState(level, weight))

    # ---- rows as plain arrays -------------------------------------------------------------------

    @cached_property
    def width(self) -> int:
        """Columns of :meth:`pack`."""
        return 2 * self.impulses.context + self.resampler.context + 2 * len(self.bandpass.sections) + SINGLE

    def pack(self, state: FrontEndState) -> NDArray[np.float64]:
        """All that the rows remember but their common phase, as one array ``(rows, width)``.

        Rows of streams that stand at the same place of a block can be taken, put and joined by
        indexing this array; a row of :meth:`initial` is a stream that has not begun.
        """
        rows, tail = len(state.gain.level), state.resample
        delays = state.filter.transpose(1, 0, 2).reshape(rows, -1)
        return np.concatenate(
            [*state.impulse[:2], tail.tail, delays, *state.impulse[2:], tail.offset, *state.gain], axis=1
        )

    def unpack(self, packed: NDArray[np.float64], made: int) -> FrontEndState:
        """State of packed rows that stand between two blocks, ``made`` model samples into a period."""
        before, rows = self.impulses.context, len(packed)
        context = 2 * before + self.resampler.context
        delays = packed[:, context:-SINGLE].reshape(rows, -1, 2).transpose(1, 0, 2)
        steep, usual, seen, held, offset, level, weight = np.hsplit(packed[:, -SINGLE:], SINGLE)
        return FrontEndState(
            ImpulseState(packed[:, :before], packed[:, before : 2 * before], steep, usual, seen, held),
            self.resampler.between(packed[:, 2 * before : context], offset, made),
            np.ascontiguousarray(delays),
            GainState(level, weight),
        )
