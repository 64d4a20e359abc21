"""What every executor must satisfy, whoever runs the graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgeecg.bundle import GRAPHS, Bundle, GraphName
from edgeecg.errors import BackendError, ConfigError, MissingExtra, SignalError
from edgeecg.runtime import native
from edgeecg.runtime.engine import Engine
from edgeecg.runtime.executor import Executor
from edgeecg.runtime.ort import OrtExecutor
from edgeecg.runtime.trt.executor import TrtExecutor

TOLERANCE = 1e-5
ENGINE = 1e-3
"""What TensorRT may depart by: each number of rows has kernels of its own, which sum in another order."""

Open = Callable[[Bundle, GraphName], Executor]


def onnxruntime(bundle: Bundle, name: GraphName) -> Executor:
    return OrtExecutor(bundle.graph(name))


def two_threads(bundle: Bundle, name: GraphName) -> Executor:
    return OrtExecutor(bundle.graph(name), threads=2)


def reference(bundle: Bundle, name: GraphName) -> Executor:
    from edgeecg.deploy.layers import ReferenceExecutor

    return ReferenceExecutor(bundle.graph(name))


def watched(bundle: Bundle, name: GraphName) -> Executor:
    from edgeecg.deploy.watch import WatchedExecutor

    return WatchedExecutor(bundle.graph(name), ["block0.y"], lambda inputs, values: None)


def tensorrt(bundle: Bundle, name: GraphName) -> Executor:
    from edgeecg.runtime.trt import Options, open_executor, why_not

    if reason := why_not():
        pytest.skip(reason)
    return open_executor(bundle, name, "fp32", Options(buckets=(1, 2, 4)))


def compiled(bundle: Bundle, name: GraphName, threads: int = 1) -> Executor:
    if not native.find_compiler():
        pytest.skip("no C compiler")
    return native.open_executor(bundle, name, threads=threads)


def compiled_two_threads(bundle: Bundle, name: GraphName) -> Executor:
    return compiled(bundle, name, threads=2)


EXECUTORS = [
    onnxruntime, two_threads, reference, watched, compiled, compiled_two_threads,
    pytest.param(tensorrt, marks=pytest.mark.gpu),
]  # fmt: skip


@pytest.fixture(params=GRAPHS)
def name(request: pytest.FixtureRequest) -> GraphName:
    chosen: GraphName = request.param
    return chosen


@pytest.fixture(params=EXECUTORS)
def executor(request: pytest.FixtureRequest, nano: Engine, name: GraphName) -> Iterator[Executor]:
    opened: Open = request.param
    with opened(nano.bundle, name) as found:
        yield found


def feed(executor: Executor, rows: int, steps: int, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Random inputs of ``steps`` tokens or beats; the state is one that a stream may be in."""
    rng = np.random.default_rng(seed)
    first, state = executor.inputs
    shape = (rows, 8 * steps) if first.name == "signal" else (rows, steps, int(first.shape[2]))
    begin = np.zeros((rows, int(state.shape[1])), np.float32)
    warm = executor.run({first.name: rng.standard_normal(shape).astype(np.float32), "state": begin})
    return {first.name: rng.standard_normal(shape).astype(np.float32), "state": warm["state_out"]}


def close(
    executor: Executor, got: dict[str, NDArray[np.float32]], wanted: dict[str, NDArray[np.float32]]
) -> None:
    assert list(got) == list(wanted)
    atol = ENGINE if isinstance(executor, TrtExecutor) else TOLERANCE
    for key, value in wanted.items():
        np.testing.assert_allclose(got[key], value, atol=atol, rtol=0, err_msg=key)


def test_it_is_an_executor(executor: Executor) -> None:
    assert isinstance(executor, Executor)


def test_it_says_what_it_takes_and_gives(executor: Executor, name: GraphName) -> None:
    wanted = {
        "token": (("signal", "state"), ("heads", "embedding", "state_out")),
        "beat": (("beats", "state"), ("classes", "rhythm", "state_out")),
    }[name]
    assert tuple(spec.name for spec in executor.inputs) == wanted[0]
    assert tuple(spec.name for spec in executor.outputs) == wanted[1]
    assert {spec.shape[0] for spec in (*executor.inputs, *executor.outputs)} == {"rows"}
    assert executor.inputs[1].shape == ("rows", executor.outputs[2].shape[1])


def test_rows_do_not_know_each_other(executor: Executor) -> None:
    inputs = feed(executor, rows=5, steps=8)
    together = executor.run(inputs)
    for row in range(5):
        alone = executor.run({key: array[row : row + 1] for key, array in inputs.items()})
        close(executor, alone, {key: value[row : row + 1] for key, value in together.items()})


def test_a_step_cut_in_two_is_the_same_step(executor: Executor, name: GraphName) -> None:
    inputs = feed(executor, rows=2, steps=8)
    key = executor.inputs[0].name
    whole = executor.run(inputs)
    cut = 3 * (8 if name == "token" else 1)
    first = executor.run({**inputs, key: inputs[key][:, :cut]})
    second = executor.run({key: inputs[key][:, cut:], "state": first["state_out"]})
    joined = {k: np.concatenate([first[k], second[k]], axis=1) for k in whole if k != "state_out"}
    close(executor, {**joined, "state_out": second["state_out"]}, whole)


def test_the_same_inputs_give_the_same_outputs(executor: Executor) -> None:
    inputs = feed(executor, rows=3, steps=4)
    before = {key: array.copy() for key, array in inputs.items()}
    first, second = executor.run(inputs), executor.run(inputs)
    for key, value in first.items():
        np.testing.assert_array_equal(value, second[key])
    for key, array in before.items():
        np.testing.assert_array_equal(inputs[key], array)  # inputs are the caller's


def test_outputs_are_the_callers_own(executor: Executor) -> None:
    """A later run does not write into what an earlier one gave."""
    inputs = feed(executor, rows=2, steps=8)
    first = executor.run(inputs)
    kept = {key: value.copy() for key, value in first.items()}
    executor.run({key: -array for key, array in inputs.items()})
    for key, value in kept.items():
        np.testing.assert_array_equal(first[key], value)


def test_strided_inputs_are_taken(executor: Executor) -> None:
    inputs = feed(executor, rows=4, steps=4)
    strided = {key: np.repeat(array, 2, axis=0)[::2] for key, array in inputs.items()}
    assert not any(array.flags.c_contiguous for array in strided.values())
    close(executor, executor.run(strided), executor.run(inputs))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: x.pop("state"), "takes the inputs"),
        (lambda x: x.update(stat=x.pop("state")), "takes the inputs"),
        (lambda x: x.update(extra=x["state"]), "takes the inputs"),
        (lambda x: x.update(state=x["state"].astype(np.float64)), "state is float64"),
        (lambda x: x.update(state=x["state"].tolist()), "state is list"),
        (lambda x: x.update(state=x["state"][:, :-1]), "state has shape"),
        (lambda x: x.update(state=x["state"][:1]), "with rows = 2"),
        (lambda x: x.update(state=x["state"][None]), "state has shape"),
        (lambda x: x.update({k: v[:0] for k, v in x.items()}), "nothing to run on"),
    ],
)
def test_wrong_inputs_are_one_clear_line(
    executor: Executor, change: Callable[[dict[str, object]], object], words: str
) -> None:
    inputs: dict[str, object] = dict(feed(executor, rows=2, steps=2))
    change(inputs)
    with pytest.raises(SignalError, match=words) as error:
        executor.run(inputs)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


def test_a_length_that_is_no_whole_token_is_said(executor: Executor, name: GraphName) -> None:
    if name == "beat":
        pytest.skip("beats have no parts")
    inputs = feed(executor, rows=1, steps=2)
    with pytest.raises(SignalError, match=r"the graph takes signal \(rows, 8\*tokens\)"):
        executor.run({**inputs, "signal": inputs["signal"][:, :13]})


def test_a_step_beyond_the_tables_is_said(nano: Engine, name: GraphName) -> None:
    with OrtExecutor(nano.bundle.graph(name)) as executor:
        executor.run(feed(executor, 1, 512))
        with pytest.raises(SignalError, match="at most 512"):
            feed(executor, 1, 513)


def test_closed_it_refuses(nano: Engine) -> None:
    executor = OrtExecutor(nano.bundle.graph("token"))
    inputs = feed(executor, 1, 1)
    executor.close()
    executor.close()
    with pytest.raises(BackendError, match="closed"):
        executor.run(inputs)


@settings(max_examples=25)
@given(rows=st.integers(1, 9), steps=st.integers(1, 40), seed=st.integers(0, 99))
def test_any_shape_agrees_with_rows_alone(nano: Engine, rows: int, steps: int, seed: int) -> None:
    for executor in (nano.token, nano.beat):
        inputs = feed(executor, rows, steps, seed)
        together = executor.run(inputs)
        row = seed % rows
        alone = executor.run({key: array[row : row + 1] for key, array in inputs.items()})
        close(executor, alone, {key: value[row : row + 1] for key, value in together.items()})


def test_the_fake_error_types_are_real() -> None:
    """A missing library is a backend error, so one handler serves both."""
    assert issubclass(MissingExtra, BackendError)


def test_what_is_like_inputs_that_passed_is_checked_all_the_same(nano: Engine) -> None:
    """Shapes that passed once are not looked at again; what only seems so is."""
    inputs = feed(nano.token, 1, 2)
    nano.token.run(inputs)

    class Like:
        def __init__(self, array: NDArray[np.float32]) -> None:
            self.shape, self.dtype = array.shape, array.dtype

    for wrong in (Like(inputs["state"]), inputs["state"].tolist()):
        with pytest.raises(SignalError, match="convert it with"):
            nano.token.run({**inputs, "state": wrong})
    with pytest.raises(SignalError, match="takes the inputs"):
        nano.token.run({**inputs, "extra": inputs["state"]})


@pytest.mark.parametrize("threads", [0, -1, 1.5, None, "2"])
def test_what_is_no_number_of_threads_is_said(nano: Engine, threads: Any) -> None:
    for opened in (
        lambda: OrtExecutor(nano.bundle.graph("beat"), threads),
        lambda: compiled(nano.bundle, "beat", threads),
    ):
        with pytest.raises(ConfigError, match="give a whole number, 1 or more"):
            opened()
    OrtExecutor(nano.bundle.graph("beat"), np.int64(2)).close()
