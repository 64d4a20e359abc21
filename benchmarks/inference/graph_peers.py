"""The bundle's graphs: ONNX Runtime, OpenVINO, our kernels, our TensorRT path. A step's state is carried."""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np

from edgeecg.bundle import Precision
from edgeecg.runtime.executor import Executor
from edgeecg.runtime.native import open_executor as open_native
from edgeecg.runtime.ort import OrtExecutor
from edgeecg.runtime.trt import Options, open_executor
from edgeecg.runtime.trt.settings import Settings
from inference.subject import Answer, Call, Case, Subject

__all__ = ["native", "onnxruntime", "openvino", "tensorrt"]


def onnxruntime(subject: Subject, case: Case, precision: Precision, threads: int, opened: ExitStack) -> Call:
    """Our default engine."""
    return _carried(
        opened.enter_context(OrtExecutor(subject.bundle.graph("token", precision), threads)), case
    )


def native(subject: Subject, case: Case, threads: int, opened: ExitStack) -> Call:
    """Our kernels, compiled for this processor."""
    return _carried(opened.enter_context(open_native(subject.bundle, "token", threads=threads)), case)


def _carried(executor: Executor, case: Case) -> Call:
    """A call whose state goes on from step to step."""
    state = case.state

    def call() -> Answer:
        nonlocal state
        outputs = executor.run({"signal": case.signal, "state": state})
        if case.kind == "step":
            state = outputs["state_out"]
        return outputs

    return call


def openvino(subject: Subject, case: Case, threads: int) -> Call:
    """The same FP32 graph in OpenVINO, compiled for this shape."""
    import openvino as ov

    core = ov.Core()
    model = core.read_model(subject.bundle.graph("token", "fp32"))
    model.reshape({"signal": case.signal.shape, "state": case.state.shape})
    hints = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(model, "CPU", hints).create_infer_request()
    names = [output.get_any_name() for output in model.outputs]
    state = case.state

    def call() -> Answer:
        nonlocal state
        found = request.infer({"signal": case.signal, "state": state}, share_inputs=True)
        outputs = {name: np.array(found[name]) for name in names}
        if case.kind == "step":
            state = outputs["state_out"]
        return outputs

    return call


def tensorrt(
    subject: Subject, case: Case, precision: Precision, graphs: bool, resident: bool, opened: ExitStack
) -> Call:
    """Our GPU path, by carried state or by state that stays on the device."""
    options = Options(Settings(graphs=graphs), (case.rows,), hop_tokens=case.tokens)
    executor = opened.enter_context(open_executor(subject.bundle, "token", precision, options))
    if resident:
        cohort = executor.cohort(case.rows)
        opened.callback(cohort.close)
        return lambda: cohort.step({"signal": case.signal})
    return _carried(executor, case)
