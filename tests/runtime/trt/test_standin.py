"""What stands in for TensorRT on a GPU that it does not take computes what ONNX Runtime does."""

from __future__ import annotations

import numpy as np
import pytest

from edgeecg.bundle import GRAPHS, PRECISIONS, Bundle, GraphName, Precision
from edgeecg.runtime.engine import TOLERANCE
from edgeecg.runtime.ort import OrtExecutor

torch = pytest.importorskip("torch", reason="needs the extra train")


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", GRAPHS)
def test_every_operator_that_we_write_is_known(name: GraphName, precision: Precision) -> None:
    from tools.gpu.onnx_torch import TorchGraph

    bundle = Bundle.open("small")
    if precision not in bundle.precisions:
        pytest.skip(f"the packaged bundle has no {precision}")
    model = bundle.graph(name, precision)
    graph, rng = TorchGraph(model, "cpu"), np.random.default_rng(0)
    with OrtExecutor(model) as executor:
        first, state = executor.inputs
        tail = [int(size) for size in first.shape[2:]]
        carried = np.zeros((3, int(state.shape[1])), np.float32)
        for length in (64, 64, 24):
            signal = rng.standard_normal((3, length, *tail)).astype(np.float32)
            inputs = {first.name: signal, "state": carried}
            wanted = executor.run(inputs)
            got = graph.run({key: torch.from_numpy(value) for key, value in inputs.items()})
            for key, value in wanted.items():
                error = np.abs(got[key].numpy() - value).max() / np.abs(value).max()
                assert error <= TOLERANCE[precision], key
            carried = wanted["state_out"]


def test_the_stand_in_is_a_library_whose_plan_is_the_model() -> None:
    from edgeecg.runtime.trt.build import beat_recipe
    from tools.gpu.standin import library, plan

    model = Bundle.open("small").graph("beat")
    found = library()
    assert "PyTorch" in found.key
    built = plan(found, model, beat_recipe())
    assert built.data == model
    assert [spec.name for spec in built.inputs] == ["beats", "state"]
