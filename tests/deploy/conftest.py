"""What tests of deployment share: networks of random weights that see beats, graph sets, windows."""

from __future__ import annotations

import pytest
import torch

from edgeecg.deploy.build import export_graphs
from edgeecg.deploy.calibrate import Calibration, calibrate
from edgeecg.deploy.graphset import GraphSet
from edgeecg.deploy.windows import Recipe, WindowList, choose_windows
from edgeecg.io.record import Record
from edgeecg.model.presets import preset
from edgeecg.model.transformer import Network
from edgeecg.specs import ModelSpec, StackSpec

torch.set_num_threads(1)

TINY = ModelSpec(
    token=StackSpec(dim=16, layers=2, heads=2, ffn=32, left=6, right=2),
    beat=StackSpec(dim=16, layers=2, heads=2, ffn=16, left=5, right=0),
    stem=(4, 8),
)
"""Small, but with every feature: several layers and heads, look-ahead, caches that fill quickly."""


def make_network(spec: ModelSpec | str, seed: int = 0) -> Network:
    """Random weights, larger than a fresh network's, so that labels vary from beat to beat."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = Network(preset(spec) if isinstance(spec, str) else spec).eval()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter *= 1.5
            network.beat.enter.weight *= 4
    return network


@pytest.fixture(scope="session")
def network() -> Network:
    return make_network(TINY)


@pytest.fixture(scope="session")
def graphs(network: Network) -> GraphSet:
    return export_graphs(network, "tiny")


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    return Recipe(windows=6, seconds=10.0)


@pytest.fixture(scope="session")
def windows(graphs: GraphSet, recipe: Recipe) -> tuple[WindowList, list[Record]]:
    return choose_windows(recipe, graphs.signal)


@pytest.fixture(scope="session")
def calibration(graphs: GraphSet, recipe: Recipe, windows: tuple[WindowList, list[Record]]) -> Calibration:
    return calibrate(graphs, recipe, *windows)
