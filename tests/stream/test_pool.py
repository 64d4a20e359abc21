from __future__ import annotations

import asyncio
import threading
from typing import Any

import numpy as np
import pytest

from edgeecg.decode.alarms import AlarmSettings
from edgeecg.errors import ConfigError, DeviceError, InputError, SignalError, StateError
from edgeecg.runtime.engine import Engine, open_engine
from edgeecg.specs import Beat, Gap
from edgeecg.stream.member import Member
from edgeecg.stream.pool import StreamPool
from edgeecg.stream.session import Stream
from edgeecg.stream.sinks.lines import event_line
from edgeecg.stream.sources.base import Packet
from tests.contract.engines import assert_same_events, beats, heart

FS = 250


def alone(engine: Engine, signal: np.ndarray, fs: float = FS) -> list[Any]:
    stream = Stream(engine, fs)
    return stream.push(signal) + stream.flush()


def test_patients_have_names_or_numbers(nano: Engine) -> None:
    pool = StreamPool(nano)
    assert [pool.add(FS), pool.add(FS), pool.add(FS, patient=3), pool.add(FS), pool.add(FS)] == [
        0,
        1,
        3,
        2,
        4,
    ]
    assert pool.add(FS, patient="bed") == "bed"
    assert "bed" in pool
    assert 9 not in pool
    assert len(pool) == 6
    with pytest.raises(ConfigError, match="in the pool already"):
        pool.add(FS, patient="bed")
    with pytest.raises(InputError, match="no patient 'nobody'"):
        pool.push("nobody", [0.0])
    with pytest.raises(SignalError, match="outside"):
        pool.add(10)
    with pytest.raises(ConfigError, match="two hops"):
        StreamPool(nano, queue=0.5)


def test_a_bad_chunk_is_told_to_who_pushes_it(nano: Engine) -> None:
    pool = StreamPool(nano)
    bed = pool.add(FS, 2)
    with pytest.raises(SignalError, match=r"\(n, 2\)"):
        pool.push(bed, np.zeros(10))
    assert pool.samples(bed) == 0


@pytest.mark.parametrize(
    "wrong", [np.zeros((77, 3)), ["x"] * 55, [1j] * 5, np.zeros((3, 3, 3)), [[1.0, 2.0], [3.0]]]
)
def test_a_full_queue_swallows_no_bad_chunk(nano: Engine, wrong: Any) -> None:
    pool = StreamPool(nano, queue=1.0)
    bed = pool.add(FS)
    pool.push(bed, np.zeros(FS))
    pool.push(bed, np.zeros(FS))
    dropped = pool.dropped(bed)
    assert dropped
    with pytest.raises(SignalError):
        pool.push(bed, wrong)
    assert pool.dropped(bed) == dropped


@pytest.mark.parametrize("lost", [1, 15, FS])
def test_what_is_dropped_is_told_however_little(nano: Engine, lost: int) -> None:
    """A few missing samples are held elsewhere; here an event names them, and beats are found behind them."""
    signal = heart(20, FS)
    pool = StreamPool(nano, queue=5.0)
    bed = pool.add(FS)
    pool.push(bed, signal[: 10 * FS])  # whole, as nothing waits
    pool.push(bed, signal[10 * FS : 10 * FS + lost])
    assert pool.dropped(bed) == lost
    told = [event for _, event in pool.poll()]
    pool.push(bed, signal[10 * FS + lost :])
    pool.flush(bed)
    told += [event for _, event in pool.poll()]
    assert [event for event in told if isinstance(event, Gap)] == [Gap(10 * FS, lost)]
    assert max(event.sample for event in told if isinstance(event, Beat)) > 18 * FS


@pytest.mark.parametrize("before", [5, 0])
def test_what_is_dropped_behind_an_end_is_told_too(nano: Engine, before: int) -> None:
    """There the samples before it have made no block yet, and the next segment has not begun."""
    signal = heart(4, FS)
    pool = StreamPool(nano, queue=1.0)
    bed = pool.add(FS)
    pool.push(bed, signal[:240])
    pool.flush(bed)
    pool.push(bed, signal[240 : 240 + before])
    pool.push(bed, signal[240 + before : 251 + before])
    assert pool.dropped(bed) == 11
    told = pool.poll()
    pool.push(bed, signal[251 + before :])
    pool.remove(bed)
    told += pool.poll()
    assert [event for _, event in told if isinstance(event, Gap)] == [Gap(240 + before, 11)]


def test_what_a_mask_hides_is_missing_in_a_pool_too(nano: Engine) -> None:
    signal = np.ma.masked_array(heart(12, FS), mask=False)
    signal[6 * FS : 8 * FS] = np.ma.masked
    signal.data[6 * FS : 8 * FS] = 5.0
    pool = StreamPool(nano)
    bed = pool.add(FS)
    pool.push(bed, signal)
    told = [event for _, event in pool.poll()]
    assert Gap(6 * FS, 2 * FS) in told
    assert told == Stream(nano, FS).push(signal)


def test_a_name_is_free_again_when_the_rest_is_told(nano: Engine) -> None:
    """Else events of two signals, at two rates, would come under one name in turn."""
    pool = StreamPool(nano)
    bed = pool.add(FS, patient="bed")
    pool.push(bed, heart(8, FS))
    pool.remove(bed)
    with pytest.raises(ConfigError, match="leaving still"):
        pool.add(360, patient="bed")
    assert pool.poll()
    assert pool.add(360, patient="bed") == "bed"
    pool.remove("bed")
    pool.poll()
    assert pool.add(FS, patient="bed") == "bed", "one who never pushed leaves too"


def test_a_name_is_not_free_while_its_events_wait_to_be_taken(nano: Engine) -> None:
    """Whoever iterates the async form takes one at a time."""

    async def take() -> None:
        pool = StreamPool(nano)
        bed = pool.add(FS, patient="bed")
        pool.push(bed, heart(8, FS))
        pool.remove(bed)
        events, taken = pool.events(0.01), 0
        total = len(alone(nano, heart(8, FS)))
        while taken < total:
            await anext(events)
            taken += 1
            with pytest.raises(ConfigError, match="leaving still"):
                pool.add(360, patient="bed")
        more = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0.1)
        assert pool.add(360, patient="bed") == "bed"
        more.cancel()

    asyncio.run(take())


@pytest.mark.parametrize("name", [["bed"], {}, np.zeros(2)])
def test_what_can_be_no_name_is_a_stranger(nano: Engine, name: Any) -> None:
    pool = StreamPool(nano)
    for call in (pool.samples, pool.remove, pool.flush, pool.room, lambda who: pool.push(who, np.zeros(5))):
        with pytest.raises(InputError, match="add it first"):
            call(name)


def test_push_only_queues(nano: Engine) -> None:
    pool = StreamPool(nano)
    bed = pool.add(FS)
    pool.push(bed, heart(5, FS))
    assert pool.poll()
    assert pool.poll() == []


def test_a_slot_is_clean_for_the_next_patient(nano: Engine) -> None:
    pool = StreamPool(nano, queue=60)
    signals = [heart(8 + seed, FS, seed=seed) for seed in range(4)]
    for seed, signal in enumerate(signals):
        pool.add(FS, patient=seed)
        pool.push(seed, signal)
        pool.remove(seed)
        told = pool.poll()
        assert_same_events([event for _, event in told], alone(nano, signal))


def test_the_pool_grows(nano: Engine) -> None:
    """More patients than the first cohort has room for, all told as if alone."""
    pool = StreamPool(nano)
    signals = [heart(4, FS, seed=seed % 5) for seed in range(150)]
    for seed, signal in enumerate(signals):
        pool.push(pool.add(FS, patient=seed), signal)
        if seed == 70:
            early = pool.poll()
    told = early + pool.poll()
    for seed in range(150):
        pool.remove(seed)
    told += pool.poll()
    expected = [alone(nano, signals[seed]) for seed in range(5)]
    for seed in range(150):
        assert_same_events([event for name, event in told if name == seed], expected[seed % 5])


def test_a_round_serves_everyone(nano: Engine) -> None:
    """One with a long queue does not keep the others waiting."""
    pool = StreamPool(nano, queue=60)
    busy, calm = pool.add(FS), pool.add(FS)
    pool.push(busy, heart(40, FS, seed=1))
    pool.push(calm, heart(4, FS, seed=2))
    told = pool.poll(rounds=8)  # eight blocks of each: all that the calm one has, a tenth of the other's
    assert any(name == calm for name, _ in told)
    calm_beats = [event for name, event in told if name == calm]
    stream = Stream(nano, FS)
    assert_same_events(calm_beats, stream.push(heart(4, FS, seed=2)))
    rest = pool.poll()
    assert all(name == busy for name, _ in rest)
    stream = Stream(nano, FS)
    whole = [event for name, event in told + rest if name == busy]
    assert_same_events(whole, stream.push(heart(40, FS, seed=1)))


def test_a_full_queue_drops_and_tells(nano: Engine) -> None:
    """Memory is bounded; a gap tells exactly which samples were lost; then the beats are right again."""
    pool = StreamPool(nano, queue=4.0)
    bed = pool.add(FS)
    signal = heart(60, FS)
    told, at = [], 0
    for start in range(0, 20 * FS, 50):  # nobody polls for 20 s
        pool.push(bed, signal[start : start + 50])
        at = start + 50
    assert pool.samples(bed) == at
    lost = pool.dropped(bed)
    assert 20 * FS - 4 * FS - 2 * 125 <= lost <= 20 * FS - 3 * FS
    for start in range(at, len(signal), 50):
        pool.push(bed, signal[start : start + 50])
        told += [event for _, event in pool.poll()]
    gaps = [event for event in told if isinstance(event, Gap)]
    assert sum(gap.length for gap in gaps) == pool.dropped(bed)
    spoiled = signal.copy()
    for gap in gaps:
        spoiled[gap.start : gap.start + gap.length] = np.nan
    stream = Stream(nano, FS)
    assert_same_events(told, stream.push(spoiled))


def test_losses_are_told_at_the_end_too(nano: Engine) -> None:
    pool = StreamPool(nano, queue=2.0)
    bed = pool.add(FS)
    for _ in range(100):
        pool.push(bed, heart(0.2, FS))
    dropped = pool.dropped(bed)
    assert dropped > 0
    pool.remove(bed)
    gaps = [event for _, event in pool.poll() if isinstance(event, Gap)]
    assert sum(gap.length for gap in gaps) == dropped


def test_a_gap_and_a_flush_are_queued_in_order(nano: Engine) -> None:
    pool = StreamPool(nano, queue=60)
    bed = pool.add(FS)
    first, second = heart(10, FS, seed=1), heart(10, FS, seed=2)
    pool.push(bed, first)
    pool.gap(bed, 333)
    pool.push(bed, second)
    pool.flush(bed)
    pool.push(bed, first)
    pool.remove(bed)
    stream = Stream(nano, FS)
    expected = stream.push(first) + stream.gap(333) + stream.push(second) + stream.flush()
    expected += stream.push(first) + stream.flush()
    assert_same_events([event for _, event in pool.poll()], expected)


def test_many_threads_may_push(nano: Engine) -> None:
    """Six threads, two to a patient's neighbour, while another polls: nothing is lost or mixed up."""
    pool = StreamPool(nano, queue=600)
    signals = {f"bed {n}": heart(20, FS, seed=n) for n in range(6)}
    for name in signals:
        pool.add(FS, patient=name)
    told: list[Any] = []
    done = threading.Event()

    def push(name: str) -> None:
        rng = np.random.default_rng(int(name.split()[1]))
        at = 0
        while at < len(signals[name]):
            size = int(rng.integers(1, 60))
            pool.push(name, signals[name][at : at + size])
            at += size
        pool.remove(name)

    def poll() -> None:
        while not done.is_set():
            told.extend(pool.poll())

    threads = [threading.Thread(target=push, args=(name,)) for name in signals]
    poller = threading.Thread(target=poll)
    poller.start()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    poller.join()
    told.extend(pool.poll())
    for name, signal in signals.items():
        assert_same_events([event for who, event in told if who == name], alone(nano, signal))


def test_joining_while_polling_is_safe(nano: Engine) -> None:
    pool = StreamPool(nano)
    stop = threading.Event()
    seen: set[Any] = set()

    def poll() -> None:
        while not stop.is_set():
            seen.update(name for name, event in pool.poll() if isinstance(event, Beat))

    poller = threading.Thread(target=poll)
    poller.start()
    for seed in range(100):
        pool.push(pool.add(FS + seed % 3), heart(4, FS, seed=seed))
    stop.set()
    poller.join()
    seen.update(name for name, event in pool.poll() if isinstance(event, Beat))
    assert seen == set(range(100))


def test_the_async_form(nano: Engine) -> None:
    pool = StreamPool(nano, queue=60)
    bed = pool.add(FS)
    expected = Stream(nano, FS).push(heart(10, FS))

    async def listen() -> list[Any]:
        told = []
        events = pool.events(interval=0.001)
        pool.push(bed, heart(10, FS))
        async for name, event in events:
            assert name == bed
            told.append(event)
            if len(told) == len(expected):
                await events.aclose()  # type: ignore[attr-defined]
                break
        return told

    assert_same_events(asyncio.run(listen()), expected)


def test_who_leaves_the_async_form_loses_nothing(nano: Engine) -> None:
    pool = StreamPool(nano, queue=60)
    bed = pool.add(FS)
    expected = Stream(nano, FS).push(heart(20, FS))
    assert len(expected) > 5

    async def first(told: list[Any]) -> None:
        async for item in pool.events(interval=0.001):
            told.append(item)
            break

    async def cut(told: list[Any]) -> None:
        async def listen() -> None:
            async for item in pool.events(interval=0.001):
                told.append(item)  # noqa: PERF401 - what came before it is cancelled counts

        task = asyncio.create_task(listen())
        await asyncio.sleep(0)  # its computing has begun, beside the loop
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    told: list[Any] = []
    pool.push(bed, heart(20, FS))
    asyncio.run(cut(told))
    asyncio.run(first(told))
    told += pool.poll()
    assert_same_events([event for _, event in told], expected)


@pytest.mark.parametrize("name", [1.5, b"bed", True, ("a",), 2**70, "\ud800"])
def test_a_name_that_no_snapshot_holds_is_refused(nano: Engine, name: Any) -> None:
    with pytest.raises(ConfigError, match="a name is text in UTF-8 or a whole number"):
        StreamPool(nano).add(FS, patient=name)


def test_numbers_of_numpy_are_names_too(nano: Engine) -> None:
    pool = StreamPool(nano)
    bed = pool.add(FS, patient=np.int64(7))
    assert (bed, type(bed)) == (7, int)
    StreamPool(nano).restore(pool.snapshot())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hop": None}, "hop is None s: use a multiple"),
        ({"lead_policy": "foo"}, "no lead policy 'foo': choose first, best or fused"),
        ({"alarms": {"bradycardia": 45}}, "AlarmSettings"),
    ],
)
def test_a_wrong_setting_is_named_before_anybody_joins(
    nano: Engine, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        StreamPool(nano, **settings)


@pytest.mark.parametrize("queue", [float("inf"), float("nan"), 1e9, 0.1, None, "10"])
def test_a_queue_is_neither_too_short_nor_endless(nano: Engine, queue: Any) -> None:
    with pytest.raises(ConfigError, match="at least two hops"):
        StreamPool(nano, queue=queue)


def test_room_is_what_can_be_pushed(nano: Engine) -> None:
    pool = StreamPool(nano, queue=2)
    bed = pool.add(FS)
    room = pool.room(bed)
    assert room == 2 * FS
    pool.push(bed, np.zeros(room))
    assert pool.dropped(bed) == 0
    assert pool.room(bed) < room // 2
    pool.push(bed, np.zeros(room))
    assert pool.dropped(bed) > 0


@pytest.mark.parametrize("fs", [250.0, 1000.0])
def test_what_is_held_before_a_signal_takes_no_room(nano: Engine, fs: float) -> None:
    """70 ms missing three times a second make many segments, each anchored before its first sample."""
    pool = StreamPool(nano, queue=10)
    bed, signal = pool.add(fs), heart(9, fs)
    period, missing = round(0.3 * fs), int(0.0625 * fs) + 2
    for end in range(period, len(signal), period):
        signal[end - missing : end] = np.nan
    for at in range(0, len(signal), 50):
        pool.push(bed, signal[at : at + 50])
    assert pool.dropped(bed) == 0
    assert pool.room(bed) >= fs


def test_crumbs_of_signal_fill_the_queue_too(nano: Engine) -> None:
    """A lead that hangs by a thread: each crumb is a segment of its own, whose blocks must wait somewhere."""
    pool = StreamPool(nano, queue=10)
    bed = pool.add(FS)
    crumb = np.r_[0.1, 0.2, np.full(int(0.0625 * FS) + 2, np.nan)]
    for _ in range(3000):
        pool.push(bed, crumb)
    assert pool.dropped(bed) > 0
    assert pool.room(bed) == 0
    assert len(pool._members[bed].queue) < 400
    pool.poll()
    assert pool.room(bed) > 8 * FS


def test_after_a_loss_no_chunk_is_longer_than_the_room(nano: Engine) -> None:
    pool = StreamPool(nano, queue=4)
    bed = pool.add(FS)
    for _ in range(12):
        pool.push(bed, np.zeros(FS // 2))
    assert pool.dropped(bed) > 0
    assert pool.room(bed) == 0
    while not pool.room(bed):
        pool.poll(rounds=1)
    before, room = pool.dropped(bed), pool.room(bed)
    pool.push(bed, np.zeros(room + 1))
    assert pool.dropped(bed) == before + room + 1


@pytest.mark.parametrize("leads", [0, -1])
def test_there_is_a_lead(nano: Engine, leads: int) -> None:
    with pytest.raises(ConfigError, match="at least one"):
        Stream(nano, FS, leads)
    with pytest.raises(ConfigError, match="at least one"):
        StreamPool(nano).add(FS, leads)


def test_a_snapshot_of_another_pool_is_refused(nano: Engine, small: Engine) -> None:
    pool = StreamPool(nano)
    pool.push(pool.add(FS, patient="bed"), heart(5, FS))
    pool.poll()
    data = pool.snapshot()
    with pytest.raises(StateError, match=r"hop=0\.5 s"):
        StreamPool(nano, hop=1.0).restore(data)
    with pytest.raises(StateError, match="lead_policy=fused"):
        StreamPool(nano, lead_policy="first").restore(data)
    with pytest.raises(StateError, match="runs small"):
        StreamPool(small).restore(data)
    with pytest.raises(StateError, match="of a stream, not of a pool"):
        StreamPool(nano).restore(Stream(nano, FS).snapshot())
    taken = StreamPool(nano)
    taken.add(FS, patient="bed")
    with pytest.raises(ConfigError, match="in the pool already"):
        taken.restore(data)
    assert list(taken) == ["bed"]
    with pytest.raises(StateError, match="withhold=True"):
        StreamPool(nano, withhold=False).restore(data)


def test_nobody_can_push_for_a_patient_whose_state_is_not_back_yet(
    nano: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a thread that waits for the patient pushed then would lie before his queue, and be forgotten."""
    signal, restore, refused = heart(10, FS), StreamPool._restore_member, []

    def watched(self: StreamPool, member: Member, saved: dict[str, Any]) -> None:
        with pytest.raises(InputError) as error:
            self.push(member.patient, signal)
        refused.append(error)
        restore(self, member, saved)

    pool = StreamPool(nano)
    for patient in ("first", "second"):
        pool.push(pool.add(FS, patient=patient), signal)
    other = StreamPool(nano)
    monkeypatch.setattr(StreamPool, "_restore_member", watched)
    assert other.restore(pool.snapshot()) == ["first", "second"]
    assert len(refused) == 2
    assert other.poll() == pool.poll()


def test_nobody_joins_where_a_restore_fails(nano: Engine) -> None:
    pool = StreamPool(nano)
    for name in ("first", "second"):
        pool.push(pool.add(FS, patient=name), heart(8, FS))
    taken = StreamPool(nano)
    taken.add(FS, patient="second")
    free = len(taken._seats._free[1])
    with pytest.raises(ConfigError, match="in the pool already"):
        taken.restore(pool.snapshot())
    assert list(taken) == ["second"]
    assert taken.poll() == []
    assert len(taken._seats._free[1]) == free


def test_a_flush_that_waits_is_kept(nano: Engine) -> None:
    signal = heart(8, FS)
    pool, other = StreamPool(nano), StreamPool(nano)
    pool.push(pool.add(FS, patient="bed"), signal)
    pool.flush("bed")
    other.restore(pool.snapshot())
    assert_same_events([event for _, event in other.poll()], alone(nano, signal))


def test_who_has_left_takes_no_more(nano: Engine) -> None:
    """A push that found the patient just before he was removed."""
    pool = StreamPool(nano)
    pool.push(pool.add(FS, patient="bed"), heart(4, FS))
    member = pool._members["bed"]
    pool.remove("bed")
    pool.poll()
    free = len(pool._seats._free[1])
    pool._members["bed"] = member
    with pytest.raises(InputError, match="no patient 'bed'"):
        pool.push("bed", heart(4, FS))
    assert pool.poll() == []
    assert len(pool._seats._free[1]) == free


@pytest.mark.parametrize("place", [9, 14, 20, 33])
def test_a_step_that_fails_costs_a_step(monkeypatch: pytest.MonkeyPatch, place: int) -> None:
    """The caller catches the error and goes on: nobody is computed twice, and no beat is displaced."""
    with open_engine("nano", "onnxruntime") as trained:
        check_a_failed_step(trained, monkeypatch, place)


def check_a_failed_step(engine: Engine, monkeypatch: pytest.MonkeyPatch, place: int) -> None:
    signal, run = heart(60, FS), engine.token.run
    wanted = {beat.sample for beat in beats(alone(engine, signal))}
    calls = 0

    def failing(inputs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == place:
            raise DeviceError("one step failed")
        return run(inputs)

    monkeypatch.setattr(engine.token, "run", failing)
    pool, told = StreamPool(engine, queue=100), []
    for name in ("one", "two"):
        pool.add(FS, patient=name)
    for begin in range(0, len(signal), 250):
        pool.push("one", signal[begin : begin + 250])
        pool.push("two", signal[begin : begin + 125])
        try:
            told += pool.poll()
        except DeviceError:
            waiting = list(pool._rounds._ready)
            assert len(set(waiting)) == len(waiting)
    samples = [event.sample for who, event in told if who == "one" and isinstance(event, Beat)]
    assert all(min(abs(sample - true) for true in wanted) <= 0.05 * FS for sample in samples)
    assert len(samples) >= len(wanted) - 5


def test_who_pushes_as_fast_as_is_computed_holds_up_nobody(
    nano: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    signal, run, calls = heart(60, FS), nano.token.run, [0]
    pool = StreamPool(nano)
    loud, quiet = pool.add(FS), pool.add(FS)

    def flooded(inputs: Any) -> Any:
        calls[0] += 1
        if calls[0] < 1000:
            pool.push(loud, signal[:250])
            if calls[0] == 2:
                pool.push(quiet, signal)
        return run(inputs)

    monkeypatch.setattr(nano.token, "run", flooded)
    pool.push(loud, signal[: 60 * FS])
    told = pool.poll()
    assert calls[0] < 200
    found = [event for patient, event in told if patient == quiet]
    assert len(beats(found)) > 40  # though it came when the other's backlog was being computed
    calls[0] = 1000
    rest = [event for patient, event in pool.poll() if patient == quiet]
    assert_same_events(found + rest, Stream(nano, FS).push(signal))


def test_latency_and_samples_are_told(nano: Engine) -> None:
    pool = StreamPool(nano)
    bed = pool.add(FS)
    pool.push(bed, np.zeros(77))
    assert pool.samples(bed) == 77
    assert pool.latency(bed) == Stream(nano, FS).latency
    assert beats([event for _, event in pool.poll()]) == []


@pytest.mark.parametrize("kind", [np.int16, np.int64, np.uint8])
@pytest.mark.parametrize("rate", [np.float64, np.float32, np.int64])
def test_numbers_of_numpy_go_no_further_than_the_door(nano: Engine, kind: Any, rate: Any) -> None:
    """They would stand in events, which no sink could write then, or overflow in the count."""
    alarms = AlarmSettings(bradycardia=np.float64(45))
    stream = Stream(nano, rate(FS), kind(1), withhold=np.bool_(True), alarms=alarms)  # type: ignore[arg-type]
    told = stream.push(heart(6, FS)) + stream.gap(kind(200))
    saved = stream.snapshot()
    told += stream.push(heart(6, FS)) + stream.flush()
    plain = Stream(nano, float(FS), alarms=AlarmSettings(bradycardia=45.0))
    expected = plain.push(heart(6, FS)) + plain.gap(200)
    assert plain.snapshot() == saved
    assert told == expected + plain.push(heart(6, FS)) + plain.flush()
    assert all(event_line(event, "bed") for event in told)
    packet = Packet(np.zeros((1, 1)), kind(3), np.int64(4), rate(5), np.float64(6))
    kinds = [type(value) for value in (packet.sample, packet.stamp, packet.time, packet.heard)]
    assert kinds == [int, int, float, float]
