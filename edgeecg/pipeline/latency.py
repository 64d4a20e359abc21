"""How late an event is, by stage: every stage declares samples of the model grid, and they add up."""

from __future__ import annotations

from dataclasses import dataclass

from edgeecg.signal.frontend import FrontEnd
from edgeecg.specs import MODEL_FS, ModelSpec, SignalSpec

__all__ = ["Latency"]


@dataclass(frozen=True)
class Latency:
    """Time from an R peak to the moment at which its beat can be told.

    Parameters
    ----------
    stages : mapping of stage to seconds
        In the order of the signal's way, without the hop.
    hop : float
        Seconds by which a block may wait for its last sample.
    """

    stages: dict[str, float]
    hop: float

    @classmethod
    def of(cls, signal: SignalSpec, fs: float, model: ModelSpec, hop: int) -> Latency:
        """Latency of a bundle's pipeline at a source rate, with blocks of ``hop`` model samples."""
        tokens = {"token": 1, "look-ahead": model.token.lag, "decision": model.delay}
        samples = FrontEnd(signal, fs).latencies
        samples |= {stage: count * model.patch for stage, count in tokens.items()}
        return cls({stage: count / MODEL_FS for stage, count in samples.items()}, hop / MODEL_FS)

    @property
    def seconds(self) -> float:
        """Sum of the stages."""
        return sum(self.stages.values())

    @property
    def most(self) -> float:
        """The sum and the hop: no event is later, but for the time that computing takes."""
        return self.seconds + self.hop
