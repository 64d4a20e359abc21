"""The confusion matrix and its scores, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edgeecg.errors import SignalError
from edgeecg.metrics.beats import CLASSES, BeatList, Confusion, Score, compare

FS = 100


def beats(text, shift=0):
    """One letter a second, a dot is no beat."""
    places = [(100 * (i + 1) + shift, letter) for i, letter in enumerate(text) if letter != "."]
    return BeatList(np.array([at for at, _ in places], np.int64), np.array([c for _, c in places], np.str_))


def scores(reference, test, **options):
    return compare(beats(reference), beats(test, shift=3), FS, **options)


def test_pairs_misses_and_extras_each_have_their_cell():
    found = scores("NNSV.FQ", "NVSV S.Q".replace(" ", ""))
    expected = np.zeros((6, 6), int)
    n, s, v, f, q, o = range(6)
    for row, column in [(n, n), (n, v), (s, s), (v, v), (o, s), (f, o), (q, q)]:
        expected[row, column] += 1
    assert found.counts.tolist() == expected.tolist()
    assert found.score("QRS") == Score(hits=5, misses=1, false=1)


def test_false_positives_leave_out_what_bxb_leaves_out():
    # every reference class, and an extra beat, called V; then S; then F
    assert scores("NSVFQ.", "VVVVVV").score("V") == Score(hits=1, misses=0, false=3)
    assert scores("NSVFQ.", "SSSSSS").score("S") == Score(hits=1, misses=0, false=4)
    assert scores("NSVFQ.", "FFFFFF").score("F") == Score(hits=1, misses=0, false=4)


def test_every_way_of_missing_a_class_is_a_miss():
    assert scores("VVVVVV", "NSVFQ.").score("V") == Score(hits=1, misses=5, false=0)
    assert scores("SSSSSS", "NSVFQ.").score("S") == Score(hits=1, misses=5, false=0)


def test_ratios():
    score = Score(hits=6, misses=2, false=4)
    assert score.sensitivity == 0.75
    assert score.predictivity == 0.6
    assert score.f1 == pytest.approx(2 * 0.75 * 0.6 / 1.35)


def test_what_cannot_be_known_is_none_and_not_zero():
    assert (Score(0, 0, 0).sensitivity, Score(0, 0, 0).predictivity, Score(0, 0, 0).f1) == (None,) * 3
    assert Score(0, 0, 7).f1 is None
    assert Score(0, 7, 0).f1 == 0


def test_matrices_add_up():
    one, two = scores("NNV", "NVV"), scores("S.", "SS")
    assert (one + two + Confusion.empty()).counts.tolist() == (one.counts + two.counts).tolist()


def test_a_masked_stretch_counts_nowhere():
    found = scores("NNNNVN", "NN.VVN", masks=[(250, 450)])
    assert found.score("QRS") == Score(hits=4, misses=0, false=0)
    assert found.score("V") == Score(hits=1, misses=0, false=0)


def test_symbols_that_nobody_mapped_are_refused():
    with pytest.raises(SignalError, match=r"test beats have labels L, r: map them to N, S, V, F, Q"):
        scores("NN", "rL")
    with pytest.raises(SignalError, match="no score called 'X'"):
        Confusion.empty().score("X")


def test_all_classes_can_be_scored():
    found = scores("NSVFQ", "NSVFQ")
    assert [found.score(name).f1 for name in ("QRS", *CLASSES)] == [1] * 6
