"""Matching on lists short enough to be matched by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeecg.errors import SignalError
from edgeecg.metrics.match import match, window_samples

FS = 100  # window: 15 samples


def matched(reference, test, **options):
    found = match(np.array(reference, np.int64), np.array(test, np.int64), FS, **options)
    return found.pairs.tolist(), found.missed.tolist(), found.extra.tolist()


@pytest.mark.parametrize(("fs", "samples"), [(360, 54), (128, 19), (250, 38), (257, 39), (300, 45)])
def test_the_window_is_rounded_as_strtim_rounds(fs, samples):
    assert window_samples(fs) == samples


def test_beats_within_the_window_pair_and_those_beyond_do_not():
    assert matched([100, 200], [115, 184]) == ([[0, 0]], [1], [1])


def test_of_two_test_beats_the_nearer_one_pairs():
    assert matched([100], [90, 103]) == ([[0, 1]], [], [0])
    assert matched([100], [97, 110]) == ([[0, 0]], [], [1])


def test_of_two_reference_beats_the_nearer_one_pairs():
    assert matched([100, 112], [109]) == ([[1, 0]], [0], [])


def test_the_follower_at_the_same_distance_wins():
    assert matched([100], [95, 105]) == ([[0, 1]], [], [0])


def test_each_beat_pairs_once():
    assert matched([100, 110], [105]) == ([[1, 0]], [0], [])
    assert matched([100, 108], [103, 106]) == ([[0, 0], [1, 1]], [], [])


def test_empty_sides():
    assert matched([], []) == ([], [], [])
    assert matched([], [5, 50]) == ([], [], [0, 1])
    assert matched([5, 50], []) == ([], [0, 1], [])


def test_at_the_start_of_the_comparison_the_border_is_as_in_bxb():
    # a test beat before the start belongs to the first reference beat after it
    assert matched([300, 400], [295, 400], start=298) == ([[0, 0], [1, 1]], [], [])
    # a test beat after the start belongs to a reference beat before it: passed over, not extra
    assert matched([295, 400], [300, 400], start=298) == ([[1, 1]], [], [])
    # but the nearer one is taken
    assert matched([300, 400], [295, 301, 400], start=298) == ([[0, 1], [1, 2]], [], [])
    # and what lies wholly before does not count
    assert matched([100, 400], [200, 400], start=298) == ([[1, 1]], [], [])


def test_beats_after_the_end_do_not_count():
    assert matched([100, 900], [200, 800], end=500) == ([], [0], [0])


@pytest.mark.parametrize(
    ("reference", "test", "expected"),
    [
        ([310], [295], ([[0, 0]], [], [])),  # before the start: a window away from the first reference beat
        ([311], [295], ([], [0], [])),
        ([305], [295, 315], ([[0, 1]], [], [])),  # as near on both sides of the start: the follower
        ([400], [315, 400], ([[0, 1]], [], [])),  # a window behind the start: passed over
        ([400], [316, 400], ([[0, 1]], [], [0])),
        ([310], [305, 315], ([[0, 1]], [], [0])),  # but not where the next one is no nearer
        ([300], [300], ([[0, 0]], [], [])),  # the start itself is compared
        ([400], [300], ([], [0], [0])),
    ],
)
def test_at_the_start_a_window_and_a_tie_are_exact(reference, test, expected):
    assert matched(reference, test, start=300) == expected


@pytest.mark.parametrize(("sample", "counts"), [(500, True), (501, False)])
def test_the_end_itself_is_compared_on_either_side(sample, counts):
    assert matched([sample], [], end=500) == ([], [0] if counts else [], [])
    assert matched([], [sample], end=500) == ([], [], [0] if counts else [])


@pytest.mark.parametrize(("sample", "counts"), [(149, True), (150, False), (280, False), (281, True)])
def test_a_mask_holds_its_first_and_its_last_sample(sample, counts):
    assert matched([sample], [], masks=[(150, 280)]) == ([], [0] if counts else [], [])


def test_masked_beats_count_on_neither_side():
    pairs, missed, extra = matched([100, 200, 300], [100, 210, 250, 300], masks=[(150, 280)])
    assert (pairs, missed, extra) == ([[0, 0], [2, 3]], [], [])


def test_a_test_beat_in_the_mask_may_still_pair_with_a_beat_outside():
    assert matched([100, 285], [275], masks=[(150, 280)]) == ([[1, 0]], [0], [])


def test_samples_that_do_not_ascend_are_refused():
    with pytest.raises(SignalError, match="reference beats must be ascending"):
        matched([100, 90], [100])
    with pytest.raises(SignalError, match="test beats must be ascending"):
        matched([100], [-3, 100])


samples = st.lists(st.integers(0, 2000), max_size=40).map(sorted)


@given(samples, samples)
def test_nothing_is_lost_nothing_is_used_twice_and_pairs_lie_in_the_window(reference, test):
    pairs, missed, extra = matched(reference, test)
    assert sorted([r for r, _ in pairs] + missed) == list(range(len(reference)))
    assert sorted([t for _, t in pairs] + extra) == list(range(len(test)))
    assert all(abs(reference[r] - test[t]) <= 15 for r, t in pairs)
    assert pairs == sorted(pairs)


@given(samples)
def test_a_list_matches_itself(reference):
    unique = sorted(set(reference))
    assert matched(unique, unique) == ([[i, i] for i in range(len(unique))], [], [])
