"""How peers are held to the same numbers, timed in turns, and shown."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import numpy as np
from rich.table import Table

from edgeecg.profile.latency import Percentiles, summarise
from inference.subject import Answer, Call, Case

Clock = Callable[[], int]
"""Nanoseconds: of the wall, or of this process on any core."""

__all__ = ["Figure", "agree", "as_json", "gemm_rate", "sample", "table_of", "time_in_turns", "title_of"]


@dataclass(frozen=True)
class Figure:
    """One peer on one case.

    ``error`` is the worst one against ONNX Runtime FP32, as a share of the output's range; ``limit`` is the
    time that the operations alone would take at the measured GEMM rate, milliseconds.
    """

    kind: str
    rows: int
    threads: int
    peer: str
    error: float
    time: Percentiles
    limit: float

    @property
    def typical(self) -> float:
        """What ratios are made of: on a CPU, which others use too, the best run; on a GPU the median."""
        return self.time.minimum if self.threads else self.time.p50


def agree(answer: Answer, wanted: Answer, lag: int, fresh: bool) -> float:
    """Worst error as a share of the range.

    A whole form's outputs come ``lag`` tokens earlier. The first ``lag`` of a ``fresh`` stream are of the
    time before its first sample, and mean nothing.
    """
    worst = 0.0
    for name, value in wanted.items():
        expected = value[:, lag:] if fresh else value
        got = answer[name]
        if fresh:
            got = got[:, :-lag] if "whole" in answer else got[:, lag:]
        worst = max(worst, float(np.abs(got - expected).max() / np.abs(expected).max()))
    return worst


def time_in_turns(
    calls: Mapping[str, Call], rounds: int, seconds: float, clock: Clock = time.perf_counter_ns
) -> dict[str, Percentiles]:
    """Time every call in several short rounds, one after the other: all meet the same machine."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            begin = time.perf_counter()
            call()
            once = max(time.perf_counter() - begin, 1e-6)
            runs = int(np.clip(seconds / once, 3, 2000))
            times[name] += sample(call, min(runs // 3, 20), runs, clock)
    return {name: summarise(values) for name, values in times.items()}


def sample(call: Callable[[], object], warmup: int, runs: int, clock: Clock) -> list[float]:
    """Milliseconds of each of ``runs`` calls by a clock."""
    for _ in range(warmup):
        call()
    elapsed = []
    for _ in range(runs):
        begin = clock()
        call()
        elapsed.append((clock() - begin) / 1e6)
    return elapsed


def gemm_rate(
    product: Callable[[], object], operations: float, rounds: int = 7, clock: Clock = time.perf_counter_ns
) -> float:
    """Operations a second of a large matrix product, the best of a few rounds."""
    product()
    best = min(min(sample(product, 1, 5, clock)) for _ in range(rounds))
    return operations / (best / 1e3)


def table_of(figures: list[Figure], title: str, base: str) -> Table:
    """Times and ratios of one case; ``base`` is the peer that the speed-up is told against."""
    table = Table(title=f"\n{title}", title_justify="left", box=None, pad_edge=False)
    for head in ("peer", "best ms", "p50", "p99", "p99/p50", "to fastest", f"x {base}", "to limit", "error"):
        table.add_column(head, justify="left" if head == "peer" else "right")
    fastest = min(f.typical for f in figures)
    reference = next((f.typical for f in figures if f.peer == base), None)
    for f in figures:
        t = f.time
        times = [f"{value:.4f}" for value in (t.minimum, t.p50, t.p99)]
        ratios = f"{t.p99 / t.p50:.2f}", f"{f.typical / fastest:.2f}"
        faster = f"{reference / f.typical:.2f}" if reference else "-"
        table.add_row(f.peer, *times, *ratios, faster, f"{f.typical / f.limit:.1f}", f"{f.error:.0e}")
    return table


def as_json(figures: list[Figure]) -> list[dict[str, object]]:
    """Figures for a file."""
    return [asdict(figure) for figure in figures]


def title_of(case: Case, threads: int) -> str:
    """What a table is about."""
    where = f"{threads} thread{'s' if threads > 1 else ''}" if threads else "GPU"
    return f"{case.kind} of {case.tokens} tokens, batch {case.rows}, {where}"
