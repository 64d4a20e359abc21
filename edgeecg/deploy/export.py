"""Both step graphs as ONNX, and the proof that they compute what torch computes.

``torch.onnx.export(dynamo=True)`` gives a correct graph of the step form, but one of 304 nodes for the
small token encoder where :mod:`edgeecg.deploy.step_graph` writes 230, and half as slow again for one patient.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from edgeecg.bundle import GraphName
from edgeecg.deploy.graph import GraphWriter
from edgeecg.deploy.step_graph import LONGEST, write_beat, write_token
from edgeecg.errors import BackendError, ConfigError
from edgeecg.model.transformer import Network
from edgeecg.runtime.ort import OrtExecutor

__all__ = ["LONGEST", "TOLERANCE", "Exported", "check", "export", "write_graph"]

TOLERANCE = 1e-5
"""Largest difference from torch's whole form, as a share of the output's range (at least 1)."""

CUTS = ((8, 8, 8, 8, 8, 8, 8, 8), (1, 2, 70, 8, 5, 8))  # lengths of the steps that are checked


@dataclass(frozen=True)
class Exported:
    """Both graphs, and their largest difference from torch as a share of each output's range."""

    token: bytes
    beat: bytes
    error: float


def export(network: Network) -> Exported:
    """Write both step graphs and check them against torch.

    Raises
    ------
    ConfigError
        The network's positions cannot stream.
    BackendError
        A graph does not reproduce torch.
    """
    network = network.eval()
    token = write_graph(network, "token").SerializeToString()
    beat = write_graph(network, "beat").SerializeToString()
    return Exported(token, beat, max(check(network, "token", token), check(network, "beat", beat)))


def write_graph(network: Network, name: GraphName) -> onnx.ModelProto:
    """One step graph, in FP32."""
    if network.spec.positions not in ("rotary", "none"):
        raise ConfigError(
            f"{network.spec.positions} positions cannot stream: train with positions = 'rotary'"
        )
    writer = GraphWriter(name)
    (write_token if name == "token" else write_beat)(writer, network)
    return writer.model(f"EdgeECG {name} encoder, step form", longest=str(LONGEST))


def check(network: Network, name: GraphName, model: bytes) -> float:
    """Run a graph in steps beside torch's pass over the whole: one row and several, short and long steps.

    Returns
    -------
    The largest difference, as a share of the output's largest absolute value (at least 1).

    Raises
    ------
    BackendError
        It is larger than :data:`TOLERANCE`.
    """
    worst = 0.0
    generator = torch.Generator().manual_seed(0)
    with OrtExecutor(model) as executor:
        for rows, cuts in zip((1, 3), CUTS, strict=True):
            token = (rows, network.spec.patch * sum(cuts))
            shape = token if name == "token" else (rows, sum(cuts), network.spec.beat_inputs)
            x = torch.randn(shape, generator=generator)
            worst = float(np.maximum(worst, _difference(network, name, executor, x, cuts)))
    if not worst <= TOLERANCE:  # NaN is not
        raise BackendError(
            f"the exported {name} graph departs from torch by {worst:.1e} of its range: do not use it"
        )
    return worst


def _difference(
    network: Network, name: GraphName, executor: OrtExecutor, x: torch.Tensor, cuts: Sequence[int]
) -> float:
    """Largest difference between the graph in steps of ``cuts`` positions and torch's whole form."""
    scale, lag = (network.spec.patch, network.spec.token.lag) if name == "token" else (1, 0)
    with torch.no_grad():
        whole = (network.token if name == "token" else network.beat)(x)
    state = np.zeros((len(x), int(executor.inputs[1].shape[1])), np.float32)
    steps: list[list[NDArray[np.float32]]] = [[], []]
    begin = 0
    for length in cuts:
        piece = x[:, scale * begin : scale * (begin + length)].numpy()
        *outputs, state = executor.run({executor.inputs[0].name: piece, "state": state}).values()
        for collected, output in zip(steps, outputs, strict=True):
            collected.append(output)
        begin += length
    worst = 0.0
    for collected, wanted in zip(steps, whole, strict=True):
        got, expected = np.concatenate(collected, axis=1)[:, lag:], wanted.numpy()[:, : begin - lag]
        away = np.max(np.abs(got - expected)) / max(1.0, float(np.max(np.abs(expected))))
        worst = float(np.maximum(worst, away))
    return worst
