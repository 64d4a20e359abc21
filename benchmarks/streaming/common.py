"""Signals, clocks and counters that the parts of the benchmark share."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.signal
from numpy.typing import NDArray

from edgeecg.data.synthetic import SyntheticSettings, draw_patient, synthesize
from edgeecg.io import Record, read_record
from edgeecg.runtime.engine import Engine

FS = 250
HOP = FS // 2  # source samples of a block
RECORDS = ("101", "106", "109", "119", "203", "208", "215", "223")


class Timed:
    """An executor that adds up the CPU time of its calls, in the thread that calls."""

    def __init__(self, executor: Any) -> None:
        self._executor = executor
        self.seconds = 0.0
        self.inputs, self.outputs = executor.inputs, executor.outputs

    def run(self, inputs: Any) -> Any:
        """Run, and count."""
        begin = time.thread_time()
        out = self._executor.run(inputs)
        self.seconds += time.thread_time() - begin
        return out

    def close(self) -> None:
        """The engine that lent the executor closes it."""


def timed(engine: Engine) -> tuple[Engine, Timed, Timed]:
    """The engine with executors that are timed."""
    token, beat = Timed(engine.token), Timed(engine.beat)
    return replace(engine, token=token, beat=beat), token, beat


def recordings(seconds: float) -> tuple[str, list[Record]]:
    """Two-lead recordings at 360 Hz: of the MIT-BIH set where it is, else synthetic patients."""
    root = os.environ.get("EDGEECG_DATA")
    if root and (Path(root) / "mitdb").is_dir():
        records = [read_record(Path(root) / "mitdb" / name) for name in RECORDS]
        return "mitdb", [record.cut(0, min(len(record), round(seconds * record.fs))) for record in records]
    kinds = ("normal", "ventricular", "fibrillation", "bigeminy")
    made = []
    for seed in range(len(RECORDS)):
        settings = SyntheticSettings(draw_patient(kinds[seed % 4], seed), seconds)
        made.append(synthesize(settings, seed).record)
    return "synthetic", made


def single_leads(seconds: float) -> tuple[str, list[NDArray[np.float64]]]:
    """First leads at 250 Hz."""
    source, records = recordings(seconds)
    return source, [scipy.signal.resample_poly(record.signal[:, 0], 25, 36) for record in records]


def cpu(call: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of the calling thread, and what the call gave."""
    begin = time.thread_time()
    result = call()
    return time.thread_time() - begin, result


def resident() -> float:
    """Resident memory of this process, MiB."""
    with open("/proc/self/statm", encoding="ascii") as file:
        pages = int(file.read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def gemm_rate(size: int = 768, rounds: int = 12) -> float:
    """Measured single-precision rate of one core's matrix product, floating-point operations a second."""
    a = np.random.default_rng(0).standard_normal((size, size)).astype(np.float32)
    best = min(cpu(lambda: a @ a)[0] for _ in range(rounds))
    return 2 * size**3 / best
