"""A run of V goes on while its beats go on alike, and ends with the first that does not."""

from __future__ import annotations

import numpy as np
import pytest

from edgeecg.decode.rr import HISTORY
from edgeecg.decode.ventricular import LEAST, alike, sustained
from edgeecg.specs import BEAT_LABELS

N, S, V = (BEAT_LABELS.index(label) for label in "NSV")


def intervals(last: float, before: float = 0.45) -> np.ndarray:
    return np.array([*[before] * HISTORY, last])


@pytest.mark.parametrize(
    ("last", "before", "shape", "expected"),
    [
        (0.45, 0.45, 0.5, True),
        (0.50, 0.45, 0.5, True),
        (0.55, 0.45, 0.5, False),  # slower than the run: it has ended
        (0.35, 0.45, 0.5, False),  # faster
        (0.45, 0.45, 0.01, False),  # narrow: a sinus tachycardia as fast
        (0.70, 0.70, 0.5, False),  # slow runs are told by the network
        (0.45, np.nan, 0.5, False),  # behind a gap nothing is known of a run
    ],
)
def test_a_beat_is_alike(last: float, before: float, shape: float, expected: bool) -> None:
    assert alike(intervals(last, before), shape) is expected


def test_a_run_is_kept_until_a_beat_is_not_alike() -> None:
    labels = [V] * LEAST + [N, S, S, N] + [V, N, N]
    odd = LEAST + 3
    kept, run = sustained(labels, 0, lambda place: place != odd)
    assert kept == [LEAST, LEAST + 1, LEAST + 2]
    assert run == 0


def test_short_runs_are_left_alone() -> None:
    assert sustained([V] * (LEAST - 1) + [N, V], 0, lambda _: True) == ([], 1)


def test_a_run_goes_on_from_step_to_step() -> None:
    labels = [N, *[V] * LEAST, S, S, N]
    whole = sustained(labels, 0, lambda _: True)
    for cut in range(len(labels) + 1):
        first, run = sustained(labels[:cut], 0, lambda _: True)
        second, run = sustained(labels[cut:], run, lambda _: True)
        assert ([*first, *(cut + place for place in second)], run) == whole
