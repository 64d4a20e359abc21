"""What a push costs, and how long after a sample its event can be there."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from edgeecg.runtime.engine import Engine
from edgeecg.stream.session import Stream
from streaming.common import FS, HOP, cpu, single_leads, timed


def latency(engine: Engine, seconds: float) -> dict[str, Any]:
    """One patient: what the design makes an event wait, and what computing adds."""
    _, signals = single_leads(seconds)
    stream = Stream(engine, FS)
    elapsed, used = [], []
    for start in range(0, len(signals[0]) - HOP + 1, HOP):
        begin, before = time.perf_counter(), time.thread_time()
        stream.push(signals[0][start : start + HOP])
        used.append(time.thread_time() - before)
        elapsed.append(time.perf_counter() - begin)
    declared = stream.latency
    return {
        "declared_seconds": declared.seconds,
        "declared_stages": declared.stages,
        "hop_seconds": declared.hop,
        "compute_ms_by_the_wall": _percentiles(elapsed),
        "compute_ms_of_cpu_time": _percentiles(used),
        "steps": len(elapsed) - 20,
    }


def _percentiles(seconds: list[float]) -> dict[str, float]:
    """Milliseconds, without the first steps."""
    told = np.percentile(1e3 * np.array(seconds[20:]), [50, 99, 99.9])
    return dict(zip(("p50", "p99", "p99.9"), told.tolist(), strict=True))


def pushes(engine: Engine, seconds: float) -> dict[str, Any]:
    """CPU time of a push of one sample: all in all, and without the graphs."""
    _, signals = single_leads(seconds)
    samples = [np.array([x]) for x in signals[0]]
    engine, token, beat = timed(engine)
    stream = Stream(engine, FS)

    def run() -> None:
        for sample in samples:
            stream.push(sample)

    used, _ = cpu(run)
    graphs = token.seconds + beat.seconds
    return {
        "us_a_sample": used / len(samples) * 1e6,
        "us_a_sample_without_graphs": (used - graphs) / len(samples) * 1e6,
    }
