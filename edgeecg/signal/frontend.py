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
from edgeecg.signal.normalise import GainControl, GainState
from edgeecg.signal.resample import Resampler, ResampleState
from edgeecg.specs import SignalSpec

__all__ = ["FrontEnd", "FrontEndOutput", "FrontEndState"]


class FrontEndState(NamedTuple):
    """States of the stages; the first sample of a row primes it."""

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
    """Resample, filter, normalise.

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
    def resampler(self) -> Resampler:
        """First stage, at the source's rate."""
        return Resampler(self.fs)

    @cached_property
    def bandpass(self) -> BandPass:
        """Second stage, on the model grid."""
        return BandPass(self.spec)

    @cached_property
    def gain(self) -> GainControl:
        """Third stage, on the model grid."""
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
        return FrontEndState(
            self.resampler.initial(rows), self.bandpass.initial(rows), self.gain.initial(rows)
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
        resampled, resample = self.resampler.step(x, state.resample, upto)
        filtered, bandpass = self.bandpass.step(resampled, state.filter)
        network, gain = self.gain.step(filtered, state.gain)
        return FrontEndOutput(resampled, filtered, network), FrontEndState(resample, bandpass, gain)

    def restarted(self, state: FrontEndState, rows: Sequence[int]) -> FrontEndState:
        """The same state, but for some rows that begin anew, on the grid that goes on."""
        index, fresh = list(rows), self.initial(len(rows))
        tail, delays = state.resample.tail.copy(), state.filter.copy()  # a fresh tail takes a new offset
        level, weight = state.gain.level.copy(), state.gain.weight.copy()
        tail[index], delays[:, index] = fresh.resample.tail, fresh.filter
        level[index], weight[index] = fresh.gain.level, fresh.gain.weight
        return FrontEndState(state.resample._replace(tail=tail), delays, GainState(level, weight))

    # ---- rows as plain arrays -------------------------------------------------------------------

    @cached_property
    def width(self) -> int:
        """Columns of :meth:`pack`."""
        return self.resampler.context + 2 * len(self.bandpass.sections) + 3

    def pack(self, state: FrontEndState) -> NDArray[np.float64]:
        """All that the rows remember but their common phase, as one array ``(rows, width)``.

        Rows of streams that stand at the same place of a block can be taken, put and joined by
        indexing this array; a row of :meth:`initial` is a stream that has not begun.
        """
        rows = len(state.gain.level)
        delays = state.filter.transpose(1, 0, 2).reshape(rows, -1)
        parts = [state.resample.tail, delays, state.resample.offset, state.gain.level, state.gain.weight]
        return np.concatenate(parts, axis=1)

    def unpack(self, packed: NDArray[np.float64], made: int) -> FrontEndState:
        """State of packed rows that stand between two blocks, ``made`` model samples into a period."""
        context, rows = self.resampler.context, len(packed)
        delays = packed[:, context:-3].reshape(rows, -1, 2).transpose(1, 0, 2)
        return FrontEndState(
            self.resampler.between(packed[:, :context], packed[:, -3:-2], made),
            np.ascontiguousarray(delays),
            GainState(packed[:, -2:-1], packed[:, -1:]),
        )
