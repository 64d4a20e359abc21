"""A small pen for ONNX graphs: nodes are written in the order in which they run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Union

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto, helper, numpy_helper

__all__ = ["IR_VERSION", "LAST", "OPSET", "GraphWriter"]

OPSET = 19
"""FP16 Q/DQ does not exist below; TensorRT 10.3 reads no higher than 20."""

IR_VERSION = 10
"""Newest IR that every supported runtime reads."""

LAST = int(np.iinfo(np.int64).max)
"""End of a slice that goes to the end."""


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
        self._shapes: dict[tuple[Union[int, str], ...], str] = {}

    def unique(self, name: str) -> str:
        """``name``, numbered where it is taken."""
        count = self._used.get(name, 0)
        self._used[name] = count + 1
        return f"{name}.{count}" if count else name

    def input(self, name: str, shape: Sequence[Union[int, str]]) -> str:
        """A float32 input of the graph."""
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        return self.unique(name)

    def output(self, value: str, name: str, shape: Sequence[Union[int, str]]) -> None:
        """Make a value an output of the graph under ``name``; the node that gives it is renamed with it."""
        for node in self.nodes:
            if value in node.output:
                node.name = name
            node.input[:] = [name if v == value else v for v in node.input]
            node.output[:] = [name if v == value else v for v in node.output]
        self.outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    def constant(self, array: ArrayLike, name: str) -> str:
        """A float32 initializer; equal arrays of one name are kept once."""
        return self._keep(np.array(array, np.float32, order="C"), name)

    def ints(self, *values: int) -> str:
        """A one-dimensional int64 initializer, shared by value."""
        words = "_".join("end" if v == LAST else str(v).replace("-", "m") for v in values)
        return self._keep(np.array(values, np.int64), f"int_{words}")

    def op(self, kind: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """A node of one output; gives the output's name."""
        return self.ops(kind, inputs, [name], **attributes)[0]

    def ops(self, kind: str, inputs: Sequence[str], names: Sequence[str], **attributes: Any) -> list[str]:
        """A node of several outputs; the node bears the first one's name."""
        outputs = [self.unique(name) for name in names]
        self.nodes.append(helper.make_node(kind, inputs, outputs, name=outputs[0], **attributes))
        return outputs

    def slice(self, value: str, start: int, end: int, axis: int, name: str) -> str:
        """``value[start:end]`` along an axis; ``end`` may be :data:`LAST`."""
        return self.op("Slice", [value, self.ints(start), self.ints(end), self.ints(axis)], name)

    def split(self, value: str, sizes: Sequence[int], axis: int, names: Sequence[str]) -> list[str]:
        """Parts of these sizes along an axis."""
        return self.ops("Split", [value, self.ints(*sizes)], names, axis=axis)

    def reshape(self, value: str, shape: Sequence[Union[int, str]], name: str) -> str:
        """Reshape: 0 keeps a dimension, -1 takes what is left, a word is a value that holds one number."""
        return self.op("Reshape", [value, self._shape(tuple(shape))], name)

    def model(self, doc: str, **notes: str) -> onnx.ModelProto:
        """The checked model; ``notes`` go into its metadata."""
        graph = helper.make_graph(
            self.nodes, self.name, self.inputs, self.outputs, list(self.initializers.values()), doc_string=doc
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="edgeecg"
        )
        model.ir_version = IR_VERSION
        helper.set_model_props(model, notes)
        onnx.checker.check_model(model, full_check=True)
        return model

    def _keep(self, array: NDArray[Any], name: str) -> str:
        tensor = numpy_helper.from_array(array, name)
        while name in self.initializers:
            if self.initializers[name].SerializeToString() == tensor.SerializeToString():
                return name
            name = tensor.name = self.unique(name)
        self._used.setdefault(name, 1)
        self.initializers[name] = tensor
        return name

    def _shape(self, shape: tuple[Union[int, str], ...]) -> str:
        """Value that holds a shape; those with a length known only at run time are made once."""
        if all(isinstance(size, int) for size in shape):
            return self.ints(*(int(size) for size in shape))
        if shape not in self._shapes:
            parts = [size if isinstance(size, str) else self.ints(size) for size in shape]
            name = "shape." + "_".join(map(str, shape)).replace("-", "m")
            self._shapes[shape] = self.op("Concat", parts, name, axis=0)
        return self._shapes[shape]
