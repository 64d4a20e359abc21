"""The network over a whole recording in PyTorch: for validation while training, and for pseudo-labels.

It decodes with the same functions as the stream (`decode.peaks`, `decode.rr`); the deployed path is
`edgeecg.pipeline`, on the exported graphs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from edgeecg.data.dataset import Windows
from edgeecg.data.recording import TrainingRecord
from edgeecg.decode import peaks
from edgeecg.decode.rr import rr_of
from edgeecg.model.transformer import Network
from edgeecg.signal.filter import BandPass
from edgeecg.specs import HEADS

__all__ = ["Found", "annotate_records", "annotate_rows", "beat_inputs", "found_in"]

ROWS = 8  # recordings that go through the network together: more gain nothing on a CPU


class Found(NamedTuple):
    """Beats of one lead: ``place`` in model samples of the network's input; logits of class and rhythm."""

    place: NDArray[np.float64]
    classes: NDArray[np.float32]
    rhythm: NDArray[np.float32]
    inputs: NDArray[np.float32]


def beat_inputs(
    embedding: NDArray[np.float32], place: NDArray[np.float64], patch: int, delay: int
) -> NDArray[np.float32]:
    """Input of the beat graph, ``(beats, 2 d + 8)``, for beats that all have their decision token."""
    token = (place // patch).astype(np.int64)
    return np.concatenate([embedding[token], embedding[token + delay], rr_of(place, patch, delay)], axis=1)


@torch.no_grad()
def annotate_rows(network: Network, signal: NDArray[np.float32], threshold: float = 0.5) -> list[Found]:
    """Find and classify the beats of each row of ``(rows, n)`` network input (front end done)."""
    tokens = signal.shape[1] // network.spec.patch
    heads, embedding = network.token(torch.from_numpy(signal[:, : tokens * network.spec.patch]))
    return found_in(network, heads.numpy(), embedding.numpy(), threshold)


@torch.no_grad()
def found_in(
    network: Network, heads: NDArray[np.float32], embedding: NDArray[np.float32], threshold: float
) -> list[Found]:
    """Find and classify the beats of each row from its tokens, ``(rows, T, 10)`` and ``(rows, T, d)``."""
    spec, (rows, tokens) = network.spec, heads.shape[:2]
    scores = torch.sigmoid(torch.from_numpy(heads[..., 0])).numpy()
    found, _ = peaks.step(np.pad(scores, ((0, 0), (0, peaks.REACH))), peaks.initial(rows), threshold)
    keep = (found.column >= 0) & (found.column + spec.delay < tokens)
    row, token = found.row[keep], found.column[keep]
    offset = np.clip(heads[row, token, HEADS.index("offset")], 0.0, peaks.INSIDE)
    place = spec.patch * (token + offset).astype(np.float64)
    mine = [np.flatnonzero(row == number) for number in range(rows)]
    inputs = [beat_inputs(embedding[i], place[at], spec.patch, spec.delay) for i, at in enumerate(mine)]
    longest = max(1, *(len(at) for at in mine))  # a row of nothing where no row has a beat
    # the beat encoder looks back only: what fills up the shorter rows changes nothing
    padded = np.stack([np.pad(rows_in, ((0, longest - len(rows_in)), (0, 0))) for rows_in in inputs])
    classes, rhythm = (output.numpy() for output in network.beat(torch.from_numpy(padded)))
    return [
        Found(place[at], classes[i, : len(at)], rhythm[i, : len(at)], inputs[i]) for i, at in enumerate(mine)
    ]


def annotate_records(network: Network, windows: Windows, records: Sequence[TrainingRecord]) -> list[Found]:
    """Beats of each record's first lead, placed in model samples from the record's start."""
    network.eval()
    patch, shift = network.spec.patch, BandPass(windows.signal).latency
    alike: dict[int, list[int]] = {}
    for number, record in enumerate(records):
        alike.setdefault(record.signal.shape[1] // patch * patch, []).append(number)
    found: dict[int, Found] = {}
    for length, numbers in alike.items():  # only of equal length: what follows the end would be seen ahead
        for begin in range(0, len(numbers), ROWS):
            batch = numbers[begin : begin + ROWS]
            leads = np.stack([records[number].signal[0, :length] for number in batch]).astype(np.float64)
            found |= zip(batch, annotate_rows(network, windows.front_end(leads)), strict=True)
    return [
        found[number]._replace(place=np.maximum(found[number].place - shift, 0.0))
        for number in range(len(records))
    ]
