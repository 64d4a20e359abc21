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
        "DIM": stack.dim,
        "LAYERS": stack.layers,
        "HEADS": stack.heads,
        "FFN": stack.ffn,
        "LEFT": stack.left,
        "RIGHT": stack.right,
        "LONGEST": _get(constants, TURNS).shape[2] - max(stack.right, 1),
    }
    if name == "token":
        first, second = (_whole(channels) for channels in spec.stem)
        context = {"CONTEXT": spec.stem_context, "STEM1": first, "STEM2": second}
        return {**sizes, **context, "OUTPUTS": len(HEADS)}
    outputs = 2 * len(BEAT_LABELS) + len(RHYTHM_LABELS)
    return {**sizes, "CONTEXT": 0, "INPUTS": spec.beat_inputs, "OUTPUTS": outputs}


def pack_weights(spec: ModelSpec, name: GraphName, constants: Constants) -> Array:
    """All weights of a graph in one row, in the order of ``struct network``.

    Raises
    ------
    BundleError
        The graph lacks one of them: it was not written by this version's ``export``.
    """
    stack = spec.token if name == "token" else spec.beat
    parts = [*_entry(spec, name, constants)]
    for layer in range(stack.layers):
        parts += _layer(stack, constants, f"block{layer}")
    parts += _pair(constants, "norm")
    ends = ("heads.flat",) if name == "token" else ("classes.raw", "rhythm.flat", "rhythm.against")
    weights, biases = zip(*(_pair(constants, end) for end in ends), strict=True)
    parts += [_padded(np.concatenate(weights, axis=1)), _padded(np.concatenate(biases))]
    turns = _get(constants, TURNS)  # out, in, positions, half a head
    parts += [turns[0, 0], turns[1, 0]]
    return np.concatenate([np.ravel(part) for part in parts]).astype(np.float32)


def _entry(spec: ModelSpec, name: GraphName, constants: Constants) -> Iterator[Array]:
    """Patch embedding of the signal, as products over (place, channel), or the layer that beats enter by."""
    if name == "beat":
        yield from _pair(constants, "enter")
        return
    channels = 1
    for index, out in enumerate((*spec.stem, spec.token.dim), start=1):
        weight, bias = _pair(constants, f"patch.conv{index}")  # out, in, 1, places
        turned = weight[:, :, 0].transpose(2, 1, 0)
        wide = np.zeros((len(turned), channels, _whole(out)), np.float32)
        wide[:, : turned.shape[1], :out] = turned
        yield wide
        yield _padded(bias)
        channels = _whole(out)


def _layer(stack: StackSpec, constants: Constants, name: str) -> list[Array]:
    """One block. The graph also has queries and keys turned by a quarter; the kernel turns by itself."""
    weight, bias = _pair(constants, f"{name}.qkv")
    own = np.r_[0 : 2 * stack.dim, 4 * stack.dim : 5 * stack.dim]
    parts = [*_pair(constants, f"{name}.norm1"), weight[:, own], bias[own]]
    for part in ("out", "norm2", "grow", "shrink"):
        parts += _pair(constants, f"{name}.{part}")
    return parts


def _pair(constants: Constants, name: str) -> tuple[Array, Array]:
    return _get(constants, f"{name}.weight"), _get(constants, f"{name}.bias")


def _get(constants: Constants, name: str) -> Array:
    try:
        return constants[name]
    except KeyError:
        raise BundleError(
            f"its graph has no {name}: it was written by another version, build the bundle again or take "
            "the backend onnxruntime"
        ) from None


def _padded(array: Array) -> Array:
    """Zeros behind the last axis, up to a whole line."""
    return np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, _whole(array.shape[-1]) - array.shape[-1])])


def _whole(columns: int) -> int:
    return -(-columns // LINE) * LINE
