"""Where the time of a hop goes: front end, the two graphs, decoding, and all of it from sample to event."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from edgeecg.errors import ConfigError
from edgeecg.io.record import Record
from edgeecg.pipeline import Mode
from edgeecg.profile.latency import Percentiles, summarise
from edgeecg.runtime.engine import Engine
from edgeecg.runtime.executor import Executor, Tensors, TensorSpec
from edgeecg.signal.frontend import FrontEnd
from edgeecg.stream.session import Stream

__all__ = ["STAGES", "HopTimes", "TimedExecutor", "hop_times", "summarise_hops"]

STAGES = ("front end", "token graph", "beat graph", "decode")
"""Stages of a hop in the order of the signal's way; ``decode`` is all that is not another stage."""


class TimedExecutor(Executor):
    """Passes calls on and adds up the time that they take.

    Parameters
    ----------
    inner : Executor
        What does the work; it stays its owner's to close.
    """

    def __init__(self, inner: Executor) -> None:
        self._inner = inner
        self._nanoseconds = 0

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What :meth:`run` takes."""
        return self._inner.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What :meth:`run` gives."""
        return self._inner.outputs

    def run(self, inputs: Tensors) -> dict[str, NDArray[np.float32]]:
        """Run the graph once."""
        begin = time.perf_counter_ns()
        outputs = self._inner.run(inputs)
        self._nanoseconds += time.perf_counter_ns() - begin
        return outputs

    def take(self) -> float:
        """Milliseconds since the last time this was asked."""
        spent, self._nanoseconds = self._nanoseconds, 0
        return spent / 1e6

    def close(self) -> None:
        """Nothing of its own to free."""


@dataclass(frozen=True)
class HopTimes:
    """Milliseconds of each hop.

    Parameters
    ----------
    total : (hops,) float
        From the hop's last sample at hand to its events told.
    stages : (hops, 4) float
        Parts of it, in the order of ``STAGES``.
    told : (hops,) bool
        Hops that told an event.
    """

    total: NDArray[np.float64]
    stages: NDArray[np.float64]
    told: NDArray[np.bool_]


def hop_times(
    engine: Engine,
    record: Record,
    hop: float = 0.5,
    mode: Mode = "incremental",
    warmup: int = 20,
    runs: int | None = None,
) -> HopTimes:
    """Stream a record hop by hop, as fast as it goes, and time every hop.

    Parameters
    ----------
    record : Record
        Long enough for the warm-up and one hop more.
    warmup : int
        Hops that do not count.
    runs : int, optional
        Hops that count; as many as the record has where left out.
    """
    token, beat = TimedExecutor(engine.token), TimedExecutor(engine.beat)
    stream = Stream(replace(engine, token=token, beat=beat), record.fs, len(record.leads), hop=hop, mode=mode)
    front = FrontEnd(engine.bundle.signal, record.fs)
    state = front.initial(1)
    rows = []
    edges = np.round(np.arange(0, len(record) + 1e-9, hop * record.fs)).astype(int)
    if runs is not None:
        edges = edges[: warmup + runs + 1]
    if len(edges) - 1 <= warmup:
        raise ConfigError(f"the record has {len(edges) - 1} hops and {warmup} are warm-up: take a longer one")
    for start, end in pairwise(edges):
        chunk = record.signal[start:end]
        begin = time.perf_counter_ns()
        events = stream.push(chunk)
        total = (time.perf_counter_ns() - begin) / 1e6
        graphs = token.take(), beat.take()
        # the front end once more, by itself: inside the stream it cannot be told from its surroundings
        lead = np.nan_to_num(chunk[:, :1].T)  # what is missing takes the time of anything else
        begin = time.perf_counter_ns()
        _, state = front.step(np.ascontiguousarray(lead), state)
        filtering = min((time.perf_counter_ns() - begin) / 1e6, total - sum(graphs))
        rest = max(0.0, total - filtering - sum(graphs))
        rows.append((total, filtering, *graphs, rest, bool(events)))
    table = np.array(rows[warmup:])
    return HopTimes(table[:, 0], table[:, 1:5], table[:, 5].astype(bool))


def summarise_hops(times: HopTimes) -> dict[str, Percentiles]:
    """Distribution by stage, of the whole hop, and of the hops that told an event."""
    named = {stage: times.stages[:, i] for i, stage in enumerate(STAGES)} | {"hop": times.total}
    if times.told.any():
        named["sample to event"] = times.total[times.told]
    return {name: summarise(values) for name, values in named.items()}
