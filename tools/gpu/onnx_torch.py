"""The bundle's ONNX graphs, node by node in PyTorch: kernels for a GPU that TensorRT-RTX does not take.

It knows the operators that EdgeECG writes and no others. Shapes and counts (int64) are computed on the
host, everything else on the device, so that a run with the same shapes queues the same kernels and can be
captured as a CUDA graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import helper, numpy_helper
from torch import Tensor

__all__ = ["TorchGraph"]

TYPES = {
    onnx.TensorProto.FLOAT: torch.float32,
    onnx.TensorProto.FLOAT16: torch.float16,
    onnx.TensorProto.INT64: torch.int64,
}

Attributes = dict[str, Any]


class TorchGraph:
    """A graph on one device; :meth:`run` queues its kernels in the current stream."""

    def __init__(self, model: bytes, device: str) -> None:
        graph = onnx.load_model_from_string(model).graph
        self.device = torch.device(device)
        self.inputs = [value.name for value in graph.input]
        self.outputs = [value.name for value in graph.output]
        self.constants = {tensor.name: self._place(tensor) for tensor in graph.initializer}
        self.nodes = [
            (node.name, node.op_type, list(node.input), list(node.output), attributes(node))
            for node in graph.node
        ]

    def _place(self, tensor: onnx.TensorProto) -> Tensor:
        value = torch.from_numpy(np.array(numpy_helper.to_array(tensor)))
        return value if value.dtype == torch.int64 else value.to(self.device)

    @torch.no_grad()
    def run(
        self, inputs: Mapping[str, Tensor], watch: Callable[[str], None] = lambda name: None
    ) -> dict[str, Tensor]:
        """Outputs by name; ``watch`` is called after each node."""
        values = {**self.constants, **inputs}
        for name, kind, takes, gives, options in self.nodes:
            results = OPERATORS[kind]([values[t] if t else None for t in takes], options, self.device)
            values.update(zip(gives, results if isinstance(results, tuple) else (results,), strict=True))
            watch(name)
        return {name: values[name] for name in self.outputs}


def attributes(node: onnx.NodeProto) -> Attributes:
    """Attributes of a node as Python values."""
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def whole(value: Tensor) -> list[int]:
    """Numbers of an int64 tensor, which lives on the host."""
    return [int(n) for n in value.reshape(-1)]


def reshape(x: list[Tensor], _: Attributes, __: torch.device) -> Tensor:
    """``Reshape``: 0 keeps a dimension."""
    return x[0].reshape([x[0].shape[i] if n == 0 else n for i, n in enumerate(whole(x[1]))])


def cut(x: list[Tensor], _: Attributes, __: torch.device) -> Tensor:
    """``Slice`` of step 1 along the axes that it names."""
    value = x[0]
    axes = whole(x[3]) if len(x) > 3 else range(len(x[1]))
    for start, end, axis in zip(whole(x[1]), whole(x[2]), axes, strict=True):
        begin, stop, _step = slice(start, end).indices(value.shape[axis])
        value = value.narrow(axis, begin, max(0, stop - begin))
    return value


def split(x: list[Tensor], options: Attributes, _: torch.device) -> tuple[Tensor, ...]:
    """``Split`` into given sizes."""
    return torch.split(x[0], whole(x[1]), dim=options.get("axis", 0))


def cast(x: list[Tensor], options: Attributes, device: torch.device) -> Tensor:
    """``Cast``; a count that becomes a float is filled in on the device, not copied from the host."""
    wanted = TYPES[options["to"]]
    if x[0].dtype == torch.int64 and wanted != torch.int64:
        return torch.full(x[0].shape, float(whole(x[0])[0]), dtype=wanted, device=device)
    return x[0].to(wanted)


def gemm(x: list[Tensor], options: Attributes, _: torch.device) -> Tensor:
    """``Gemm`` with weights as they are kept."""
    weight = x[1].t() if options.get("transB") else x[1]
    return torch.addmm(x[2], x[0], weight) if len(x) > 2 else x[0] @ weight


def reduced(x: Tensor, axes: Tensor, options: Attributes, norm: bool) -> Tensor:
    """``ReduceSum`` or ``ReduceL2``."""
    value = (x * x if norm else x).sum(dim=whole(axes), keepdim=bool(options.get("keepdims", 1)))
    return value.sqrt() if norm else value


def quantize(x: list[Tensor], options: Attributes, _: torch.device) -> Tensor:
    """``QuantizeLinear``, symmetric; an int8 that is kept as a float: the product is the same."""
    return torch.clamp(torch.round(x[0].float() / along(x[1], x[0], options).float()), -128, 127)


def dequantize(x: list[Tensor], options: Attributes, _: torch.device) -> Tensor:
    """``DequantizeLinear``, symmetric."""
    scale = along(x[1], x[0], options)
    return x[0].to(scale.dtype) * scale


def along(scale: Tensor, x: Tensor, options: Attributes) -> Tensor:
    """A scale, or one a column of ``x``, in a shape that multiplies ``x``."""
    if scale.numel() == 1:
        return scale.reshape(())
    shape = [1] * x.dim()
    shape[options.get("axis", 1)] = -1
    return scale.reshape(shape)


def length(x: list[Tensor], options: Attributes, _: torch.device) -> Tensor:
    """``Shape``, on the host."""
    return torch.tensor(list(x[0].shape)[options.get("start", 0) : options.get("end")])


OPERATORS: dict[str, Callable[[list[Any], Attributes, torch.device], Any]] = {
    "Abs": lambda x, o, d: x[0].abs(),
    "Add": lambda x, o, d: x[0] + x[1],
    "Cast": cast,
    "Concat": lambda x, o, d: torch.cat(x, dim=o["axis"]),
    "Conv": lambda x, o, d: F.conv2d(x[0], x[1], x[2] if len(x) > 2 else None, stride=tuple(o["strides"])),
    "DequantizeLinear": dequantize,
    "Div": lambda x, o, d: x[0] / x[1],
    "Erf": lambda x, o, d: torch.erf(x[0]),
    "Gemm": gemm,
    "Greater": lambda x, o, d: x[0] > x[1],
    "LayerNormalization": lambda x, o, d: F.layer_norm(
        x[0], x[0].shape[-1:], x[1], x[2], o.get("epsilon", 1e-5)
    ),
    "Less": lambda x, o, d: x[0] < x[1],
    "MatMul": lambda x, o, d: x[0] @ x[1],
    "Min": lambda x, o, d: torch.minimum(x[0], x[1]),
    "Mul": lambda x, o, d: x[0] * x[1],
    "QuantizeLinear": quantize,
    "ReduceL2": lambda x, o, d: reduced(x[0], x[1], o, norm=True),
    "ReduceSum": lambda x, o, d: reduced(x[0], x[1], o, norm=False),
    "Relu": lambda x, o, d: torch.relu(x[0]),
    "Reshape": reshape,
    "Shape": length,
    "Slice": cut,
    "Softmax": lambda x, o, d: torch.softmax(x[0], dim=o.get("axis", -1)),
    "Split": split,
    "Squeeze": lambda x, o, d: x[0].squeeze(whole(x[1])[0]),
    "Sub": lambda x, o, d: x[0] - x[1],
    "Tile": lambda x, o, d: x[0].repeat(whole(x[1])),
    "Transpose": lambda x, o, d: x[0].permute(o["perm"]),
    "Unsqueeze": lambda x, o, d: x[0][(None,) * len(whole(x[1]))],  # always in front
    "Where": lambda x, o, d: torch.where(x[0], x[1], x[2]),
}
"""What a node does, by its kind."""
