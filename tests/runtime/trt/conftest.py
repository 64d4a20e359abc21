"""A small bundle with real graphs, and engines on the fake device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeecg.bundle import Bundle
from edgeecg.runtime import trt
from edgeecg.runtime.executor import Executor
from edgeecg.runtime.ort import OrtExecutor
from edgeecg.runtime.trt import Options, recipes
from edgeecg.runtime.trt.build import Plan, Recipe
from edgeecg.runtime.trt.executor import TrtExecutor
from edgeecg.runtime.trt.settings import Settings
from tests.runtime.trt.fakes import FakeDevice, fake_library


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch = pytest.importorskip("torch", reason="needs the extra train")
    from edgeecg.deploy.build import build_bundle
    from edgeecg.model.presets import preset
    from edgeecg.model.transformer import Network

    torch.manual_seed(0)
    path: Path = tmp_path_factory.mktemp("bundle") / "tiny.edgeecg"
    build_bundle(Network(preset("nano")), path, "tiny")
    return path


@pytest.fixture(scope="session")
def bundle(tiny: Path) -> Bundle:
    return Bundle.open(tiny)


def plan_of(bundle: Bundle, name: str, hop_tokens: int = 8) -> Plan:
    """A plan as the fake runtime takes it: the ONNX itself."""
    model = bundle.graph(name)  # type: ignore[arg-type]
    with OrtExecutor(model) as reference:
        recipe = recipes(bundle, Options(hop_tokens=hop_tokens))[name]  # type: ignore[index]
        return Plan(model, recipe, reference.inputs, reference.outputs)


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

    def open_one(
        name: str = "token", on: FakeDevice | None = None, hop_tokens: int = 8, **settings: object
    ) -> TrtExecutor:
        where, plan = on or device, plan_of(bundle, name, hop_tokens)
        executor = TrtExecutor(fake_library(where), plan, where, Settings(**settings))  # type: ignore[arg-type]
        opened.append(executor)
        return executor

    yield open_one
    for executor in opened:
        executor.close()
    assert not device.owned, "something on the device was not freed"
    assert device.depth == 0, "a context was pushed and not popped"


class Workshop:
    """Stands in for TensorRT and CUDA; counts what is built."""

    def __init__(self, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bundle = bundle
        self.devices: list[FakeDevice] = []
        self.built: list[bytes] = []
        self.recipes: list[Recipe] = []
        self.timings: list[bytes] = []
        monkeypatch.setattr(trt, "open_device", self.open_device)
        monkeypatch.setattr(trt, "load_library", lambda: fake_library(self.devices[-1]))
        monkeypatch.setattr(trt, "build_plan", self.build)
        self.open_device()

    def open_device(self, *arguments: Any) -> FakeDevice:
        self.devices.append(FakeDevice())
        return self.devices[-1]

    def build(
        self, library: Any, model: bytes, recipe: Recipe, progress: Any, timing: bytes, gpu: Any, active: Any
    ) -> Plan:
        self.built.append(model)
        self.recipes.append(recipe)
        self.timings.append(timing)
        name = "token" if model == self.bundle.graph("token") else "beat"
        plan = plan_of(self.bundle, name)
        return Plan(plan.data, recipe, plan.inputs, plan.outputs, timing=b"timings")


@pytest.fixture
def workshop(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    # the library is asked for before the device: the fake one must know the device that comes next
    shop = Workshop(bundle, monkeypatch)
    device = shop.devices[0]
    monkeypatch.setattr(trt, "open_device", lambda *arguments: device)
    return shop
