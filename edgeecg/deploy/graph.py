"""A small pen for ONNX graphs: nodes are written in the order in which they run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

__all__ = ["IR_VERSION", "OPSET", "GraphWriter"]

OPSET = 19
"""FP16 Q/DQ does not exist below; TensorRT 10.3 reads no higher than 20."""

IR_VERSION = 10
"""Newest IR that every supported runtime reads."""

LAST = np.iinfo(np.int64).max


class GraphWriter:
    """Collects nodes and initializers; values are handled by their names.

    Parameters
    ----------
    name : str
        Name of the graph.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self._used: dict[str, int] = {}

    def unique(self, name: str) -> str:
        """``name``, numbered where it is taken."""
        count = self._used.get(name, 0)
        self._used[name] = count + 1
        return f"{name}.{count}" if count else name

    def input(self, name: str, shape: Sequence[int | str]) -> str:
        """A float32 input of the graph."""
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        return self.unique(name)

    def output(self, value: str, name: str, shape: Sequence[int | str]) -> None:
        """Make a value an output of the graph under ``name``; it must not be one already."""
        for node in self.nodes:
            node.input[:] = [name if v == value else v for v in node.input]
            node.output[:] = [name if v == value else v for v in node.output]
        self.outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    def constant(self, array: NDArray[Any], name: str) -> str:
        """An initializer; equal arrays of one name are kept once."""
        tensor = numpy_helper.from_array(np.ascontiguousarray(array), name)
        while name in self.initializers:
            if self.initializers[name].SerializeToString() == tensor.SerializeToString():
                return name
            name = self.unique(name)
            tensor.name = name
        self._used.setdefault(name, 1)
        self.initializers[name] = tensor
        return name

    def ints(self, *values: int) -> str:
        """A one-dimensional int64 initializer, shared by value."""
        return self.constant(np.array(values, np.int64), "i" + "_".join(map(str, values)).replace("-", "m"))

    def op(self, kind: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """A node of one output; gives the output's name."""
        return self.ops(kind, inputs, [name], **attributes)[0]

    def ops(self, kind: str, inputs: Sequence[str], names: Sequence[str], **attributes: Any) -> list[str]:
        """A node of several outputs; the node bears the first one's name."""
        outputs = [self.unique(name) for name in names]
        self.nodes.append(helper.make_node(kind, inputs, outputs, name=outputs[0], **attributes))
        return outputs

    def slice(self, value: str, start: int, end: int, axis: int, name: str) -> str:
        """``value[start:end]`` along an axis; the end of the axis where ``end`` is :data:`LAST`."""
        return self.op("Slice", [value, self.ints(start), self.ints(end), self.ints(axis)], name)

    def reshape(self, value: str, shape: Sequence[int], name: str) -> str:
        """Reshape; 0 keeps a dimension, -1 takes what is left."""
        return self.op("Reshape", [value, self.ints(*shape)], name)

    def model(self, doc: str) -> onnx.ModelProto:
        """The checked model."""
        graph = helper.make_graph(
            self.nodes, self.name, self.inputs, self.outputs, list(self.initializers.values()), doc_string=doc
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="edgeecg"
        )
        model.ir_version = IR_VERSION
        onnx.checker.check_model(model, full_check=True)
        return model
