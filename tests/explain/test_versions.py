"""Versions of one beat: the plain view by features, and the smallest change that turns a label."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import edgeecg
from edgeecg.bundle import Bundle
from edgeecg.errors import ConfigError, SignalError
from edgeecg.explain.counterfactual import counterfactual, edited_source
from edgeecg.explain.edits import Edit
from edgeecg.explain.question import Question
from edgeecg.explain.versions import FEATURES, FeatureView, Versions
from edgeecg.model.transformer import Network


@pytest.fixture(scope="module")
def versions_s(bundle: Bundle, network: Network, why_s: Question) -> Versions:
    return Versions.of(bundle, network, why_s.trace, int(why_s.targets[0]))


def test_the_unchanged_version_is_the_beat(versions_s: Versions, why_s: Question) -> None:
    logits = versions_s.logits([Edit()])[0]
    np.testing.assert_allclose(logits, why_s.trace.classes[why_s.targets[0]], atol=2e-3)


def test_versions_do_not_disturb_each_other(versions_s: Versions) -> None:
    edits = [Edit(), Edit(timing=0.05), Edit(width=1.2), Edit(p=1.0), Edit(t=0.0, r=1.5)]
    together = versions_s.logits(edits)
    alone = np.concatenate([versions_s.logits([edit]) for edit in edits])
    np.testing.assert_allclose(together, alone, atol=1e-4)


def test_a_later_beat_is_less_premature(versions_s: Versions) -> None:
    """The more on time, the less S."""
    room = min(versions_s.limits["timing"][1], 0.25)
    logits = versions_s.logits([Edit(timing=share * room) for share in (0, 0.5, 1)])
    margin = logits[:, 1] - logits[:, 0]
    assert margin[0] > margin[1] > margin[2]


def test_features_are_a_plain_function(versions_s: Versions) -> None:
    view = FeatureView(versions_s)
    assert view.values.shape == (len(FEATURES),)
    own = view.predict(view.values)
    assert own.shape == (1, 5)
    assert own.sum() == pytest.approx(1)
    assert own.argmax() == 1
    table = view.sample(40, seed=3)
    assert table.shape == (40, len(FEATURES))
    np.testing.assert_allclose(view.predict(table).sum(axis=1), 1)
    low, high = view.ranges.T
    assert ((table >= low) & (table <= high)).all()
    np.testing.assert_allclose(view.predict(high + 1), view.predict(high))
    assert np.array_equal(table, view.sample(40, seed=3))


def test_the_irregularity_of_the_past_counts(versions_s: Versions) -> None:
    view = FeatureView(versions_s)
    rows = np.repeat(view.values[None], 2, axis=0)
    rows[1, FEATURES.index("irregularity")] = view.ranges[1, 1]
    calm, wild = view.predict(rows)
    assert np.abs(calm - wild).max() > 0.01


@pytest.mark.parametrize("table", [np.zeros((3, 5)), np.full((1, 6), np.nan), np.zeros((2, 2, 6))])
def test_other_tables_are_refused(versions_s: Versions, table: np.ndarray) -> None:
    with pytest.raises(ConfigError, match="rr_before, irregularity, qrs_width"):
        FeatureView(versions_s).predict(table)


def test_a_counterfactual_turns_the_deployed_label(bundle: Bundle, versions_s: Versions) -> None:
    """Asked once more, by the ONNX graphs and over the whole recording."""
    change = counterfactual(bundle, versions_s)
    assert change is not None
    assert change.before == "S"
    assert change.after != "S"
    assert change.confirmed
    assert change.after in change.sentence()
    found, beat = versions_s.question.trace, int(versions_s.question.targets[0])
    signal, at = edited_source(found, beat, change.edit)
    with edgeecg.open_engine(bundle, "onnxruntime", "fp32") as engine:
        events = edgeecg.annotate(engine, replace(found.record, signal=signal), withhold=False)
    near = [e for e in events if isinstance(e, edgeecg.Beat) and abs(e.sample - at) < 0.1 * found.record.fs]
    assert [e.label for e in near] == [change.after]


def test_a_counterfactual_is_small(bundle: Bundle, versions_s: Versions) -> None:
    """Four fifths of the change are not enough."""
    change = counterfactual(bundle, versions_s)
    assert change is not None
    share = 0.8
    less = Edit(timing=share * change.edit.timing, width=change.edit.width**share, p=share * change.edit.p)
    assert versions_s.logits([less])[0].argmax() == 1


def test_a_wanted_label(bundle: Bundle, versions_s: Versions) -> None:
    change = counterfactual(bundle, versions_s, wanted="N")
    assert change is not None
    assert change.after == "N"
    for wrong in ("S", "X"):
        with pytest.raises(ConfigError, match="cannot turn S into"):
            counterfactual(bundle, versions_s, wanted=wrong)


def test_beats_at_the_ends(bundle: Bundle, network: Network, why_s: Question) -> None:
    found = why_s.trace
    with pytest.raises(ConfigError, match="the first beat"):
        Versions.of(bundle, network, found, 0)
    short = replace(found, signal=found.signal[:, : 8 * (int(found.token[-1]) + 16)])
    short = replace(short, share=found.share[:, : int(found.token[-1]) + 16])
    with pytest.raises(SignalError, match="choose an earlier one"):
        Versions.of(bundle, network, short, len(found) - 1)
