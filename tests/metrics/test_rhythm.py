"""Episodes, beats and records of AF, scored by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edgeecg.errors import SignalError
from edgeecg.metrics.beats import Score
from edgeecg.metrics.rhythm import (
    EpisodeScore,
    beat_score,
    called_af,
    compare,
)

FS = 10


def test_durations_and_episodes():
    found = compare([(100, 200), (300, 400), (600, 700)], [(150, 350), (500, 520)], FS, end=1000)
    assert found == EpisodeScore(found=2, missed=1, right=1, wrong=1, overlap=10.0, reference=30.0, test=22.0)
    assert found.episode_sensitivity == pytest.approx(2 / 3)
    assert found.episode_predictivity == 0.5


def test_only_what_is_compared_counts():
    found = compare([(100, 400)], [(200, 900)], FS, start=300, end=500)
    assert found == EpisodeScore(found=1, right=1, overlap=10.0, reference=10.0, test=20.0)


def test_reference_flutter_is_cut_out_of_test_episodes():
    whole = compare([], [(100, 200)], FS, end=1000, exclude=[(50, 300)])
    assert whole == EpisodeScore()
    parts = compare([(100, 150)], [(100, 400)], FS, end=1000, exclude=[(150, 300)])
    assert parts == EpisodeScore(found=1, right=1, overlap=5.0, reference=5.0, test=15.0)
    tail = compare([], [(100, 200)], FS, end=1000, exclude=[(150, 300)])
    assert tail == EpisodeScore(wrong=1, test=5.0)


def test_scores_add_up_and_nothing_is_none():
    one = compare([(0, 100)], [(0, 100)], FS, end=100)
    assert (one + one).overlap == 20.0
    assert (one + EpisodeScore()) == one
    assert EpisodeScore().episode_predictivity is None


def test_by_beat():
    beats = np.arange(0, 1000, 100)
    assert beat_score(beats, [(200, 500)], [(300, 700)]) == Score(hits=2, misses=1, false=2)
    assert beat_score(beats, [(200, 500)], [(300, 700)], [(600, 900)]) == Score(2, 1, 1)


def test_the_rule_for_a_record():
    beats = np.arange(0, 1000, 100)
    assert called_af(beats, [(0, 500)])
    assert not called_af(beats, [(0, 400)])
    assert called_af(beats, [(0, 400)], fraction=0.4)
    assert not called_af(np.array([], np.int64), [(0, 400)])
    with pytest.raises(SignalError, match="share of beats"):
        called_af(beats, [], fraction=0)
