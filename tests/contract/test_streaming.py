"""Streaming equals offline: for any way of cutting a signal, in any mode, alone or among others."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgeecg.pipeline import annotate
from edgeecg.runtime.engine import Engine
from edgeecg.specs import Beat, Event, Gap
from edgeecg.stream.pool import StreamPool
from edgeecg.stream.session import Stream
from tests.contract.engines import assert_same_events, beats, heart, recording


def chunks(signal: NDArray[np.float64], size: int | None, seed: int = 0) -> list[NDArray[np.float64]]:
    """Cut into pieces of one size, or of random sizes from 0 to 2000 where none is given."""
    if size is not None:
        return [signal[start : start + size] for start in range(0, len(signal), size)]
    rng = np.random.default_rng(seed)
    cuts = np.cumsum(rng.integers(0, 2000, 3 * len(signal) // 1000 + 3))
    return np.split(signal, cuts[cuts < len(signal)])


def stream_all(stream: Stream, signal: NDArray[np.float64], size: int | None) -> list[Event]:
    events = [event for chunk in chunks(signal, size, 0) for event in stream.push(chunk)]
    return events + stream.flush()


@pytest.mark.parametrize("size", [1, 7, 100, 1000, None])
@pytest.mark.parametrize("fs", [128.0, 250.0, 257.0, 360.0])
def test_chunks_do_not_matter(nano: Engine, fs: float, size: int | None) -> None:
    signal = heart(40, fs)
    expected = annotate(nano, recording(signal, fs))
    assert len(beats(expected)) > 20
    assert len({beat.label for beat in beats(expected)}) > 1
    assert_same_events(stream_all(Stream(nano, fs), signal, size), expected)


@pytest.mark.parametrize("policy", ["first", "best", "fused"])
@pytest.mark.parametrize("preset", ["nano", "small"])
def test_several_leads(request: pytest.FixtureRequest, preset: str, policy: str) -> None:
    engine = request.getfixturevalue(preset)
    signal = heart(40, 200, leads=3)
    # The first lead falls off, and comes back. Not to a line without any noise: on that the scores of random
    # weights are equal but for rounding, which in ONNX Runtime 1.23 depends on the length of a step.
    signal[1500:3000, 0] = 0.3 + 0.001 * np.random.default_rng(0).standard_normal(1500)
    signal[4000:5000, 1] = np.nan
    expected = annotate(engine, recording(signal, 200), lead_policy=policy)
    for size in (13, 1000):
        told = stream_all(Stream(engine, 200, 3, lead_policy=policy), signal, size)
        assert_same_events(told, expected)


@pytest.mark.parametrize("hop", [0.0625, 0.1875, 0.5, 1.0, 4.0])
@pytest.mark.parametrize("fs", [130.0, 300.0])
def test_the_hop_does_not_matter(nano: Engine, fs: float, hop: float) -> None:
    signal = heart(30, fs, leads=2)
    signal[2000:2400] = np.nan
    expected = annotate(nano, recording(signal, fs), lead_policy="best")
    told = stream_all(Stream(nano, fs, 2, hop=hop, lead_policy="best"), signal, 97)
    assert_same_events(told, expected)


@pytest.mark.parametrize("preset", ["nano", "small"])
def test_windows_tell_the_same(request: pytest.FixtureRequest, preset: str) -> None:
    engine = request.getfixturevalue(preset)
    signal = heart(60, 250)
    expected = stream_all(Stream(engine, 250), signal, 100)
    assert_same_events(stream_all(Stream(engine, 250, mode="window"), signal, 100), expected)


CUTS = st.lists(st.integers(0, 900), min_size=1, max_size=40)
GAPS = st.lists(st.tuples(st.integers(0, 9000), st.integers(1, 1500)), max_size=3)


def test_any_cut_and_any_gap(nano: Engine) -> None:
    @settings(max_examples=12)
    @given(sizes=CUTS, gaps=GAPS, fs=st.sampled_from([100.0, 180.0, 250.0, 500.0]))
    def check(sizes: list[int], gaps: list[tuple[int, int]], fs: float) -> None:
        signal = heart(20, fs, seed=1)
        for start, length in gaps:
            signal[start : start + length] = np.nan
        stream, events, at = Stream(nano, fs), [], 0
        while at < len(signal):
            for size in [*sizes, 1000]:
                events += stream.push(signal[at : at + size])
                at += size
        expected = annotate(nano, recording(signal, fs))
        assert_same_events(events + stream.flush(), expected)

    check()


def test_missing_samples_and_gaps_are_the_same(nano: Engine) -> None:
    signal = heart(40, 250)
    signal[4000:5500] = np.nan
    expected = stream_all(Stream(nano, 250), signal, 100)
    assert Gap(4000, 1500) in expected
    stream = Stream(nano, 250)
    events = [event for chunk in chunks(signal[:4000], 100) for event in stream.push(chunk)]
    events += stream.gap(1500)
    events += [event for chunk in chunks(signal[5500:], 100) for event in stream.push(chunk)]
    assert_same_events(events + stream.flush(), expected)


def test_after_a_gap_a_stream_is_fresh(nano: Engine) -> None:
    """What follows a gap that ends on the grid is told as if the stream began there, but for its numbers."""
    before, after = heart(15, 250, seed=1), heart(25, 250, seed=2)
    stream = Stream(nano, 250)
    events = stream.push(before) + stream.gap(750) + stream.push(after) + stream.flush()
    offset = len(before) + 750
    told = [beat for beat in beats(events) if beat.sample >= offset]
    alone = beats(stream_all(Stream(nano, 250), after, 1000))
    assert [(b.sample - offset, b.label, b.rr) for b in told] == [(b.sample, b.label, b.rr) for b in alone]


@pytest.mark.parametrize("preset", ["nano", "small"])
@pytest.mark.parametrize(("fs", "length"), [(250, 1), (250, 777), (360, 1001), (257, 3000), (128, 64)])
def test_what_was_before_a_gap_is_forgotten(
    request: pytest.FixtureRequest, preset: str, fs: int, length: int
) -> None:
    """Once the context has refilled, a gap of any length has left no trace: beats and labels are the same."""
    engine = request.getfixturevalue(preset)
    signal = heart(140, fs)
    spoiled = signal.copy()
    spoiled[20 * fs : 20 * fs + length] = np.nan
    clean, told = (beats(annotate(engine, recording(x, fs), withhold=False)) for x in (signal, spoiled))
    spec = engine.bundle.spec.beat
    begin = 20 * fs + length
    there = [beat for beat in told if beat.sample > begin + 10 * fs]
    whole = [beat for beat in clean if beat.sample > begin + 10 * fs]
    assert [beat.sample for beat in there] == [beat.sample for beat in whole]
    refilled = spec.layers * spec.left + 33
    assert len(there) > refilled + 50
    for one, other in zip(there[refilled:], whole[refilled:], strict=True):
        assert (one.label, one.rr) == (other.label, other.rr)
        assert one.probability == pytest.approx(other.probability, abs=1e-3)


def test_reset_forgets_everything(nano: Engine) -> None:
    signal = heart(20, 250)
    stream = Stream(nano, 250)
    expected = stream_all(stream, signal, 100)
    stream.push(heart(11.3, 250, seed=5))
    stream.reset()
    assert stream.samples == 0
    assert_same_events(stream_all(stream, signal, 100), expected)


def test_events_come_as_soon_as_declared(nano: Engine) -> None:
    """No beat is told later than the declared latency, and none could be told a hop sooner."""
    fs = 250
    stream = Stream(nano, fs)
    most = stream.latency.most * fs
    late = []
    for number, sample in enumerate(heart(30, fs)):
        late += [number - event.sample for event in stream.push(sample[None]) if isinstance(event, Beat)]
    assert max(late) <= most + 1
    assert max(late) > most - stream.latency.hop * fs
    assert stream.latency.seconds <= 1.0


def test_a_pool_tells_what_single_streams_tell(nano: Engine) -> None:
    """Patients of several rates and leads, who join and leave at different times."""
    kinds = [(250.0, 1), (360.0, 2), (128.0, 1), (130.0, 1), (257.0, 2), (500.0, 1)]
    signals = {f"bed {n}": (fs, heart(12 + n, fs, leads, seed=n)) for n, (fs, leads) in enumerate(kinds)}
    pool, told = StreamPool(nano), {name: [] for name in signals}
    left, at, rng = set(), dict.fromkeys(signals, 0), np.random.default_rng(0)
    for turn in range(10_000):
        for name, (fs, signal) in signals.items():
            if turn < 3 * int(name[-1]) or name in left:
                continue
            if name not in pool:
                pool.add(fs, signal.shape[1], name)
            size = int(rng.integers(0, 200))
            pool.push(name, signal[at[name] : at[name] + size])
            at[name] += size
            if at[name] >= len(signal):
                pool.remove(name)
                left.add(name)
        for name, event in pool.poll():
            told[name].append(event)
        if len(left) == len(signals):
            break
    assert len(pool) == 0
    for name, (fs, signal) in signals.items():
        alone = stream_all(Stream(nano, fs, signal.shape[1]), signal, 100)
        assert len(beats(alone)) > 5
        assert_same_events(told[name], alone)


@pytest.mark.parametrize("mode", ["incremental", "window"])
@pytest.mark.parametrize("cut", [0, 1, 3333, 5000, 5100])
def test_a_restored_stream_goes_on(nano: Engine, mode: str, cut: int) -> None:
    signal = heart(40, 250, leads=2)
    signal[4900:5050] = np.nan
    expected = stream_all(Stream(nano, 250, 2, mode=mode), signal, 100)  # type: ignore[arg-type]
    first = Stream(nano, 250, 2, mode=mode)  # type: ignore[arg-type]
    events = first.push(signal[:cut])
    second = Stream(nano, 250, 2, mode=mode)  # type: ignore[arg-type]
    second.push(heart(3, 250, leads=2, seed=9))  # must leave no trace
    second.restore(first.snapshot())
    assert second.samples == cut
    assert_same_events(events + stream_all(second, signal[cut:], 100), expected)


def test_a_restored_pool_goes_on(nano: Engine) -> None:
    signals = {"a": heart(20, 250, seed=1), "b": heart(20, 360, seed=2), 7: heart(20, 100, seed=3)}
    rates = {"a": 250.0, "b": 360.0, 7: 100.0}
    first, events = StreamPool(nano, queue=60), []
    for name, signal in signals.items():
        first.add(rates[name], patient=name)
        first.push(name, signal[: len(signal) // 3])
    events += first.poll()
    for name, signal in signals.items():  # queued, not yet computed
        first.push(name, signal[len(signal) // 3 : len(signal) // 2])
    second = StreamPool(nano, queue=60)
    assert set(second.restore(first.snapshot())) == set(signals)
    for name, signal in signals.items():
        second.push(name, signal[len(signal) // 2 :])
        second.remove(name)
    events += second.poll()
    for name, signal in signals.items():
        alone = stream_all(Stream(nano, rates[name]), signal, 100)
        assert_same_events([event for who, event in events if who == name], alone)


@pytest.mark.parametrize("tokens", [2**24, 2**32, 2**40])
def test_months_do_not_matter(nano: Engine, tokens: int) -> None:
    """A stream whose counters stand months later tells the same beats, that much later."""
    signal = heart(40, 250)
    young, old = Stream(nano, 250), Stream(nano, 250)
    for stream in (young, old):
        stream.push(signal[:5000])
    age = age_by(old, tokens)
    fresh = beats(stream_all(young, signal[5000:], 100))
    aged = beats(stream_all(old, signal[5000:], 100))
    assert len(fresh) > 10
    assert [beat.sample + age for beat in fresh] == [beat.sample for beat in aged]
    assert [beat.label for beat in fresh] == [beat.label for beat in aged]
    assert [beat.probability for beat in fresh] == pytest.approx(
        [beat.probability for beat in aged], abs=1e-5
    )


def age_by(stream: Stream, tokens: int) -> int:
    """Set the counters of a 250 Hz stream as if so many more tokens had come; gives their source samples."""
    age = tokens * 8 * 250 // 128
    cohort, state = stream._cohort, stream._state
    state.made += 8 * tokens
    cohort._made[0] += 8 * tokens
    state.base += age
    beat_rows = cohort._beats
    beat_rows._last[0] += 8.0 * tokens
    pending = beat_rows._pending
    beat_rows._pending = pending._replace(token=pending.token + tokens, place=pending.place + 8.0 * tokens)
    decoder = cohort._at(0).state
    decoder.graded += tokens // 8
    decoder.clock += tokens // 8
    decoder.last = None if decoder.last is None else decoder.last + age
    decoder.alarms = cohort._at(0)._alarms.initial()
    return age
