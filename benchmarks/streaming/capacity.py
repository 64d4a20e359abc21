"""How many live patients a core serves, what of it is not the network, and what windows would cost."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeecg.pipeline import Cohort, Intake, Mode
from edgeecg.runtime.engine import Engine
from edgeecg.stream.pool import StreamPool
from streaming.common import FS, HOP, cpu, resident, single_leads, timed

WARM = 32.0  # seconds of signal before the clock runs: caches are full, and units are known


def capacity(engine: Engine, patients: int, seconds: float, packet: int = HOP) -> dict[str, Any]:
    """A pool of patients at 250 Hz, one lead, hop 0.5 s, everything included, one thread.

    Each pushes ``packet`` samples at a time. With less than a hop they are out of step: a packet's time
    later others have a block that is full.
    """
    source, signals = single_leads(WARM + seconds)
    before = resident()
    engine, token, beat = timed(engine)
    pool = StreamPool(engine)
    names = [pool.add(FS) for _ in range(patients)]
    for n, name in enumerate(names):
        pool.push(name, np.zeros(n * packet % HOP))
    feed(pool, names, signals, 0, WARM, packet)
    memory = resident() - before
    token.seconds = beat.seconds = 0.0
    gc.collect()
    used, events = cpu(lambda: feed(pool, names, signals, WARM, WARM + seconds, packet))
    step = used / (patients * seconds * 2)
    executors = (token.seconds + beat.seconds) / (patients * seconds * 2)
    return {
        "source": source,
        "patients": patients,
        "us_a_step": step * 1e6,
        "us_token_graph": token.seconds / (patients * seconds * 2) * 1e6,
        "us_beat_graph": beat.seconds / (patients * seconds * 2) * 1e6,
        "outside_executors": (step - executors) / step,
        "patients_a_core": 0.5 / step,
        "events_a_patient_and_second": events / patients / seconds,
        "kib_a_patient": memory * 1024 / patients,
    }


def feed(
    pool: StreamPool,
    names: list[Any],
    signals: list[NDArray[np.float64]],
    begin: float,
    end: float,
    packet: int = HOP,
) -> int:
    """Push and poll from one second of the signal to another; gives the number of events."""
    events = 0
    for start in range(round(begin * FS), round(end * FS) - packet + 1, packet):
        for n, name in enumerate(names):
            pool.push(name, signals[n % len(signals)][start : start + packet])
        events += len(pool.poll())
    return events


def windows(engine: Engine, patients: int, seconds: float) -> dict[str, Any]:
    """The same model over ten-second windows, batched as well, beside the incremental form."""
    modes: tuple[Mode, ...] = ("incremental", "window")
    costs = {mode: _cohort(engine, mode, patients, seconds) for mode in modes}
    return {
        "us_a_step_incremental": costs["incremental"] * 1e6,
        "us_a_step_window": costs["window"] * 1e6,
        "window_over_incremental": costs["window"] / costs["incremental"],
    }


def _cohort(engine: Engine, mode: Mode, patients: int, seconds: float) -> float:
    """CPU seconds of a step of one patient."""
    _, signals = single_leads(WARM + seconds)
    cohort = Cohort(engine, patients, mode=mode, policy="first")
    intake = Intake(FS, 1, "first", cohort.hop, cohort.tail(FS))
    states = [intake.initial() for _ in range(patients)]
    for slot in range(patients):
        cohort.open(slot, FS)

    def run(begin: float, end: float) -> int:
        steps = 0
        for start in range(round(begin * FS), round(end * FS) - HOP + 1, HOP):
            batch = []
            for slot, state in enumerate(states):
                chunk = signals[slot % len(signals)][start : start + HOP]
                batch += [(slot, piece) for piece in intake.push(chunk, state)]
            list(cohort.advance(batch))
            steps += len(batch)
        return steps

    run(0, WARM)
    used, steps = cpu(lambda: run(WARM, WARM + seconds))
    return used / steps
