"""One graph in another precision: nodes rewritten, names and I/O kept.

- **fp16**: what multiplies matrices runs in FP16; LayerNorm, softmax, rotary turns, Gelu, residual sums
  and all state stay FP32 islands, joined by casts that TensorRT fuses away.
- **int8**: explicit Q/DQ, symmetric, zero point 0, one scale a tensor for activations and one a column for
  weights. The bias is added in FP32 after the product: a quantized bias does not parse in TensorRT, and
  only a product without bias becomes an integer kernel in ONNX Runtime.

The value that a node gave keeps its name, so graphs of all precisions can be compared layer by layer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgeecg.deploy.ranges import LEVELS
from edgeecg.errors import ConfigError

__all__ = ["MULTIPLYING", "Kind", "Product", "fp16_plan", "int8_plan", "products", "rewrite"]

Kind = Literal["fp32", "fp16", "int8"]

MULTIPLYING = ("Conv", "Gemm", "MatMul")
"""Operators whose precision is a choice; all else stays FP32."""

HALF_LARGEST = 65504.0

_KEPT = (
    ("patch.conv1", "reads the signal itself: P waves of 0.1 mV beside QRS of 3 mV share one scale"),
    ("patch.conv", "ONNX Runtime has no INT8 convolution with a float output; small next to the layers"),
    (".scores", "queries and keys both change at every step, over only a head's width; keys are FP32 state"),
    (".mixed", "softmax weights against values from the FP32 state"),
    ("heads", "logits of different units share the layer; next to no work"),
    ("enter", "reads RR intervals beside embeddings: their ranges differ too much for one scale"),
    ("classes", "the decision itself; next to no work"),
    ("rhythm", "the decision itself; next to no work"),
)


@dataclass(frozen=True)
class Product:
    """A node that multiplies.

    Parameters
    ----------
    node : str
        Its name.
    kind : str
        Its operator.
    reads : str
        The activation that would be quantized.
    weights : int
        Parameters of the weight; 0 where both sides are activations.
    reason : str
        Why it is not quantized to INT8; empty where it is.
    """

    node: str
    kind: str
    reads: str
    weights: int
    reason: str


def products(model: onnx.ModelProto) -> tuple[Product, ...]:
    """The nodes of a graph that multiply, in the order in which they run."""
    sizes = {tensor.name: int(np.prod(tensor.dims)) for tensor in model.graph.initializer}
    return tuple(
        Product(node.name, node.op_type, node.input[0], sizes.get(node.input[1], 0), _reason(node.name))
        for node in model.graph.node
        if node.op_type in MULTIPLYING
    )


def fp16_plan(model: onnx.ModelProto) -> dict[str, Kind]:
    """Every product in FP16."""
    return {product.node: "fp16" for product in products(model)}


def int8_plan(
    model: onnx.ModelProto, elsewhere: Kind = "fp32", float_layers: Sequence[str] = ()
) -> dict[str, Kind]:
    """Every product in INT8 that is fit for it, the others in ``elsewhere``.

    Parameters
    ----------
    float_layers : sequence of str
        Names of nodes to leave out of INT8 beyond those that are unfit.

    Raises
    ------
    ConfigError
        A name that is no product of the graph.
    """
    found = products(model)
    _known(found, float_layers)
    return {p.node: elsewhere if p.reason or p.node in float_layers else "int8" for p in found}


def rewrite(
    model: onnx.ModelProto, plan: Mapping[str, Kind], levels: Mapping[str, float] | None = None
) -> onnx.ModelProto:
    """The graph with each product in the precision that ``plan`` gives its node.

    Parameters
    ----------
    plan : mapping of node name to str
        Nodes left out stay FP32.
    levels : mapping of value name to float
        Absolute value of each quantized activation that becomes 127.

    Raises
    ------
    ConfigError
        The plan names a node that is no product, a level is missing, or a weight does not fit FP16.
    """
    _known(products(model), plan)
    pen = _Rewriter(model, levels or {})
    for node in model.graph.node:
        kind = plan.get(node.name, "fp32")
        if kind == "fp32":
            pen.nodes.append(node)
        elif kind == "fp16":
            pen.half(node)
        else:
            pen.int8(node)
    return pen.model()


def _known(found: Sequence[Product], names: Iterable[str]) -> None:
    known = [product.node for product in found]
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise ConfigError(f"{unknown[0]} is no layer of this graph; it has {', '.join(known)}")


def _reason(node: str) -> str:
    return next((reason for word, reason in _KEPT if word in node), "")


class _Rewriter:
    """Nodes and initializers of the new graph."""

    def __init__(self, model: onnx.ModelProto, levels: Mapping[str, float]) -> None:
        self.source = model
        self.levels = levels
        self.nodes: list[onnx.NodeProto] = []
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self._made: set[str] = set()

    def half(self, node: onnx.NodeProto) -> None:
        """The node in FP16 between casts."""
        inputs = [self._halved(name) for name in node.input]
        changed = onnx.NodeProto()
        changed.CopyFrom(node)
        changed.input[:] = inputs
        changed.output[0] = f"{node.output[0]}.half"
        self.nodes.append(changed)
        self._add("Cast", [changed.output[0]], node.output[0], to=TensorProto.FLOAT)

    def int8(self, node: onnx.NodeProto) -> None:
        """The node between Q/DQ, its bias added afterwards."""
        if node.op_type == "MatMul":
            raise ConfigError(f"{node.name} multiplies two activations: it cannot be quantized to INT8")
        axis = 0 if node.op_type == "Conv" else 1
        inputs = [self._quantized(node.input[0]), self._quantized_weight(node.input[1], axis)]
        product = f"{node.output[0]}.product"
        changed = onnx.NodeProto()
        changed.CopyFrom(node)
        changed.input[:] = inputs
        changed.output[0] = product
        self.nodes.append(changed)
        bias = numpy_helper.to_array(self.constants[node.input[2]])
        if node.op_type == "Conv":
            bias = bias.reshape(
                -1, *[1] * len(numpy_helper.to_array(self.constants[node.input[1]]).shape[2:])
            )
        self._add("Add", [product, self._constant(bias, f"{node.name}.bias.added")], node.output[0])

    def model(self) -> onnx.ModelProto:
        """The checked model, without initializers that nothing reads any more."""
        read = {name for node in self.nodes for name in node.input}
        source = self.source
        graph = helper.make_graph(
            self.nodes,
            source.graph.name,
            list(source.graph.input),
            list(source.graph.output),
            [tensor for name, tensor in self.constants.items() if name in read],
            doc_string=source.graph.doc_string,
        )
        model = helper.make_model(graph, opset_imports=list(source.opset_import), producer_name="edgeecg")
        model.ir_version = source.ir_version
        model.metadata_props.extend(source.metadata_props)
        onnx.checker.check_model(model, full_check=True)
        return model

    def _halved(self, name: str) -> str:
        half = f"{name}.half"
        if name in self.constants:
            array = numpy_helper.to_array(self.constants[name])
            if np.max(np.abs(array)) > HALF_LARGEST:
                raise ConfigError(
                    f"{name} holds values beyond FP16's {HALF_LARGEST:g}: keep its layer in FP32"
                )
            return self._constant(array.astype(np.float16), half)
        if half not in self._made:
            self._add("Cast", [name], half, to=TensorProto.FLOAT16)
        return half

    def _quantized(self, name: str) -> str:
        """The activation through a Q/DQ pair, made once however many nodes read it."""
        out = f"{name}.dequantized"
        if out in self._made:
            return out
        if name not in self.levels:
            raise ConfigError(f"no calibration of {name}: calibrate this network anew")
        scale = self._constant(np.array(self.levels[name] / LEVELS, np.float32), f"{name}.scale")
        zero = self._constant(np.array(0, np.int8), "zero.int8")
        self._add("QuantizeLinear", [name, scale, zero], f"{name}.quantized")
        self._add("DequantizeLinear", [f"{name}.quantized", scale, zero], out)
        return out

    def _quantized_weight(self, name: str, axis: int) -> str:
        """The weight as INT8 with a scale for each output column."""
        array = numpy_helper.to_array(self.constants[name]).astype(np.float64)
        others = tuple(i for i in range(array.ndim) if i != axis)
        scale = np.max(np.abs(array), axis=others) / LEVELS
        scale = np.where(scale > 0, scale, 1.0).astype(np.float32)
        shape = [-1 if i == axis else 1 for i in range(array.ndim)]
        values = np.clip(np.rint(array / scale.reshape(shape)), -LEVELS, LEVELS).astype(np.int8)
        out = f"{name}.dequantized"
        parts = [
            self._constant(values, f"{name}.int8"),
            self._constant(scale, f"{name}.scale"),
            self._constant(np.zeros(len(scale), np.int8), f"{name}.zero"),
        ]
        self._add("DequantizeLinear", parts, out, axis=axis)
        return out

    def _constant(self, array: NDArray[np.generic], name: str) -> str:
        self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)
        return name

    def _add(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> None:
        name = f"{output}/{kind}"  # the node whose place it takes keeps its own name
        self.nodes.append(helper.make_node(kind, inputs, [output], name=name, **attributes))
        self._made.add(output)
