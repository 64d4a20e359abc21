from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

from edgeecg.decode.alarms import AlarmSettings
from edgeecg.errors import BundleError, ConfigError, SignalError, StateError
from edgeecg.io.record import Record
from edgeecg.pipeline import annotate
from edgeecg.runtime.engine import Engine
from edgeecg.specs import Alarm, Beat, Event, Gap, Quality
from edgeecg.stream.pool import StreamPool
from edgeecg.stream.session import Stream
from edgeecg.stream.snapshot import read, write
from tests.contract.engines import assert_same_events, beats, heart

FS = 250


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fs": 50}, "outside 100 to 1000 Hz"),
        ({"fs": float("nan")}, "outside 100 to 1000 Hz"),
        ({"leads": 0}, "at least one"),
        ({"leads": "2"}, "leads is '2': give their number"),
        ({"hop": 0.3}, "multiple of 0.0625 s"),
        ({"hop": 0}, "multiple of 0.0625 s"),
        ({"hop": 100}, "up to 8 s"),
        ({"mode": "offline"}, "incremental or window"),
        ({"lead_policy": "any"}, "first, best or fused"),
        ({"fs": [250]}, r"sampling rate \[250\] is no number"),
        ({"fs": "250"}, "sampling rate '250' is no number"),
        ({"fs": None}, "sampling rate None is no number"),
        ({"hop": None}, "multiple of 0.0625 s"),
        ({"hop": "0.5"}, "multiple of 0.0625 s"),
        ({"lead_policy": ["first"]}, "first, best or fused"),
        ({"alarms": {"bradycardia": 45}}, r"give edgeecg.decode.alarms.AlarmSettings\(...\)"),
        ({"alarms": {}}, r"give edgeecg.decode.alarms.AlarmSettings\(...\)"),
        ({"mode": "window", "hop": 8.0}, "too short for this model"),
    ],
)
def test_settings_out_of_range_are_named(nano: Engine, settings: dict[str, Any], message: str) -> None:
    with pytest.raises((ConfigError, SignalError), match=message):
        Stream(nano, **{"fs": FS, **settings})


@pytest.mark.parametrize(
    "make",
    [
        lambda it: Stream(it, fs=250),
        StreamPool,
        lambda it: annotate(it, Record("made", np.zeros((500, 1)), FS, ("I",))),
    ],
)
def test_what_is_no_engine_is_named(make: Callable[[Any], Any]) -> None:
    with pytest.raises(ConfigError, match=r"engine is 'small': give what edgeecg.open_engine"):
        make("small")


@pytest.mark.parametrize(
    ("leads", "chunk", "message"),
    [
        (1, np.zeros((5, 2)), r"shape \(5, 2\)"),
        (2, np.zeros(5), r"shape \(5,\)"),
        (2, np.zeros((5, 3)), r"\(n, 2\)"),
        (1, np.zeros((2, 2, 2)), "push samples by leads"),
        (1, np.zeros(5, complex), "real numbers"),
        (1, ["a", "b"], "real numbers"),
        (1, 1.5, "push samples by leads"),
    ],
)
@pytest.mark.parametrize("policy", ["first", "best"])
def test_chunks_that_do_not_fit_are_refused_whole(
    nano: Engine, leads: int, chunk: Any, message: str, policy: str
) -> None:
    stream = Stream(nano, FS, leads, lead_policy=policy)  # type: ignore[arg-type]
    stream.push(np.zeros((17, leads)))
    with pytest.raises(SignalError, match=message):
        stream.push(chunk)
    assert stream.samples == 17


def test_kinds_of_numbers_do_not_matter(nano: Engine) -> None:
    signal = np.round(1000 * heart(8, FS)[:, 0]) / 1024  # exact in float32
    expected = Stream(nano, FS).push(signal)
    assert beats(expected)
    assert Stream(nano, FS).push(signal.tolist()) == expected
    assert Stream(nano, FS).push(signal.astype(np.float32)) == expected
    assert Stream(nano, FS).push(signal[:, None]) == expected
    assert Stream(nano, FS).push(np.repeat(signal, 2)[::2]) == expected


def test_nothing_known_yet_is_an_empty_list(nano: Engine) -> None:
    stream = Stream(nano, FS)
    assert stream.push([]) == []
    assert stream.push(np.zeros((0, 1))) == []
    assert stream.push([0.1]) == []
    assert stream.flush() == []
    assert Stream(nano, FS).flush() == []


def test_the_last_beats_come_out(nano: Engine) -> None:
    """A flush tells every beat that a stream which goes on would have told, and none beyond the end."""
    signal = heart(20, FS)
    for end in (2500, 2517, 2561, 2600):
        stream = Stream(nano, FS)
        told = beats(stream.push(signal[:end]) + stream.flush())
        whole = beats(Stream(nano, FS).push(signal))
        settled = [beat.sample for beat in whole if beat.sample < end - FS]
        assert [beat.sample for beat in told][: len(settled)] == settled
        assert told[-1].sample < end


def test_what_follows_a_flush_is_a_fresh_stream(nano: Engine) -> None:
    first, second = heart(10, FS, seed=1), heart(10, FS, seed=2)  # a whole number of ticks
    stream = Stream(nano, FS)
    stream.push(first)
    stream.flush()
    told = beats(stream.push(second) + stream.flush())
    alone = Stream(nano, FS)
    expected = beats(alone.push(second) + alone.flush())
    assert [(b.sample - len(first), b.label) for b in told] == [(b.sample, b.label) for b in expected]


def test_no_alarm_reaches_back_over_a_flush(nano: Engine) -> None:
    stream = Stream(nano, FS)
    noise = np.random.default_rng(0).normal(0, 0.001, 20 * FS)
    told = stream.push(noise) + stream.flush() + stream.push(noise) + stream.flush()
    alarms = [(event.start, event.end) for event in told if isinstance(event, Alarm)]
    (first, _), (_, end), (second, _), _ = alarms
    assert alarms == [(first, None), (first, end), (second, None), (second, 40 * FS)]
    assert first < end == len(noise) <= second


def test_samples_count_what_is_missing(nano: Engine) -> None:
    stream = Stream(nano, FS)
    stream.push(np.zeros(10))
    stream.gap(1000)
    stream.push(np.full(5, np.nan))
    assert stream.samples == 1015
    with pytest.raises(SignalError, match=r"0 to 2\*\*48"):
        stream.gap(-1)
    with pytest.raises(SignalError, match=r"a gap of 2\.5 samples"):
        stream.gap(2.5)  # type: ignore[arg-type]
    with pytest.raises(SignalError, match=r"0 to 2\*\*48"):
        stream.gap(2**63)
    with pytest.raises(SignalError, match="sampling rate '250' is no number"):
        Stream(nano, fs="250")  # type: ignore[arg-type]


def test_infinite_and_absurd_samples_are_missing_ones(nano: Engine) -> None:
    signal = heart(20, FS)[:, 0]
    signal[2000:2300] = np.nan
    expected = Stream(nano, FS).push(signal)
    assert Gap(2000, 300) in expected
    for odd in (np.inf, -np.inf, 1e300):
        signal[2100:2200] = odd
        assert Stream(nano, FS).push(signal) == expected


def test_beats_on_unreadable_signal_are_withheld(nano: Engine) -> None:
    """Where noise drowns the signal no beats are told, unless they are asked for."""
    rng = np.random.default_rng(0)
    signal = heart(30, FS)
    signal[3000:5500] = rng.normal(0, 1.5, (2500, 1))
    told = Stream(nano, FS).push(signal)
    bad = [e for e in told if isinstance(e, Quality) and e.label in ("unreadable", "lead-off", "flat")]
    assert bad, told
    start, end = bad[0].start, next(e.end for e in bad if e.end is not None)
    assert 3000 <= start < end < 7000
    inside = [beat for beat in beats(told) if start + FS < beat.sample < end - FS]
    everything = beats(Stream(nano, FS, withhold=False).push(signal))
    assert inside == []
    assert any(start + FS < beat.sample < end - FS for beat in everything)


def test_alarms_can_be_set(nano: Engine) -> None:
    signal = heart(30, FS)
    eager = AlarmSettings(pause_seconds=0.5, asystole_seconds=30)
    pauses = [e for e in Stream(nano, FS, alarms=eager).push(signal) if isinstance(e, Alarm)]
    assert any(alarm.label == "pause" for alarm in pauses)


def test_the_async_form_tells_the_same(nano: Engine) -> None:
    signal = heart(10, FS)

    async def chunks() -> AsyncIterator[np.ndarray]:
        for start in range(0, len(signal), 100):
            yield signal[start : start + 100]

    async def listen() -> list[Event]:
        return [event async for event in Stream(nano, FS).events(chunks())]

    stream = Stream(nano, FS)
    assert_same_events(asyncio.run(listen()), stream.push(signal) + stream.flush())


def test_whoever_leaves_the_async_form_loses_nothing(nano: Engine) -> None:
    signal = heart(20, FS)

    async def whole() -> AsyncIterator[np.ndarray]:
        yield signal

    async def one(stream: Stream) -> Event:
        async for event in stream.events(whole()):
            return event
        raise AssertionError("nothing was told")

    stream = Stream(nano, FS)
    told = [asyncio.run(one(stream)), *stream.push(signal[:0]), *stream.flush()]
    other = Stream(nano, FS)
    assert_same_events(told, other.push(signal) + other.flush())


def test_whoever_is_cancelled_while_it_computes_loses_nothing(nano: Engine) -> None:
    signal = heart(60, FS)

    async def whole() -> AsyncIterator[np.ndarray]:
        yield signal

    async def listen(stream: Stream, told: list[Event]) -> None:
        async for event in stream.events(whole()):
            told.append(event)  # noqa: PERF401 - what came before it is cancelled stays

    async def cancelled(stream: Stream) -> list[Event]:
        told: list[Event] = []
        task = asyncio.create_task(listen(stream, told))
        while not stream.samples:  # the thread has taken the chunk and computes
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return told

    stream = Stream(nano, FS)
    told = [*asyncio.run(cancelled(stream)), *stream.push(signal[:0]), *stream.flush()]
    other = Stream(nano, FS)
    assert_same_events(told, other.push(signal) + other.flush())


def test_whoever_is_cancelled_while_all_threads_are_busy_loses_nothing(nano: Engine) -> None:
    signal, busy = heart(20, FS), threading.Event()

    async def whole() -> AsyncIterator[np.ndarray]:
        yield signal

    async def listen(stream: Stream) -> None:
        async for _ in stream.events(whole()):
            raise AssertionError("its turn has not come")

    async def cancelled(stream: Stream) -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        others = loop.run_in_executor(None, busy.wait)
        task = asyncio.create_task(listen(stream))
        for _ in range(5):
            await asyncio.sleep(0)
        task.cancel()
        for _ in range(5):
            await asyncio.sleep(0)
        busy.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert stream.samples == len(signal)
        await others

    stream = Stream(nano, FS)
    asyncio.run(cancelled(stream))
    other = Stream(nano, FS)
    told = [*stream.push(signal[:0]), *stream.flush()]
    assert_same_events(told, other.push(signal) + other.flush())


def test_latency_is_declared_by_stage(small: Engine) -> None:
    latency = Stream(small, FS).latency
    assert list(latency.stages) == ["resample", "band-pass", "gain", "token", "look-ahead", "decision"]
    assert latency.seconds == pytest.approx(sum(latency.stages.values()))
    assert latency.seconds <= 1.0
    assert latency.most == latency.seconds + 0.5


def test_a_push_of_one_sample_costs_little(nano: Engine) -> None:
    """5 us is the goal (benchmarks/stream.py); here, on a machine that may be busy, an order of magnitude."""
    stream = Stream(nano, FS)
    samples = [np.array([x]) for x in heart(20, FS)[:, 0]]
    begin = time.thread_time()
    for sample in samples:
        stream.push(sample)
    assert (time.thread_time() - begin) / len(samples) < 50e-6


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"fs": 360}, "fs=250.0"),
        ({"leads": 2}, "leads=1"),
        ({"hop": 1.0}, "hop=0.5 s"),
        ({"mode": "window"}, "mode=incremental"),
        ({"lead_policy": "first"}, "lead_policy=fused"),
    ],
)
def test_a_snapshot_of_other_settings_is_refused(nano: Engine, other: dict[str, Any], message: str) -> None:
    stream = Stream(nano, FS)
    stream.push(heart(5, FS))
    with pytest.raises(StateError, match=message):
        Stream(nano, **{"fs": FS, **other}).restore(stream.snapshot())


def test_a_snapshot_of_another_bundle_is_refused(nano: Engine, small: Engine) -> None:
    data = Stream(nano, FS).snapshot()
    with pytest.raises(StateError, match=r"taken with bundle nano .* this engine runs small"):
        Stream(small, FS).restore(data)


def test_a_damaged_snapshot_is_refused_and_the_stream_is_fresh(nano: Engine) -> None:
    stream = Stream(nano, FS)
    stream.push(heart(8, FS))
    data = stream.snapshot()
    other = Stream(nano, FS)
    for damaged in (b"", b"nothing like it" * 10, data[:-1], data[:500], data[:200] + b"x" + data[201:]):
        with pytest.raises(StateError):
            other.restore(damaged)
    newer = bytes([*data[:7], 99, *data[8:]])
    with pytest.raises(StateError, match="version 99"):
        other.restore(newer)
    signal = heart(8, FS, seed=3)
    assert_same_events(other.push(signal), Stream(nano, FS).push(signal))


def test_a_snapshot_of_arrays_of_another_shape_is_refused(nano: Engine) -> None:
    """Its hash is right, as a program that has gone wrong would make it."""
    stream = Stream(nano, FS)
    stream.push(heart(8, FS))
    body = read("stream", nano.bundle, stream.snapshot())
    for name in body["arrays"]:
        arrays = body["arrays"] | {name: ["f8", [], bytes(8)]}
        with suppress(StateError):
            stream.restore(write("stream", nano.bundle, body | {"arrays": arrays}))


def test_a_bundle_with_unknown_operating_points_is_named(nano: Engine) -> None:
    from dataclasses import replace

    thresholds = replace(nano.bundle.thresholds, rhythm={"entr": 0.5})
    bundle = replace(nano.bundle, manifest=replace(nano.bundle.manifest, thresholds=thresholds))
    with pytest.raises(BundleError, match=r"sets rhythm\.entr"):
        Stream(replace(nano, bundle=bundle), FS)


@pytest.mark.data
def test_real_beats_are_found_where_they_are(data_root: Any) -> None:
    """The packaged model, live, on a record of the public set: nearly every beat, within 150 ms."""
    from edgeecg.io import read_record
    from edgeecg.runtime.engine import open_engine

    record = read_record(data_root / "mitdb" / "101").cut(0, 360 * 300)
    assert record.annotations is not None
    with open_engine("small", "onnxruntime") as engine:
        stream = Stream(engine, record.fs, len(record.leads))
        events = [e for s in range(0, len(record), 36) for e in stream.push(record.signal[s : s + 36])]
        events += stream.flush()
    found = np.array([event.sample for event in events if isinstance(event, Beat)])
    wanted = record.annotations.beats().sample
    near = np.abs(found[:, None] - wanted[None]).min(axis=0) <= 0.15 * record.fs
    assert near.mean() > 0.99
    assert len(found) < 1.01 * len(wanted)
    error = found[:, None] - wanted[None]
    nearest = error[np.arange(len(found)), np.abs(error).argmin(axis=1)]
    assert abs(np.median(nearest)) <= 0.010 * record.fs


def test_threads_that_push_at_once_lose_no_sample(nano: Engine) -> None:
    stream = Stream(nano, fs=250)

    def push() -> None:
        for _ in range(100):
            stream.push(np.zeros(90))

    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(push) for _ in range(4)]:
            done.result()
    assert stream.samples == 4 * 100 * 90
