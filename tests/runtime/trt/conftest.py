"""A small bundle with real graphs, and engines on the fake device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from edgeecg.bundle import Bundle
from edgeecg.runtime.executor import Executor
from edgeecg.runtime.ort import OrtExecutor
from edgeecg.runtime.trt import recipes
from edgeecg.runtime.trt.build import Plan
from edgeecg.runtime.trt.executor import TrtExecutor
from edgeecg.runtime.trt.settings import Settings
from tests.runtime.trt.fakes import FakeDevice, fake_library


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    torch = pytest.importorskip("torch", reason="needs the extra train")
    from edgeecg.deploy.build import build_bundle
    from edgeecg.model.presets import preset
    from edgeecg.model.transformer import Network

    torch.manual_seed(0)
    path: Path = tmp_path_factory.mktemp("bundle") / "tiny.edgeecg"
    return build_bundle(Network(preset("nano")), path, "tiny")


def plan_of(bundle: Bundle, name: str) -> Plan:
    """A plan as the fake runtime takes it: the ONNX itself."""
    model = bundle.graph(name)  # type: ignore[arg-type]
    with OrtExecutor(model) as reference:
        return Plan(model, recipes(bundle)[name], reference.inputs, reference.outputs)  # type: ignore[index]


def zeros_for(executor: Executor, rows: int, length: int) -> dict[str, np.ndarray]:
    """Inputs of a graph, all zero."""
    shapes = {
        spec.name: (rows, *(n if isinstance(n, int) else length for n in spec.shape[1:]))
        for spec in executor.inputs
    }
    return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}


@pytest.fixture
def device() -> FakeDevice:
    return FakeDevice()


@pytest.fixture
def open_fake(bundle: Bundle, device: FakeDevice) -> Iterator[Callable[..., TrtExecutor]]:
    """Opens a graph of the bundle on the fake device; checks at the end that nothing is left."""
    opened: list[TrtExecutor] = []

    def open_one(name: str = "token", on: FakeDevice | None = None, **settings: object) -> TrtExecutor:
        where = on or device
        executor = TrtExecutor(fake_library(where), plan_of(bundle, name), where, Settings(**settings))  # type: ignore[arg-type]
        opened.append(executor)
        return executor

    yield open_one
    for executor in opened:
        executor.close()
    assert not device.owned, "something on the device was not freed"
    assert device.depth == 0, "a context was pushed and not popped"
