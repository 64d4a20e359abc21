"""Pre-training without labels: a token encoder learns to say what stood in patches that were hidden from it.

What `tools/ablations.py pretraining` compares with. Spans of patches are set to zero, as if the lead stood
still, and a linear layer on the embedding gives their samples back (masked autoencoders, He et al. 2022, on a
signal).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor, nn

from edgeecg.data.dataset import Windows
from edgeecg.model.transformer import Network

__all__ = ["hide", "pretrain"]

SHARE = 0.3  # of the patches that are hidden
SPAN = (2, 12)  # patches of a hidden span: an eighth to three quarters of a second
LARGEST = 4.0  # levels: no artefact is worth more than a QRS


def hide(rows: int, tokens: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Patches ``(rows, tokens)`` that are hidden: whole spans, so that neighbours do not give them away."""
    hidden = np.zeros((rows, tokens), bool)
    for row in hidden:
        while row.mean() < SHARE:
            begin = int(rng.integers(tokens))
            row[begin : begin + int(rng.integers(*SPAN))] = True
    return hidden


def pretrain(
    network: Network, windows: Windows, steps: int, rate: float = 3e-3
) -> tuple[dict[str, Tensor], list[float]]:
    """Train the token encoder on the windows' signals alone; gives its weights, and the loss of each step.

    Parameters
    ----------
    network : Network
        Its token encoder is trained in place.
    windows : Windows
        Of recordings; labels are not looked at.
    steps : int
        Batches.
    """
    token, patch = network.token.train(), network.spec.patch
    back = nn.Linear(network.spec.token.dim, patch)
    optimizer = torch.optim.AdamW([*token.parameters(), *back.parameters()], lr=rate, weight_decay=0.05)
    losses = []
    for step in track(range(steps), "pre-training"):
        for group in optimizer.param_groups:
            group["lr"] = (
                rate * min(1.0, (step + 1) / (0.05 * steps)) * (1 + math.cos(math.pi * step / steps)) / 2
            )
        signal = torch.from_numpy(np.ascontiguousarray(windows(step)["signal"]))
        patches = signal.reshape(len(signal), -1, patch)
        rng = np.random.default_rng([windows.seed, step, 1])
        hidden = torch.from_numpy(hide(*patches.shape[:2], rng))
        seen = torch.where(hidden[..., None], 0.0, patches).reshape(signal.shape)
        told = back(token(seen)[1])
        loss = nn.functional.smooth_l1_loss(told[hidden], patches.clamp(-LARGEST, LARGEST)[hidden])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return {f"token.{name}": value for name, value in token.state_dict().items()}, losses
