"""Parts of a beat, what a beat is compared with, and edits of it."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeecg.bundle import Bundle
from edgeecg.errors import ConfigError
from edgeecg.explain.baseline import baseline, usual_beat
from edgeecg.explain.edits import Edit, apply, limits
from edgeecg.explain.question import AFIB, Question, ask
from edgeecg.explain.segments import WAVES, landmarks, segments
from edgeecg.explain.trace import Trace
from edgeecg.explain.versions import place_of
from edgeecg.model.transformer import Network
from edgeecg.specs import MODEL_FS


@pytest.mark.parametrize("label", [None, AFIB])
def test_every_element_belongs_to_one_part(
    bundle: Bundle, network: Network, ventricular: Trace, label: str | None
) -> None:
    for beat in (1, 40, len(ventricular) - 1):
        question = ask(bundle, network, ventricular, beat, label)
        owned = np.zeros(question.live.stop - question.live.start, int)
        intervals = np.zeros(question.table.count, int)
        for part in segments(question):
            for start, stop in part.spans:
                owned[start:stop] += 1
            intervals[list(part.intervals)] += 1
        assert (owned == 1).all()
        assert (intervals == 1).all()


def test_waves_follow_each_other(ventricular: Trace) -> None:
    for beat in range(1, len(ventricular) - 1):
        marks = landmarks(ventricular, beat)
        bounds = [marks.span(wave) for wave in WAVES]
        assert all(start <= stop for start, stop in bounds)
        assert all(a[1] == b[0] for a, b in pairwise(bounds))
        assert marks.qrs - 8 <= ventricular.place[beat] <= marks.st + 8


def qrs_width(trace: Trace, beat: int) -> float:
    """Seconds."""
    marks = landmarks(trace, beat)
    return (marks.st - marks.qrs) / MODEL_FS


def test_ventricular_beats_are_wider(ventricular: Trace) -> None:
    width = {
        label: np.median(
            [
                qrs_width(ventricular, b)
                for b in range(1, len(ventricular) - 1)
                if ventricular.labels[b] == label
            ]
        )
        for label in "NV"
    }
    assert 0.05 <= width["N"] <= 0.115
    assert width["V"] > 1.25 * width["N"]


def test_against_the_usual_beats_the_label_is_gone(why_v: Question, why_s: Question) -> None:
    for question in (why_v, why_s):
        other = baseline(question)
        with torch.no_grad():
            left = float(question(other.samples[None], other.intervals[None])[0])
        assert other.kind == "usual"
        assert question.answer > 0
        assert left < -2


def test_usual_beats_stand_in_a_regular_rhythm(why_s: Question) -> None:
    """The baseline repeats itself once a usual interval, and has a beat at the target."""
    other = baseline(why_s)
    lead = int(np.argmax(other.samples.numpy().std(axis=1)))
    line = other.samples[lead].numpy()
    exact = float(why_s.trace.place[why_s.targets[0]]) - why_s.live.start
    place = round(exact)
    step = float(other.intervals[0]) * MODEL_FS
    for back in (1, 2, 3):
        start = round(exact - back * step)
        np.testing.assert_allclose(line[start - 10 : start + 20], line[place - 10 : place + 20], atol=0.8)
    assert np.ptp(line[place - 6 : place + 6]) > 0.6 * np.ptp(line)


def test_without_normal_beats_there_is_no_usual_one(
    bundle: Bundle, network: Network, why_v: Question
) -> None:
    found = why_v.trace
    odd = replace(found, classes=np.tile(np.float32([0, 0, 9, 0, 0]), (len(found), 1)))
    question = ask(bundle, network, odd, 40)
    assert usual_beat(odd, question.targets) is None
    assert baseline(question).kind == "flat"
    with pytest.raises(ConfigError, match="use 'flat'"):
        baseline(question, "usual")
    with pytest.raises(ConfigError, match="choose usual or flat"):
        baseline(question, "zero")  # type: ignore[arg-type]


@settings(max_examples=25)
@given(data=st.data())
def test_edits_stay_where_they_belong(ventricular: Trace, data: st.DataObject) -> None:
    beat = data.draw(st.integers(2, len(ventricular) - 3))
    place = place_of(ventricular, beat, (0, 1))
    values = {name: data.draw(st.floats(low, high), name) for name, (low, high) in limits(place).items()}
    signal = ventricular.signal.astype(np.float64)
    edited = apply(signal, place, Edit(**values))
    assert np.isfinite(edited).all()
    first = int(min(place.quiet, place.qrs - place.usual_p.shape[1])) - 1
    last = int(place.next_p) + 2
    np.testing.assert_array_equal(edited[:, :first], signal[:, :first])
    np.testing.assert_array_equal(edited[:, last:], signal[:, last:])


def test_no_edit_changes_nothing(ventricular: Trace) -> None:
    signal = ventricular.signal.astype(np.float64)
    np.testing.assert_array_equal(apply(signal, place_of(ventricular, 40, (0, 1)), Edit()), signal)


def test_a_moved_beat_is_where_it_was_moved(why_s: Question) -> None:
    found, beat = why_s.trace, int(why_s.targets[0])
    place = place_of(found, beat, (0, 1))
    signal = found.signal.astype(np.float64)
    shift = 12
    assert limits(place)["timing"][1] * MODEL_FS > shift
    edited = apply(signal, place, Edit(timing=shift / MODEL_FS))
    qrs, st = int(place.qrs), int(place.st)
    np.testing.assert_allclose(edited[:, qrs + shift : st + shift], signal[:, qrs:st], atol=1e-6)


def test_a_widened_qrs_is_as_wide_as_asked(ventricular: Trace) -> None:
    normal = [b for b in range(20, 60) if ventricular.labels[b] == "N"]
    for beat in normal[:5]:
        place = place_of(ventricular, beat, (0, 1))
        factor = min(1.5, limits(place)["width"][1])
        edited = apply(ventricular.signal.astype(np.float64), place, Edit(width=factor))
        wider = replace(ventricular, signal=edited.astype(np.float32))
        before, after = (qrs_width(t, beat) for t in (ventricular, wider))
        assert after / before == pytest.approx(factor, abs=0.25)


def test_an_edit_beyond_the_limits_is_refused(ventricular: Trace) -> None:
    place = place_of(ventricular, 40, (0, 1))
    with pytest.raises(ConfigError, match="the width of this beat can be edited from"):
        apply(ventricular.signal.astype(np.float64), place, Edit(width=9.0))
