"""A gap anywhere around the end of a block: nothing breaks, and the cut does not matter."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from edgeecg import Record, Stream, annotate
from edgeecg.data.synthetic import SyntheticSettings, synthesize
from edgeecg.pipeline.decoder import Decoder
from edgeecg.pipeline.decoder_state import DecoderSettings, FoundBeat
from edgeecg.pipeline.leads import Tick
from edgeecg.runtime.engine import Engine
from edgeecg.signal.quality import QUALITY_LABELS
from edgeecg.specs import Beat, Gap, Quality
from tests.contract.engines import assert_same_events, heart


@pytest.mark.parametrize("shift", range(-30, 31, 3))
def test_a_gap_near_the_end_of_a_block(nano: Engine, shift: int) -> None:
    record = synthesize(SyntheticSettings(seconds=24), 5).record
    signal = record.signal[:, 0].copy()
    end = 36 * 180  # of a block of half a second at 360 Hz
    signal[end + shift : end + shift + 400] = np.nan

    def told(chunk: int) -> list[object]:
        stream = Stream(nano, fs=record.fs)
        parts = [stream.push(signal[i : i + chunk]) for i in range(0, len(signal), chunk)]
        events = [event for part in [*parts, stream.flush()] for event in part]
        beats = [(event.sample, event.label) for event in events if isinstance(event, Beat)]
        return [*beats, *(event for event in events if isinstance(event, (Gap, Quality)))]

    whole, cut = told(len(signal)), told(97)
    assert whole == cut
    assert Gap(end + shift, 400) in whole


@pytest.mark.parametrize("length", [20, 31, 32, 700])
@pytest.mark.parametrize("shift", [-35, -31, -12, -1, 0, 1])
def test_what_is_not_yet_known_to_be_a_gap_is_not_told(nano: Engine, shift: int, length: int) -> None:
    """A block that ends in a few missing samples may be the segment's last: blocks of any length tell the
    same of it, in the same order (31 samples are held at 500 Hz, 32 are a gap)."""
    fs = 500.0
    signal = heart(20, fs, seed=1)
    signal[:1115] = np.nan
    start = 1750 + shift  # blocks of half a second end on 1750
    signal[start : start + length] = np.nan
    expected = annotate(nano, Record("heart", signal, fs, ("I",)))
    for hop, chunk in ((0.5, 50), (0.0625, 250), (1.0, 3000)):
        stream = Stream(nano, fs, hop=hop)
        events = [e for i in range(0, len(signal), chunk) for e in stream.push(signal[i : i + chunk])]
        assert_same_events(events + stream.flush(), expected)


@pytest.mark.parametrize("hop", [0.0625, 0.5, 1.0])
@pytest.mark.parametrize("every", [2, 3, 125, 250])
@pytest.mark.parametrize("phase", [0, 1])
def test_samples_that_are_always_missing_at_the_end_of_blocks_silence_nothing(
    nano: Engine, every: int, phase: int, hop: float
) -> None:
    """A device of half the rate in a frame of the whole, or one that loses a sample a second."""
    fs = 250
    signal = heart(30, fs, seed=1)
    signal[every - 1 - phase :: every] = np.nan
    expected = annotate(nano, Record("heart", signal, fs, ("I",)))
    stream, events, lates = Stream(nano, fs, hop=hop), [], []
    promised = stream.latency.most + 0.2  # and a hop more where the block ends on what is missing
    for end in range(25, len(signal) + 1, 25):
        told = stream.push(signal[end - 25 : end])
        events += told
        lates += [(end - event.sample) / fs for event in told if isinstance(event, Beat)]
    beats = sum(isinstance(event, Beat) for event in expected)
    assert len(lates) >= beats - 5, "they are told as they come, and not by the flush"
    assert max(lates) < promised + hop
    assert_same_events(events + stream.flush(), expected)


def test_what_the_end_of_a_segment_would_change_waits(nano: Engine) -> None:
    """A tick that ends in missing samples, and a beat that is known with it."""
    settings = DecoderSettings.of(nano.bundle)
    decoder = Decoder(settings, 128.0, Fraction(1), 0)
    decoder.begin(0, 0)
    good, bad = Tick(0, 0.2), Tick(QUALITY_LABELS.index("flat"), 0.0)
    end = 64 * 8  # of a block
    first, last = (
        FoundBeat(token, 8.0 * token, 0, 0.9, 1.0, 0.0) for token in (20, end // 8 - settings.delay - 1)
    )
    assert decoder.step([], [good] * 7, 56) == []
    told = decoder.step_before(end - 3, [first, last], [bad])
    assert [event.sample for event in told if isinstance(event, Beat)] == [160]
    assert not any(isinstance(event, Quality) for event in told)
    rest = decoder.end(end - 3)
    assert [type(event) for event in rest] == [Beat], "the tick never was"
