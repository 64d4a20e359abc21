"""Where our engine's time goes: operators of one piece of a window, by what they do."""

from __future__ import annotations

import time

import numpy as np
import torch
from rich.table import Table

from edgeecg.profile.layers import onnxruntime_layers
from edgeecg.runtime.ort import PIECE
from inference.subject import Subject, operations
from inference.timing import sample

__all__ = ["where_time_goes"]

GROUPS = {
    "products": ("Gemm", "MatMul", "FusedMatMul", "Conv"),
    "LayerNorm, softmax, Gelu": ("LayerNormalization", "Softmax", "Gelu"),
    "sums, rotary turns, masks": ("Add", "Mul", "Sub", "Div", "Where", "Less", "Greater", "Abs", "Min"),
    "moving data": ("Split", "Concat", "Slice", "Transpose", "Reshape", "Tile", "Unsqueeze", "Gather"),
}


def where_time_goes(subject: Subject, rows: int, rate: float) -> Table:
    """Microseconds a token of each group, and of the products alone at the GEMM rate.

    The recorder adds about two microseconds to an operator's call.
    """
    tokens = PIECE
    rng = np.random.default_rng(0)
    inputs = {
        "signal": rng.standard_normal((rows, subject.spec.patch * tokens)).astype(np.float32),
        "state": np.zeros((rows, subject.state_size), np.float32),
    }
    layers = onnxruntime_layers(subject.bundle.graph("token", "fp32"), inputs, 1, 5, 30)
    table = Table(
        title=f"\nWhere the time of {rows} rows x {tokens} tokens goes", title_justify="left", box=None
    )
    for head in ("what", "operators", "us a token", "share"):
        table.add_column(head, justify="left" if head == "what" else "right")
    known = {kind for kinds in GROUPS.values() for kind in kinds}
    groups = {**GROUPS, "other": tuple({layer.kind for layer in layers} - known)}
    whole = sum(layer.milliseconds for layer in layers)
    for name, kinds in groups.items():
        found = [layer for layer in layers if layer.kind in kinds]
        spent = sum(layer.milliseconds for layer in found)
        table.add_row(name, str(len(found)), f"{1e3 * spent / rows / tokens:.2f}", f"{spent / whole:.0%}")
    case = subject.case("step", 1)
    needed = 1e6 * operations(subject.spec, case) / case.tokens / rate
    table.add_row("the products at the rate of a large one", "", f"{needed:.2f}", "")
    table.add_row("the linear layers alone, PyTorch", "", f"{linear_layers(subject, rows * tokens):.2f}", "")
    return table


def linear_layers(subject: Subject, count: int) -> float:
    """Microseconds a token of the blocks' linear layers as bare products of their shapes, best of many."""
    stack = subject.spec.token
    shapes = (
        (stack.dim, 3 * stack.dim),
        (stack.dim, stack.dim),
        (stack.dim, stack.ffn),
        (stack.ffn, stack.dim),
    )
    spent = 0.0
    for width, out in shapes:
        x, weight, bias = torch.randn(count, width), torch.randn(width, out), torch.randn(out)
        spent += min(sample(lambda t=(bias, x, weight): torch.addmm(*t), 5, 50, time.process_time_ns))
    return 1e3 * stack.layers * spent / count
