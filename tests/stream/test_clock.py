"""Time base repair: whatever a link or a clock does, samples end up where they belong."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeecg.errors import ConfigError, SignalError
from edgeecg.stream.clock import TimeBase
from edgeecg.stream.clock_state import Piece, TimeState
from edgeecg.stream.faults import Faults, FaultSpec
from edgeecg.stream.sources import Packet
from tests.stream.peers import repair

FS = 250.0
SIZE = 25


def ramp(start: int, length: int) -> np.ndarray:
    """Samples that say where they belong."""
    return np.arange(start, start + length, dtype=np.float64)[:, None]


def packets(
    n: int, fs: float = FS, counted: bool = True, stamped: bool = False, walled: bool = False
) -> list[Packet]:
    return [
        Packet(
            ramp(i, SIZE),
            sample=i if counted else None,
            stamp=round(i / fs * 1e9) + 10**18 if stamped else None,
            time=1.7e9 + i / fs if walled else None,
        )
        for i in range(0, n * SIZE, SIZE)
    ]


def check_unbroken(pieces: list[Piece]) -> None:
    """Pieces follow on each other, with what is missing counted, and no sample comes twice."""
    end = 0
    for piece in pieces:
        assert piece.start == end + piece.missing
        assert (piece.missing > 0) == bool(piece.cause)
        assert len(piece.samples) > 0
        end = piece.start + len(piece.samples)


def placed(pieces: list[Piece]) -> dict[int, float]:
    return {piece.start + i: float(v) for piece in pieces for i, v in enumerate(piece.samples[:, 0])}


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=60),
    faults=st.lists(st.sampled_from(["keep", "drop", "double", "late"]), min_size=60, max_size=60),
)
def test_losses_duplicates_and_late_packets_leave_every_sample_in_its_place(
    sizes: list[int], faults: list[str]
) -> None:
    sent, late, start = [], [], 0
    for i, size in enumerate(sizes):
        packet = Packet(ramp(start, size), sample=start + 1000)
        start += size
        fault = faults[i] if i else "keep"
        sent += {"keep": [packet], "drop": [], "double": [packet, packet], "late": []}[fault]
        sent += late
        late = [packet] if fault == "late" else []
    pieces = list(repair(sent + late, TimeBase(FS)))
    check_unbroken(pieces)
    found = placed(pieces)
    assert all(where == value for where, value in found.items())
    received = {int(v) for packet in sent + late for v in packet.samples[:, 0]}
    assert set(found) == received


def test_a_packet_that_comes_behind_three_others_finds_its_place_and_one_too_late_does_not() -> None:
    sent = packets(12)
    sent.insert(6, sent.pop(3))
    assert [piece.missing for piece in repair(sent, TimeBase(FS))] == [0] * 12
    sent = packets(40)
    sent.insert(30, sent.pop(3))  # 2.7 s late, more than a second waits
    pieces = list(repair(sent, TimeBase(FS)))
    check_unbroken(pieces)
    assert [(piece.start, piece.missing, piece.cause) for piece in pieces if piece.missing] == [
        (100, 25, "lost")
    ]
    assert len(pieces) == 39


@pytest.mark.parametrize("length", [25, 126, 140, 250])
def test_neighbours_that_swap_are_put_in_order_however_long_they_are(length: int) -> None:
    """A packet a second, as over MQTT: the hole that the late one leaves is no signal that waits for it."""
    sent = [Packet(ramp(k * length, length), sample=k * length) for k in range(8)]
    sent[3], sent[4] = sent[4], sent[3]
    pieces = list(repair(sent, TimeBase(FS)))
    check_unbroken(pieces)
    assert sum(len(piece.samples) for piece in pieces) == 8 * length
    assert not any(piece.missing for piece in pieces)


@pytest.mark.parametrize("seed", range(4))
def test_packets_that_come_twice_by_stamp_are_told_once(seed: int) -> None:
    """Their stamps stray: the second of two equal ones is known, and not placed by its error."""
    rng = np.random.default_rng(seed)
    sent = []
    for k in range(200):
        stamp = round((k * 25 / FS + rng.uniform(-0.02, 0.02)) * 1e9)
        sent += [Packet(ramp(25 * k, 25), stamp=stamp)] * (1 + (k % 20 == 10))
    pieces = list(repair(sent, TimeBase(FS, jitter=0.05)))
    told = np.concatenate([piece.samples[:, 0] for piece in pieces])
    np.testing.assert_array_equal(told, np.arange(5000))


def test_old_stamps_that_come_again_are_no_restart() -> None:
    sent = [Packet(ramp(73 * k, 73), stamp=round(k * 73 / 130 * 1e9)) for k in range(30)]
    pieces = list(repair([*sent[:20], *sent[14:17], *sent[20:]], TimeBase(130.0, jitter=0.05)))
    assert sum(len(piece.samples) for piece in pieces) == 30 * 73
    assert not any(piece.missing for piece in pieces)


@pytest.mark.parametrize("before", [15, 20, 40])
@pytest.mark.parametrize("timed", [True, False])
def test_a_device_that_counts_its_stamps_anew_is_no_double(before: int, timed: bool) -> None:
    """Its stamps come again, its samples do not."""
    first = [
        Packet(ramp(25 * k, 25), stamp=k * 100_000_000, heard=0.1 * k if timed else None, time=0.1 * k)
        for k in range(before)
    ]
    boot = 0.1 * before + 2.0
    second = [
        Packet(ramp(10_000 + 25 * k, 25), stamp=k * 100_000_000, heard=boot + 0.1 * k if timed else None)
        for k in range(60)
    ]
    if timed:
        second = [replace(packet, time=packet.heard) for packet in second]
    else:
        first = [replace(packet, time=None) for packet in first]
    pieces = list(repair([*first, *second], TimeBase(FS, jitter=0.05)))
    told = np.concatenate([piece.samples[:, 0] for piece in pieces])
    np.testing.assert_array_equal(told, [*np.arange(25 * before), *np.arange(10_000, 11_500)])
    assert sum(piece.cause == "restart" for piece in pieces) == 1


@pytest.mark.parametrize("seed", range(6))
def test_stray_stamps_behind_a_loss_cost_no_packet_that_came(seed: int) -> None:
    """A held packet's end is no place for another where the next one lies already."""
    rng = np.random.default_rng(seed)
    sent = [
        Packet(
            ramp(73 * k, 73), stamp=round((73 * k / FS + rng.uniform(-0.125, 0.125)) * 1e9), time=73 * k / FS
        )
        for k in range(300)
        if rng.random() > 0.05
    ]
    pieces = list(repair(sent, TimeBase(FS, jitter=0.25)))
    assert sum(len(piece.samples) for piece in pieces) == 73 * len(sent)


def test_single_samples_without_jitter_are_missed_one_by_one() -> None:
    sent = [Packet(ramp(n, 1), stamp=n * 4_000_000) for n in range(800) if n % 20 != 7]
    pieces = list(repair(sent, TimeBase(FS, jitter=0.0)))
    assert [piece.start for piece in pieces if piece.missing] == list(range(8, 800, 20))


def test_overlapping_packets_give_only_their_new_end() -> None:
    sent = [Packet(ramp(i, 40), sample=i) for i in range(0, 400, 25)]
    pieces = list(repair(sent, TimeBase(FS)))
    check_unbroken(pieces)
    assert placed(pieces) == {i: float(i) for i in range(415)}


@pytest.mark.parametrize("walled", [False, True])
def test_a_device_that_starts_again_goes_on_where_the_wall_clock_says(walled: bool) -> None:
    sent = packets(40, walled=walled)
    again = [replace(packet, time=packet.time and packet.time + 40 * SIZE / FS + 6.0) for packet in sent]
    pieces = list(repair(sent + again, TimeBase(FS)))
    check_unbroken(pieces)
    broken = [piece for piece in pieces if piece.missing]
    assert [(piece.cause, piece.missing) for piece in broken] == [("restart", 1500 if walled else 1)]
    assert sum(len(piece.samples) for piece in pieces) == 2 * 40 * SIZE


@pytest.mark.parametrize("walled", [False, True])
def test_a_count_that_leaps_ahead_is_no_loss_of_hours(walled: bool) -> None:
    sent = packets(80, walled=walled)
    leaping = sent[:40] + [replace(packet, sample=packet.sample + 10_000_000) for packet in sent[40:]]  # type: ignore[operator]
    pieces = list(repair(leaping, TimeBase(FS)))
    check_unbroken(pieces)
    gaps = [(piece.cause, piece.missing) for piece in pieces if piece.missing]
    assert gaps == ([] if walled else [("jump", 1)])
    assert sum(len(piece.samples) for piece in pieces) == 80 * SIZE


def test_a_count_that_wraps_moves_no_sample_where_a_clock_says_that_none_is_missing() -> None:
    """As one of 16 bits does of which nobody said so: it begins anew every few minutes."""
    sent = [replace(packet, sample=packet.sample % 65_000) for packet in packets(14_000, walled=True)]  # type: ignore[operator]
    pieces = list(repair(sent, TimeBase(FS)))
    assert placed(pieces) == {i: float(i) for i in range(14_000 * SIZE)}


def test_one_stray_packet_is_left_out() -> None:
    sent = packets(20)
    sent.insert(10, Packet(ramp(0, SIZE) * 0, sample=50_000_000))
    pieces = list(repair(sent, TimeBase(FS)))
    assert placed(pieces) == {i: float(i) for i in range(20 * SIZE)}


def test_a_real_gap_of_minutes_is_believed_when_the_wall_clock_agrees() -> None:
    sent = packets(2000, walled=True)
    pieces = list(repair(sent[:10] + sent[1900:], TimeBase(FS)))
    assert [(piece.cause, piece.missing) for piece in pieces if piece.missing] == [("lost", 1890 * SIZE)]


@settings(max_examples=40)
@given(
    drift=st.floats(-2000, 2000),
    jitter=st.floats(0, 0.02),
    seed=st.integers(0, 1000),
    lost=st.sets(st.integers(5, 190), max_size=20),
)
def test_stamps_find_losses_in_spite_of_drift_and_jitter(
    drift: float, jitter: float, seed: int, lost: set[int]
) -> None:
    random = np.random.default_rng(seed)
    kept = [
        Packet(
            ramp(i * SIZE, SIZE),
            stamp=10**18
            + round(i * SIZE / FS * 1e9 * (1 + drift * 1e-6) + random.uniform(-jitter, jitter) * 1e9),
        )
        for i in range(200)
        if i not in lost
    ]
    pieces = list(repair(kept, TimeBase(FS, jitter=0.05)))
    check_unbroken(pieces)
    assert sum(len(piece.samples) for piece in pieces) == len(kept) * SIZE
    true = [piece.samples[0, 0] - before.samples[-1, 0] - 1 for before, piece in pairwise(pieces)]
    told = [piece.missing for piece in pieces[1:]]
    assert [t > 0 for t in true] == [t > 0 for t in told]
    assert max(abs(a - b) for a, b in zip(true, told, strict=True)) <= 0.05 * FS  # a length to the jitter


@pytest.mark.parametrize("size", [25, 140, 250])
@pytest.mark.parametrize("drift", [-0.02, -0.005, 0.002, 0.019])
def test_the_drift_of_stamps_without_jitter_is_no_loss(drift: float, size: int) -> None:
    """As of messages with a stamp and no count; what is lost is told all the same."""
    sent = [
        Packet(ramp(i * size, size), stamp=round(i * size / FS / (1 + drift) * 1e9))
        for i in range(400)
        if i not in (200, 310)
    ]
    pieces = list(repair(sent, TimeBase(FS, jitter=0.0)))
    check_unbroken(pieces)
    assert sum(len(piece.samples) for piece in pieces) == 398 * size
    missing = {int(piece.samples[0, 0]) // size: piece.missing for piece in pieces if piece.missing}
    assert missing == {201: pytest.approx(size, abs=2), 311: pytest.approx(size, abs=2)}


@pytest.mark.parametrize("fs", [360.0, 400.0])
@pytest.mark.parametrize("drift", [0.0, -0.005])
def test_stamps_in_whole_milliseconds_lose_nothing_of_packets_of_any_length(fs: float, drift: float) -> None:
    """They are up to half a sample off: of a packet of few samples that is a rate no crystal has."""
    rng, sent, start = np.random.default_rng(1), [], 0
    while start < 60 * fs:
        length = int(rng.integers(1, 130))
        stamp = 10**15 + 1_000_000 * int(start / fs * (1 + drift) * 1e3 + 1e-6)
        sent.append(Packet(ramp(start, length), stamp=stamp))
        start += length
    pieces = list(repair(sent, TimeBase(fs, jitter=0.0)))
    assert placed(pieces) == {i: float(i) for i in range(start)}


def test_of_a_clock_that_is_far_off_short_packets_tell_the_rate_as_fast_as_long_ones() -> None:
    sent = [Packet(ramp(k, 5), stamp=10**15 + round(k / 257 / 1.015 * 1e9)) for k in range(0, 1000, 5)]
    pieces = list(repair(sent[:40] + sent[70:], TimeBase(257.0, jitter=0.0)))
    assert placed(pieces) == {i: float(i) for i in [*range(200), *range(350, 1000)]}


@pytest.mark.parametrize(("fs", "size", "lost"), [(250, 250, 10), (250, 125, 4), (130, 73, 2), (250, 25, 1)])
@pytest.mark.parametrize("drift", [0.0, 0.01])
def test_what_is_lost_is_told_however_little_once_the_rate_is_known(
    fs: int, size: int, lost: int, drift: float
) -> None:
    base = TimeBase(fs, jitter=0.0)
    state, place, missing = base.initial(), 0, 0
    for number in range(160):
        if number >= 100 and number % 3 == 0:
            place += lost
        stamp = round(place / fs / (1 + drift) * 1e9)
        pieces, state = base.step(Packet(ramp(place, size), stamp=stamp), state)
        missing += sum(piece.missing for piece in pieces)
        place += size
    pieces, _ = base.flush(state)
    assert missing + sum(piece.missing for piece in pieces) == 20 * lost


def test_ten_hours_of_drift_do_not_move_a_gapless_stream() -> None:
    base, state = TimeBase(130.0, jitter=0.05), None
    state = base.initial()
    for i in range(64_000):  # 73 samples each: 10 h of a strap that runs 0.1 % fast
        packet = Packet(np.zeros((73, 1)), stamp=round(i * 73 / 130.13 * 1e9))
        pieces, state = base.step(packet, state)
        assert len(pieces) == 1
        assert not pieces[0].missing
    assert state.next == 64_000 * 73
    assert state.rate * 1e9 == pytest.approx(130.13, rel=1e-4)


@pytest.mark.parametrize("true", [125.0, 500.0])
def test_a_wrong_rate_is_told_and_not_taken_for_gaps(true: float) -> None:
    sent = packets(60, fs=true, counted=False, stamped=True)
    with pytest.raises(SignalError, match=f"{true:g} Hz"):
        list(repair(sent, TimeBase(FS)))


def test_a_doubled_stamp_is_a_duplicate_even_for_single_samples() -> None:
    sent = [
        Packet(ramp(i, 1), stamp=round(i / FS * 1e9)) for i in range(100) for _ in range(1 + (i % 3 == 0))
    ]
    assert placed(list(repair(sent, TimeBase(FS)))) == {i: float(i) for i in range(100)}


def test_a_wall_clock_that_is_set_is_no_gap() -> None:
    """A board without a battery learns the date after it has begun; a silence is one whatever the date."""
    base = TimeBase(FS)
    state, told = base.initial(), []
    for number in range(40):
        lapse = 20.0 if number >= 30 else 0.0
        date = 0.0 if number < 10 else 30 * 86_400.0
        due = number * 0.2 + lapse
        packet = Packet(np.zeros((50, 1)), time=date + due, heard=1000.2 + due)
        pieces, state = base.step(packet, state)
        told += pieces
    assert [(piece.start, piece.missing) for piece in told if piece.missing] == [(6500, 5000)]
    assert state.lost == 5000


@pytest.mark.parametrize(("leap", "missing"), [(36_000.0, 9_000_000), (20 * 365 * 86_400.0, 1)])
@pytest.mark.parametrize("counted", [False, True])
def test_a_sender_whose_clock_leaps_by_years_has_no_gap_of_years(
    leap: float, missing: int, counted: bool
) -> None:
    """Hours are believed. A count that goes on meanwhile tells by itself that nothing is missing."""
    sent = [
        replace(packet, time=packet.time + (leap if i >= 10 else 0.0))  # type: ignore[operator]
        for i, packet in enumerate(packets(40, counted=counted, walled=True))
    ]
    pieces = list(repair(sent, TimeBase(FS)))
    check_unbroken(pieces)
    assert [piece.missing for piece in pieces if piece.missing] == ([] if counted else [missing])


def test_a_device_that_restarts_while_the_clock_is_set_has_no_gap_of_years() -> None:
    sent = packets(20, walled=True)
    anew = [replace(packet, time=packet.time + 20 * 365 * 86_400.0) for packet in sent]  # type: ignore[operator]
    pieces = list(repair([*sent, *anew], TimeBase(FS)))
    assert [(piece.missing, piece.cause) for piece in pieces if piece.missing] == [(1, "restart")]


def test_without_count_and_stamp_only_a_long_silence_is_a_gap() -> None:
    sent = packets(40, counted=False, walled=True)
    held_up = [
        replace(packet, time=packet.time + (2.0 if 10 <= i < 15 else 0)) for i, packet in enumerate(sent)
    ]  # type: ignore[operator]
    assert not any(piece.missing for piece in repair(held_up, TimeBase(FS)))
    silent = [replace(packet, time=packet.time + (20.0 if i >= 10 else 0)) for i, packet in enumerate(sent)]  # type: ignore[operator]
    pieces = list(repair(silent, TimeBase(FS)))
    check_unbroken(pieces)
    assert [(piece.start, piece.missing, piece.cause) for piece in pieces if piece.missing] == [
        (5250, 5000, "silence")
    ]


def test_empty_packets_change_nothing() -> None:
    base = TimeBase(FS)
    assert base.step(Packet(np.empty((0, 1)), sample=77), base.initial()) == ([], base.initial())


def test_a_flushed_state_is_numbers_and_goes_on_in_another_process() -> None:
    sent = packets(40)
    base = TimeBase(FS)
    state = base.initial()
    pieces: list[Piece] = []
    for packet in [*sent[:20], sent[22]]:  # 22 is held
        new, state = base.step(packet, state)
        pieces += new
    new, state = base.flush(state)
    pieces += new
    revived = TimeState(**state._asdict())
    assert revived.held == ()
    for packet in sent[25:]:
        new, revived = base.step(packet, revived)
        pieces += new
    check_unbroken([*pieces, *base.flush(revived)[0]])
    assert all(where == value for where, value in placed(pieces).items())


def test_counts_work_beyond_32_bits() -> None:
    far = 2**40
    base = TimeBase(FS)
    state = base.initial()._replace(next=far, offset=0)
    piece, state = base.step(Packet(ramp(0, SIZE), sample=far), state)
    assert (piece[0].start, state.next) == (far, far + SIZE)


@pytest.mark.parametrize(
    "wrong", [{"fs": 0}, {"jitter": -1}, {"reorder": -1}, {"silence": 0}, {"longest": 0}]
)
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        TimeBase(**{"fs": FS} | wrong)


@pytest.mark.parametrize("seed", range(5))
def test_an_hour_of_all_faults_at_once_keeps_samples_in_their_place(seed: int) -> None:
    """No sample comes twice; between restarts and jumps every one keeps its distance to the others."""
    spec = FaultSpec(drop=0.02, duplicate=0.02, reorder=0.02, outage=0.2, restart=0.1, jump=0.1, nan=0.3)
    faults = Faults(spec, FS, seed)
    source = (Packet(ramp(i, SIZE), sample=i, time=1.7e9 + i / FS) for i in range(0, round(3600 * FS), SIZE))
    pieces = list(repair(faults.apply(source), TimeBase(FS)))
    check_unbroken(pieces)
    values = np.concatenate([piece.samples[:, 0] for piece in pieces])
    places = np.concatenate([piece.start + np.arange(len(piece.samples)) for piece in pieces])
    told = ~np.isnan(values)
    assert len(np.unique(values[told])) == told.sum()
    # the wall clock says how much is missing at a restart or jump: places stay within a packet or two
    assert np.max(np.abs(places[told] - values[told])) <= 4 * SIZE
    kinds = {fault.kind for fault in faults.log}
    assert kinds == {"drop", "duplicate", "reorder", "outage", "restart", "jump", "nan"}


@pytest.mark.parametrize("hours", [23, 25, 800])
def test_a_count_and_a_clock_that_agree_are_believed_for_however_long(hours: int) -> None:
    """Its own count says what the wall clock says: a board that was away over the weekend."""
    away = int(hours * 3600 * FS)
    sent = [
        Packet(ramp(first, 100), sample=first, time=1.7e9 + first / FS)
        for first in (*range(0, 500, 100), *range(500 + away, 1000 + away, 100))
    ]
    assert [piece.missing for piece in repair(sent, TimeBase(FS)) if piece.missing] == [away]
