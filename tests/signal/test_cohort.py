"""Many patients in one call: each as if alone, whenever they came and whatever happens to their leads."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeecg.errors import SignalError
from edgeecg.signal.block import Block, Blocks, SegmentEnd
from edgeecg.signal.cohort import SignalChain
from edgeecg.signal.frontend import FrontEnd
from edgeecg.signal.quality import QUALITY_LABELS, TICK, UNREADABLE
from edgeecg.specs import MODEL_FS, SignalSpec

Array = NDArray[Any]
RATES = (100, 110, 125, 128, 129.98, 130, 250, 257, 300, 360, 500, 1000)
SPEC = SignalSpec()


def ecg(fs: float, seconds: float, leads: int, seed: int = 0) -> Array:
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * fs))[:, None] / fs + rng.uniform(size=(1, leads))
    phase = (t / rng.uniform(0.7, 1.0)) % 1.0 - 0.4
    return np.exp(-0.5 * (phase / 0.018) ** 2) + 0.02 * rng.standard_normal((len(t), leads))


def blocks_of(fs: float, x: Array, hop: int = 64, tail: int = 0) -> list[Any]:
    blocks = Blocks(fs, leads=x.shape[1], hop=hop, tail=tail)
    state = blocks.initial()
    return [*blocks.push(x, state), *blocks.flush(state)]


def alone(fs: float, x: Array, hop: int = 64, tail: int = 0) -> list[tuple[Array, Array, Array]]:
    """Network input, labels and estimate of each segment, one patient at a time."""
    chain = SignalChain(SPEC, fs)
    segments: list[tuple[Array, Array, Array]] = []
    parts: list[tuple[Array, Array, Array]] = []
    rows = chain.initial(x.shape[1])
    for piece in blocks_of(fs, x, hop, tail):
        if isinstance(piece, Block):
            signal, rows = chain.step(chain.gather([piece]), rows)
            assert signal.network.shape == (x.shape[1], piece.hop)
            assert signal.network.dtype == np.float32
            parts.append((signal.network, signal.quality.label, signal.quality.snr))
        elif isinstance(piece, SegmentEnd):
            made = [np.concatenate(part, axis=1) for part in zip(*parts, strict=True)]
            segments.append((made[0], made[1], made[2]))
            rows, parts = chain.initial(x.shape[1]), []
    return segments


@pytest.mark.parametrize("fs", RATES)
def test_a_cohort_is_the_same_as_each_patient_alone(fs: float) -> None:
    """Patients of 1 to 3 leads join at different times, one misses turns; one call for all of a phase."""
    chain = SignalChain(SPEC, fs)
    signals = [ecg(fs, 6.0, leads, seed) for seed, leads in enumerate((1, 2, 3, 1))]
    waiting = [[b for b in blocks_of(fs, x) if isinstance(b, Block)] for x in signals]
    expected = [alone(fs, x)[0][0] for x in signals]
    states: list[Array] = [chain.initial(x.shape[1]) for x in signals]
    made: list[list[Array]] = [[] for _ in signals]
    calls = 0
    for turn in range(40):
        due: dict[tuple[int, int], list[int]] = defaultdict(list)
        for patient, queue in enumerate(waiting):
            if queue and turn >= patient and not (patient == 2 and turn % 3 == 0):
                due[chain.phase(queue[0]), queue[0].hop].append(patient)
        for patients in due.values():
            batch = chain.gather([waiting[p].pop(0) for p in patients])
            signal, after = chain.step(batch, np.concatenate([states[p] for p in patients]))
            calls += 1
            row = 0
            for p in patients:
                count = len(states[p])
                states[p] = after[row : row + count]
                made[p].append(signal.network[row : row + count])
                row += count
    assert not any(waiting)
    for mine, theirs in zip(made, expected, strict=True):
        np.testing.assert_array_equal(np.concatenate(mine, axis=1), theirs)
    if chain.period == TICK:  # at common rates all are in step, newcomers too
        assert calls <= 20


@pytest.mark.parametrize("fs", RATES)
@pytest.mark.parametrize("hop", [8, 40, 512, 1280])
def test_every_hop_gives_the_same(fs: float, hop: int) -> None:
    x = ecg(fs, 12.0, 2)
    second = int(fs)
    x[2 * second : 3 * second, 0] = np.nan  # a lead goes and comes back
    x[5 * second : 6 * second] = np.nan  # a gap
    x[7 * second : 7 * second + 3] = np.nan  # held
    x[9 * second : 10 * second, 1] = np.nan
    expected, made = alone(fs, x, tail=104), alone(fs, x, hop, tail=104)
    assert len(expected) == len(made) == 2
    for ours, theirs in zip(made, expected, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            length = min(one.shape[1], other.shape[1])
            assert length > 4
            np.testing.assert_array_equal(one[:, :length], other[:, :length])


@pytest.mark.parametrize("fs", [128, 250])
def test_the_chain_is_the_front_end(fs: float) -> None:
    x = ecg(fs, 6.0, 2)
    front = FrontEnd(SPEC, fs)
    whole, _ = front.step(x.T, front.initial(2))
    made = alone(fs, x)[0][0]
    length = min(made.shape[1], whole.shape[1])
    np.testing.assert_array_equal(made[:, :length], whole[:, :length].astype(np.float32))


@pytest.mark.parametrize("fs", [fs for fs in RATES if fs != 129.98])
def test_a_lead_that_comes_back_is_primed_anew(fs: float) -> None:
    """From the sample at which it comes back, 4 mV higher, it is a fresh stream; the other goes on."""
    ratio = FrontEnd(SPEC, fs).resampler.ratio
    periods = -(-6 * MODEL_FS // ratio.numerator)  # a place at which both grids have a sample
    back, made_before = periods * ratio.denominator, periods * ratio.numerator
    x = ecg(fs, 12.0, 2, seed=3)
    whole = alone(fs, x)[0][0]
    x[int(4 * fs) : back, 1] = np.nan
    x[back:, 1] += 4.0
    made, labels, _ = alone(fs, x)[0]
    fresh, fresh_labels, _ = alone(fs, x[back:, 1:])[0]
    np.testing.assert_array_equal(made[0], whole[0])
    length = min(made.shape[1] - made_before, fresh.shape[1])
    np.testing.assert_array_equal(made[1, made_before:][:length], fresh[0, :length])
    assert (labels[1, 9 : made_before // TICK] == QUALITY_LABELS.index("lead-off")).all()
    assert (labels[1, made_before // TICK + 1 :] < UNREADABLE).all()
    assert (fresh_labels < UNREADABLE).all()


def test_blocks_of_different_phase_are_not_mixed() -> None:
    chain = SignalChain(SPEC, 257)
    first, second = [b for b in blocks_of(257, ecg(257, 2.0, 1)) if isinstance(b, Block)][:2]
    assert chain.phase(first) != chain.phase(second)
    with pytest.raises(SignalError, match=r"group them by chain\.phase"):
        chain.gather([first, second])
