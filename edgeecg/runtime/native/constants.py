"""The weights in an ONNX graph, read without the ``onnx`` package, which a gateway does not need.

Only the four messages and the few fields that lead to an initializer are described to Protocol Buffers (which
ONNX Runtime brings along); it skips all else. Field numbers are those of ``onnx.proto3``.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeecg.errors import BackendError, BundleError

__all__ = ["read_constants"]

FLOAT = 1  # TensorProto.DataType


def read_constants(model: bytes) -> dict[str, NDArray[np.float32]]:
    """The float32 initializers of a serialized ONNX model, by name.

    Raises
    ------
    BundleError
        It is no ONNX model, or a tensor does not hold what its shape says.
    BackendError
        Protocol Buffers is not installed.
    """
    message, broken = _reader()
    try:
        tensors = message.FromString(model).graph.initializer
    except broken as error:
        raise BundleError("its graph is no ONNX model: build the bundle again") from error
    found = {}
    for tensor in tensors:
        if tensor.data_type != FLOAT:
            continue
        shape = tuple(tensor.dims)
        raw = tensor.raw_data if tensor.raw_data else np.array(tensor.float_data, "<f4").tobytes()
        if min(shape, default=0) < 0 or len(raw) != 4 * math.prod(shape):
            raise BundleError(f"tensor {tensor.name} of its graph is cut short: build the bundle again")
        found[tensor.name] = np.frombuffer(raw, "<f4").astype(np.float32).reshape(shape)
    return found


@cache
def _reader() -> tuple[Any, type[Exception]]:
    """The class of a model message, and what it raises."""
    try:
        from google.protobuf import descriptor_pb2, descriptor_pool, message
        from google.protobuf.message_factory import GetMessageClass
    except ImportError as error:
        raise BackendError(
            "the native backend reads weights by Protocol Buffers: pip install 'protobuf>=4.25'"
        ) from error
    field = descriptor_pb2.FieldDescriptorProto
    one, many = field.LABEL_OPTIONAL, field.LABEL_REPEATED
    file = descriptor_pb2.FileDescriptorProto(name="edgeecg_onnx.proto", package="edgeecg_onnx")
    file.syntax = "proto3"
    for name, fields in {
        "Tensor": (
            ("dims", 1, many, field.TYPE_INT64, ""),
            ("data_type", 2, one, field.TYPE_INT32, ""),
            ("float_data", 4, many, field.TYPE_FLOAT, ""),
            ("name", 8, one, field.TYPE_STRING, ""),
            ("raw_data", 9, one, field.TYPE_BYTES, ""),
        ),
        "Graph": (("initializer", 5, many, field.TYPE_MESSAGE, ".edgeecg_onnx.Tensor"),),
        "Model": (("graph", 7, one, field.TYPE_MESSAGE, ".edgeecg_onnx.Graph"),),
    }.items():
        described = file.message_type.add(name=name)
        for title, number, label, kind, inner in fields:
            described.field.add(name=title, number=number, label=label, type=kind, type_name=inner or None)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName("edgeecg_onnx.Model")), message.DecodeError
