"""f(samples, intervals): the deployed answer at the recording's own values, and gradients in both."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeecg.bundle import Bundle
from edgeecg.decode.rr import past_intervals, rr_features
from edgeecg.errors import ConfigError
from edgeecg.explain.attention import held
from edgeecg.explain.baseline import usual_interval
from edgeecg.explain.intervals import IntervalTable, interval_features
from edgeecg.explain.question import AFIB, Question, ask
from edgeecg.explain.trace import Trace
from edgeecg.model.annotate import beat_inputs
from edgeecg.model.presets import preset
from edgeecg.model.transformer import Network
from edgeecg.specs import MODEL_FS


@settings(max_examples=30)
@given(gaps=st.lists(st.floats(12.0, 300.0), min_size=1, max_size=60), begin=st.integers(0, 20))
def test_differentiable_features_are_those_of_the_decoder(gaps: list[float], begin: int) -> None:
    place = 40.0 + np.cumsum(gaps)
    spec = preset("nano")
    token = (place // spec.patch).astype(np.int64)
    begin = min(begin, len(place) - 1)
    embedding = np.zeros((int(token[-1]) + spec.delay + 1, 1), np.float32)
    expected = beat_inputs(embedding, place, spec.patch, spec.delay)[begin:, 2:]
    table = IntervalTable.of(token, spec, begin, len(place))
    values = (np.diff(place, prepend=np.nan) / MODEL_FS)[table.first : table.first + table.count]
    got = interval_features(torch.from_numpy(values)[None], table)[0].numpy()
    np.testing.assert_allclose(got, expected, atol=2e-6)


def test_the_test_above_reads_the_decoder_itself() -> None:
    times = np.array([1.0, 1.8, 2.2])
    features = rr_features(past_intervals(times), np.full(3, 0.3125), np.zeros(3, bool))
    assert features[2, 1] == pytest.approx(np.log(0.4 / 0.8))


def test_the_answer_is_the_models(bundle: Bundle, network: Network, ventricular: Trace) -> None:
    for beat in (0, 1, 35, len(ventricular) - 1):
        question = ask(bundle, network, ventricular, beat)
        logits = ventricular.classes[beat].astype(np.float64)
        others = np.delete(logits, logits.argmax())
        assert question.answer == pytest.approx(logits.max() - np.logaddexp.reduce(others), abs=2e-3)


def test_the_answer_about_a_rhythm(bundle: Bundle, network: Network, atrial: Trace) -> None:
    question = ask(bundle, network, atrial, 50, AFIB)
    margin = atrial.rhythm[question.targets, 1] - atrial.rhythm[question.targets, 0]
    assert len(question.targets) == 17
    assert question.answer == pytest.approx(float(margin.mean()), abs=2e-3)


def test_random_weights_too(bundle: Bundle, ventricular: Trace) -> None:
    """The network of a question need not be the one that found the beats."""
    torch.manual_seed(0)
    other = Network(bundle.spec).eval()
    question = ask(bundle, other, ventricular, 50)
    signal = torch.from_numpy(ventricular.signal)
    with torch.no_grad():
        _, tokens = other.token(signal)
        joined = torch.einsum("lt,ltd->td", torch.from_numpy(ventricular.share), tokens).numpy()
        inputs = beat_inputs(joined, ventricular.place, bundle.spec.patch, bundle.spec.delay)
        classes, _ = other.beat(torch.from_numpy(inputs[None]))
    which = ["N", "S", "V", "F", "P"].index(question.label)
    logits = classes[0, 50] + torch.from_numpy(question.bias)
    rest = torch.cat([logits[:which], logits[which + 1 :]])
    assert question.answer == pytest.approx(float(logits[which] - rest.logsumexp(0)), abs=1e-3)


def test_both_inputs_have_gradients_that_are_true(why_s: Question) -> None:
    """Slopes against differences, uphill in each input alone."""
    x, r = why_s.samples[None].clone().requires_grad_(), why_s.intervals[None].clone().requires_grad_()
    slopes = torch.autograd.grad(why_s(x, r).sum(), (x, r))
    for which, slope in enumerate(slopes):
        length = float(slope.norm())
        assert length > 0.1
        step = 0.02 / length * slope / length  # raises the answer by 0.02
        ends = [[x, r], [x, r]]
        ends[0][which], ends[1][which] = ends[0][which] + step, ends[1][which] - step
        with torch.no_grad():
            rise = float(why_s(*ends[0]) - why_s(*ends[1]))
        assert rise == pytest.approx(0.04, rel=0.05)


def test_held_attention_changes_gradients_only(why_v: Question) -> None:
    x, r = why_v.samples[None], why_v.intervals[None]
    torch.testing.assert_close(held(why_v, x, r), why_v(x, r), atol=1e-4, rtol=0)
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    (one,) = torch.autograd.grad(held(why_v, a, r).sum(), a)
    (two,) = torch.autograd.grad(why_v(b, r).sum(), b)
    assert float((one - two).abs().max()) > 1e-3


def test_unknown_labels_are_refused(bundle: Bundle, network: Network, ventricular: Trace) -> None:
    with pytest.raises(ConfigError, match="choose one of N, S, V, F, P, AFIB"):
        ask(bundle, network, ventricular, 40, "X")


def test_the_usual_interval_is_that_of_normal_beats(why_s: Question) -> None:
    """In a run of ectopic beats the last intervals are the run's own: nothing in it would come early."""
    seconds = np.r_[np.full(20, 0.8), np.full(12, 0.4)]
    run = np.repeat([0, 1], [20, 12])
    found = replace(
        why_s.trace,
        place=128 * np.cumsum(seconds),
        token=(16 * np.cumsum(seconds)).astype(np.int64),
        classes=np.eye(5, dtype=np.float32)[run],
        rhythm=np.tile(np.float32([4, -4]), (32, 1)),
    )
    question = replace(why_s, trace=found, targets=np.array([31]))
    assert usual_interval(question) == pytest.approx(0.8)
    ectopic = replace(found, classes=np.eye(5, dtype=np.float32)[np.full(32, 2)])
    table = replace(why_s.table, first=1, count=31)
    assert usual_interval(replace(question, trace=ectopic, table=table)) == pytest.approx(0.4)
