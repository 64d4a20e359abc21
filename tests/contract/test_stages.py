"""What every stage of the signal path must satisfy, whatever it computes.

Streaming equals offline, bit by bit, for any cut of the signal; the future never changes the past; empty
chunks pass; rows do not see each other; a state is a value; the declared latency is the real one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgeecg.decode import peaks
from edgeecg.signal.block import Block, Blocks
from edgeecg.signal.cohort import SignalChain
from edgeecg.signal.filter import BandPass
from edgeecg.signal.frontend import FrontEnd
from edgeecg.signal.normalise import GainControl
from edgeecg.signal.quality import TICK, UNREADABLE, Quality, QualityInput
from edgeecg.signal.resample import Resampler
from edgeecg.specs import MODEL_FS, SignalSpec

RATES = (100, 125, 128, 130, 250, 257, 300, 360, 500, 1000)
SPEC = SignalSpec()
Array = NDArray[Any]
Outputs = tuple[Array, ...]  # each (rows, time, ...)


@dataclass(frozen=True)
class Stage:
    """A stage as the contract sees it: pure steps over ``(rows, n)``, outputs that grow along axis 1."""

    name: str
    fs: float
    initial: Callable[[int], Any]
    step: Callable[[Array, Any], tuple[Outputs, Any]]

    def __str__(self) -> str:
        return f"{self.name}-{self.fs:g}"


def of_one_output(name: str, fs: float, stage: Any) -> Stage:
    def step(x: Array, state: Any) -> tuple[Outputs, Any]:
        y, state = stage.step(x, state)
        return (y,), state

    return Stage(name, fs, stage.initial, step)


def resample(fs: float) -> Stage:
    return of_one_output("resample", fs, Resampler(fs))


def bandpass(fs: float) -> Stage:
    return of_one_output("band-pass", fs, BandPass(SPEC))


def gain(fs: float) -> Stage:
    return of_one_output("gain", fs, GainControl(SPEC))


def frontend(fs: float) -> Stage:
    stage = FrontEnd(SPEC, fs)

    def step(x: Array, state: Any) -> tuple[Outputs, Any]:
        y, state = stage.process(x, state)
        return tuple(y), state

    return Stage("front end", fs, stage.initial, step)


def quality(fs: float) -> Stage:
    front, stage = FrontEnd(SPEC, fs), Quality(fs)

    def initial(rows: int) -> Any:
        return front.initial(rows), stage.initial(rows)

    def step(x: Array, state: Any) -> tuple[Outputs, Any]:
        signal, heard = front.process(x, state[0])
        missing = x == 0.0  # an arbitrary but fixed choice, so that the mask is tried too
        verdicts, judged = stage.step(QualityInput(x, signal.resampled, signal.filtered, missing), state[1])
        return tuple(verdicts), (heard, judged)

    return Stage("quality", fs, initial, step)


def chain(fs: float) -> Stage:
    """Blocks and all stages behind them; rows are the leads of one stream."""
    stages = SignalChain(SPEC, fs)

    def initial(rows: int) -> Any:
        return Blocks(fs, rows).initial(), stages.initial(rows)

    def step(x: Array, state: Any) -> tuple[Outputs, Any]:
        blocks, (cut, packed) = Blocks(fs, len(x)), state
        cut = deepcopy(cut)
        made: list[Outputs] = [
            (np.empty((len(x), 0)), np.empty((len(x), 0)), np.empty((len(x), 0)), np.empty((len(x), 0)))
        ]
        for piece in blocks.push(x.T, cut):
            assert isinstance(piece, Block)
            signal, packed = stages.step(stages.gather([piece]), packed)
            made.append((signal.network, signal.filtered, signal.quality.label, signal.quality.snr))
        return tuple(np.concatenate(parts, axis=1) for parts in zip(*made, strict=True)), (cut, packed)

    return Stage("chain", fs, initial, step)


def peak_picking(fs: float) -> Stage:
    def step(x: Array, state: Any) -> tuple[Outputs, Any]:
        scores = (1 / (1 + np.exp(-x))).astype(np.float32)
        found, state = peaks.step(scores, state, 0.5)
        mass = np.zeros(scores.shape, np.float32)
        mass[found.row, found.column + peaks.REACH] = found.mass
        return (mass,), state

    return Stage("peaks", fs, peaks.initial, step)


BY_RATE = (resample, frontend, quality, chain)
STAGES = [make(fs) for make in BY_RATE for fs in RATES]
STAGES += [make(MODEL_FS) for make in (bandpass, gain, peak_picking)]
every_stage = pytest.mark.parametrize("stage", STAGES, ids=str)


def ecg(rows: int, fs: float, seconds: float, seed: int = 0) -> Array:
    """Rows that look enough like ECG: beats at their own rate on noise and wander, a few zeros."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * fs)) / fs
    beats = np.arange(rows)[:, None] * 0.13 + 0.6
    phase = (t[None] / beats) % 1.0 - 0.4
    x = 1.2 * np.exp(-0.5 * (phase / 0.02) ** 2) + 0.3 * np.sin(2 * np.pi * 0.3 * t) - 0.5
    x += 0.05 * rng.standard_normal(x.shape)
    x[:, rng.integers(0, x.shape[1], 5)] = 0.0
    return x


def run(stage: Stage, x: Array, cuts: Sequence[int] = ()) -> Outputs:
    """Outputs over ``x`` cut at these samples (equal ones make an empty chunk)."""
    state = stage.initial(len(x))
    made = []
    for begin, end in zip([0, *cuts], [*cuts, x.shape[1]], strict=True):
        y, state = stage.step(x[:, begin:end], state)
        made.append(y)
    return tuple(np.concatenate(parts, axis=1) for parts in zip(*made, strict=True))


def same(one: Outputs, other: Outputs) -> None:
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


@every_stage
@pytest.mark.parametrize("chunk", [1, 7, 100, 1000])
def test_streaming_equals_offline(stage: Stage, chunk: int) -> None:
    x = ecg(2, stage.fs, 1.2 if chunk == 1 else 3.2)
    whole = run(stage, x)
    assert all(part.shape[1] for part in whole)
    same(run(stage, x, range(chunk, x.shape[1], chunk)), whole)


@settings(max_examples=40)
@given(stage=st.sampled_from(STAGES), data=st.data())
def test_any_cut_gives_the_same(stage: Stage, data: st.DataObject) -> None:
    x = ecg(2, stage.fs, 3.2, seed=1)
    cuts = data.draw(st.lists(st.integers(0, x.shape[1]), max_size=12), label="cuts")
    same(run(stage, x, sorted(cuts)), run(stage, x))


@every_stage
def test_the_future_never_changes_the_past(stage: Stage) -> None:
    x = ecg(2, stage.fs, 3.2)
    whole = run(stage, x)
    for now in (1, int(1.37 * stage.fs), int(2.5 * stage.fs)):
        other = x.copy()
        other[:, now:] = 3.0 - 2.0 * other[:, now:]
        so_far = run(stage, x[:, :now])
        for past, full, changed in zip(so_far, whole, run(stage, other), strict=True):
            np.testing.assert_array_equal(past, full[:, : past.shape[1]])
            np.testing.assert_array_equal(past, changed[:, : past.shape[1]])


@every_stage
def test_empty_chunks_pass(stage: Stage) -> None:
    x = ecg(2, stage.fs, 2.1)
    half = x.shape[1] // 2
    cuts = [0, 0, half, half, half, x.shape[1], x.shape[1]]
    same(run(stage, x, cuts), run(stage, x))
    nothing, _ = stage.step(x[:, :0], stage.initial(2))
    assert all(part.shape[1] == 0 for part in nothing)


@every_stage
def test_rows_do_not_see_each_other(stage: Stage) -> None:
    x = ecg(5, stage.fs, 3.2)
    together = run(stage, x, [301, 444])
    for row in range(len(x)):
        alone = run(stage, x[row : row + 1], [301, 444])
        same(alone, tuple(part[row : row + 1] for part in together))


@every_stage
def test_state_is_a_value(stage: Stage) -> None:
    x = ecg(3, stage.fs, 3.2)
    half = x.shape[1] // 2
    _, state = stage.step(x[:, :half], stage.initial(3))
    first, after = stage.step(x[:, half:], state)
    second, _ = stage.step(x[:, half:], state)
    same(first, second)
    third, _ = stage.step(x, after)
    fourth, _ = stage.step(x, after)
    same(third, fourth)


# ---- latency ------------------------------------------------------------------------------------


def burst(t: Array) -> Array:
    """A QRS-like wave around 0 s: 12 Hz, 60 ms wide, millivolts."""
    return np.exp(-0.5 * (t / 0.03) ** 2) * np.cos(2 * np.pi * 12 * t)


def delay(made: Array, expected: Array) -> float:
    """Model samples by which ``made`` follows ``expected``, to a fraction of a sample."""
    scores = np.correlate(made, expected, "full")
    best = int(np.argmax(scores))
    left, top, right = scores[best - 1 : best + 2]
    return best - (len(expected) - 1) + 0.5 * float((left - right) / (left - 2 * top + right))


@pytest.mark.parametrize("fs", RATES)
def test_latency_of_the_front_end_is_as_declared(fs: float) -> None:
    place = 2.0 + 0.3 / fs
    x = burst(np.arange(int(4 * fs)) / fs - place)[None]
    front = FrontEnd(SPEC, fs)
    made, _ = front.process(x, front.initial(1))
    expected = burst(np.arange(made.network.shape[1]) / MODEL_FS - place)
    resampled, filtered = front.resampler.latency, front.resampler.latency + front.bandpass.latency
    assert delay(made.resampled[0], expected) == pytest.approx(resampled, abs=0.05)
    assert delay(made.filtered[0], expected) == pytest.approx(filtered, abs=1.0)
    assert delay(made.network[0], expected) == pytest.approx(front.latency, abs=1.0)
    assert front.latency == sum(front.latencies.values()) == SignalChain(SPEC, fs).latency


@pytest.mark.parametrize("fs", RATES)
def test_a_block_waits_for_no_more_than_its_own_samples(fs: float) -> None:
    blocks = Blocks(fs)
    state = blocks.initial()
    needed = [blocks.resampler.needed(blocks.latency * (index + 1)) for index in range(3)]
    came = []
    for sample in range(needed[-1]):
        came += [sample + 1 for _ in blocks.push(np.zeros(1), state)]
    assert came == needed


@pytest.mark.parametrize("fs", RATES)
def test_a_verdict_is_told_with_the_last_sample_of_its_tick(fs: float) -> None:
    front, stage = FrontEnd(SPEC, fs), Quality(fs)
    x = ecg(1, fs, 6.0)
    begin = front.resampler.needed(TICK * 8)
    x[:, begin:] = x[:, begin - 1 : begin]  # the line stands still from the first sample of tick 8 on
    signal, _ = front.process(x, front.initial(1))
    verdicts, _ = stage.step(QualityInput(x, signal.resampled, signal.filtered), stage.initial(1))
    bad = verdicts.label[0] >= UNREADABLE
    assert not bad[:8].any()
    assert bad[8 + stage.latency // TICK - 1 :].all()


def test_a_peak_is_told_reach_tokens_late() -> None:
    scores = np.full((1, 20), 0.01, np.float32)
    scores[0, 11] = 0.9
    state = peaks.initial(1)
    for token in range(20):
        found, state = peaks.step(scores[:, token : token + 1], state, 0.5)
        assert len(found.row) == (token == 11 + peaks.REACH)
