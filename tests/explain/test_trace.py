"""The trace is the deployed path: same beats, same labels, same numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import edgeecg
from edgeecg.bundle import Bundle
from edgeecg.data.synthetic import SyntheticSettings, draw_patient, synthesize
from edgeecg.decode.confidence import Confidence
from edgeecg.errors import SignalError
from edgeecg.explain.trace import Trace, trace
from edgeecg.model.transformer import Network
from edgeecg.specs import BEAT_LABELS


@pytest.mark.parametrize("policy", ["first", "best", "fused"])
def test_a_trace_is_what_the_stream_tells(
    bundle: Bundle, network: Network, ventricular: Trace, policy: edgeecg.bundle.LeadPolicy
) -> None:
    record = ventricular.record
    found = trace(bundle, network, record, len(record) - 1, lead_policy=policy)
    with edgeecg.open_engine(bundle, "onnxruntime", "fp32") as engine:
        events = edgeecg.annotate(engine, record, lead_policy=policy, withhold=False)
    beats = [event for event in events if isinstance(event, edgeecg.Beat)]
    assert [beat.sample for beat in beats] == found.samples.tolist()
    assert [beat.label for beat in beats] == found.labels
    odds = np.exp(found.classes - found.classes.max(axis=1, keepdims=True))
    probability = (odds / odds.sum(axis=1, keepdims=True)).max(axis=1)
    corrected = Confidence(bundle.thresholds.confidence)(found.classes.argmax(axis=1), probability)
    np.testing.assert_allclose([beat.probability for beat in beats], corrected, atol=1e-3)


@pytest.mark.parametrize("fs", [250.0, 360.0])
def test_far_into_a_recording_the_grid_is_the_streams(bundle: Bundle, network: Network, fs: float) -> None:
    """A trace looks back three minutes: where it begins, patches must hold what the stream's hold."""
    settings = SyntheticSettings(draw_patient("ventricular", 5), seconds=200.0, fs=fs, snr_db=14.0)
    record = synthesize(settings, 5).record
    with edgeecg.open_engine(bundle, "onnxruntime", "fp32") as engine:
        events = edgeecg.annotate(engine, record, withhold=False)
    beats = [e for e in events if isinstance(e, edgeecg.Beat) and 185 * fs < e.sample < 196 * fs]
    assert len(beats) > 5
    for beat in beats:
        found = trace(bundle, network, record, beat.sample)
        assert found.anchor > 0
        at = found.nearest(beat.sample)
        assert (found.samples[at], found.labels[at]) == (beat.sample, beat.label)
        label = np.array([BEAT_LABELS.index(beat.label)])
        own = Confidence(bundle.thresholds.confidence)(label, found.verdict.probability[at : at + 1])
        assert own[0] == pytest.approx(beat.probability, abs=1e-3)


def test_a_gap_begins_a_new_stretch(bundle: Bundle, network: Network, ventricular: Trace) -> None:
    record = ventricular.record
    signal = record.signal.copy()
    signal[10_000:11_000] = np.nan
    broken = replace(record, signal=signal)
    assert trace(bundle, network, broken, 15_000).anchor == 11_000
    with pytest.raises(SignalError, match="lies in a gap"):
        trace(bundle, network, broken, 10_500)


@pytest.mark.parametrize("policy", ["first", "fused"])
def test_behind_a_gap_a_trace_is_what_the_stream_tells(
    bundle: Bundle, network: Network, ventricular: Trace, policy: edgeecg.bundle.LeadPolicy
) -> None:
    """The segment lies on the stream's grid, and the network begins with the token of its first sample."""
    signal = ventricular.record.signal.copy()
    signal[9_900:10_077] = np.nan
    broken = replace(ventricular.record, signal=signal)
    found = trace(bundle, network, broken, len(broken) - 1, lead_policy=policy)
    with edgeecg.open_engine(bundle, "onnxruntime", "fp32") as engine:
        events = edgeecg.annotate(engine, broken, lead_policy=policy, withhold=False)
    beats = [event for event in events if isinstance(event, edgeecg.Beat) and event.sample > 10_000]
    assert len(beats) > 20
    assert [beat.sample for beat in beats] == found.samples.tolist()
    assert [beat.label for beat in beats] == found.labels


def test_a_fragment_between_gaps_tells_no_beat(bundle: Bundle, network: Network, ventricular: Trace) -> None:
    peak = int(ventricular.samples[30])
    signal = ventricular.record.signal.copy()
    signal[peak - 500 : peak - 55], signal[peak + 55 : peak + 500] = np.nan, np.nan
    with pytest.raises(SignalError, match=r"less than 0.5 s of signal between gaps"):
        trace(bundle, network, replace(ventricular.record, signal=signal), peak)


def test_no_beat_lies_before_its_stretch(bundle: Bundle, network: Network, ventricular: Trace) -> None:
    """A beat may be found a little before the first sample: there it is told."""
    for peak in ventricular.samples[20:30].tolist():
        for stop in (peak - 4, peak + 2, peak + 8):
            signal = ventricular.record.signal.copy()
            signal[stop - 200 : stop] = np.nan
            found = trace(bundle, network, replace(ventricular.record, signal=signal), peak + 300)
            assert found.first == stop
            assert found.samples.min() >= stop


def test_a_sample_outside_is_refused(bundle: Bundle, network: Network, ventricular: Trace) -> None:
    with pytest.raises(SignalError, match="it has samples 0 to 22499"):
        trace(bundle, network, ventricular.record, 22_500)


def test_the_nearest_beat(ventricular: Trace) -> None:
    sample = int(ventricular.samples[40])
    assert ventricular.nearest(sample + 20) == 40
    between = int((ventricular.samples[40] + ventricular.samples[41]) / 2)
    with pytest.raises(SignalError, match="no beat within 150 ms"):
        ventricular.nearest(between)


def test_bigeminy_that_the_network_calls_n_is_told_as_a_rule(ventricular: Trace) -> None:
    """Thirty intervals of 0.7 and 0.9 s in turn, and a network that holds S for possible."""
    count = 30
    classes = np.zeros((count, 5), np.float32)
    classes[:, 0] = 3.0  # P(N) .83, each other .04
    place = np.cumsum(np.where(np.arange(count) % 2, 0.7, 0.9) * 128.0)
    found = replace(
        ventricular, place=place, classes=classes, rhythm=np.zeros((count, 2), np.float32), limit=2.0
    )
    verdict = found.verdict
    assert set(verdict.network) == {"N"}
    assert verdict.labels[-1] == "S"
    assert verdict.labels[-2] == "N"
    assert [verdict.rule[-1], verdict.rule[-2]] == ["bigeminy", ""]
