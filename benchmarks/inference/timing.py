"""How peers are held to the same numbers, timed in turns, and shown."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import numpy as np
from rich.table import Table

from edgeecg.profile.latency import Percentiles, sample, summarise
from inference.subject import Answer, Call, Case

__all__ = ["Figure", "agree", "as_json", "gemm_rate", "table_of", "time_in_turns"]


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


def agree(answer: Answer, wanted: Answer, lag: int) -> float:
    """Worst error as a share of the range; a whole form's outputs come ``lag`` tokens earlier."""
    worst = 0.0
    for name, value in wanted.items():
        got, expected = answer[name], value
        if answer.get("whole") is not None:
            got, expected = got[:, :-lag], value[:, lag:]
        worst = max(worst, float(np.abs(got - expected).max() / np.abs(expected).max()))
    return worst


def time_in_turns(calls: Mapping[str, Call], rounds: int, seconds: float) -> dict[str, Percentiles]:
    """Time every call in several short rounds, one after the other: all meet the same machine."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            begin = time.perf_counter()
            call()
            once = max(time.perf_counter() - begin, 1e-6)
            runs = int(np.clip(seconds / once, 3, 2000))
            times[name] += sample(call, warmup=min(runs // 3, 20), runs=runs)
    return {name: summarise(values) for name, values in times.items()}


def gemm_rate(product: Callable[[], object], operations: float, rounds: int = 7) -> float:
    """Operations a second of a large matrix product, the best of a few rounds."""
    product()
    best = min(min(sample(product, warmup=1, runs=5)) for _ in range(rounds))
    return operations / (best / 1e3)


def table_of(figures: list[Figure], title: str, base: str) -> Table:
    """Times and ratios of one case; ``base`` is the peer that the speed-up is told against."""
    table = Table(title=f"\n{title}", title_justify="left", box=None, pad_edge=False)
    for head in ("peer", "p50 ms", "p99 ms", "p99/p50", "to fastest", f"x {base}", "to limit", "error"):
        table.add_column(head, justify="left" if head == "peer" else "right")
    fastest = min(f.time.p50 for f in figures)
    reference = next((f.time.p50 for f in figures if f.peer == base), None)
    for f in figures:
        t = f.time
        faster = f"{reference / t.p50:.2f}" if reference else "-"
        cells = f"{t.p50:.4f}", f"{t.p99:.4f}", f"{t.p99 / t.p50:.2f}", f"{t.p50 / fastest:.2f}", faster
        table.add_row(f.peer, *cells, f"{t.p50 / f.limit:.1f}", f"{f.error:.0e}")
    return table


def as_json(figures: list[Figure]) -> list[dict[str, object]]:
    """Figures for a file."""
    return [asdict(figure) for figure in figures]


def title_of(case: Case, threads: int) -> str:
    """What a table is about."""
    where = f"{threads} thread{'s' if threads > 1 else ''}" if threads else "GPU"
    return f"{case.kind} of {case.tokens} tokens, batch {case.rows}, {where}"
