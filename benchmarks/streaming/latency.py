"""What a push costs, and how long after a sample its event can be there."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from edgeecg.runtime.engine import Engine
from edgeecg.stream.pool import StreamPool
from edgeecg.stream.session import Stream
from streaming.common import FS, HOP, cpu, single_leads, timed

PATIENTS = 64


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
    """CPU time of a push of one sample, all in all and without the graphs: to a stream, to a pool of 64."""
    _, signals = single_leads(seconds)
    samples = [np.array([x]) for x in signals[0]]

    def alone(engine: Engine) -> int:
        stream = Stream(engine, FS)
        for sample in samples:
            stream.push(sample)
        return len(samples)

    def together(engine: Engine) -> int:
        pool = StreamPool(engine)
        beds = [pool.add(FS) for _ in range(PATIENTS)]
        some = samples[: max(2 * HOP, len(samples) // PATIENTS)]
        for place, sample in enumerate(some, 1):
            for bed in beds:
                pool.push(bed, sample)
            if place % HOP == 0:
                pool.poll()
        return len(some) * PATIENTS

    return {**_pushed(engine, alone), **_pushed(engine, together, "_in_a_pool")}


def _pushed(engine: Engine, run: Callable[[Engine], int], where: str = "") -> dict[str, float]:
    """Microseconds of each of the samples that ``run`` pushes, with and without the graphs."""
    engine, token, beat = timed(engine)
    used, count = cpu(lambda: run(engine))
    graphs = token.seconds + beat.seconds
    key = f"us_a_sample{where}"
    return {key: used / count * 1e6, f"{key}_without_graphs": (used - graphs) / count * 1e6}
