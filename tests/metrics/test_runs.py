"""Runs of V, scored by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edgeecg.errors import SignalError
from edgeecg.metrics.beats import BeatList
from edgeecg.metrics.runs import Runs, RunScore, compare

FS = 100


def beats(text, shift=0):
    at = [100 * (i + 1) + shift for i, letter in enumerate(text) if letter != "."]
    return BeatList(np.array(at, np.int64), np.array(list(text.replace(".", "")), np.str_))


def runs(reference, test, **options):
    return compare(beats(reference), beats(test, shift=4), FS, **options)


def cells(matrix):
    return {(int(r), int(c)): int(matrix[r, c]) for r, c in np.argwhere(matrix)}


def test_equal_runs_lie_on_the_diagonal():
    found = runs("NVNVVNVVVVNVVVVVVVVN", "NVNVVNVVVVNVVVVVVVVN")
    assert cells(found.sensitivity) == cells(found.predictivity) == {(k, k): 1 for k in (1, 2, 4, 6)}
    assert found.score("couplet") == RunScore(1, 0, 1, 0)
    assert found.score("short run") == RunScore(1, 0, 1, 0)
    assert found.score("long run") == RunScore(1, 0, 1, 0)


def test_a_run_torn_apart_counts_its_longest_part():
    found = runs("NVVVVVN", "NVVNVVN")
    assert cells(found.sensitivity) == {(5, 2): 1}
    assert cells(found.predictivity) == {(2, 2): 2}  # what lies around each test run, no more
    assert found.score("short run") == RunScore(0, 1, 0, 0)
    assert found.score("couplet") == RunScore(0, 0, 2, 0)


def test_a_longer_test_run_finds_the_couplet_but_is_wrong_itself():
    found = runs("NVVNN", "NVVVN")
    assert found.score("couplet") == RunScore(1, 0, 0, 0)
    assert found.score("short run") == RunScore(0, 0, 0, 1)


def test_misses_and_inventions():
    assert runs("NVVN", "NNNN").score("couplet") == RunScore(0, 1, 0, 0)
    assert runs("NNNN", "NVVN").score("couplet") == RunScore(0, 0, 0, 1)


def test_fusion_extends_a_run_and_every_other_beat_ends_it():
    assert cells(runs("NVFVN", "NVVVN").sensitivity) == {(3, 3): 1}
    assert cells(runs("NVSVQVN", "NNNNNNN").sensitivity) == {(1, 0): 3}


def test_flutter_is_a_run_of_the_longest_kind():
    found = runs("NN......NN", "NNVVVVVVNN", masks=[(290, 820)])
    assert found.score("long run") == RunScore(1, 0, 1, 0)
    assert runs("NN......NN", "NN......NN", masks=[(290, 820)]).score("long run") == RunScore(0, 1, 0, 0)


def test_only_what_is_compared_counts_and_matrices_add_up():
    found = runs("NVVNNVVN", "NVVNNVVN", start=450)
    assert cells(found.sensitivity) == {(2, 2): 1}
    assert cells((found + found + Runs.empty()).predictivity) == {(2, 2): 2}
    assert cells(runs("NVVNNVVN", "NVVNNVVN", end=450).sensitivity) == {(2, 2): 1}


def test_unknown_kinds_are_refused():
    with pytest.raises(SignalError, match="no kind of run called 'triplet'"):
        Runs.empty().score("triplet")
