"""A gap anywhere around the end of a block: nothing breaks, and the cut does not matter."""

from __future__ import annotations

import numpy as np
import pytest

from edgeecg import Stream
from edgeecg.data.synthetic import SyntheticSettings, synthesize
from edgeecg.runtime.engine import Engine
from edgeecg.specs import Beat, Gap, Quality


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
