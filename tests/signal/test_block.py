"""Blocks, holds, gaps and restarts, against a plain reference that walks sample by sample."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgeecg.errors import ConfigError, SignalError, StateError
from edgeecg.signal.block import Block, Blocks, Piece, SegmentEnd
from edgeecg.signal.missing import LIMIT
from edgeecg.specs import Gap

Array = NDArray[Any]
RATES = (100, 125, 128, 130, 250, 257, 300, 360, 500, 1000)


class Segment(NamedTuple):
    first: int
    end: int
    samples: Array  # (leads, end - first), held where missing
    restarts: list[tuple[int, int]]  # (source sample, lead)


def reference(x: Array, blocks: Blocks) -> tuple[list[Segment], list[Gap]]:
    """What a stream ``(n, leads)`` is made of, one sample at a time."""
    segments: list[Segment] = []
    gaps: list[Gap] = []
    lost_from = 0  # where the search for a segment began
    n = 0
    while n < len(x):
        if not np.isfinite(x[n]).any():
            n += 1
            continue
        if n > lost_from:
            gaps.append(Gap(lost_from, n - lost_from))
        segment, n = walk(x, n, blocks.longest_hold, blocks.grid)
        segments.append(segment)
        lost_from = segment.end
    if len(x) > lost_from:
        gaps.append(Gap(lost_from, len(x) - lost_from))
    return segments, gaps


def walk(x: Array, first: int, hold: int, grid: int) -> tuple[Segment, int]:
    """The segment that begins at ``first``, and the sample at which it was given up."""
    leads = x.shape[1]
    last, absent = np.zeros(leads), np.full(leads, hold + 1)
    absent[np.isfinite(x[first])] = 0
    samples: list[Array] = []
    # behind what is held from the grid on, every lead begins
    restarts = [(first, lead) for lead in range(leads)] if first % grid else []
    run = 0  # samples in a row without any lead
    for n in range(first, len(x)):
        there = np.isfinite(x[n])
        run = 0 if there.any() else run + 1
        if run > hold:
            end = n + 1 - run
            return Segment(first, end, np.array(samples).T[:, : end - first], restarts), n + 1
        for lead in np.flatnonzero(there):
            if absent[lead] > hold:
                restarts.append((n, int(lead)))
            last[lead] = x[n, lead]
        absent = np.where(there, 0, absent + 1)
        samples.append(last.copy())
    end = len(x) - run
    return Segment(first, end, np.array(samples).T[:, : end - first], restarts), len(x)


def collect(pieces: Sequence[Piece], blocks_of: Blocks) -> tuple[list[Segment], list[Gap]]:
    """Segments and gaps out of pieces, with every promise of a block checked on the way."""
    segments: list[Segment] = []
    gaps = [piece for piece in pieces if isinstance(piece, Gap)]
    resampler, tail = blocks_of.resampler, blocks_of.tail
    blocks: list[Block] = []
    for piece in pieces:
        if isinstance(piece, Block):
            made = sum(block.hop for block in blocks)
            assert piece.made == made
            assert piece.start == piece.anchor + resampler.needed(made)
            assert piece.samples.shape[1] == resampler.needed(made + piece.hop) - resampler.needed(made)
            assert np.isfinite(piece.samples).all()
            assert piece.samples.flags.c_contiguous
            blocks.append(piece)
        elif isinstance(piece, SegmentEnd):
            samples = np.concatenate([block.samples for block in blocks], axis=1)
            length = piece.end - piece.anchor
            made = sum(block.hop for block in blocks)
            (first,) = {block.first for block in blocks}
            assert {block.anchor for block in blocks} == {piece.anchor} == {first - first % blocks_of.grid}
            lead_in = first - piece.anchor
            assert (samples[:, :lead_in] == samples[:, lead_in : lead_in + 1]).all()
            assert made >= resampler.ready(length) + tail
            assert made - blocks[-1].hop < resampler.ready(length) + tail
            missing = [m for block in blocks for m in missing_samples(block)]
            assert set(range(piece.end, piece.anchor + samples.shape[1])) <= {n for n, _ in missing}
            if samples.shape[1] > length:  # the tail stands at the last value
                assert (samples[:, length:] == samples[:, length - 1 : length]).all()
            restarts = [(block.start + c, lead) for block in blocks for lead, c in block.restarts]
            segments.append(Segment(first, piece.end, samples[:, lead_in:length], sorted(restarts)))
            blocks = []
    assert not blocks, "a segment without an end"
    return segments, gaps


def missing_samples(block: Block) -> list[tuple[int, int]]:
    if block.missing is None:
        return []
    lead, column = np.nonzero(block.missing)
    return list(zip((block.start + column).tolist(), lead.tolist(), strict=True))


def everything(blocks: Blocks, x: Array, cuts: Sequence[int] = ()) -> list[Piece]:
    state = blocks.initial()
    pieces: list[Piece] = []
    for begin, end in zip([0, *cuts], [*cuts, len(x)], strict=True):
        pieces += blocks.push(x[begin:end], state)
    pieces += blocks.flush(state)
    assert state.samples == len(x)
    return pieces


def agree(one: tuple[list[Segment], list[Gap]], other: tuple[list[Segment], list[Gap]]) -> None:
    assert one[1] == other[1]
    assert [s[:2] for s in one[0]] == [s[:2] for s in other[0]]
    for mine, theirs in zip(one[0], other[0], strict=True):
        np.testing.assert_array_equal(mine.samples, theirs.samples)
        assert mine.restarts == theirs.restarts


@st.composite
def faulty(draw: st.DrawFn) -> Array:
    """A signal of two leads in which samples are missing in runs of any length, on one or both."""
    length = st.one_of(st.integers(1, 120), st.sampled_from([4, 5, 6]))  # around the hold, which is 5
    runs = draw(st.lists(st.tuples(st.sampled_from("gg01b"), length), min_size=1, max_size=9))
    x = np.random.default_rng(len(runs)).normal(size=(sum(length for _, length in runs), 2))
    begin = 0
    for kind, length in runs:
        if kind in "01":
            x[begin : begin + length, int(kind)] = np.nan
        elif kind == "b":
            x[begin : begin + length] = np.nan
        begin += length
    return x


@given(x=faulty(), hop=st.sampled_from([8, 64, 72, 512]), fs=st.sampled_from([100, 128, 257]), data=st.data())
def test_faulty_signals_as_the_reference_walks_them(
    x: Array, hop: int, fs: float, data: st.DataObject
) -> None:
    blocks = Blocks(fs, leads=2, hop=hop, tail=data.draw(st.sampled_from([8, 40, 200])), hold=5)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(x)), max_size=6), label="cuts"))
    agree(collect(everything(blocks, x, cuts), blocks), reference(x, blocks))


@given(x=faulty(), data=st.data())
def test_a_gap_means_the_same_as_nan(x: Array, data: st.DataObject) -> None:
    blocks = Blocks(100, leads=2, hold=5, tail=40)
    state = blocks.initial()
    pieces: list[Piece] = []
    there = np.isfinite(x).any(axis=1)
    edges = [0, *(np.flatnonzero(np.diff(there)) + 1).tolist(), len(x)]
    for begin, end in pairwise(edges):
        if there[begin]:
            pieces += blocks.push(x[begin:end], state)
        else:  # said at once or in two parts
            part = data.draw(st.integers(0, end - begin))
            pieces += [*blocks.gap(part, state), *blocks.gap(end - begin - part, state)]
    pieces += blocks.flush(state)
    agree(collect(pieces, blocks), reference(x, blocks))


@pytest.mark.parametrize("fs", RATES)
def test_a_segment_after_a_gap_is_a_fresh_stream(fs: float) -> None:
    """Where it begins on the grid; elsewhere its first sample is held from the grid on."""
    rng = np.random.default_rng(1)
    before, after = rng.normal(size=(int(2.3 * fs), 1)), rng.normal(size=(int(3.1 * fs), 1))
    blocks = Blocks(fs, tail=100)
    gap = np.full((int(0.9 * fs) + -(len(before) + int(0.9 * fs)) % blocks.grid, 1), np.nan)
    pieces = everything(blocks, np.concatenate([before, gap, after]))
    offset = len(before) + len(gap)
    behind = [p for p in pieces if isinstance(p, Block) and p.anchor == offset]
    fresh = [p for p in everything(blocks, after) if isinstance(p, Block)]
    assert Gap(len(before), len(gap)) in pieces
    assert len(behind) == len(fresh) > 5
    for one, other in zip(behind, fresh, strict=True):
        np.testing.assert_array_equal(one.samples, other.samples)
        assert (one.start - offset, one.end - offset, one.made) == (other.start, other.end, other.made)


@pytest.mark.parametrize("fs", RATES)
def test_segments_share_the_grid_of_the_stream(fs: float) -> None:
    """Behind a gap of any length blocks lie where they would lie without it."""
    x = np.random.default_rng(2).normal(size=int(9.7 * fs))
    whole = [p for p in everything(Blocks(fs, tail=100), x) if isinstance(p, Block)]
    at = {block.start: block for block in whole}
    for lost in (int(0.1 * fs), int(0.77 * fs), int(1.3 * fs) + 1):
        spoiled = x.copy()
        spoiled[int(3.3 * fs) : int(3.3 * fs) + lost] = np.nan
        pieces = everything(Blocks(fs, tail=100), spoiled)
        behind = [p for p in pieces if isinstance(p, Block) and p.first > 0 and p.missing is None]
        assert len(behind) > 5
        for block in behind[2:]:  # the first one is held up to its sample, or begins a grid
            np.testing.assert_array_equal(block.samples, at[block.start].samples)
            assert (block.made - at[block.start].made) % 64 == 0


def test_a_grid_that_takes_too_long_is_none() -> None:
    assert Blocks(250).grid == 125
    assert Blocks(360).grid == 180
    assert Blocks(257).grid == 257
    assert Blocks(256.37).grid == 1


def test_a_gap_of_hours_costs_nothing_and_is_told_once() -> None:
    blocks = Blocks(250)
    state = blocks.initial()
    blocks.push(np.zeros(1000), state)
    length = 250 * 3600 * 24 * 400
    told = [*blocks.gap(length, state), *blocks.push(np.zeros(1000), state)]
    assert [piece for piece in told if isinstance(piece, Gap)] == [Gap(1000, length)]
    assert state.samples == 2000 + length
    assert len(state.buffer) < 300


def test_short_runs_are_held_and_named() -> None:
    x = np.arange(1.0, 401.0)
    x[200:210] = np.nan
    pieces = everything(Blocks(250), x)
    samples = np.concatenate([p.samples[0] for p in pieces if isinstance(p, Block)])
    assert (samples[200:210] == 200.0).all()
    assert [n for p in pieces if isinstance(p, Block) for n, _ in missing_samples(p)][:10] == [
        *range(200, 210)
    ]
    assert not any(isinstance(piece, Gap) for piece in pieces)
    assert Blocks(250).longest_hold == 15  # 62.5 ms


def test_what_no_amplifier_gives_is_missing() -> None:
    x = np.zeros(2000)
    x[500:600], x[700:800], x[900:1000] = np.inf, 2 * LIMIT, -2 * LIMIT
    gaps = [piece for piece in everything(Blocks(500), x) if isinstance(piece, Gap)]
    assert gaps == [Gap(500, 100), Gap(700, 100), Gap(900, 100)]


def test_a_stream_that_begins_and_ends_with_nothing() -> None:
    x = np.full(1000, np.nan)
    assert everything(Blocks(250), x) == [Gap(0, 1000)]
    assert everything(Blocks(250), x[:0]) == []
    x[300:310] = 1.0
    pieces = everything(Blocks(250), x)
    assert [type(piece).__name__ for piece in pieces] == ["Gap", "Block", "SegmentEnd", "Gap"]
    assert (pieces[0], pieces[2], pieces[3]) == (Gap(0, 300), SegmentEnd(250, 310), Gap(310, 690))


@pytest.mark.parametrize("at", [0, 1, 123, 124, 125, 400])
def test_a_saved_state_goes_on(at: int) -> None:
    x = np.random.default_rng(0).normal(size=(1000, 2))
    x[130:190, 0], x[600:700] = np.nan, np.nan
    blocks = Blocks(250, leads=2, tail=50)
    state = blocks.initial()
    blocks.push(x[:at], state)
    restored = blocks.restored(state.to_arrays())
    kept = deepcopy(state)
    for other in (restored, kept):
        whole = [*blocks.push(x[at:], other), *blocks.flush(other)]
        expected = [*blocks.push(x[at:], fresh := blocks.restored(state.to_arrays())), *blocks.flush(fresh)]
        assert repr(whole) == repr(expected)
        assert len(whole) > 4
    assert state.samples == at


def test_samples_given_out_are_not_written_again() -> None:
    blocks, state = Blocks(250), Blocks(250).initial()
    first = blocks.push(np.ones(130), state)[0]
    blocks.push(np.full(500, 2.0), state)
    assert isinstance(first, Block)
    assert (first.samples == 1.0).all()


@pytest.mark.parametrize("kind", [np.float32, np.float16, np.int16, np.int64, np.uint8, ">i2", list])
def test_any_real_numbers_will_do(kind: Any) -> None:
    x = np.arange(200) % 100
    chunk = x.tolist() if kind is list else x.astype(kind)
    blocks = Blocks(250)
    block = blocks.push(chunk, blocks.initial())[0]
    assert isinstance(block, Block)
    np.testing.assert_array_equal(block.samples[0], x[:124])


@pytest.mark.parametrize(
    ("chunk", "leads", "said"),
    [
        (np.zeros((3, 2)), 1, r"shape \(3, 2\)"),
        (np.zeros(4), 2, r"push samples by leads, \(n, 2\)"),
        (np.zeros((2, 3, 1)), 1, "shape"),
        (np.float64(1.0), 1, "shape"),
        (np.array(["0.5"]), 1, "real numbers"),
        (np.array([1j]), 1, "real numbers"),
        ([None], 1, "real numbers"),
    ],
)
def test_wrong_chunks_are_refused_and_nothing_is_taken(chunk: Any, leads: int, said: str) -> None:
    blocks = Blocks(250, leads=leads)
    state = blocks.initial()
    with pytest.raises(SignalError, match=said):
        blocks.push(chunk, state)
    assert state.samples == 0


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="multiple of 8"):
        Blocks(250, hop=60)
    with pytest.raises(ConfigError, match="leads"):
        Blocks(250, leads=0)
    with pytest.raises(ConfigError, match="tail"):
        Blocks(250, tail=-1)
    with pytest.raises(SignalError, match="99 Hz is outside 100 to 1000 Hz"):
        Blocks(99)
    with pytest.raises(SignalError, match="gap of -1"):
        Blocks(250).gap(-1, Blocks(250).initial())


def test_a_state_of_other_settings_is_refused() -> None:
    saved = Blocks(250, leads=2).initial().to_arrays()
    with pytest.raises(StateError, match="does not fit 1 leads"):
        Blocks(250).restored(saved)
    with pytest.raises(StateError, match="not a saved block state"):
        Blocks(250, leads=2).restored({"counts": np.zeros(2)})


def test_what_a_masked_array_hides_is_missing() -> None:
    blocks = Blocks(250.0)
    values = np.sin(np.arange(500.0))[:, None]
    hidden = np.ma.MaskedArray(values, np.arange(500)[:, None] // 100 == 2)
    bare = np.where(hidden.mask, np.nan, values)
    told = blocks.push(hidden, blocks.initial())
    assert [type(piece) for piece in told] == [type(piece) for piece in blocks.push(bare, blocks.initial())]
    assert any(isinstance(piece, SegmentEnd) for piece in told)
    assert not any(isinstance(piece, SegmentEnd) for piece in blocks.push(values, blocks.initial()))


def test_rows_of_different_lengths_are_refused_in_words() -> None:
    blocks = Blocks(250.0, 2)
    with pytest.raises(SignalError, match="different lengths"):
        blocks.push([[1.0, 2.0], [3.0]], blocks.initial())
