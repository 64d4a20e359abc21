"""What is compiled for and what is computed with: sizes and weights of a graph, as ``step.c`` wants them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from edgeecg.bundle import GraphName
from edgeecg.errors import BackendError, BundleError
from edgeecg.specs import BEAT_LABELS, HEADS, RHYTHM_LABELS, ModelSpec, StackSpec

__all__ = ["LINE", "pack_weights", "sizes_of"]

LINE = 16
"""Columns of every matrix are whole lines of so many floats: the widest vector of any processor here."""

TURNS = "turns.table"
PLACES = (7, 5, 5)  # of the three convolutions

Array = NDArray[np.float32]
Constants = Mapping[str, Array]


def sizes_of(spec: ModelSpec, name: GraphName, constants: Constants) -> dict[str, int]:
    """The macros that ``step.c`` is compiled with.

    Raises
    ------
    BackendError
        A width is no whole number of lines, so that the kernels do not fit.
    BundleError
        The graph has no table of positions.
    """
    stack = spec.token if name == "token" else spec.beat
    for what, width in (("dim", stack.dim), ("ffn", stack.ffn), ("dim / heads", stack.dim // stack.heads)):
        if width % LINE:
            raise BackendError(
                f"the native backend takes widths in whole {LINE}s, but {what} of the {name} encoder is "
                f"{width}: take the backend onnxruntime"
            )
    sizes = {
        "LINE": LINE,
        "DIM": stack.dim,
        "LAYERS": stack.layers,
        "HEADS": stack.heads,
        "FFN": stack.ffn,
        "LEFT": stack.left,
        "RIGHT": stack.right,
        "LONGEST": _turns(stack, constants).shape[2] - max(stack.right, 1),
    }
    if name == "token":
        first, second = (_whole(channels) for channels in spec.stem)
        context = {"PATCH": spec.patch, "CONTEXT": spec.stem_context, "STEM1": first, "STEM2": second}
        return {**sizes, **context, "OUTPUTS": len(HEADS)}
    outputs = 2 * len(BEAT_LABELS) + len(RHYTHM_LABELS)
    return {**sizes, "CONTEXT": 0, "INPUTS": spec.beat_inputs, "OUTPUTS": outputs}


def pack_weights(spec: ModelSpec, name: GraphName, constants: Constants) -> Array:
    """All weights of a graph in one row, in the order of ``struct network``.

    Raises
    ------
    BundleError
        One of them is not there or has another shape: the graph is not that of ``spec``, or another
        version's ``export`` wrote it.
    """
    stack = spec.token if name == "token" else spec.beat
    parts = [*_entry(spec, name, constants)]
    for layer in range(stack.layers):
        parts += _layer(stack, constants, f"block{layer}")
    parts += _pair(constants, "norm", stack.dim)
    classes, rhythms = len(BEAT_LABELS), len(RHYTHM_LABELS)
    ends = {"classes.raw": classes, "rhythm.flat": rhythms, "rhythm.against": classes}
    ends = {"heads.flat": len(HEADS)} if name == "token" else ends
    weights, biases = zip(*(_pair(constants, end, stack.dim, out) for end, out in ends.items()), strict=True)
    parts += [_padded(np.concatenate(weights, axis=1)), _padded(np.concatenate(biases))]
    turns = _turns(stack, constants)
    parts += [turns[0, 0], turns[1, 0]]
    return np.concatenate([np.ravel(part) for part in parts]).astype(np.float32)


def _entry(spec: ModelSpec, name: GraphName, constants: Constants) -> Iterator[Array]:
    """Patch embedding of the signal, as products over (place, channel), or the layer that beats enter by."""
    if name == "beat":
        yield from _pair(constants, "enter", spec.beat_inputs, spec.beat.dim)
        return
    channels = (1, *spec.stem, spec.token.dim)
    for index, (inner, out, places) in enumerate(zip(channels, channels[1:], PLACES, strict=False), start=1):
        weight, bias = _pair(constants, f"patch.conv{index}", out, inner, 1, places, outputs=out)
        turned = weight[:, :, 0].transpose(2, 1, 0)  # places, in, out
        wide = np.zeros((places, _whole(inner) if index > 1 else 1, _whole(out)), np.float32)
        wide[:, :inner, :out] = turned
        yield wide
        yield _padded(bias)


def _layer(stack: StackSpec, constants: Constants, name: str) -> list[Array]:
    """One block. The graph also has queries and keys turned by a quarter; the kernel turns by itself."""
    dim, ffn = stack.dim, stack.ffn
    weight, bias = _pair(constants, f"{name}.qkv", dim, 5 * dim)
    own = np.r_[0 : 2 * dim, 4 * dim : 5 * dim]
    parts = [*_pair(constants, f"{name}.norm1", dim), weight[:, own], bias[own]]
    for part, shape in {"out": (dim, dim), "norm2": (dim,), "grow": (dim, ffn), "shrink": (ffn, dim)}.items():
        parts += _pair(constants, f"{name}.{part}", *shape)
    return parts


def _pair(constants: Constants, name: str, *shape: int, outputs: int = 0) -> tuple[Array, Array]:
    """Weight of a shape and the bias of its last dimension, or of so many outputs."""
    return _get(constants, f"{name}.weight", shape), _get(constants, f"{name}.bias", (outputs or shape[-1],))


def _turns(stack: StackSpec, constants: Constants) -> Array:
    """Cosine and sine of every number of positions, ``(out, in, positions, half a head)``."""
    table = constants.get(TURNS)
    positions = table.shape[2] if table is not None and table.ndim == 4 else 0
    return _get(constants, TURNS, (2, 2, max(positions, stack.right + 1), stack.dim // stack.heads // 2))


def _get(constants: Constants, name: str, shape: tuple[int, ...]) -> Array:
    found = constants.get(name)
    if found is None or found.shape != shape:
        said = "no" if found is None else f"a {found.shape} where its manifest needs a {shape} as"
        raise BundleError(
            f"its graph has {said} {name}: they are of two networks or versions, build the bundle again or "
            "take the backend onnxruntime"
        )
    return found


def _padded(array: Array) -> Array:
    """Zeros behind the last axis, up to a whole line."""
    return np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, _whole(array.shape[-1]) - array.shape[-1])])


def _whole(columns: int) -> int:
    return -(-columns // LINE) * LINE
