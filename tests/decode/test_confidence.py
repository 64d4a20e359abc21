"""The probability told: corrected by label, the label never, and nothing where a bundle says nothing."""

from __future__ import annotations

import numpy as np
import pytest

from edgeecg.decode.confidence import Confidence
from edgeecg.specs import BEAT_LABELS

S = BEAT_LABELS.index("S")


def test_without_lines_nothing_changes() -> None:
    probability = np.array([0.0, 0.4, 1.0], np.float32)
    assert Confidence({})(np.array([0, S, 1]), probability) is probability


def test_a_line_moves_its_own_label_only() -> None:
    probability = np.array([0.9, 0.9, 0.5], np.float32)
    told = Confidence({"S": (0.5, -1.0)})(np.array([0, S, S]), probability)
    odds = 0.5 * np.log(9) - 1
    np.testing.assert_allclose(told, [0.9, 1 / (1 + np.exp(-odds)), 1 / (1 + np.e)], atol=1e-6)
    assert told.dtype == np.float32


@pytest.mark.parametrize("extreme", [0.0, 1.0])
def test_certainty_stays_finite(extreme: float) -> None:
    told = Confidence({"S": (3.0, 1.0)})(np.array([S]), np.array([extreme], np.float32))
    assert 0 <= told[0] <= 1


def test_more_stays_more() -> None:
    probability = np.linspace(0.01, 0.99, 50).astype(np.float32)
    assert (np.diff(Confidence({"S": (0.4, -2.0)})(np.full(50, S), probability)) > 0).all()
