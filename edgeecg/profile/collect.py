"""One profile: everything that can be measured here, in line, and what could not be."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial

import numpy as np
from numpy.typing import NDArray

import edgeecg
from edgeecg.data.synthetic import SyntheticSettings, synthesize
from edgeecg.errors import ConfigError
from edgeecg.io.record import Record
from edgeecg.pipeline import Mode, step_tokens
from edgeecg.profile.energy import EnergyMeter
from edgeecg.profile.latency import Percentiles, measure, sample, summarise
from edgeecg.profile.layers import LayerTime, onnxruntime_layers, rank
from edgeecg.profile.machine import identify
from edgeecg.profile.pace import Pace, Wait, keep_pace
from edgeecg.profile.power import PowerReader, all_conditions, find_readers
from edgeecg.profile.report import EnergyUse, Memory, Report, Subject, Throughput
from edgeecg.profile.sensors import memory_used
from edgeecg.profile.stages import hop_times, summarise_hops
from edgeecg.runtime.engine import Engine
from edgeecg.runtime.executor import Executor
from edgeecg.runtime.trt.executor import TrtExecutor
from edgeecg.runtime.trt.layers import layer_times
from edgeecg.runtime.trt.library import load_library
from edgeecg.runtime.trt.recover import RecoveringExecutor
from edgeecg.runtime.trt.settings import WAITS
from edgeecg.stream.session import Stream

__all__ = ["ProfileSettings", "collect", "device_executor", "synthetic_record"]

MOST_HOPS = 2000
"""Hops that are kept in the report for its timeline."""

Tell = Callable[[str], None]


@dataclass(frozen=True)
class ProfileSettings:
    """What to measure.

    Parameters
    ----------
    fs : float
        Rate of the synthetic record; a record of the user's has its own.
    hop : float
        Seconds.
    mode : str
        ``incremental`` or ``window``.
    runs, warmup : int
        Hops and calls that count, and that do not.
    batches : tuple of int
        Rows of the throughput table.
    pace_seconds : float
        How long to keep the hop's pace; 0 to leave it out.
    speed : float
        How much faster than the heart; 1 is live.
    wait : str
        How to wait for a due hop.
    energy_seconds : float
        How long to measure energy, idle and busy each; 0 to leave it out.
    threads : int
        CPU threads inside one operator.
    """

    fs: float = 250.0
    hop: float = 0.5
    mode: Mode = "incremental"
    runs: int = 400
    warmup: int = 40
    batches: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    pace_seconds: float = 10.0
    speed: float = 1.0
    wait: Wait = "block"
    energy_seconds: float = 3.0
    threads: int = 1

    def __post_init__(self) -> None:
        counted = self.runs >= 1 and self.warmup >= 0 and min(self.batches, default=0) >= 1
        if not counted or not 0 < self.speed < math.inf:  # NaN fails both sides
            raise ConfigError(
                "a profile needs at least one run, a finite speed above 0, batches of 1 or more"
            )


def synthetic_record(settings: ProfileSettings) -> Record:
    """A patient of one lead, long enough for all hops."""
    seconds = (settings.runs + settings.warmup + 1) * settings.hop
    spec = SyntheticSettings(seconds=max(10.0, seconds), fs=settings.fs, leads=("MLII",))
    return synthesize(spec, seed=1).record


def collect(
    engine: Engine,
    settings: ProfileSettings = ProfileSettings(),
    record: Record | None = None,
    memory_before: int = 0,
    tell: Tell = lambda text: None,
) -> Report:
    """Profile an engine.

    Parameters
    ----------
    record : Record, optional
        What to stream; a synthetic patient where left out.
    memory_before : int
        Bytes that the process held before the engine was opened.
    tell : callable
        Told what is measured next.
    """
    record = record or synthetic_record(settings)
    before = all_conditions()
    tell("hops")
    hops = hop_times(engine, record, settings.hop, settings.mode, settings.warmup, settings.runs)
    hop_samples = step_tokens(settings.hop, settings.mode) * engine.bundle.spec.patch
    tell("throughput")
    throughput = [batch_time(engine.token, batch, hop_samples, settings) for batch in settings.batches]
    tell("pace")
    pace = live_pace(engine, record, settings)
    tell("layers")
    layers, device = graph_times(engine, hop_samples, settings)
    tell("energy")
    energy, notes = energy_use(engine, record, settings)
    now, peak = memory_used()
    bundle = engine.bundle
    return Report(
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        version=edgeecg.__version__,
        machine=identify(),
        subject=Subject(
            bundle=bundle.name,
            digest=bundle.digest,
            backend=engine.backend,
            precision=engine.precision,
            threads=settings.threads,
            mode=settings.mode,
            fs=record.fs,
            hop=settings.hop,
            leads=len(record.leads),
        ),
        before=before,
        after=all_conditions(),
        declared=declared_latency(engine, record, settings),
        stages=summarise_hops(hops),
        device=device,
        hops=[[round(float(ms), 5) for ms in row] for row in hops.stages[:MOST_HOPS]],
        pace=pace,
        throughput=throughput,
        layers=layers,
        memory=Memory(memory_before, now, peak, device_memory(engine)),
        energy=energy,
        notes=notes,
        fallback=dla_fallback(engine),
    )


def dla_fallback(engine: Engine) -> dict[str, Sequence[str]]:
    """Layers by graph that a DLA cannot run; nothing where none was asked for."""
    executors = {"token": device_executor(engine.token), "beat": device_executor(engine.beat)}
    return {name: found.plan.fallback for name, found in executors.items() if found and found.plan.fallback}


def declared_latency(engine: Engine, record: Record, settings: ProfileSettings) -> dict[str, float]:
    """Seconds by stage that the algorithm itself needs."""
    latency = Stream(engine, record.fs, len(record.leads), hop=settings.hop, mode=settings.mode).latency
    return {**latency.stages, "hop": latency.hop}


def batch_time(executor: Executor, batch: int, hop_samples: int, settings: ProfileSettings) -> Throughput:
    """Time of a step of ``batch`` patients through the token graph."""
    inputs = step_inputs(executor, batch, hop_samples)
    calls = max(20, settings.runs // batch)
    warmup = min(settings.warmup, calls)
    call = summarise(sample(lambda: executor.run(inputs), warmup, calls))
    device = device_executor(executor)
    ways = time_ways(device, inputs, warmup, calls) if device else {}
    return Throughput(batch, call, batch * settings.hop / (call.p50 / 1e3), ways)


def time_ways(
    device: TrtExecutor, inputs: dict[str, NDArray[np.float32]], warmup: int, runs: int
) -> dict[str, Percentiles]:
    """Whole calls, from arrays in to arrays out: with and without CUDA graph, by each way of waiting."""
    ways = {}
    for graphs in (True, False):
        for wait in WAITS:
            run = partial(device.run_as, inputs, graphs, wait)
            ways[f"{'CUDA graph' if graphs else 'no graph'}, {wait}"] = measure(run, warmup, runs)
    return ways


def step_inputs(executor: Executor, rows: int, length: int) -> dict[str, NDArray[np.float32]]:
    """A step of noise for a graph, with warm state: ``length`` is that of the inputs' second dimension."""
    rng = np.random.default_rng(0)
    inputs = {}
    for spec in executor.inputs:
        size = (rows, *(n if isinstance(n, int) else length for n in spec.shape[1:]))
        inputs[spec.name] = rng.standard_normal(size).astype(np.float32)
    inputs["state"] *= 0
    for _ in range(12):  # fill the caches: a step that attends to nothing is no step
        inputs["state"] = executor.run(inputs)["state_out"]
    return inputs


def hop_chunks(record: Record, hop: float) -> list[NDArray[np.float64]]:
    """All whole hops of ``hop`` seconds, ``(samples, leads)`` each.

    Raises
    ------
    ConfigError
        If the record has none.
    """
    size = round(hop * record.fs)
    if len(record) < size:
        raise ConfigError(
            f"record {record.name} of {record.seconds:g} s is shorter than a hop of {hop:g} s: "
            "take a longer one"
        )
    return [record.signal[i : i + size] for i in range(0, len(record) - size + 1, size)]


def live_pace(engine: Engine, record: Record, settings: ProfileSettings) -> Pace | None:
    """Stream the record at the pace of its hops."""
    if settings.pace_seconds <= 0:
        return None
    stream = Stream(engine, record.fs, len(record.leads), hop=settings.hop, mode=settings.mode)
    chunks = hop_chunks(record, settings.hop)
    period = settings.hop / settings.speed
    hops = max(1, round(settings.pace_seconds / period))
    position = iter(range(hops))
    return keep_pace(lambda: stream.push(chunks[next(position) % len(chunks)]), period, hops, settings.wait)


def device_executor(executor: Executor) -> TrtExecutor | None:
    """The TensorRT executor behind an executor, if there is one."""
    inner = executor.current if isinstance(executor, RecoveringExecutor) else executor
    return inner if isinstance(inner, TrtExecutor) else None


def graph_times(
    engine: Engine, hop_samples: int, settings: ProfileSettings
) -> tuple[dict[str, Sequence[LayerTime]], dict[str, Percentiles]]:
    """Layers of both graphs, of native none, and on a device the parts of a call of the token graph."""
    parts: dict[str, Percentiles] = {}
    layers: dict[str, Sequence[LayerTime]] = {}
    if engine.backend == "native":
        return layers, parts
    for name, executor, length in (("token", engine.token, hop_samples), ("beat", engine.beat, 1)):
        inputs = step_inputs(executor, 1, length)
        device = device_executor(executor)
        if device is None:
            model = engine.bundle.graph("token" if name == "token" else "beat", engine.precision)
            layers[name] = onnxruntime_layers(model, inputs, settings.threads, settings.warmup, settings.runs)
            continue
        if name == "token":
            parts = call_parts(device, inputs, settings)
        by_layer = layer_times(load_library(), device, inputs, min(settings.runs, 100))
        layers[name] = rank({(layer, ""): times for layer, times in by_layer.items()})
    return layers, parts


def call_parts(
    device: TrtExecutor, inputs: dict[str, NDArray[np.float32]], settings: ProfileSettings
) -> dict[str, Percentiles]:
    """The parts of a call without CUDA graph, by events on the device.

    ``enqueue`` is the host's time to queue it.
    """
    table = [device.run_timed(inputs)[1] for _ in range(settings.warmup + settings.runs)][settings.warmup :]
    names = {"enqueue": "enqueue", "copy in": "copy_in", "compute": "compute", "copy out": "copy_out"}
    return {name: summarise([getattr(times, field) for times in table]) for name, field in names.items()}


def device_memory(engine: Engine) -> int:
    """Bytes used on the GPU, by everybody."""
    device = device_executor(engine.token)
    if device is None:
        return 0
    with device.locked() as gpu:
        free, total = gpu.memory()
    return total - free


def energy_use(
    engine: Engine, record: Record, settings: ProfileSettings
) -> tuple[list[EnergyUse], list[str]]:
    """Energy of hops in line, by every reader that works here; and notes on those that do not."""
    if settings.energy_seconds <= 0:
        return [], ["energy was not asked for"]
    readers, notes = find_readers()
    uses = []
    with ExitStack() as opened:
        for reader in readers:
            opened.callback(reader.close)
        for reader in readers:
            use = read_energy(engine, record, settings, reader)
            if use is None:
                notes.append(f"{reader.name}: it gave nothing")
            else:
                uses.append(use)
    return uses, notes


def read_energy(
    engine: Engine, record: Record, settings: ProfileSettings, reader: PowerReader
) -> EnergyUse | None:
    """An idle stretch, then hops one after the other for as long."""
    with EnergyMeter(reader) as idle:
        time.sleep(settings.energy_seconds)
    stream = Stream(engine, record.fs, len(record.leads), hop=settings.hop, mode=settings.mode)
    chunks = hop_chunks(record, settings.hop)
    hops = 0
    end = time.monotonic() + settings.energy_seconds
    with EnergyMeter(reader) as busy:
        while time.monotonic() < end:
            stream.push(chunks[hops % len(chunks)])
            hops += 1
    if idle.energy is None or busy.energy is None:
        return None
    return EnergyUse(busy.energy, idle.energy, hops)
