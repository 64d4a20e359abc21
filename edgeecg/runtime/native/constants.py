"""The weights in an ONNX graph, read without the ``onnx`` package, which a gateway does not need.

Only the messages and the few fields that lead to a tensor are described to Protocol Buffers (which ONNX
Runtime brings along); it skips all else. Field numbers are those of ``onnx.proto3``.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeecg.errors import BackendError, BundleError

__all__ = ["check_whole", "read_constants"]

FLOAT = 1  # TensorProto.DataType
EXTERNAL = 1  # TensorProto.DataLocation


def read_constants(model: bytes) -> dict[str, NDArray[np.float32]]:
    """The float32 initializers of a serialized ONNX model, by name.

    Raises
    ------
    BundleError
        It is no ONNX model, or a tensor does not hold what its shape says.
    BackendError
        Protocol Buffers is not installed.
    """
    found = {}
    for tensor in _parsed(model).graph.initializer:
        if tensor.data_type != FLOAT:
            continue
        shape = tuple(tensor.dims)
        raw = tensor.raw_data if tensor.raw_data else np.array(tensor.float_data, "<f4").tobytes()
        if min(shape, default=0) < 0 or len(raw) != 4 * math.prod(shape):
            raise BundleError(f"tensor {tensor.name} of its graph is cut short: build the bundle again")
        found[tensor.name] = np.frombuffer(raw, "<f4").astype(np.float32).reshape(shape)
    return found


def check_whole(model: bytes) -> None:
    """Refuse a serialized ONNX model with a tensor in another file, which no hash of a bundle covers.

    Raises
    ------
    BundleError
        It has one, wherever in it, or is no ONNX model.
    BackendError
        Protocol Buffers is not installed.
    """
    waiting = [_parsed(model)]
    while waiting:
        message = waiting.pop()
        if getattr(message, "data_location", 0) == EXTERNAL:
            raise BundleError(
                f"tensor {message.name} of its graph lies in another file: get the bundle from its builder"
            )
        for field, value in message.ListFields():
            if field.message_type:  # one message, or a list of them
                waiting += [value] if hasattr(value, "ListFields") else value


def _parsed(model: bytes) -> Any:
    """The message; raises ``BundleError`` where it is none."""
    message, broken = _reader()
    try:
        return message.FromString(model)
    except broken as error:
        raise BundleError("its graph is no ONNX model: build the bundle again") from error


@cache
def _reader() -> tuple[Any, type[Exception]]:
    """The class of a model message, and what it raises."""
    try:
        from google.protobuf import descriptor_pb2, descriptor_pool, message
        from google.protobuf.message_factory import GetMessageClass
    except ImportError as error:
        raise BackendError(
            "the graphs of a bundle are read by Protocol Buffers: pip install 'protobuf>=4.25'"
        ) from error
    field = descriptor_pb2.FieldDescriptorProto
    one, many = field.LABEL_OPTIONAL, field.LABEL_REPEATED
    file = descriptor_pb2.FileDescriptorProto(name="edgeecg_onnx.proto", package="edgeecg_onnx")
    file.syntax = "proto3"
    for name, fields in {
        "Tensor": (
            ("dims", 1, many, field.TYPE_INT64),
            ("data_type", 2, one, field.TYPE_INT32),
            ("float_data", 4, many, field.TYPE_FLOAT),
            ("name", 8, one, field.TYPE_STRING),
            ("raw_data", 9, one, field.TYPE_BYTES),
            ("data_location", 14, one, field.TYPE_INT32),
        ),
        "Sparse": (("values", 1, one, "Tensor"), ("indices", 2, one, "Tensor")),
        "Attribute": (
            ("t", 5, one, "Tensor"),
            ("g", 6, one, "Graph"),
            ("tensors", 10, many, "Tensor"),
            ("graphs", 11, many, "Graph"),
            ("sparse_tensor", 22, one, "Sparse"),
            ("sparse_tensors", 23, many, "Sparse"),
        ),
        "Node": (("attribute", 5, many, "Attribute"),),
        "Function": (("node", 7, many, "Node"),),
        "Graph": (
            ("node", 1, many, "Node"),
            ("initializer", 5, many, "Tensor"),
            ("sparse_initializer", 15, many, "Sparse"),
        ),
        "Model": (("graph", 7, one, "Graph"), ("functions", 25, many, "Function")),
    }.items():
        described = file.message_type.add(name=name)
        for title, number, label, kind in fields:
            made = described.field.add(name=title, number=number, label=label)
            if isinstance(kind, str):
                made.type, made.type_name = field.TYPE_MESSAGE, f".edgeecg_onnx.{kind}"
            else:
                made.type = kind
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName("edgeecg_onnx.Model")), message.DecodeError
