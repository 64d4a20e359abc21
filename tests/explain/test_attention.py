"""Both ways to follow attention, worked out by hand: three tokens, two layers of two heads."""

from __future__ import annotations

import torch

from edgeecg.explain.attention import rollout, weighted

LOWER = torch.tensor([[[1.0, 0, 0], [1, 0, 0], [0, 1, 0]], [[1, 0, 0], [0, 1, 0], [0, 0, 1]]])
UPPER = torch.tensor([[[1, 0, 0], [0.5, 0.5, 0], [0, 0, 1]], [[1, 0, 0], [0, 1, 0], [1, 0, 0]]])


def test_rollout_is_half_attention_and_half_what_goes_past_it() -> None:
    """Means of heads: 1 0 0, .5 .5 0, 0 .5 .5 below and 1 0 0, .25 .75 0, .5 0 .5 above."""
    below = torch.tensor([[1, 0, 0], [0.25, 0.75, 0], [0, 0.25, 0.75]])
    above = torch.tensor([[1, 0, 0], [0.125, 0.875, 0], [0.25, 0, 0.75]])
    flow = rollout([LOWER, UPPER], [])
    torch.testing.assert_close(flow, above @ below)
    torch.testing.assert_close(flow[2], torch.tensor([0.25, 0.1875, 0.5625]))


def test_weighted_attention_counts_what_raises_the_label_and_adds_it_to_what_was_there() -> None:
    """What lowers it (-1 below, -2 above) is nothing by itself: it takes nothing off the other head's."""
    lower, upper = torch.zeros(2, 3, 3), torch.zeros(2, 3, 3)
    lower[0, 1, 0], lower[0, 2, 1], lower[1, 2, 2] = 2, -1, 4
    upper[0, 1, 1], upper[1, 1, 1], upper[1, 2, 0], upper[0, 2, 2] = -2, 3, 1, 2
    below = torch.tensor([[1.0, 0, 0], [1, 1, 0], [0, 0, 3]])  # 1 + mean of heads
    above = torch.tensor([[0, 0, 0], [0, 1.5, 0], [0.5, 0, 1]])
    flow = weighted([LOWER, UPPER], [lower, upper])
    torch.testing.assert_close(flow, below + above @ below)
    torch.testing.assert_close(flow, torch.tensor([[1, 0, 0], [2.5, 2.5, 0], [0.5, 0, 6]]))
