"""The network over a whole recording in PyTorch: for validation while training, and for pseudo-labels.

It decodes with the same functions as the stream (`decode.peaks`, `decode.rr`); the deployed path is
`edgeecg.pipeline`, on the exported graphs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from edgeecg.decode import peaks
from edgeecg.decode.rr import past_intervals, rr_features
from edgeecg.model.transformer import Network
from edgeecg.specs import HEADS, MODEL_FS

__all__ = ["Found", "annotate_grid", "beat_inputs"]


class Found(NamedTuple):
    """Beats of one lead: ``place`` in model samples of the network's input; logits of class and rhythm."""

    place: NDArray[np.float64]
    mass: NDArray[np.float32]
    classes: NDArray[np.float32]
    rhythm: NDArray[np.float32]
    token_af: NDArray[np.float32]
    inputs: NDArray[np.float32]


def beat_inputs(
    embedding: NDArray[np.float32], place: NDArray[np.float64], patch: int, delay: int
) -> NDArray[np.float32]:
    """Input of the beat graph, ``(beats, 2 d + 8)``, for beats that all have their decision token."""
    token = (place // patch).astype(np.int64)
    following = np.r_[token[1:], np.iinfo(np.int64).max // 2]  # REACH is added to it
    known = following + peaks.REACH <= token + delay
    gap = np.r_[np.diff(place), np.inf] / MODEL_FS
    waited = np.where(known, gap, delay * patch / MODEL_FS)
    features = rr_features(past_intervals(place / MODEL_FS), waited, known)
    return np.concatenate([embedding[token], embedding[token + delay], features], axis=1)


@torch.no_grad()
def annotate_grid(network: Network, signal: NDArray[np.float32], threshold: float = 0.5) -> Found:
    """Find and classify the beats of ``(n,)`` network input (front end done)."""
    spec = network.spec
    tokens = len(signal) // spec.patch
    heads, embedding = network.token(torch.from_numpy(signal[None, : tokens * spec.patch]))
    column = HEADS.index("offset")
    scores = torch.sigmoid(heads[..., 0]).numpy()
    found, _ = peaks.step(np.pad(scores, ((0, 0), (0, peaks.REACH))), peaks.initial(1), threshold)
    token = found.column
    keep = (token >= 0) & (token + spec.delay < tokens)
    token, mass = token[keep], found.mass[keep]
    place = spec.patch * (token + np.clip(heads[0, token, column].numpy(), 0.0, 0.999)).astype(np.float64)
    inputs = beat_inputs(embedding[0].numpy(), place, spec.patch, spec.delay)
    classes, rhythm = network.beat(torch.from_numpy(inputs[None]))
    af = heads[0, token, HEADS.index("af")].numpy()
    return Found(place, mass, classes[0].numpy(), rhythm[0].numpy(), af, inputs)
