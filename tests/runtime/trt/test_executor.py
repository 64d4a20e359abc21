"""The executor against ONNX Runtime, on the fake device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from edgeecg.bundle import Bundle
from edgeecg.errors import BackendError, SignalError
from edgeecg.runtime.ort import OrtExecutor
from edgeecg.runtime.trt.build import Plan
from edgeecg.runtime.trt.executor import TrtExecutor
from edgeecg.runtime.trt.layers import layer_times
from edgeecg.runtime.trt.prove import prove
from edgeecg.runtime.trt.settings import choose_slices
from tests.runtime.trt.conftest import plan_of
from tests.runtime.trt.fakes import FakeContext, FakeDevice, FakeEngine, fake_library

Open = Callable[..., TrtExecutor]


def random_inputs(executor: TrtExecutor, rows: int, length: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    sizes = [
        (rows, *(s if isinstance(s, int) else length for s in spec.shape[1:])) for spec in executor.inputs
    ]
    return {
        spec.name: (rng.standard_normal(size) if spec.name != "state" else np.zeros(size)).astype(np.float32)
        for spec, size in zip(executor.inputs, sizes, strict=True)
    }


def assert_same(got: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    assert got.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_allclose(got[name], value, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 64, 70])
@pytest.mark.parametrize(("name", "length"), [("token", 64), ("token", 40), ("beat", 1), ("beat", 7)])
def test_any_batch_and_length_gives_what_onnx_runtime_gives(
    bundle: Bundle, open_fake: Open, name: str, length: int, rows: int
) -> None:
    executor = open_fake(name)
    inputs = random_inputs(executor, rows, length)
    with OrtExecutor(bundle.graph(name)) as reference:  # type: ignore[arg-type]
        wanted = reference.run(inputs)
    for _ in range(3):  # eager, captured, launched
        assert_same(executor.run(inputs), wanted)


@pytest.mark.parametrize(
    ("rows", "exact", "expected"),
    [
        (1, True, [(0, 0, 1)]),
        (3, True, [(2, 0, 3)]),
        (8, True, [(2, 0, 4), (2, 4, 4)]),
        (9, True, [(2, 0, 4), (2, 4, 4), (0, 8, 1)]),
        (3, False, [(3, 0, 3)]),
        (19, False, [(3, 0, 8), (3, 8, 8), (3, 16, 3)]),
    ],
)
def test_batches_are_cut_into_what_the_profiles_take(
    rows: int, exact: bool, expected: list[tuple[int, int, int]]
) -> None:
    assert choose_slices(rows, exact, (1, 2, 4), 8) == expected


def test_a_step_is_one_graph_launch_from_the_second_on(open_fake: Open, device: FakeDevice) -> None:
    executor = open_fake()
    inputs = random_inputs(executor, 2, 64)
    for _ in range(5):
        executor.run(inputs)
    assert [graph.launches for graph in device.graphs] == [4]
    executor.run(random_inputs(executor, 2, 40))
    executor.run(random_inputs(executor, 2, 40))
    assert len(device.graphs) == 1, "a length that is no step's is not captured"


@pytest.mark.parametrize("capturable", [True, False])
def test_rtx_is_asked_before_a_run_is_captured(
    bundle: Bundle, device: FakeDevice, monkeypatch: pytest.MonkeyPatch, capturable: bool
) -> None:
    settings = SimpleNamespace(set_execution_context_allocation_strategy=lambda strategy: None)
    monkeypatch.setattr(FakeEngine, "create_runtime_config", lambda self: settings, raising=False)
    monkeypatch.setattr(FakeContext, "is_stream_capturable", lambda *_: capturable, raising=False)
    library = replace(fake_library(device), flavour="tensorrt_rtx")
    library.module.DynamicShapesKernelSpecializationStrategy = SimpleNamespace(EAGER="eager")
    with TrtExecutor(library, plan_of(bundle, "token"), device) as executor:
        inputs = random_inputs(executor, 1, 64)
        first = executor.run(inputs)
        for _ in range(3):
            assert_same(executor.run(inputs), first)
    assert settings.dynamic_shapes_kernel_specialization_strategy == "eager"
    assert bool(device.graphs) is capturable


def test_buffers_are_allocated_once_per_shape(open_fake: Open, device: FakeDevice) -> None:
    executor = open_fake(graphs=False)
    for rows in (1, 2, 4):
        executor.run(random_inputs(executor, rows, 64))
    held = len(device.owned)
    for seed in range(20):
        for rows in (1, 2, 3, 4):
            executor.run(random_inputs(executor, rows, 64, seed))
    assert len(device.owned) == held
    for length in (16, 160, 80, 24):
        executor.run(random_inputs(executor, 1, length))
    grown = len(device.owned)
    for length in (160, 16):
        executor.run(random_inputs(executor, 1, length))
    assert len(device.owned) == grown


def test_without_capture_everything_still_runs(bundle: Bundle) -> None:
    plain = FakeDevice(captures=False)
    with OrtExecutor(bundle.graph("token")) as reference:
        plan = Plan(bundle.graph("token"), recipe_of(bundle), reference.inputs, reference.outputs)
    with TrtExecutor(fake_library(plain), plan, plain) as executor:
        inputs = random_inputs(executor, 2, 64)
        executor.run(inputs)
        executor.run(inputs)
    assert plain.graphs == []
    assert not plain.owned


def recipe_of(bundle: Bundle):
    from edgeecg.runtime.trt import recipes

    return recipes(bundle)["token"]


def test_mapped_memory_is_used_without_copies(bundle: Bundle, open_fake: Open, device: FakeDevice) -> None:
    executor = open_fake(transfer="mapped")
    inputs = random_inputs(executor, 3, 64)
    with OrtExecutor(bundle.graph("token")) as reference:
        assert_same(executor.run(inputs), reference.run(inputs))
    assert device.mapped == 5  # two inputs, three outputs


def test_on_an_integrated_gpu_both_transfers_are_timed(open_fake: Open) -> None:
    integrated = FakeDevice(integrated=True)
    executor = open_fake(on=integrated, transfer="measure")
    assert integrated.mapped == 5
    assert executor.transfer in ("copy", "mapped")


def test_timed_runs_give_the_same_and_the_times_of_the_parts(bundle: Bundle, open_fake: Open) -> None:
    executor = open_fake()
    inputs = random_inputs(executor, 2, 64)
    outputs, times = executor.run_timed(inputs)
    assert_same(outputs, executor.run(inputs))
    assert (times.copy_in, times.compute, times.copy_out) == (2.0, 1.0, 3.0)  # the fake counts queued works
    assert times.enqueue > 0


@pytest.mark.parametrize("wait", ["spin", "block"])
@pytest.mark.parametrize("graphs", [True, False])
def test_all_ways_of_running_give_the_same(
    open_fake: Open, device: FakeDevice, graphs: bool, wait: str
) -> None:
    executor = open_fake(graphs=False)
    inputs = random_inputs(executor, 2, 64)
    wanted = executor.run(inputs)
    for _ in range(3):
        assert_same(executor.run_as(inputs, graphs, wait), wanted)  # type: ignore[arg-type]
    assert len(device.graphs) == graphs
    executor.run(inputs)
    assert [graph.launches for graph in device.graphs] == [2] * graphs, "what was set holds again afterwards"


def test_wrong_inputs_are_told_before_the_device_sees_them(open_fake: Open) -> None:
    executor = open_fake()
    with pytest.raises(SignalError, match="state"):
        executor.run({"signal": np.zeros((1, 64), np.float32)})


@pytest.mark.parametrize(("name", "length"), [("token", 8 * 1100), ("beat", 150)])
def test_a_step_that_is_longer_than_the_engine_takes_runs_in_pieces(
    bundle: Bundle, open_fake: Open, name: str, length: int
) -> None:
    executor = open_fake(name)
    inputs = random_inputs(executor, 2, length)
    key, unit = executor.inputs[0].name, 8 if name == "token" else 1
    out = executor.outputs[0].name
    parts = []
    with OrtExecutor(bundle.graph(name)) as reference:  # type: ignore[arg-type]
        inputs["state"] = reference.run({key: inputs[key][:, : 64 * unit], "state": inputs["state"]})[
            "state_out"
        ]
        state = inputs["state"]
        for piece in np.split(inputs[key], range(50 * unit, length, 50 * unit), axis=1):
            parts.append(reference.run({key: piece, "state": state}))
            state = parts[-1]["state_out"]
    got = executor.run(inputs)
    np.testing.assert_allclose(got[out], np.concatenate([part[out] for part in parts], axis=1), atol=1e-4)
    np.testing.assert_allclose(got["state_out"], state, atol=1e-4)


def test_a_closed_executor_says_so(open_fake: Open) -> None:
    executor = open_fake()
    executor.close()
    with pytest.raises(BackendError, match="closed"):
        executor.run(random_inputs(executor, 1, 64))


def test_a_plan_that_does_not_load_is_told(bundle: Bundle, device: FakeDevice) -> None:
    with pytest.raises(BackendError, match="does not load the plan: no such plan"):
        TrtExecutor(fake_library(device), Plan(b"broken", recipe_of(bundle), (), ()), device)


def test_layer_times_come_in_the_order_of_execution(
    bundle: Bundle, open_fake: Open, device: FakeDevice
) -> None:
    executor, library = open_fake(), fake_library(device)
    inputs = random_inputs(executor, 1, 64)
    for _ in range(3):  # from here on a step is a graph, which tells no layers
        executor.run(inputs)
    times = layer_times(library, executor, inputs, runs=3)
    assert times == {"attention": [0.5] * 3, "feed forward": [0.25] * 3}
    assert all(context.profiler is None for context in executor.contexts())


@pytest.mark.parametrize("name", ["token", "beat"])
def test_the_golden_vectors_prove_every_profile(bundle: Bundle, open_fake: Open, name: str) -> None:
    executor = open_fake(name)
    assert prove(executor, bundle, name, "fp32") < 1e-4  # type: ignore[arg-type]
    profiles = {context.profile for context in executor.contexts()}  # type: ignore[attr-defined]
    assert profiles == set(range(8 if name == "token" else 7))  # a step of one beat cannot be cut in halves


@pytest.mark.parametrize("tokens", [1, 3, 4, 16, 160])
def test_a_step_that_is_not_the_golden_one_is_proved_in_every_profile(
    bundle: Bundle, open_fake: Open, tokens: int
) -> None:
    executor = open_fake(hop_tokens=tokens)
    assert prove(executor, bundle, "token", "fp32") < 1e-4
    assert {context.profile for context in executor.contexts()} == set(range(8))  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["token", "beat"])
def test_several_layers_prove_themselves_too(name: str) -> None:
    """Half of the golden rows are fresh: in deep networks their first outputs depend on the step's length."""
    deep, device = Bundle.open("small"), FakeDevice()
    with TrtExecutor(fake_library(device), plan_of(deep, name), device) as executor:
        assert prove(executor, deep, name, "fp32") < 1e-4  # type: ignore[arg-type]


@pytest.mark.parametrize("tokens", [4, 8, 16])
def test_an_engine_that_is_wrong_in_one_profile_is_refused(
    bundle: Bundle, open_fake: Open, tokens: int
) -> None:
    executor = open_fake(hop_tokens=tokens)
    honest = executor.run

    def wrong_at_sixteen(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        outputs = honest(inputs)
        if len(inputs["state"]) == 16:
            outputs["heads"][3] *= 1.5
        return outputs

    executor.run = wrong_at_sixteen  # type: ignore[assignment,method-assign]
    with pytest.raises(BackendError, match="profile of 16 rows is wrong"):
        prove(executor, bundle, "token", "fp32")
