"""The step form of both encoders as ONNX, node by node: the same numbers as ``model/transformer.py``.

One step for one patient costs the price of its nodes, one for many patients that of moving memory. So:

- **Keys are cached rotated.** Rotary scores depend on differences of positions only, so each row carries a
  running *phase* (cosine and sine of its place on an endless circle, renewed to length 1 at each step) and
  only new queries and keys are turned by it. A key lives in the cache for ``left`` positions: rounding has
  no time to add up, and the phase never grows, however many months the stream runs.
- **The state is one row** of floats a stream: one Split takes it apart, one Concat joins it again, and what
  lies between them is reshaped and not moved (``deploy/step_state.py``).
- **The patch embedding takes all rows as one image**, a line each: three convolutions over ``B T`` places
  where ``B`` separate ones would each fill a matrix product with the few places of one step.
- What is still pending its look-ahead is kept as the layer's input; its keys are made anew in the next step.
- The linear layer before attention also gives the quarter-turned queries and keys (its columns permuted and
  negated), so that a rotation is two products and a sum.

Shapes: B rows, T positions of the step, N = T + right, S = T + left + right keys, H heads, c = d / H.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto
from torch import Tensor, nn

from edgeecg.deploy.graph import LAST, GraphWriter
from edgeecg.deploy.step_state import State, StateTable, pack, unpack
from edgeecg.model.transformer import ROTARY_BASE, BeatEncoder, Block, Network, PatchEmbedding, Stack
from edgeecg.specs import BEAT_LABELS, HEADS, RHYTHM_LABELS

__all__ = ["LONGEST", "write_beat", "write_token"]

LONGEST = 512
"""Most positions in one step: the tables of the graph end there."""

NEVER = 1e9  # a count that no stream reaches

MASKED = -48.0
"""Added to a score that must not count: exp(-48) is nothing beside 1, and still a normal number. Below -87
it would be a denormal one, and on Intel's CPUs each product with one costs a hundred others."""


class _Frame(NamedTuple):
    """What the layers share: how many wait, rotary tables ``(B, 1, N, 2 d)``, masks ``(B, 1, 1, T, S)``."""

    waiting: str
    cosine: str
    sine: str
    masks: list[str]


def write_token(g: GraphWriter, network: Network) -> None:
    """Token graph: ``signal``, ``state`` to ``heads``, ``embedding``, ``state_out``."""
    spec, token = network.spec, network.token
    table = StateTable(spec.token, spec.stem_context)
    signal, packed = (
        g.input("signal", ("rows", f"{spec.patch}*tokens")),
        g.input("state", ("rows", table.size)),
    )
    state = unpack(g, table, packed)
    signal = g.op("Concat", [state.samples, signal], "signal.joined", axis=1)
    samples = g.slice(signal, -spec.stem_context, LAST, 1, "signal.tail")
    x, new, tokens = _stack(g, token.stack, _patch(g, token.patch, signal), state)
    heads = _linear(g, x, token.heads.weight, token.heads.bias, "heads.flat")
    heads = g.reshape(heads, (-1, tokens, len(HEADS)), "heads.out")
    x = g.reshape(x, (-1, tokens, spec.token.dim), "embedding.out")
    packed = pack(g, table, new._replace(samples=samples))
    g.output(heads, "heads", ("rows", "tokens", len(HEADS)))
    g.output(x, "embedding", ("rows", "tokens", spec.token.dim))
    g.output(packed, "state_out", ("rows", table.size))


def write_beat(g: GraphWriter, network: Network) -> None:
    """Beat graph: ``beats``, ``state`` to ``classes``, ``rhythm``, ``state_out``."""
    beat, columns = network.beat, network.spec.beat_inputs
    table = StateTable(network.spec.beat, 0)
    beats, packed = g.input("beats", ("rows", "count", columns)), g.input("state", ("rows", table.size))
    state = unpack(g, table, packed)
    flat = _linear(
        g, g.reshape(beats, (-1, columns), "beats.flat"), beat.enter.weight, beat.enter.bias, "enter"
    )
    length = g.op("Shape", [beats], "beats.length", start=1, end=2)
    x = g.reshape(flat, (-1, length, network.spec.beat.dim), "enter.rows")
    x, new, count = _stack(g, beat.stack, x, state)
    classes = _linear(g, x, beat.classes.weight, beat.classes.bias, "classes.raw")
    rhythm = _linear(g, x, beat.rhythm.weight, beat.rhythm.bias, "rhythm.flat")
    classes = g.op("Sub", [classes, _against(g, beat, x)], "classes.flat")
    for name, logits, labels in (("classes", classes, BEAT_LABELS), ("rhythm", rhythm, RHYTHM_LABELS)):
        g.output(
            g.reshape(logits, (-1, count, len(labels)), f"{name}.out"), name, ("rows", "count", len(labels))
        )
    g.output(pack(g, table, new), "state_out", ("rows", table.size))


def _against(g: GraphWriter, beat: BeatEncoder, x: str) -> str:
    """What speaks for fibrillation, in the column of S; 0 in the others."""
    for_it, column = _array(beat.rhythm.weight), _array(beat.supraventricular)
    sign = np.where(np.arange(len(RHYTHM_LABELS)) == RHYTHM_LABELS.index("AFIB"), 1.0, -1.0).astype(
        np.float32
    )
    weight, bias = sign @ for_it, sign @ _array(beat.rhythm.bias)
    spread = _gemm(g, x, np.outer(weight, column), bias * column, "rhythm.against")
    return g.op("Relu", [spread], "rhythm.against.positive")


def _array(value: Tensor | None) -> NDArray[np.float32]:
    assert value is not None
    return value.detach().cpu().numpy().astype(np.float32)


def _linear(g: GraphWriter, x: str, weight: Tensor, bias: Tensor | None, name: str) -> str:
    """``x @ weight.T + bias`` of ``(B T, in)``."""
    return _gemm(g, x, _array(weight).T, _array(bias), name)


def _gemm(g: GraphWriter, x: str, weight: NDArray[np.float32], bias: NDArray[np.float32], name: str) -> str:
    parts = [x, g.constant(weight, f"{name}.weight"), g.constant(bias, f"{name}.bias")]
    return g.op("Gemm", parts, name)


def _norm(g: GraphWriter, x: str, norm: nn.LayerNorm, name: str) -> str:
    scale, bias = (
        g.constant(_array(v), f"{name}.{k}") for k, v in (("weight", norm.weight), ("bias", norm.bias))
    )
    return g.op("LayerNormalization", [x, scale, bias], name, axis=-1, epsilon=norm.eps)


def _gelu(g: GraphWriter, x: str, name: str) -> str:
    """The exact Gelu in the form that ONNX Runtime and TensorRT fuse into one kernel."""
    erf = g.op("Erf", [g.op("Div", [x, g.constant(np.sqrt(2.0), "sqrt2")], f"{name}.scaled")], f"{name}.erf")
    gate = g.op("Add", [erf, g.constant(1.0, "one")], f"{name}.gate")
    return g.op("Mul", [g.op("Mul", [x, gate], f"{name}.twice"), g.constant(0.5, "half")], name)


def _patch(g: GraphWriter, patch: PatchEmbedding, signal: str) -> str:
    """Patch embedding: ``(B, 23 + samples)`` to ``(B, T, d)``, as an image ``(1, channels, B, places)``."""
    x = g.op("Unsqueeze", [signal, g.ints(0, 1)], "patch.in")
    for index, conv in enumerate((patch.conv1, patch.conv2, patch.conv3), start=1):
        name = f"patch.conv{index}"
        weight, bias = (
            g.constant(_array(conv.weight)[:, :, None], f"{name}.weight"),
            g.constant(_array(conv.bias), f"{name}.bias"),
        )
        x = g.op("Conv", [x, weight, bias], name, strides=[1, 2])
        x = _gelu(g, x, f"patch.gelu{index}") if index < 3 else x
    x = g.op("Transpose", [x], "patch.turned", perm=[0, 2, 3, 1])
    return g.op("Squeeze", [x, g.ints(0)], "patch.out")


def _stack(g: GraphWriter, stack: Stack, x: str, state: State) -> tuple[str, State, str]:
    """The stack's step on ``(B, T, d)``: output ``(B T, d)``, the new state, and the value that holds T."""
    spec = stack.spec
    tokens = g.op("Shape", [x], "tokens", start=1, end=2)
    waiting = g.op("Add", [tokens, g.ints(spec.right)], "waiting") if spec.right else tokens
    cosine, sine, phase = _turn(g, stack, waiting, state.phase)
    frame = _Frame(waiting, cosine, sine, _masks(g, stack, tokens, state.seen))
    x = g.reshape(x, (0, 1, -1, spec.dim), "block0.in")
    pending, keys, values = [], [], []
    for layer, block in enumerate(stack.blocks):
        assert isinstance(block, Block)
        x, late, cache = _block(g, block, layer, x, state, frame)
        pending += late
        keys.append(cache[0])
        values.append(cache[1])
        if layer + 1 < spec.layers:
            x = g.reshape(x, (-1, 1, tokens, spec.dim), f"block{layer + 1}.in")
    grown = g.op(
        "Add", [state.seen, g.op("Cast", [tokens], "tokens.float", to=TensorProto.FLOAT)], "count.grown"
    )
    count = g.op("Min", [grown, g.constant(float(stack.enough), "enough")], "count.new")
    new = state._replace(seen=count, phase=phase, pending=pending, keys=keys, values=values)
    return _norm(g, x, stack.norm, "norm"), new, tokens


def _turn(g: GraphWriter, stack: Stack, waiting: str, phase: str) -> tuple[str, str, str]:
    """Cosine and sine of each row's N positions, as wide as queries and keys; the phase of the next step."""
    spec = stack.spec
    half, kept = spec.dim // spec.heads // 2, max(spec.right, 1)
    speed = 1.0 if stack.positions == "rotary" else 0.0
    angle = speed * np.arange(LONGEST + kept)[:, None] * ROTARY_BASE ** (-np.arange(half) / half)
    turns = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])  # out, in, N, c / 2
    fresh = g.constant(np.array([1.0, 0.0])[:, None, None], "phase.fresh")
    z = g.op("Add", [g.reshape(phase, (0, 1, 2, 1, half), "phase.in"), fresh], "phase.raw")
    z = g.op("Div", [z, g.op("ReduceL2", [z, g.ints(2)], "phase.length", keepdims=1)], "phase.unit")
    # the phase of the next step is that of the first position that still waits
    count = waiting if spec.right else g.op("Add", [waiting, g.ints(1)], "turns.count")
    turned = g.op("Slice", [g.constant(turns, "turns.table"), g.ints(0), count, g.ints(2)], "turns")
    tables = g.op(
        "ReduceSum", [g.op("Mul", [z, turned], "phase.turned"), g.ints(2)], "phase.tables", keepdims=0
    )
    last = g.slice(tables, -kept, LAST if kept == 1 else 1 - kept, 2, "phase.last")
    new = g.reshape(g.op("Sub", [last, fresh], "phase.shifted"), (0, 2 * half), "phase.new")
    tables = tables if spec.right else g.slice(tables, 0, -1, 2, "phase.now")
    wide = g.op("Tile", [tables, g.ints(1, 1, 1, 4 * spec.heads)], "phase.wide")
    cosine, sine = g.split(wide, (1, 1), 1, ("cosine", "sine"))
    return cosine, sine, new


def _masks(g: GraphWriter, stack: Stack, tokens: str, count: str) -> list[str]:
    """What is added to each layer's scores: 0, or far below where a key is out of band or was never seen.

    Key s of layer l was seen once ``count >= span + l right - s``; out of band it never is.
    """
    spec = stack.spec
    places = np.arange(spec.span + LONGEST)
    keys = g.op("Add", [tokens, g.ints(spec.span)], "keys.count")
    key = g.op("Slice", [g.constant(-places, "places.keys"), g.ints(0), keys, g.ints(0)], "keys.place")
    centred = g.constant(places[:, None] + spec.span / 2, "places.queries")
    query = g.op("Slice", [centred, g.ints(0), tokens, g.ints(0)], "queries.place")
    distance = g.op("Abs", [g.op("Add", [query, key], "band.offset")], "band.distance")
    outside = g.op("Greater", [distance, g.constant(spec.span / 2, "band.half")], "band.outside")
    need = g.op("Where", [outside, g.constant(NEVER, "never"), key], "band.need")
    late = spec.span + spec.right * np.arange(spec.layers)
    need = g.op("Add", [need, g.constant(late[:, None, None, None], "layers.late")], "need")  # L, 1, T, S
    fresh = g.op("Less", [g.reshape(count, (0, 1, 1, 1, 1), "count.wide"), need], "unseen")
    mask = g.op("Where", [fresh, g.constant(MASKED, "masked"), g.constant(0.0, "zero")], "mask")
    return g.split(mask, [1] * spec.layers, 1, [f"block{layer}.mask" for layer in range(spec.layers)])


def _projection(block: Block) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weights ``(d, 5 d)`` and bias to queries (times 1/sqrt(c)), keys, both turned by a quarter, values."""
    spec = block.spec
    width = spec.dim // spec.heads
    weight, bias = (
        np.concatenate([_array(q) * width**-0.5, _array(kv)])
        for q, kv in ((block.query.weight, block.key_value.weight), (block.query.bias, block.key_value.bias))
    )
    order = np.arange(2 * spec.dim).reshape(-1, 2, width // 2)[:, ::-1].reshape(-1)
    sign = np.tile(np.repeat([-1.0, 1.0], width // 2), 2 * spec.heads).astype(np.float32)
    both = slice(0, 2 * spec.dim)
    weight = np.concatenate([weight[both], weight[order] * sign[:, None], weight[2 * spec.dim :]])
    bias = np.concatenate([bias[both], bias[order] * sign, bias[2 * spec.dim :]])
    return weight.T, bias


def _block(
    g: GraphWriter, block: Block, layer: int, x: str, state: State, frame: _Frame
) -> tuple[str, list[str], tuple[str, str]]:
    """One block on ``(B, 1, T, d)``: output ``(B T, d)``, what it leaves pending, and its new caches."""
    spec, name = block.spec, f"block{layer}"
    late, pending = x, []
    if spec.right:
        x = g.op("Concat", [state.pending[layer], x], f"{name}.x", axis=2)
        pending = [g.slice(x, -spec.right, LAST, 2, f"{name}.pending.new")]
        late = g.slice(x, 0, -spec.right, 2, f"{name}.late")
    h = g.reshape(_norm(g, x, block.norm1, f"{name}.norm1"), (-1, spec.dim), f"{name}.norm1.flat")
    attended, cache = _attention(g, block, layer, h, state, frame)
    out = _linear(g, attended, block.out.weight, block.out.bias, f"{name}.out")
    x = g.op("Add", [g.reshape(late, (-1, spec.dim), f"{name}.late.flat"), out], f"{name}.attention")
    h = _linear(
        g, _norm(g, x, block.norm2, f"{name}.norm2"), block.grow.weight, block.grow.bias, f"{name}.grow"
    )
    h = _linear(g, _gelu(g, h, f"{name}.gelu"), block.shrink.weight, block.shrink.bias, f"{name}.shrink")
    return g.op("Add", [x, h], f"{name}.y"), pending, cache


def _attention(
    g: GraphWriter, block: Block, layer: int, h: str, state: State, frame: _Frame
) -> tuple[str, tuple[str, str]]:
    """Banded attention of ``(B N, d)``: ``(B T, d)`` before the output layer, and the new caches."""
    spec, name = block.spec, f"block{layer}"
    dim, heads, width = spec.dim, spec.heads, spec.dim // spec.heads
    qkv = g.reshape(
        _gemm(g, h, *_projection(block), f"{name}.qkv"), (-1, 1, frame.waiting, 5 * dim), f"{name}.qkv.rows"
    )
    qk, turned, v = g.split(
        qkv, (2 * dim, 2 * dim, dim), 3, [f"{name}.{part}" for part in ("qk", "qk.turned", "v")]
    )
    straight, across = (
        g.op("Mul", [part, table], f"{name}.{kind}")
        for part, table, kind in ((qk, frame.cosine, "straight"), (turned, frame.sine, "across"))
    )
    qk = g.op("Add", [straight, across], f"{name}.rotated")
    qk = g.op(
        "Transpose",
        [g.reshape(qk, (0, -1, 2, heads, width), f"{name}.qk.rows")],
        f"{name}.qk.heads",
        perm=[0, 2, 3, 1, 4],
    )
    q, k = g.split(qk, (1, 1), 1, (f"{name}.q.all", f"{name}.k"))
    q = g.slice(q, 0, -spec.right, 3, f"{name}.q") if spec.right else q
    v = g.op(
        "Transpose",
        [g.reshape(v, (0, 1, -1, heads, width), f"{name}.v.rows")],
        f"{name}.v.heads",
        perm=[0, 1, 3, 2, 4],
    )
    k = g.op("Concat", [state.keys[layer], k], f"{name}.keys", axis=3)
    v = g.op("Concat", [state.values[layer], v], f"{name}.values", axis=3)
    end = -spec.right if spec.right else LAST
    cache = tuple(
        g.slice(x, -spec.span, end, 3, f"{name}.{kind}.new") for x, kind in ((k, "keys"), (v, "values"))
    )
    scores = g.op(
        "MatMul", [q, g.op("Transpose", [k], f"{name}.keys.t", perm=[0, 1, 2, 4, 3])], f"{name}.scores"
    )
    weights = g.op(
        "Softmax", [g.op("Add", [scores, frame.masks[layer]], f"{name}.masked")], f"{name}.weights", axis=-1
    )
    attended = g.op(
        "Transpose", [g.op("MatMul", [weights, v], f"{name}.mixed")], f"{name}.joined", perm=[0, 1, 3, 2, 4]
    )
    return g.reshape(attended, (-1, dim), f"{name}.attended"), (cache[0], cache[1])
