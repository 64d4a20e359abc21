"""The rule of docs/streaming.md, with the packaged model through the whole path: two seconds after a fault
beats are found again as without it, 99 % of them with the same label, all once the context has refilled."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeecg.data.synthetic import SyntheticSettings, draw_patient, synthesize
from edgeecg.decode.rr import HISTORY
from edgeecg.io import Record
from edgeecg.pipeline import annotate
from edgeecg.runtime.engine import Engine, open_engine
from edgeecg.specs import Beat, Event, Gap, Quality
from edgeecg.stream.faults import Faults, FaultSpec
from edgeecg.stream.feed import Feed
from edgeecg.stream.session import Stream
from edgeecg.stream.sources.base import Packet

MATCH, RECOVERY, EARLIER = 0.15, 2.0, 1.5  # seconds; the last: a beat that waits for its successor
PACKET = 0.1

FAULTS = {
    "outage": (FaultSpec(outage=1.0), Gap),
    "nan": (FaultSpec(nan=0.5), Gap),
    "drop": (FaultSpec(drop=0.001), Gap),
    "flat": (FaultSpec(flat=0.5), Quality),
    "clip": (FaultSpec(clip=0.5), Quality),
    "reorder": (FaultSpec(reorder=0.01, duplicate=0.01), None),
    "restart": (FaultSpec(restart=0.5), None),
    "jump": (FaultSpec(jump=0.5), None),
    "drift": (FaultSpec(drift=500.0), None),
}


@pytest.fixture(scope="module")
def packaged() -> Engine:
    return open_engine("small", "onnxruntime")


@pytest.fixture(scope="module")
def patient() -> Record:
    settings = SyntheticSettings(draw_patient("ventricular", 5), seconds=600, snr_db=25)
    return synthesize(settings, seed=3).record.pick(0)


def packets(record: Record) -> Iterator[Packet]:
    size = round(PACKET * record.fs)
    for start in range(0, len(record), size):
        samples = record.signal[start : start + size]
        yield Packet(samples, sample=start, time=start / record.fs)


def spoiled(engine: Engine, record: Record, faults: Faults) -> list[Event]:
    """What a stream tells of the record with faults."""
    stream, feed, told = Stream(engine, record.fs), Feed(record.fs), []
    for packet in faults.apply(packets(record)):
        for piece in feed.step(packet):
            told += stream.gap(piece.missing) if piece.missing else []
            told += stream.push(piece.samples)
    for piece in feed.flush():
        told += stream.push(piece.samples)
    return told + stream.flush()


def zones(faults: Faults, fs: float) -> NDArray[np.float64]:
    """Seconds from and to which nothing is asked: a fault, and what it takes to recover; in order."""
    spans = [
        (fault.start / fs - EARLIER, (fault.start + fault.length) / fs + PACKET + RECOVERY)
        for fault in faults.log
        if fault.kind not in ("reorder", "duplicate")
    ]
    return np.array(sorted(spans)).reshape(-1, 2)


def beats_of(events: list[Event], fs: float) -> tuple[NDArray[np.float64], list[str]]:
    found = [(event.sample / fs, event.label) for event in events if isinstance(event, Beat)]
    return np.array([at for at, _ in found]), [label for _, label in found]


@pytest.mark.parametrize("kind", FAULTS)
def test_beats_are_found_again(packaged: Engine, patient: Record, kind: str) -> None:
    spec, told_as = FAULTS[kind]
    faults = Faults(spec, patient.fs, seed=1)
    events = spoiled(packaged, patient, faults)
    at, labels = beats_of(events, patient.fs)
    there, right = beats_of(annotate(packaged, patient), patient.fs)
    assert len(faults.log) >= 3 or spec.drift
    assert (np.diff(at) > 0).all()  # no beat twice
    assert told_as is None or sum(isinstance(event, told_as) for event in events) >= 3
    spans = zones(faults, patient.fs)

    def outside(seconds: float) -> bool:
        return not any(begin <= seconds <= end for begin, end in spans)

    spec_ = packaged.bundle.spec.beat
    memory = spec_.layers * spec_.left + HISTORY + 1
    compared = same = refilled = same_refilled = since = 0
    for second, label in zip(there, right, strict=True):
        if not outside(second):
            since = 0
            continue
        nearest = int(np.abs(at - second).argmin())
        assert abs(at[nearest] - second) <= MATCH, f"the beat at {second:.2f} s was not found again"
        agrees = labels[nearest] == label
        compared, same, since = compared + 1, same + agrees, since + 1
        if since > memory or not len(spans) or second < spans[0, 0]:
            refilled, same_refilled = refilled + 1, same_refilled + agrees
    assert compared > 300
    assert same >= 0.99 * compared
    assert same_refilled == refilled
    assert not [second for second in at if outside(second) and np.abs(there - second).min() > MATCH]


def test_a_device_that_begins_anew_loses_no_beat_behind_it(packaged: Engine, patient: Record) -> None:
    """Its count starts at 0 again: the wall clock says where it goes on."""
    record = patient.cut(0, round(120 * patient.fs))
    clean, _ = beats_of(annotate(packaged, record), record.fs)
    cut = round(60 * record.fs)
    stream, feed, told = Stream(packaged, record.fs), Feed(record.fs), []
    for packet in packets(record):
        assert packet.sample is not None
        again = packet.sample >= cut
        sent = Packet(packet.samples, packet.sample - cut if again else packet.sample, None, packet.time)
        for piece in feed.step(sent):
            told += stream.gap(piece.missing) if piece.missing else []
            told += stream.push(piece.samples)
    for piece in feed.flush():
        told += stream.push(piece.samples)
    at, _ = beats_of(told + stream.flush(), record.fs)
    assert feed.restarts == 1
    later = clean[(clean < 60 - EARLIER) | ((clean > 60 + RECOVERY) & (clean < record.seconds - 1))]
    assert len(later) > 60
    assert [second for second in later if np.abs(at - second).min() > MATCH] == []
    assert (np.diff(at) > 0).all()
