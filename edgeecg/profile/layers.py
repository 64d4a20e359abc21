"""Which layer takes the time: ONNX Runtime's own record of its operators, or TensorRT's profiler."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from edgeecg.runtime.executor import Tensors
from edgeecg.runtime.ort import OrtExecutor

__all__ = ["LayerTime", "by_kind", "layers_of_events", "onnxruntime_layers", "rank"]

KERNEL = "_kernel_time"


@dataclass(frozen=True)
class LayerTime:
    """One operator: its name and kind, its typical milliseconds in a run, and its share of all."""

    name: str
    kind: str
    milliseconds: float
    share: float


def middle_mean(values: Sequence[float]) -> float:
    """Mean without the tenth at each end: whole microseconds make a median too coarse."""
    ordered = sorted(values)
    cut = len(ordered) // 10
    return fmean(ordered[cut : len(ordered) - cut])


def rank(times: Mapping[tuple[str, str], list[float]]) -> list[LayerTime]:
    """Layers (name, kind) with their milliseconds in each run, slowest first."""
    typical = {key: middle_mean(values) for key, values in times.items()}
    whole = sum(typical.values()) or 1.0
    slowest = sorted(typical.items(), key=lambda item: -item[1])
    return [LayerTime(name, kind, ms, ms / whole) for (name, kind), ms in slowest]


def by_kind(layers: Sequence[LayerTime]) -> list[LayerTime]:
    """Layers of a kind added up, slowest first; ``name`` tells how many there are."""
    kinds = sorted({layer.kind for layer in layers})
    groups = {kind: [layer for layer in layers if layer.kind == kind] for kind in kinds}
    added = [
        LayerTime(f"{len(g)} x {kind}", kind, sum(x.milliseconds for x in g), sum(x.share for x in g))
        for kind, g in groups.items()
    ]
    return sorted(added, key=lambda layer: -layer.milliseconds)


def layers_of_events(events: Iterable[Mapping[str, Any]], warmup: int, runs: int) -> list[LayerTime]:
    """Layers out of ONNX Runtime's events of ``warmup`` runs, which do not count, and ``runs`` that do.

    A long step is run in pieces: the calls of an operator in a run add up.
    """
    times: dict[tuple[str, str], list[float]] = {}
    for event in events:
        name = str(event.get("name", ""))
        if event.get("cat") == "Node" and name.endswith(KERNEL):
            key = name[: -len(KERNEL)], str(event["args"].get("op_name", ""))
            times.setdefault(key, []).append(float(event["dur"]) / 1e3)
    sums = {key: _by_run(values, warmup + runs) for key, values in times.items()}
    return rank({key: values[warmup:] or values for key, values in sums.items()})


def _by_run(calls: Sequence[float], runs: int) -> list[float]:
    """Milliseconds of each run out of those of the calls of an operator, as many in each run."""
    each = max(1, len(calls) // runs)
    return [sum(calls[start : start + each]) for start in range(0, len(calls), each)]


def onnxruntime_layers(
    model: bytes, inputs: Tensors, threads: int = 1, warmup: int = 20, runs: int = 200
) -> list[LayerTime]:
    """Time of every operator of a graph on the CPU.

    Recording costs about as much as a small operator itself, so the sum is more than a run takes.
    """
    with OrtExecutor(model, threads, profile=True) as executor:
        for _ in range(warmup + runs):
            executor.run(inputs)
        events = executor.end_profile()
    return layers_of_events(events, warmup, runs)
