"""Concepts: examples that show them, vectors that find what was planted, scores that chance does not get."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from edgeecg.bundle import Bundle
from edgeecg.errors import ConfigError
from edgeecg.explain.baseline import baseline
from edgeecg.explain.beat_concepts import beat_concepts
from edgeecg.explain.concept_hearts import synthetic_sets
from edgeecg.explain.concepts import CONCEPTS, ConceptSets, moments, real_examples
from edgeecg.explain.question import LABELS, ask
from edgeecg.explain.tcav import MomentNetwork, Probe, layer_names, score_concepts
from edgeecg.explain.trace import Trace, trace
from edgeecg.model.transformer import Network
from edgeecg.specs import RR_FEATURES

NO_BIAS = np.zeros(5, np.float32)


@pytest.fixture(scope="module")
def sets(bundle: Bundle, network: Network) -> ConceptSets:
    return synthetic_sets(bundle, network, patients=3, each=5)


@pytest.fixture(scope="module")
def single(bundle: Bundle, network: Network, atrial: Trace) -> Trace:
    """The atrial patient by the first lead alone, as moments are."""
    return trace(bundle, network, atrial.record, len(atrial.record) - 1, lead_policy="first")


def timing_of(rows: np.ndarray, feature: str) -> np.ndarray:
    return rows[:, RR_FEATURES.index(feature) - len(RR_FEATURES)]


def test_examples_show_their_concept(sets: ConceptSets) -> None:
    assert list(sets.concepts) == list(CONCEPTS)
    early = timing_of(sets.concepts["premature"], "log_rr_over_median")
    late = timing_of(sets.concepts["compensatory pause"], "log_rr_over_median")
    assert early.max() < np.log(0.9)
    assert late.min() > np.log(1.1)
    wide = timing_of(sets.concepts["wide QRS"], "log_rr_over_median")  # wide is not the same as early
    assert wide.min() < np.log(0.9)
    assert wide.max() > np.log(1.05)
    irregular = timing_of(sets.concepts["irregular RR"], "irregularity")
    assert np.median(irregular) > 3 * np.median(timing_of(sets.concepts["absent P"], "irregularity"))


def test_the_same_hearts_lack_it(sets: ConceptSets) -> None:
    assert list(sets.without) == list(CONCEPTS)
    for name in ("premature", "compensatory pause"):
        assert np.abs(timing_of(sets.without[name], "log_rr_over_median")).max() < np.log(1.2)
    regular = np.median(timing_of(sets.without["irregular RR"], "irregularity"))
    assert regular < np.median(timing_of(sets.concepts["irregular RR"], "irregularity")) / 3
    moved = timing_of(sets.without["wide QRS"], "log_rr_over_median")  # narrow, but as early and late
    assert moved.min() < np.log(0.9)
    assert moved.max() > np.log(1.05)


def test_patients_do_not_differ_between_the_sides(network: Network, sets: ConceptSets) -> None:
    """What no edit touches: the second before the beat of whoever has his beats made taller."""
    until = 8 * (network.spec.token.layers * network.spec.token.left - 40)
    with_it, without = sets.concepts["high amplitude"], sets.without["high amplitude"]
    np.testing.assert_allclose(with_it[:, :until], without[:, :until], atol=1e-4)
    assert not np.allclose(with_it, without, atol=1e-2)


def test_tall_beats_are_tall(sets: ConceptSets, network: Network) -> None:
    samples = 8 * (network.spec.token.layers * network.spec.token.left + 3 + 5 + network.spec.token.lag + 1)
    own = 8 * (network.spec.token.layers * network.spec.token.left + 3)
    rows = sets.concepts["high amplitude"][:, :samples]
    beat, before = rows[:, own - 8 : own + 16], rows[:, : own - 60]
    assert np.median(np.ptp(beat, axis=1) / np.ptp(before, axis=1)) > 1.4


def test_the_same_seed_makes_the_same_examples(
    bundle: Bundle, network: Network, sets: ConceptSets, tmp_path: Path
) -> None:
    fewer = synthetic_sets(bundle, network, patients=1, each=5)
    for name, rows in fewer.concepts.items():
        np.testing.assert_allclose(rows, sets.concepts[name][: len(rows)], atol=1e-5)
    fewer.save(tmp_path / "sets.npz")
    again = ConceptSets.load(tmp_path / "sets.npz")
    for name in CONCEPTS:
        np.testing.assert_array_equal(again.without[name], fewer.without[name])
    (tmp_path / "sets.npz").write_bytes(b"nothing")
    with pytest.raises(ConfigError, match="delete it"):
        ConceptSets.load(tmp_path / "sets.npz")


def test_a_moment_has_all_that_the_answer_hangs_on(bundle: Bundle, network: Network, single: Trace) -> None:
    rows, kept = moments(network, single, range(len(single)))
    assert len(kept) > 20
    bias = ask(bundle, network, single, kept[0]).bias
    with torch.no_grad():
        odds = MomentNetwork(network, bias)(torch.from_numpy(rows[:3])).numpy()
    for row, beat in zip(odds, kept[:3], strict=True):
        question = ask(bundle, network, single, beat)
        assert row[LABELS.index(question.label)] == pytest.approx(question.answer, abs=5e-3)


def test_what_is_planted_is_found(network: Network, single: Trace, sets: ConceptSets) -> None:
    """Beats with more, and with less, of what raises S in the intervals: S rises, and falls."""
    beats = [b for b in range(len(single)) if single.labels[b] == "S"]
    rows, _ = moments(network, single, beats)
    moment = torch.from_numpy(rows).requires_grad_()
    odds = MomentNetwork(network, NO_BIAS)(moment)[:, LABELS.index("S")]
    slopes = torch.autograd.grad(odds.sum(), moment)[0][:, -len(RR_FEATURES) :][:, :5]  # the logarithms
    steady = slopes.mean(dim=0) / slopes.std(dim=0)
    away = torch.zeros(len(RR_FEATURES))
    away[:5] = 3.0 * steady.sign()
    planted = []
    for same, other in zip(several(sets, 14, seed=9), several(sets, 14, seed=10), strict=True):
        more, less = same.copy(), same.copy()
        more[:, -len(RR_FEATURES) :] += away.numpy()
        less[:, -len(RR_FEATURES) :] -= away.numpy()
        concepts = {"more": more, "less": less, "nothing": other[::2]}
        planted.append(ConceptSets(concepts, {"more": same, "less": same, "nothing": other[1::2]}))
    scores = score_concepts(network, NO_BIAS, planted, {"S": rows})
    by = {(s.concept, s.layer): s for s in scores}
    assert by["more", "entrance"].accuracy > 0.85
    assert by["more", "entrance"].significant
    assert by["more", "entrance"].score > 0.65
    assert by["less", "entrance"].significant
    assert by["less", "entrance"].score < 0.35
    assert by["more", "token_1"].accuracy < 0.75  # an interval is not in the tokens


def several(sets: ConceptSets, count: int, seed: int) -> list[np.ndarray]:
    """So many sets of beats without a concept, none in two of them."""
    rows = np.concatenate(list(sets.without.values()))
    order = np.random.default_rng(seed).permutation(len(rows))
    return [rows[part] for part in np.array_split(order, count)]


def test_what_is_no_concept_has_no_star(network: Network, single: Trace, sets: ConceptSets) -> None:
    """Known false road: draws that share their beats are one line measured many times."""
    beats = [b for b in range(len(single)) if single.labels[b] == "S"]
    rows, _ = moments(network, single, beats)
    names = [f"nothing {seed}" for seed in range(6)]
    drawn = [several(sets, 14, seed) for seed in range(6)]
    nothing = [
        ConceptSets(
            {name: parts[number][::2] for name, parts in zip(names, drawn, strict=True)},
            {name: parts[number][1::2] for name, parts in zip(names, drawn, strict=True)},
        )
        for number in range(14)
    ]
    scores = score_concepts(network, NO_BIAS, nothing, {"S": rows})
    assert len(scores) == 6 * len(layer_names(network))
    assert 2**-13 * len(scores) < 0.01  # there could be stars
    assert sum(s.significant for s in scores) <= 1
    assert np.mean([s.p < 1 for s in scores]) < 0.15  # of one test: p < .02
    assert abs(np.mean([s.accuracy for s in scores]) - 0.5) < 0.1


def test_scores_need_beats_and_sets(network: Network, sets: ConceptSets) -> None:
    rows = sets.without["noise"][:4]
    for beats, count in (({"X": rows}, 5), ({"V": rows[:0]}, 5), ({"V": rows}, 2)):
        with pytest.raises(ConfigError, match="concepts need beats of known labels"):
            score_concepts(network, NO_BIAS, [sets] * count, beats)
    other = ConceptSets({"mine": rows}, {"mine": rows})
    with pytest.raises(ConfigError, match="sets are of other concepts"):
        score_concepts(network, NO_BIAS, [sets, sets, other], {"V": rows})
    with pytest.raises(ConfigError, match="give both sides of each"):
        ConceptSets({"mine": rows}, {})


def test_a_probe_tells_clouds_apart() -> None:
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=(80, 6)).astype(np.float32))
    y = (torch.arange(80) >= 40).long()
    x[y == 1, 2] += 4
    probe = Probe()
    said = probe.train_and_eval([(x[:30], y[:30]), (x[30:], y[30:])])
    assert float(said["accs"]) > 0.9
    assert probe.classes() == [0, 1]
    direction = probe.weights()[1]
    assert int(direction.abs().argmax()) == 2
    assert float(direction[2]) > 0


def test_concepts_of_one_beat(bundle: Bundle, network: Network, single: Trace, sets: ConceptSets) -> None:
    beat = max(b for b in range(len(single) - 3) if single.labels[b] == "S")
    question = ask(bundle, network, single, beat)
    placed = beat_concepts(question, baseline(question), sets)
    assert {c.layer for c in placed} == set(layer_names(network))
    by = {(c.concept, c.layer): c for c in placed}
    early = by["premature", "entrance"]
    assert early.present > 0.3
    assert early.pull > 0
    assert max(c.accuracy for c in placed if c.concept == "premature") > 0.75


def test_a_beat_with_a_short_past_has_no_concepts(
    bundle: Bundle, network: Network, single: Trace, sets: ConceptSets
) -> None:
    question = ask(bundle, network, single, 10)
    assert beat_concepts(question, baseline(question), sets) == []


def test_real_labels_give_examples(bundle: Bundle, network: Network, atrial: Trace) -> None:
    both = real_examples(bundle, network, atrial.record, each=4)
    found = both.concepts
    assert np.abs(timing_of(both.without["premature"], "log_rr_over_median")).mean() < np.log(1.2)
    assert timing_of(found["premature"], "log_rr_over_median").mean() < np.log(0.9)
    assert "irregular RR" not in found
