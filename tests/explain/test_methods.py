"""Every method gives every element its relevance; what must add up does; attention is the network's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from edgeecg.errors import ConfigError
from edgeecg.explain.attention import follow, held, look, rollout, unfold, weighted
from edgeecg.explain.baseline import baseline
from edgeecg.explain.faithfulness import (
    agreement,
    completeness_error,
    deletion,
    insertion,
    mixed,
    points_at_the_beat,
    randomized,
    segment_agreement,
    self_agreement,
    unit_relevance,
)
from edgeecg.explain.methods import DEFAULT, METHODS, OF_PARTS, Attribution, attribute
from edgeecg.explain.question import Question
from edgeecg.explain.segments import segments
from edgeecg.model.presets import preset
from edgeecg.model.transformer import Stack


@pytest.mark.parametrize("method", METHODS)
def test_every_element_has_relevance(why_v: Question, method: str) -> None:
    found = attribute(why_v, baseline(why_v), method)
    assert found.samples.shape == tuple(why_v.samples.shape)
    assert found.intervals.shape == tuple(why_v.intervals.shape)
    assert np.isfinite(found.samples).all()
    assert np.isfinite(found.intervals).all()
    assert found.total == pytest.approx(sum(found.of(part) for part in segments(why_v)), rel=1e-4, abs=1e-4)


def test_the_default_is_cheap_and_most_faithful_of_the_cheap(why_v: Question, why_s: Question) -> None:
    for question in (why_v, why_s):
        other = baseline(question)
        area = {}
        for method in ("path", "gradient", "attention", "rollout", "difference", "random"):
            found = attribute(question, other, method)
            assert found.forward <= 3
            assert found.backward <= 3
            area[method] = deletion(question, found, other).area
        assert min(area, key=area.__getitem__) == DEFAULT


def test_held_attention_gives_the_same_numbers_and_other_gradients(why_s: Question) -> None:
    inputs = why_s.samples[None], why_s.intervals[None].clone().requires_grad_()
    slopes = []
    for hold in (0.0, 0.5, 1.0):
        answer = held(why_s, *inputs, hold)
        assert float(answer[0].detach()) == pytest.approx(why_s.answer, abs=1e-3)
        slopes.append(torch.autograd.grad(answer.sum(), inputs[1])[0])
    plain = torch.autograd.grad(why_s(*inputs).sum(), inputs[1])[0]
    torch.testing.assert_close(slopes[0], plain, atol=1e-3, rtol=1e-3)
    assert not torch.allclose(slopes[2], plain, atol=1e-2)
    assert not torch.allclose(slopes[1], plain, atol=1e-2)


@pytest.mark.parametrize("method", ["integrated", "shapley"])
def test_relevance_adds_up(why_v: Question, method: str) -> None:
    assert completeness_error(why_v, attribute(why_v, baseline(why_v), method)) < 0.02


def test_shapley_values_of_a_part_that_changes_nothing_are_zero(why_v: Question) -> None:
    other = baseline(why_v)
    same = type(other)(other.samples.clone(), other.intervals, other.kind)
    qrs = next(part for part in segments(why_v) if part.name == "QRS")
    for start, stop in qrs.spans:
        same.samples[:, start:stop] = why_v.samples[:, start:stop]
    assert attribute(why_v, same, "shapley").of(qrs) == pytest.approx(0, abs=1e-6)


def test_seeds_decide_what_is_drawn(why_v: Question) -> None:
    other = baseline(why_v)
    one, again, two = (attribute(why_v, other, "shapley", seed) for seed in (0, 0, 1))
    assert agreement(one, again) == 1
    assert segment_agreement(why_v, one, two) > 0.9
    assert not np.array_equal(one.samples, two.samples)


def test_an_early_beat_is_blamed_on_timing(why_s: Question) -> None:
    """A premature narrow beat: the interval and the place of the earlier beats, not the QRS."""
    found = attribute(why_s, baseline(why_s))
    by = {part.name: found.of(part) for part in segments(why_s)}
    assert by["RR before"] + by["earlier beats"] > 3 * max(by["QRS"], by["ST"], by["T"])


def test_a_wide_beat_is_blamed_on_its_shape(why_v: Question) -> None:
    found = attribute(why_v, baseline(why_v))
    by = {part.name: found.of(part) for part in segments(why_v)}
    assert max(("P", "PR", "QRS", "ST", "T"), key=by.__getitem__) == "QRS"
    assert by["QRS"] + by["ST"] + by["T"] > 0.3 * found.total
    assert points_at_the_beat(why_v, found)


@pytest.mark.parametrize("size", ["nano", "small"])
def test_visible_attention_is_the_networks(size: str) -> None:
    torch.manual_seed(1)
    for spec in (preset(size).token, preset(size).beat):
        stack = Stack(spec).eval()
        x = torch.randn(2, 90, spec.dim)
        with torch.no_grad():
            y, weights = unfold(stack, x)
            torch.testing.assert_close(y, stack(x), atol=1e-5, rtol=0)
        ahead = torch.arange(90)[None] - torch.arange(90)[:, None]
        for layer in weights:
            torch.testing.assert_close(layer.sum(dim=-1), torch.ones(2, spec.heads, 90))
            assert float(layer[..., (ahead < -spec.left) | (ahead > spec.right)].abs().max()) == 0


def test_rollout_shares_are_shares(why_v: Question) -> None:
    attention = look(why_v)
    flow = rollout(attention.token, attention.token_gradient)
    torch.testing.assert_close(flow.sum(dim=-1), torch.ones(flow.shape[:-1]))
    for rule in (rollout, weighted):
        samples, intervals = follow(why_v, attention, rule)
        assert float(samples.min()) >= 0
        assert float(intervals.min()) >= 0
        assert float(samples.sum() + intervals.sum()) == pytest.approx(1, abs=1e-4)


def test_unknown_methods_are_refused(why_v: Question) -> None:
    with pytest.raises(ConfigError, match="choose one of path, held, free, gradient"):
        attribute(why_v, baseline(why_v), "tea leaves")


def test_areas_tell_good_from_bad(why_v: Question) -> None:
    """The right order is far better than chance and than the same units in the opposite order."""
    other = baseline(why_v)
    good = attribute(why_v, other, "integrated")
    bad = Attribution("bad", -good.samples, -good.intervals, other, 0, 0, 0.0)
    chance = attribute(why_v, other, "random")
    gone = [deletion(why_v, found, other).area for found in (good, chance, bad)]
    back = [insertion(why_v, found, other).area for found in (good, chance, bad)]
    assert gone[0] < 0.5 * min(gone[1:])
    assert back[0] > max(back[1:])
    assert back[0] > 1.5 * back[2]


def test_curves_begin_and_end_where_they_must(why_v: Question) -> None:
    other = baseline(why_v)
    curve = deletion(why_v, attribute(why_v, other), other)
    with torch.no_grad():
        end = torch.sigmoid(why_v(other.samples[None], other.intervals[None]))
    assert curve.probability[0] == pytest.approx(1 / (1 + np.exp(-why_v.answer)), abs=1e-4)
    assert curve.probability[-1] == pytest.approx(float(end), abs=1e-4)
    assert (curve.share[0], curve.share[-1]) == (0, 1)


def test_units_cover_every_sample(why_v: Question) -> None:
    found = attribute(why_v, baseline(why_v))
    units = unit_relevance(found)
    assert units.sum() == pytest.approx(found.total)
    samples, intervals = mixed(why_v, baseline(why_v), torch.ones(1, len(units)))
    torch.testing.assert_close(samples[0], why_v.samples)
    torch.testing.assert_close(intervals[0], why_v.intervals)


def test_random_weights_are_explained_otherwise(why_v: Question) -> None:
    found = attribute(why_v, baseline(why_v))
    stages = list(randomized(why_v))
    assert stages[0][0] == "classes"
    assert len(stages) == why_v.network.spec.token.layers + why_v.network.spec.beat.layers + 3
    assert abs(agreement(found, attribute(stages[-1][1], baseline(stages[-1][1])))) < 0.25


def test_after_the_last_step_no_weight_is_still_the_trained_one(why_v: Question) -> None:
    _, last = list(randomized(why_v))[-1]
    own = dict(why_v.network.named_parameters())
    kept = [name for name, value in last.network.named_parameters() if torch.equal(value, own[name])]
    assert kept == ["token.heads.weight", "token.heads.bias"], "frozen detections are not explained"


@pytest.mark.parametrize("method", OF_PARTS)
def test_the_values_of_parts_are_compared_over_parts(why_v: Question, method: str) -> None:
    """Where in a part its value lies is no answer of the network's."""
    other = baseline(why_v)
    found, parts = attribute(why_v, other, method), segments(why_v)
    samples = np.zeros_like(found.samples)
    for part in parts:
        for start, _ in part.spans[:1]:
            samples[:, start] = found.of(part) / len(samples)
    elsewhere = Attribution(method, samples, found.intervals, other, 0, 0, 0.0)
    assert self_agreement(why_v, found, elsewhere) == pytest.approx(1)
    assert agreement(found, elsewhere) < 0.9
    untrained = attribute(list(randomized(why_v))[-1][1], other, method)
    expected = spearmanr(*([side.of(part) for part in parts] for side in (found, untrained))).statistic
    assert self_agreement(why_v, found, untrained) == pytest.approx(expected)


def test_other_methods_are_compared_over_units(why_v: Question) -> None:
    other = baseline(why_v)
    one, two = (attribute(why_v, other, "random", seed) for seed in (0, 1))
    assert self_agreement(why_v, one, two) == agreement(one, two)
