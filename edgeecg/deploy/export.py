"""Both step graphs as ONNX, written node by node from the weights.

``torch.onnx.export`` gives graphs of about three times the nodes (masks and rotary tables per layer,
shape arithmetic for every dynamic slice); one step for one patient is mostly the price of its nodes. So
the graphs are written here, in the order in which they run, and held against torch by :func:`check`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgeecg.bundle import GraphName
from edgeecg.deploy.graph import LAST, GraphWriter
from edgeecg.errors import BackendError, ConfigError
from edgeecg.model.transformer import BLOCKED, Block, Network, PatchEmbedding, Stack, rotary_tables
from edgeecg.runtime.ort import OrtExecutor
from edgeecg.specs import BEAT_LABELS, HEADS, RHYTHM_LABELS

__all__ = ["LONGEST", "Exported", "check", "export", "write_graph"]

LONGEST = 1024
"""Most positions in one step; the rotary tables end there."""

TOLERANCE = 1e-4  # largest difference from torch, as a share of an output's range


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
    if network.spec.positions not in ("rotary", "none"):
        raise ConfigError(
            f"{network.spec.positions} positions cannot stream: train with positions = 'rotary'"
        )
    network = network.eval()
    token = write_graph(network, "token").SerializeToString()
    beat = write_graph(network, "beat").SerializeToString()
    return Exported(token, beat, max(check(network, "token", token), check(network, "beat", beat)))


def write_graph(network: Network, name: GraphName) -> onnx.ModelProto:
    """One step graph, in FP32."""
    writer = GraphWriter(name)
    with torch.no_grad():
        (_write_token if name == "token" else _write_beat)(writer, network)
    return writer.model(f"EdgeECG {name} encoder, step form")


def check(network: Network, name: GraphName, model: bytes) -> float:
    """Run a graph beside torch: fresh and warm, one row and several, short and long steps.

    Returns
    -------
    The largest difference, as a share of the output's largest absolute value.

    Raises
    ------
    BackendError
        It is larger than 1e-4.
    """
    step = network.token.step if name == "token" else network.beat.step
    columns = network.spec.patch if name == "token" else network.spec.beat_inputs
    size = network.token.state_size if name == "token" else network.beat.state_size
    generator = torch.Generator().manual_seed(0)
    worst = 0.0
    with OrtExecutor(model) as executor, torch.no_grad():
        first = executor.inputs[0].name
        for rows, lengths in ((1, (8, 8, 8, 8, 8, 8)), (3, (1, 5, 64, 8))):
            state = torch.zeros(rows, size)
            for length in lengths:
                x = torch.randn(rows, length, columns, generator=generator)
                x = x.flatten(1) if name == "token" else x
                got = executor.run({first: x.numpy(), "state": state.numpy()})
                *heads, state = step(x, state)
                for value, wanted in zip(got.values(), (*heads, state)):
                    error = np.max(np.abs(value - wanted.numpy())) / max(float(wanted.abs().max()), 1e-6)
                    worst = max(worst, float(error))
    if not worst <= TOLERANCE:
        raise BackendError(
            f"the exported {name} graph departs from torch by {worst:.1e} of its range: do not use it"
        )
    return worst


def _array(value: Tensor) -> NDArray[np.float32]:
    return value.detach().cpu().numpy().astype(np.float32)


def _linear(g: GraphWriter, x: str, weight: Tensor, bias: Tensor, name: str) -> str:
    """``x @ weight.T + bias`` over the last axis."""
    product = g.op("MatMul", [x, g.constant(_array(weight.T), f"{name}.weight")], f"{name}.matmul")
    return g.op("Add", [product, g.constant(_array(bias), f"{name}.bias")], name)


def _norm(g: GraphWriter, x: str, norm: torch.nn.LayerNorm, name: str) -> str:
    scale, bias = (
        g.constant(_array(norm.weight), f"{name}.weight"),
        g.constant(_array(norm.bias), f"{name}.bias"),
    )
    return g.op("LayerNormalization", [x, scale, bias], name, axis=-1, epsilon=norm.eps)


def _gelu(g: GraphWriter, x: str, name: str) -> str:
    """The exact Gelu in the form that ONNX Runtime and TensorRT fuse into one kernel."""
    root = g.constant(np.float32(np.sqrt(2.0)), "sqrt2")
    erf = g.op("Erf", [g.op("Div", [x, root], f"{name}.scaled")], f"{name}.erf")
    grown = g.op(
        "Mul", [x, g.op("Add", [erf, g.constant(np.float32(1.0), "one")], f"{name}.gate")], f"{name}.grown"
    )
    return g.op("Mul", [grown, g.constant(np.float32(0.5), "half")], name)


def _write_token(g: GraphWriter, network: Network) -> None:
    spec, token = network.spec, network.token
    signal, state = g.input("signal", ("rows", "samples")), g.input("state", ("rows", token.state_size))
    samples, rest = g.ops(
        "Split",
        [state, g.ints(spec.stem_context, token.stack.state_size)],
        ["state.samples", "state.stack"],
        axis=1,
    )
    signal = g.op("Concat", [samples, signal], "signal.joined", axis=1)
    x, stack = _stack(g, token.stack, _patch(g, token.patch, signal), rest)
    heads = _linear(g, x, token.heads.weight, token.heads.bias, "heads")
    tail = g.slice(signal, -spec.stem_context, LAST, 1, "signal.tail")
    packed = g.op("Concat", [tail, *stack], "state.packed", axis=1)
    g.output(heads, "heads", ("rows", "tokens", len(HEADS)))
    g.output(x, "embedding", ("rows", "tokens", spec.token.dim))
    g.output(packed, "state_out", ("rows", token.state_size))


def _write_beat(g: GraphWriter, network: Network) -> None:
    beat = network.beat
    beats = g.input("beats", ("rows", "count", network.spec.beat_inputs))
    state = g.input("state", ("rows", beat.state_size))
    x, stack = _stack(g, beat.stack, _linear(g, beats, beat.enter.weight, beat.enter.bias, "enter"), state)
    classes = _linear(g, x, beat.classes.weight, beat.classes.bias, "classes")
    rhythm = _linear(g, x, beat.rhythm.weight, beat.rhythm.bias, "rhythm")
    packed = g.op("Concat", stack, "state.packed", axis=1)
    g.output(classes, "classes", ("rows", "count", len(BEAT_LABELS)))
    g.output(rhythm, "rhythm", ("rows", "count", len(RHYTHM_LABELS)))
    g.output(packed, "state_out", ("rows", beat.state_size))


def _patch(g: GraphWriter, patch: PatchEmbedding, signal: str) -> str:
    """Patch embedding: ``(rows, 23 + samples)`` to ``(rows, tokens, d)``."""
    x = g.op("Unsqueeze", [signal, g.ints(1)], "patch.in")
    for index, conv in enumerate((patch.conv1, patch.conv2, patch.conv3), start=1):
        name = f"patch.conv{index}"
        weight = g.constant(_array(conv.weight), f"{name}.weight")
        bias = g.constant(_array(conv.bias), f"{name}.bias")
        x = g.op("Conv", [x, weight, bias], name, strides=[2])
        x = _gelu(g, x, f"patch.gelu{index}") if index < 3 else x
    return g.op("Transpose", [x], "patch.out", perm=[0, 2, 1])


def _stack(g: GraphWriter, stack: Stack, x: str, state: str) -> tuple[str, list[str]]:
    """The stack's step: its output, and the parts of its new state in the order of packing."""
    spec = stack.spec
    sizes = [*(list(stack.layer_sizes) * spec.layers), 1]
    parts = g.ops("Split", [state, g.ints(*sizes)], [f"state.{i}" for i in range(len(sizes))], axis=1)
    tokens = g.op("Shape", [x], "tokens", start=1, end=2)
    keys = g.op("Add", [tokens, g.ints(spec.span)], "keys")
    tables = _tables(g, stack, tokens, keys)
    masks = _masks(g, stack, tokens, keys, parts[-1])
    packed: list[str] = []
    for depth, block in enumerate(stack.blocks):
        assert isinstance(block, Block)
        x, cache, pending = _block(
            g, block, f"block{depth}", x, parts[2 * depth], parts[2 * depth + 1], masks[depth], tables
        )
        packed += [cache, pending]
    grown = g.op(
        "Add", [parts[-1], g.op("Cast", [tokens], "tokens.float", to=onnx.TensorProto.FLOAT)], "count.grown"
    )
    packed.append(g.op("Min", [grown, g.constant(np.float32(stack.enough), "enough")], "count"))
    return _norm(g, x, stack.norm, "norm"), packed


def _tables(g: GraphWriter, stack: Stack, tokens: str, keys: str) -> list[str]:
    """Cosine and sine for keys, then for queries, ``(positions, 1, c)``."""
    spec = stack.spec
    longest = spec.span + LONGEST
    cosine, sine = rotary_tables(longest, spec.dim // spec.heads)
    if stack.positions == "none":
        cosine, sine = torch.ones_like(cosine), torch.zeros_like(sine)
    end = g.op("Add", [tokens, g.ints(spec.left)], "queries.end")
    out = []
    for start, stop, name in ((0, keys, "keys"), (spec.left, end, "queries")):
        for table, kind in ((cosine, "cosine"), (sine, "sine")):
            value = g.constant(_array(table), kind)
            out.append(g.op("Slice", [value, g.ints(start), stop, g.ints(0)], f"{name}.{kind}"))
    return out


def _masks(g: GraphWriter, stack: Stack, tokens: str, keys: str, count: str) -> list[str]:
    """What is added to each layer's scores, ``(rows, 1, tokens, keys)``: 0, or far below where it must not count."""
    spec = stack.spec
    places = g.constant(np.arange(spec.span + LONGEST, dtype=np.float32), "places")
    key = g.op("Slice", [places, g.ints(0), keys, g.ints(0)], "key.place")
    query = g.op("Slice", [places, g.ints(0), tokens, g.ints(0)], "query.place")
    ahead = g.op("Sub", [key, g.op("Unsqueeze", [query, g.ints(1)], "query.column")], "ahead")
    off = g.op(
        "Abs",
        [g.op("Sub", [ahead, g.constant(np.float32(spec.span / 2), "span.half")], "ahead.centred")],
        "off",
    )
    blocked, zero = g.constant(np.float32(BLOCKED), "blocked"), g.constant(np.float32(0), "zero")
    outside = g.op("Greater", [off, g.constant(np.float32(spec.span / 2), "span.half")], "outside")
    band = g.op("Where", [outside, blocked, zero], "band")
    seen = g.op(
        "Add", [g.op("Unsqueeze", [count, g.ints(1, 2)], "count.wide"), key], "seen"
    )  # rows, 1, 1, keys
    masks = []
    for depth in range(spec.layers):
        need = g.constant(np.float32(spec.span + depth * spec.right), f"need{depth}")
        fresh = g.op("Where", [g.op("Less", [seen, need], f"unknown{depth}"), blocked, zero], f"fresh{depth}")
        masks.append(g.op("Add", [band, fresh], f"mask{depth}"))
    return masks


def _rotate(g: GraphWriter, x: str, cosine: str, sine: str, width: int, name: str) -> str:
    low, high = g.ops("Split", [x, g.ints(width // 2, width // 2)], [f"{name}.low", f"{name}.high"], axis=-1)
    turned = g.op("Concat", [high, low], f"{name}.turned", axis=-1)
    straight = g.op("Mul", [x, cosine], f"{name}.straight")
    return g.op("Add", [straight, g.op("Mul", [turned, sine], f"{name}.across")], name)


def _block(
    g: GraphWriter, block: Block, name: str, x: str, cache: str, pending: str, mask: str, tables: list[str]
) -> tuple[str, str, str]:
    """One block's step: output, new cache, new pending (both flat)."""
    spec = block.spec
    dim, heads, right, width = spec.dim, spec.heads, spec.right, spec.dim // spec.heads
    waiting, late = pending, x
    if right:
        before = g.reshape(pending, (0, right, dim), f"{name}.pending.in")
        x = g.op("Concat", [before, x], f"{name}.x", axis=1)
        waiting = g.slice(x, -right, LAST, 1, f"{name}.pending")
        late = g.slice(x, 0, -right, 1, f"{name}.late")
    h = _norm(g, x, block.norm1, f"{name}.norm1")
    early = g.slice(h, 0, -right, 1, f"{name}.norm1.late") if right else h
    new = g.slice(h, right, LAST, 1, f"{name}.norm1.new") if right else h
    q = _linear(g, early, block.query.weight * width**-0.5, block.query.bias * width**-0.5, f"{name}.query")
    kv = _linear(g, new, block.key_value.weight, block.key_value.bias, f"{name}.kv")
    kv = g.op(
        "Concat",
        [g.reshape(cache, (0, spec.span, 2 * dim), f"{name}.cache.in"), kv],
        f"{name}.kv.all",
        axis=1,
    )
    kept = g.reshape(
        g.slice(kv, -spec.span, LAST, 1, f"{name}.cache"), (0, spec.span * 2 * dim), f"{name}.cache.out"
    )
    k, v = g.ops(
        "Split",
        [g.reshape(kv, (0, 0, 2 * heads, width), f"{name}.kv.split"), g.ints(heads, heads)],
        [f"{name}.k", f"{name}.v"],
        axis=2,
    )
    k = g.op(
        "Transpose",
        [_rotate(g, k, tables[0], tables[1], width, f"{name}.k.rotated")],
        f"{name}.k.t",
        perm=[0, 2, 3, 1],
    )
    q = _rotate(
        g, g.reshape(q, (0, 0, heads, width), f"{name}.q"), tables[2], tables[3], width, f"{name}.q.rotated"
    )
    q = g.op("Transpose", [q], f"{name}.q.t", perm=[0, 2, 1, 3])
    scores = g.op("Add", [g.op("MatMul", [q, k], f"{name}.scores"), mask], f"{name}.scores.masked")
    weights = g.op("Softmax", [scores], f"{name}.weights", axis=-1)
    attended = g.op(
        "MatMul", [weights, g.op("Transpose", [v], f"{name}.v.t", perm=[0, 2, 1, 3])], f"{name}.attended"
    )
    joined = g.reshape(
        g.op("Transpose", [attended], f"{name}.joined.t", perm=[0, 2, 1, 3]), (0, 0, dim), f"{name}.joined"
    )
    x = g.op(
        "Add", [late, _linear(g, joined, block.out.weight, block.out.bias, f"{name}.out")], f"{name}.residual"
    )
    h = _norm(g, x, block.norm2, f"{name}.norm2")
    h = _gelu(g, _linear(g, h, block.grow.weight, block.grow.bias, f"{name}.grow"), f"{name}.gelu")
    y = g.op("Add", [x, _linear(g, h, block.shrink.weight, block.shrink.bias, f"{name}.shrink")], f"{name}.y")
    return y, kept, g.reshape(waiting, (0, right * dim), f"{name}.pending.out")
