"""A day of signal at full speed with random faults: memory, recovery at every fault, no event twice."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeecg.decode.rr import HISTORY
from edgeecg.io import Record
from edgeecg.pipeline import annotate
from edgeecg.runtime.engine import Engine
from edgeecg.specs import Beat, Event
from edgeecg.stream.faults import Faults, FaultSpec
from edgeecg.stream.feed import Feed
from edgeecg.stream.session import Stream
from edgeecg.stream.sources.base import Packet
from streaming.common import recordings, resident

# A device that counts anew costs a sample of unknown time, so that the two runs would no longer share a grid.
SPEC = FaultSpec(drop=0.0005, duplicate=0.002, reorder=0.002, nan=0.1, flat=0.1, clip=0.05, outage=0.05)
PACKET = 0.1  # seconds
RECOVERY = 2.0  # seconds after a fault from which beats must be found again
MATCH = 0.15  # seconds


def soak(engine: Engine, hours: float) -> dict[str, Any]:
    """Run the day; compare every beat with the fault-free run."""
    _, records = recordings(1800)
    fs = records[0].fs
    signal = day(records, hours)
    faults = Faults(SPEC, fs)
    stream, feed, told = Stream(engine, fs), Feed(fs), Found()
    memory: list[float] = []
    for packet in faults.apply(packets(signal, fs)):
        for piece in feed.step(packet):
            if piece.missing:
                told.add(stream.gap(piece.missing))
            told.add(stream.push(piece.samples))
        if stream.samples >= len(memory) * 3600 * fs:
            memory.append(resident())
    for piece in feed.flush():
        told.add(stream.push(piece.samples))
    told.add(stream.flush())
    memory.append(resident())
    clean = Found()
    clean.add(annotate(engine, Record("day", signal, fs, ("MLII",))))
    zones = fault_zones(faults, fs)
    spec = engine.bundle.spec.beat
    memory_beats = spec.layers * spec.left + HISTORY + 1  # after so many nothing is left of a fault
    return {
        "hours": hours,
        "faults": {kind: sum(f.kind == kind for f in faults.log) for kind in {f.kind for f in faults.log}},
        "memory_mib": [round(value, 1) for value in memory],
        "growth_after_first_hour_mib": round(memory[-1] - memory[min(1, len(memory) - 1)], 1),
        **compare(told, clean, annotated(records, hours), zones, fs, memory_beats),
    }


def day(records: list[Record], hours: float) -> NDArray[np.float64]:
    """First leads, one after the other."""
    parts = [record.signal[:, :1] for record in records]
    repeats = int(np.ceil(hours * 3600 * records[0].fs / sum(map(len, parts))))
    return np.concatenate(parts * repeats)[: round(hours * 3600 * records[0].fs)]


def annotated(records: list[Record], hours: float) -> NDArray[np.int64]:
    """Where people say that the day's beats are."""
    beats, at = [], 0
    while at < hours * 3600 * records[0].fs:
        for record in records:
            if record.annotations is not None:
                beats.append(at + record.annotations.sample[record.annotations.is_beat])
            at += len(record)
    return np.concatenate(beats)


def packets(signal: NDArray[np.float64], fs: float) -> Iterator[Packet]:
    """As a device sends them, counted, and timed by the receiver."""
    size = round(PACKET * fs)
    for start in range(0, len(signal), size):
        yield Packet(signal[start : start + size], sample=start, time=start / fs)


def fault_zones(faults: Faults, fs: float) -> NDArray[np.int64]:
    """Where the two runs need not agree: each fault, what it takes to recover, and the beat before."""
    longest = round(4 * PACKET * fs)  # a reordered or doubled packet concerns its neighbours
    zones = [
        (fault.start - round(1.5 * fs), fault.start + max(fault.length, longest) + round(RECOVERY * fs))
        for fault in faults.log
        if fault.kind not in ("duplicate", "reorder")
    ]
    return np.array(zones, np.int64).reshape(-1, 2)


class Found:
    """Beats as numbers: nine bytes each, so that what is kept here is not taken for growth."""

    def __init__(self) -> None:
        self._samples, self._labels = array("q"), bytearray()

    def add(self, events: list[Event]) -> None:
        """Keep the beats among some events."""
        for event in events:
            if isinstance(event, Beat):
                self._samples.append(event.sample)
                self._labels += event.label.encode()

    @property
    def samples(self) -> NDArray[np.int64]:
        """Where they are."""
        return np.array(self._samples, np.int64)

    @property
    def labels(self) -> NDArray[np.uint8]:
        """What they are."""
        return np.frombuffer(bytes(self._labels), np.uint8)


def compare(
    told: Found,
    clean: Found,
    truth: NDArray[np.int64],
    zones: NDArray[np.int64],
    fs: float,
    memory: int,
) -> dict[str, Any]:
    """Beats outside the zones: found again, agreeing in label, and how many were told twice.

    A beat too many is one that the clean run has not; some of them are annotated beats that it missed.
    """
    here, there = told.samples, clean.samples
    outside, settled = outside_zones(there, zones, there, memory)
    match = nearest(there, here, MATCH * fs)
    found = match >= 0
    same = found & (clean.labels == told.labels[match])
    extras = outside_zones(here, zones, there, memory)[0] & (nearest(here, there, MATCH * fs) < 0)
    missed = truth[nearest(truth, there, MATCH * fs) < 0]  # beats that the clean run has not found
    return {
        "beats_compared": int(outside.sum()),
        "found_again": float(found[outside].mean()),
        "extra_beats": int(extras.sum()),
        "extra_beats_that_the_clean_run_missed": int((nearest(here, missed, MATCH * fs)[extras] >= 0).sum()),
        "labels_agree": float(same[outside & found].mean()),
        "beats_after_refilling": int(settled.sum()),
        "labels_agree_once_refilled": float(same[settled & found].mean()),
        "told_twice": int((np.diff(here) <= 0).sum()),
    }


def outside_zones(
    samples: NDArray[np.int64], zones: NDArray[np.int64], beats: NDArray[np.int64], memory: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which samples lie in no zone, and which have ``memory`` beats between the last zone and them."""
    order = zones[np.argsort(zones[:, 0])]
    ends = np.maximum.accumulate(np.concatenate([[-1], order[:, 1]]))
    last = ends[np.searchsorted(order[:, 0], samples, side="right")]
    outside = samples > last
    since = np.searchsorted(beats, samples) - np.searchsorted(beats, last)
    return outside, outside & ((since > memory) | (last < 0))


def nearest(samples: NDArray[np.int64], others: NDArray[np.int64], tolerance: float) -> NDArray[np.int64]:
    """Index of the other that is nearest to each sample, -1 where none is near enough."""
    if not len(others):
        return np.full(len(samples), -1)
    right = np.clip(np.searchsorted(others, samples), 1, len(others) - 1)
    index = right - (samples - others[right - 1] < others[right] - samples)
    return np.where(np.abs(others[index] - samples) <= tolerance, index, -1)
