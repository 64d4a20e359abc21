"""Losses of two beats or two tokens, worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from edgeecg.data.recording import UNKNOWN
from edgeecg.model.losses import COLUMN, beat_losses, pooled, token_losses
from edgeecg.specs import HEADS

SIX_SECONDS = 96  # tokens of 62.5 ms
EVEN = torch.ones(5)


def entropy(odds: float, target: int) -> float:
    """Binary cross-entropy of one logit."""
    return math.log1p(math.exp(-odds if target else odds))


@pytest.mark.parametrize(("in_af", "false"), [(0, 0.3 + 0.2), (1, 0.3)])
def test_in_normal_rhythm_no_beat_is_s_or_v_and_in_fibrillation_none_is_s(in_af: int, false: float) -> None:
    """The second beat has a label of its own: the record's says nothing of it."""
    classes = torch.tensor([[[0.4, 0.3, 0.2, 0.06, 0.04], [0.01, 0.9, 0.07, 0.01, 0.01]]]).log()  # N S V F P
    batch = {
        "beat_class": torch.tensor([[UNKNOWN, 1]]),
        "beat_rhythm": torch.full((1, 2), UNKNOWN),
        "beat_present": torch.ones(1, 2),
        "beat_weak": torch.tensor([[in_af, UNKNOWN]]),
        "weak_rhythm": torch.tensor([UNKNOWN]),
    }
    found = beat_losses(classes, torch.zeros(1, 2, 2), batch, EVEN)
    assert float(found["weak"]) == pytest.approx(-math.log(1 - false), rel=1e-5)


def test_the_rhythm_of_a_record_is_asked_of_its_mean_logit() -> None:
    """Of the third record nothing is known, of the fourth nothing counts."""
    logits = torch.tensor([[1.0, 3.0], [9.0, -4.0], [5.0, 5.0], [5.0, 5.0]])
    counted = torch.tensor([[1, 1], [0, 1], [1, 1], [0, 0]])
    found = pooled(logits, counted, torch.tensor([1, 0, UNKNOWN, 0]))
    assert float(found) == pytest.approx((entropy(2.0, 1) + entropy(-4.0, 0)) / 2, rel=1e-5)


def nothing_labelled(tokens: int) -> dict[str, Tensor]:
    unknown = torch.full((1, tokens), UNKNOWN)
    return {
        **dict.fromkeys(("beat", "shape", "p_wave", "rhythm", "quality"), unknown),
        "offset": torch.zeros(1, tokens),
        "seen": torch.ones(1, tokens),
        "weak_rhythm": torch.tensor([UNKNOWN]),
    }


def test_the_rhythm_of_a_record_is_asked_of_tokens_only_that_have_seen_six_seconds() -> None:
    tokens = SIX_SECONDS + 2
    heads = torch.zeros(1, tokens, len(HEADS))
    heads[..., COLUMN["af"]] = torch.tensor([-50.0] * SIX_SECONDS + [0.5, 1.5])
    batch = nothing_labelled(tokens) | {"weak_rhythm": torch.tensor([1])}
    assert float(token_losses(heads, batch, EVEN)["rhythm"]) == pytest.approx(entropy(1.0, 1), rel=1e-5)
    batch["seen"][:, -1] = 0  # and what no recording fills does not count
    assert float(token_losses(heads, batch, EVEN)["rhythm"]) == pytest.approx(entropy(0.5, 1), rel=1e-5)
