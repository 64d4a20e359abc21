"""Beside named peers on the same recordings, one core each, as multiples of real time."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from edgeecg.io import Record
from edgeecg.pipeline import Recordings, annotate
from edgeecg.runtime.engine import Engine
from edgeecg.specs import ModelSpec
from streaming.common import cpu, gemm_rate, recordings

Detector = Callable[[Record], Any]


OURS = "EdgeECG: detect, classify, rhythm, quality"


def peers(engine: Engine, seconds: float, count: int) -> dict[str, Any]:
    """Every detector over the first lead of the same recordings; ours also over all of them side by side."""
    source, records = recordings(seconds)
    records = [record.pick(0) for record in records[:count]]
    total = sum(record.seconds for record in records)
    pace = {}
    for name, detect in detectors(engine).items():
        detect(records[0].cut(0, round(20 * records[0].fs)))  # imports and caches are not the question
        pace[name] = total / sum(_cost(detect, record) for record in records)
    together = total / cpu(lambda: side_by_side(engine, records))[0]
    return {
        "source": source,
        "records": len(records),
        "seconds": total,
        "times_real_time": {f"{OURS}, all side by side": together, **pace},
        "ours_over_theirs": {name: pace[OURS] / value for name, value in pace.items() if name != OURS},
        "side_by_side_over_theirs": {name: together / value for name, value in pace.items() if name != OURS},
    }


def side_by_side(engine: Engine, records: list[Record]) -> int:
    """As ``edgeecg annotate`` does it; gives the number of events."""
    crowd, waiting, events = Recordings[int](engine), list(enumerate(records)), 0
    while waiting or len(crowd):
        while waiting and not crowd.full:
            crowd.add(*waiting.pop())
        events += sum(len(told) for _, told in crowd.step())
    return events


def detectors(engine: Engine) -> dict[str, Detector]:
    """Ours, and the peers that are installed."""
    found: dict[str, Detector] = {OURS: lambda record: annotate(engine, record)}
    builders = {"wfdb": _wfdb, "neurokit2": _neurokit, "biosppy": _biosppy, "sleepecg": _sleepecg}
    for package, build in builders.items():
        if importlib.util.find_spec(package) is not None:
            found |= build()
    return found


def _cost(detect: Detector, record: Record) -> float:
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        return cpu(lambda: detect(record))[0]


def _wfdb() -> dict[str, Detector]:
    from wfdb import processing

    def xqrs(record: Record) -> Any:
        return processing.xqrs_detect(record.signal[:, 0], record.fs, verbose=False)

    return {"wfdb: xqrs": xqrs}


def _neurokit() -> dict[str, Detector]:
    import neurokit2

    def whole(record: Record) -> Any:
        return neurokit2.ecg_process(record.signal[:, 0], sampling_rate=round(record.fs))

    def peaks(record: Record) -> Any:
        clean = neurokit2.ecg_clean(record.signal[:, 0], sampling_rate=round(record.fs))
        return neurokit2.ecg_peaks(clean, sampling_rate=round(record.fs))

    return {"NeuroKit2: ecg_process": whole, "NeuroKit2: clean and peaks": peaks}


def _biosppy() -> dict[str, Detector]:
    from biosppy.signals import ecg

    def whole(record: Record) -> Any:
        return ecg.ecg(record.signal[:, 0], record.fs, show=False)

    return {"BioSPPy: ecg": whole}


def _sleepecg() -> dict[str, Detector]:
    import sleepecg

    logging.getLogger("sleepecg").setLevel(logging.ERROR)

    def detect(record: Record) -> Any:
        return sleepecg.detect_heartbeats(record.signal[:, 0], record.fs)

    return {"sleepecg: detection only, in C": detect}


def whole_day(engine: Engine, seconds: float) -> dict[str, Any]:
    """A day's recording on one core, beside the counted operations at the measured GEMM rate."""
    _, records = recordings(1800)
    parts = [record.pick(0).signal for record in records]
    repeats = int(np.ceil(seconds * records[0].fs / sum(map(len, parts))))
    signal = np.concatenate(parts * repeats)[: round(seconds * records[0].fs)]
    record = Record("day", signal, records[0].fs, ("MLII",))
    used, events = cpu(lambda: annotate(engine, record))
    day = used * 86_400 / seconds
    counted = operations(engine.bundle.spec) * 16 * 86_400 / gemm_rate()
    return {
        "seconds_of_signal": seconds,
        "core_seconds_a_day": day,
        "times_real_time": 86_400 / day,
        "counted_core_seconds_a_day": counted,
        "over_counted": day / counted,
        "events": len(events),
    }


def operations(spec: ModelSpec) -> float:
    """Floating-point operations of the token graph for one token, matrix products alone."""
    stack, (first, second) = spec.token, spec.stem
    stem = 4 * first * 7 + 2 * second * first * 5 + stack.dim * second * 5
    attention = 2 * (stack.span + 1) * stack.dim
    layer = 4 * stack.dim**2 + 2 * stack.dim * stack.ffn + attention
    return 2.0 * (stem + stack.layers * layer + 10 * stack.dim)
