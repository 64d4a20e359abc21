"""Looking into ONNX graphs: every layer's output made visible, and the exact oracle of the ONNX project.

ONNX Runtime's CPU computes FP16 in FP32 behind casts, so overflow does not show there;
``onnx.reference`` computes it in FP16.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from edgeecg.errors import BackendError
from edgeecg.runtime.compare import Layer
from edgeecg.runtime.executor import Executor, Tensors, TensorSpec, check_inputs

__all__ = [
    "ReferenceExecutor",
    "expose",
    "holds_half",
    "layers_of",
    "load_model",
    "run_exposed",
    "show_floats",
    "value_spec",
]


def load_model(data: bytes) -> onnx.ModelProto:
    """Parse an ONNX model; raises ``BackendError`` where it is none."""
    try:
        model = onnx.load_model_from_string(data)
        onnx.checker.check_model(model)
    except DecodeError as error:
        raise BackendError("not an ONNX model: the file is damaged or of another kind") from error
    except onnx.checker.ValidationError as error:
        raise BackendError(f"not a valid ONNX model ({' '.join(str(error).split())[:150]})") from error
    return model


def holds_half(data: bytes) -> bool:
    """Whether a graph has weights in FP16, or casts to it."""
    graph, half = load_model(data).graph, onnx.TensorProto.FLOAT16
    casts = (a.i for node in graph.node if node.op_type == "Cast" for a in node.attribute if a.name == "to")
    return any(tensor.data_type == half for tensor in graph.initializer) or half in casts


def layers_of(model: onnx.ModelProto) -> list[Layer]:
    """Nodes in the order of execution, one entry an output."""
    return [
        Layer(output, node.op_type, tuple(name for name in node.input if name))
        for node in model.graph.node
        for output in node.output
        if output
    ]


def expose(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with every layer's output among its outputs."""
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    there = {value.name for value in model.graph.output}
    for layer in layers_of(model):
        if layer.output not in there:
            shown.graph.output.append(onnx.ValueInfoProto(name=layer.output))
    return shown


def show_floats(data: bytes) -> tuple[bytes, dict[str, str]]:
    """A graph that gives every floating-point layer as float32 too, for an engine, whose buffers are float32.

    What hangs on no input is left out, and so is what is not floating point (comparisons, quantized values).

    Returns
    -------
    The serialized graph, and the output that shows each layer, by the layer's name.
    """
    model = onnx.shape_inference.infer_shapes(load_model(data))
    known = {value.name: value for value in model.graph.value_info}
    shown = {value.name: value.name for value in model.graph.output}
    single, half = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16
    fed = {value.name for value in model.graph.input}
    for node in list(model.graph.node):
        if not fed & set(node.input):
            continue
        fed |= set(node.output)
        for name in node.output:
            kind = known[name].type.tensor_type.elem_type if name in known else None
            if name in shown or kind not in (single, half):
                continue
            shown[name] = name if kind == single else f"{name}.shown"
            if kind == half:
                model.graph.node.append(onnx.helper.make_node("Cast", [name], [shown[name]], to=single))
            output = model.graph.output.add()
            output.CopyFrom(known[name])
            output.name, output.type.tensor_type.elem_type = shown[name], single
    return model.SerializeToString(), shown


def run_exposed(model: onnx.ModelProto, inputs: Tensors, exact: bool) -> dict[str, NDArray[Any]]:
    """Every layer's output for one set of inputs.

    Parameters
    ----------
    exact : bool
        By ``onnx.reference`` (true FP16), else by ONNX Runtime without its graph optimizations, which
        would fuse layers away.
    """
    names = [layer.output for layer in layers_of(model)]
    if exact:
        with np.errstate(all="ignore"):  # overflow is what is looked for
            values = ReferenceEvaluator(expose(model)).run(names, dict(inputs))
        return dict(zip(names, values, strict=True))
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(
        expose(model).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


class ReferenceExecutor(Executor):
    """An ONNX graph by ``onnx.reference``: slow, and exact in every type.

    Parameters
    ----------
    data : bytes
        Serialized ONNX model.
    """

    def __init__(self, data: bytes) -> None:
        model = load_model(data)
        self._evaluator = ReferenceEvaluator(model)
        self._inputs = tuple(value_spec(value) for value in model.graph.input)
        self._outputs = tuple(value_spec(value) for value in model.graph.output)

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What :meth:`run` takes."""
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What :meth:`run` gives."""
        return self._outputs

    def run(self, inputs: Tensors) -> dict[str, NDArray[np.float32]]:
        """Run the graph once."""
        check_inputs(self._inputs, inputs)
        with np.errstate(all="ignore"):  # overflow shows in the outputs
            values = self._evaluator.run(None, dict(inputs))
        return {spec.name: np.asarray(value) for spec, value in zip(self._outputs, values, strict=True)}

    def close(self) -> None:
        """Nothing to free."""


def value_spec(value: onnx.ValueInfoProto) -> TensorSpec:
    """Name and shape of an input or output."""
    dims = value.type.tensor_type.shape.dim
    return TensorSpec(value.name, tuple(dim.dim_param or dim.dim_value for dim in dims))
