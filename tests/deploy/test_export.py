"""The step graphs compute what torch computes, however the signal is cut."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import cache

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeecg.bundle import GRAPHS, GraphName
from edgeecg.deploy.export import LONGEST, check, export, write_graph
from edgeecg.deploy.graphset import GraphSet
from edgeecg.deploy.step_state import StateTable
from edgeecg.errors import BackendError, ConfigError
from edgeecg.model.presets import PRESETS
from edgeecg.model.transformer import Network
from edgeecg.runtime.ort import OrtExecutor
from tests.deploy.conftest import TINY, make_network

CUTS = st.lists(st.integers(1, 20), min_size=1, max_size=12)


@cache
def pair(name: GraphName) -> tuple[Network, OrtExecutor]:
    """A network and its graph, for tests that hypothesis runs many times."""
    network = make_network(TINY)
    return network, OrtExecutor(write_graph(network, name).SerializeToString())


def stepped(executor: OrtExecutor, x: np.ndarray, cuts: list[int], unit: int) -> list[np.ndarray]:
    """Outputs over all steps but the state, and the last state."""
    state = np.zeros((len(x), int(executor.inputs[1].shape[1])), np.float32)
    parts: list[list[np.ndarray]] = []
    begin = 0
    for length in cuts:
        piece = x[:, unit * begin : unit * (begin + length)]
        *outputs, state = executor.run({executor.inputs[0].name: piece, "state": state}).values()
        parts.append(outputs)
        begin += length
    return [np.concatenate(part, axis=1) for part in zip(*parts, strict=True)] + [state]


def assert_close(got: np.ndarray, wanted: np.ndarray) -> None:
    np.testing.assert_allclose(got, wanted, atol=1e-5 * max(1.0, float(np.abs(wanted).max(initial=0))))


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_exports_and_reproduces_torch(name: str) -> None:
    assert export(make_network(name)).error < 1e-5


@settings(max_examples=40)
@given(cuts=CUTS, rows=st.integers(1, 3), seed=st.integers(0, 1000))
def test_tokens_are_those_of_the_whole_pass(cuts: list[int], rows: int, seed: int) -> None:
    """Any cut, also past the point where every cache is full (``layers * right + span`` tokens)."""
    network, executor = pair("token")
    lag, total = network.spec.token.lag, sum(cuts)
    x = torch.randn(rows, 8 * total, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        whole = network.token(x)
    *outputs, _ = stepped(executor, x.numpy(), cuts, 8)
    for got, wanted in zip(outputs, whole, strict=True):
        assert_close(got[:, lag:], wanted.numpy()[:, : max(0, total - lag)])


@settings(max_examples=40)
@given(cuts=CUTS, rows=st.integers(1, 3), seed=st.integers(0, 1000))
def test_beats_are_those_of_the_whole_pass(cuts: list[int], rows: int, seed: int) -> None:
    network, executor = pair("beat")
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, sum(cuts), network.spec.beat_inputs, generator=generator)
    with torch.no_grad():
        whole = network.beat(x)
    *outputs, _ = stepped(executor, x.numpy(), cuts, 1)
    for got, wanted in zip(outputs, whole, strict=True):
        assert_close(got, wanted.numpy())


def test_torch_steps_agree_with_the_graph(network: Network, graphs: GraphSet) -> None:
    """The third implementation: torch's own step form."""
    x = torch.randn(2, 8 * 60, generator=torch.Generator().manual_seed(3))
    state = torch.zeros(2, network.token.state_size)
    told = []
    with torch.no_grad():
        for begin in range(0, 480, 40):
            heads, _, state = network.token.step(x[:, begin : begin + 40], state)
            told.append(heads.numpy())
    with OrtExecutor(graphs.graph("token")) as executor:
        heads, *_ = stepped(executor, x.numpy(), [8, 1, 1, 30, 20], 8)
    lag = network.spec.token.lag  # what comes before belongs to tokens before the start: nobody reads it
    assert_close(heads[:, lag:], np.concatenate(told, axis=1)[:, lag:])


def test_months_of_stream_do_not_wear_the_phase(network: Network, graphs: GraphSet) -> None:
    """The state after 200,000 steps is as good as a fresh stream's after a few.

    The phase is all that goes on for ever: it is turned as often as a stream of a day would turn it, and
    must stay on its circle; the outputs must be those of the same signal met at the start.
    """
    table = StateTable(network.spec.token, 23)
    x = np.random.default_rng(0).standard_normal((1, 8 * 40)).astype(np.float32)
    with OrtExecutor(graphs.graph("token")) as executor:
        fresh = stepped(executor, x, [8] * 5, 8)
        state = fresh[-1].copy()
        zero = np.zeros((1, 64), np.float32)
        for _ in range(3000):
            state = executor.run({"signal": zero, "state": state})["state_out"]
        outputs = []
        for begin in range(0, 320, 64):
            out = executor.run({"signal": x[:, begin : begin + 64], "state": state})
            outputs.append(out["heads"])
            state = out["state_out"]
    phase = state[0, 24 : 24 + table.width].reshape(2, -1) + np.array([[1], [0]])
    np.testing.assert_allclose(np.hypot(*phase), 1, atol=1e-6)
    old = np.concatenate(outputs, axis=1)[:, network.spec.token.lag + 28 :]
    new = fresh[0][:, network.spec.token.lag + 28 :]  # past what zeros before the start can reach
    np.testing.assert_allclose(old, new, atol=1e-5 * max(1.0, float(np.abs(new).max())))


@pytest.mark.parametrize("name", GRAPHS)
def test_the_contract_of_the_graphs(graphs: GraphSet, network: Network, name: GraphName) -> None:
    model = onnx.load_model_from_string(graphs.graph(name))
    assert [entry.version for entry in model.opset_import] == [19]
    assert model.ir_version <= 10
    for value in (*model.graph.input, *model.graph.output):
        assert value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
        assert value.type.tensor_type.shape.dim[0].dim_param == "rows"
    assert {entry.domain for entry in model.opset_import} == {""}
    names = [node.name for node in model.graph.node]
    assert len(names) == len(set(names))
    kinds = [node.op_type for node in model.graph.node]
    stack = network.spec.token if name == "token" else network.spec.beat
    assert kinds.count("LayerNormalization") == 2 * stack.layers + 1
    assert kinds.count("Softmax") == stack.layers


@pytest.mark.parametrize("name", GRAPHS)
def test_what_does_not_count_costs_nothing(name: GraphName) -> None:
    """No attention weight is a denormal number, with which a product takes a hundred times as long."""
    model = write_graph(make_network("small"), name)
    weights = [node.output[0] for node in model.graph.node if node.op_type == "Softmax"]
    for weight in weights:
        model.graph.output.append(onnx.helper.make_tensor_value_info(weight, onnx.TensorProto.FLOAT, None))
    x = np.random.default_rng(0).standard_normal((2, 8 * 100)).astype(np.float32)
    with OrtExecutor(model.SerializeToString()) as executor:
        shape = (2, 100, int(executor.inputs[0].shape[2])) if name == "beat" else x.shape
        x = np.resize(x, shape)
        state = np.zeros((2, int(executor.inputs[1].shape[1])), np.float32)
        out = executor.run({executor.inputs[0].name: x, "state": state})
    for weight in weights:
        values = out[weight]
        assert values[values > 0].min() >= np.finfo(np.float32).tiny
        assert (values < 1e-12).mean() > 0.5  # most of a long step is out of band: it is not seen


def test_the_small_graph_stays_small() -> None:
    """One step for one patient costs what its nodes cost: torch's exporter makes 304 of them."""
    model = write_graph(make_network("small"), "token")
    assert len(model.graph.node) <= 250


@pytest.mark.slow
def test_torchs_own_exporter_agrees(network: Network, graphs: GraphSet) -> None:
    """The other road to ONNX, as a witness: same numbers, more nodes."""
    pytest.importorskip("onnxscript")

    class Step(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.token = network.token

        def forward(self, signal: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, ...]:
            heads, embedding, state = self.token.step(signal, state)
            return heads, embedding, state

    example = (torch.randn(2, 128), torch.zeros(2, network.token.state_size))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of its own internals while it exports
        program = torch.onnx.export(Step().eval(), example, dynamo=True, opset_version=19, verbose=False)
    theirs = program.model_proto.SerializeToString()
    x = np.random.default_rng(1).standard_normal((2, 128)).astype(np.float32)
    with OrtExecutor(theirs) as executor:
        state = np.zeros((2, network.token.state_size), np.float32)
        names = [spec.name for spec in executor.inputs]
        wanted = next(iter(executor.run(dict(zip(names, (x, state), strict=True))).values()))
    with OrtExecutor(graphs.graph("token")) as executor:
        heads, *_ = stepped(executor, x, [16], 8)
    lag = network.spec.token.lag
    assert_close(heads[:, lag:], wanted[:, lag:])
    assert len(onnx.load_model_from_string(graphs.graph("token")).graph.node) < len(
        program.model_proto.graph.node
    )


def test_positions_that_cannot_stream_are_refused() -> None:
    network = Network(replace(TINY, positions="sinusoidal"))
    with pytest.raises(ConfigError, match="train with positions = 'rotary'"):
        export(network)


def test_a_network_without_positions_streams(network: Network) -> None:
    plain = Network(replace(TINY, positions="none")).eval()
    plain.load_state_dict(network.state_dict())
    assert export(plain).error < 1e-5


def test_weights_that_are_no_numbers_are_found() -> None:
    broken = make_network("nano")
    with torch.no_grad():
        next(iter(broken.beat.parameters())).fill_(float("nan"))
    with pytest.raises(BackendError, match="departs from torch by nan"):
        check(broken, "beat", write_graph(broken, "beat").SerializeToString())


def test_a_wrong_graph_is_found(network: Network) -> None:
    """Each of these mistakes has been made somewhere: none gets through the check."""
    other = make_network(TINY, seed=1)
    with pytest.raises(BackendError, match="departs from torch"):
        check(network, "token", write_graph(other, "token").SerializeToString())
    for node, change in (
        ("block1.masked", forget_mask),
        ("cosine", swap_turn),
        ("block0.keys.new", keep_first),
    ):
        model = write_graph(network, "token")
        change(next(n for n in model.graph.node if n.name == node), model)
        with pytest.raises(BackendError, match="departs from torch"):
            check(network, "token", model.SerializeToString())


def forget_mask(node: onnx.NodeProto, model: onnx.ModelProto) -> None:
    node.op_type = "Identity"
    del node.input[1:]


def swap_turn(node: onnx.NodeProto, model: onnx.ModelProto) -> None:
    node.output[:] = list(node.output)[::-1]


def keep_first(node: onnx.NodeProto, model: onnx.ModelProto) -> None:
    """Keep the first keys of the cache instead of the last ones."""
    for name, values in (("begin", [0]), ("stop", [TINY.token.left])):
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(values, np.int64), name))
    node.input[1:3] = ["begin", "stop"]


def test_longest_step(network: Network, graphs: GraphSet) -> None:
    x = torch.randn(1, 8 * LONGEST, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        heads, _ = network.token(x)
    with OrtExecutor(graphs.graph("token")) as executor:
        got, *_ = stepped(executor, x.numpy(), [LONGEST], 8)
    assert_close(got[:, network.spec.token.lag :], heads.numpy()[:, : -network.spec.token.lag])
