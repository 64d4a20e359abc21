"""S that comes too late to be one, in rhythms written down."""

from __future__ import annotations

import numpy as np
import pytest

from edgeecg.decode.premature import NO_RUN, USUAL, late
from edgeecg.decode.rr import past_intervals
from edgeecg.decode.supraventricular import alternating
from edgeecg.specs import BEAT_LABELS

N, S, V = (BEAT_LABELS.index(label) for label in "NSV")
STEADY = [0.8] * 12


def told(gaps: list[float], labels: str, pieces: int = 1) -> str:
    """The labels of a rhythm after the rule; those of the steady beats before are N."""
    times = np.cumsum([0.0, *STEADY, *gaps])
    intervals = past_intervals(times)
    given = np.array([N] * (len(STEADY) + 1) + [BEAT_LABELS.index(label) for label in labels])
    bigeminal, before, after = alternating(intervals), NO_RUN, given.copy()
    for part in np.array_split(np.arange(len(given)), pieces):
        places, before = late(given[part], intervals[part], bigeminal[part], before)
        after[part[places]] = N
    return "".join(BEAT_LABELS[label] for label in after[len(STEADY) + 1 :])


@pytest.mark.parametrize("pieces", [1, 3, 13])
@pytest.mark.parametrize(
    ("gaps", "labels", "expected"),
    [
        ([0.6, 0.9], "SN", "SN"),  # early, and a pause
        ([0.78, 0.8], "SN", "NN"),  # on time
        (
            [0.5, 0.45, 0.45, 0.46, 0.9],
            "SSSSN",
            "SSSSN",
        ),  # a run, early against what was before
        ([0.5, 0.78, 0.79], "SSS", "SNN"),  # the run is over, whatever the network says
        ([0.5, 0.5, 0.9, 0.78], "SVSS", "SVNN"),  # a V ends no run, a slow beat does
        ([0.4] * 40, "S" * 19 + "N" + "S" * 20, "S" * 19 + "N" + "S" * 20),  # though one of them is told N
        ([0.8 * 0.99**n for n in range(60)], "S" * 60, "N" * 60),  # a sinus that quickens to 135 a minute
        ([0.5] * 30, "S" * 30, "S" * 30),  # and a run that lasts stays one, past what the median knows
        ([1.4, 0.7, 0.7, 0.7] * 8, "NSSS" * 8, "NSSS" * 8),  # a sick sinus: what is usual are S, not pauses
        ([1.4, *[0.7] * 20] * 2, "N" + "S" * 41, "N" + "S" * 20 + "N" + "S" * 20),  # of any length
        ([1.4, *[0.8] * 20], "N" + "S" * 20, "N" * 21),  # one pause, and the sinus as before
        ([1.4, 0.7, 0.7, 0.7] * 8, "NNSS" * 8, "NNNN" + "NNSS" * 7),  # the first of a run is not heard
        ([1.2, 0.7, 0.7, 0.7] * 8, "NNSS" * 8, "NNNN" * 8),  # that may be a sinus, where pauses are short
        ([0.8 * 0.95**n for n in range(12)], "S" * 12, "N" * 12),  # no step down, though it quickens soon
    ],
)
def test_an_s_comes_early(gaps: list[float], labels: str, expected: str, pieces: int) -> None:
    assert told(gaps, labels, pieces) == expected


def test_bigeminy_is_left_to_its_own_rule() -> None:
    assert told([0.74, 0.84] * 8, "SN" * 8)[-6:] == "SNSNSN"


def test_a_stream_that_begins_within_a_run_hears_it_until_it_knows_nothing_else() -> None:
    intervals = past_intervals(np.cumsum([0.4] * 41))
    places, _ = late(np.full(41, S), intervals, np.zeros(41, bool), NO_RUN)
    assert places == list(range(USUAL + 1, 41))


def test_where_too_little_is_known_the_network_is_believed() -> None:
    intervals = past_intervals(np.cumsum([0.8] * USUAL))
    places, before = late(np.full(USUAL, S), intervals, np.zeros(USUAL, bool), NO_RUN)
    assert places == []
    assert np.isnan(before)
    assert late(np.empty(0, np.intp), intervals[:0], np.empty(0, bool), 0.8) == ([], 0.8)
