"""A lost CUDA context under running engines: what the stream sees, by the policy that the user chose.

``python -m tools.gpu.lost POLICY`` with ``cpu``, ``rebuild`` or ``raise``. A kernel that reads address 0
takes the context away between two steps; the outputs are held against ONNX Runtime's all along.
"""

from __future__ import annotations

import os
import sys

import numpy as np

from edgeecg.bundle import Bundle
from edgeecg.runtime.cuda import CudaError
from edgeecg.runtime.ort import OrtExecutor
from edgeecg.runtime.trt import Options, open_executors
from edgeecg.runtime.trt.executor import TrtExecutor
from tools.gpu.seam import Kernel
from tools.gpu.standin import install


def main(policy: str) -> None:
    """Ten steps, the loss, ten steps."""
    install(os.environ.get("EDGEECG_GPU", "stand-in"))
    bundle = Bundle.open("small")
    options = Options(buckets=(1, 4), on_device_error=policy)  # type: ignore[arg-type]
    token, _ = open_executors(bundle, "fp32", options)
    rng = np.random.default_rng(0)
    with OrtExecutor(bundle.graph("token", "fp32")) as reference:
        state = wanted_state = np.zeros((2, int(reference.inputs[1].shape[1])), np.float32)
        worst = 0.0
        for step in range(20):
            inner = token.current  # type: ignore[attr-defined]
            if step == 10 and isinstance(inner, TrtExecutor):
                with inner.locked():
                    Kernel().launch(0, 16, 64, inner.stream.handle)
            signal = rng.standard_normal((2, 64)).astype(np.float32)
            try:
                got = token.run({"signal": signal, "state": state})
            except CudaError as error:
                print(f"policy {policy}, step {step}: raised: {error} (sticky: {error.sticky})", flush=True)
                os._exit(0)
            wanted = reference.run({"signal": signal, "state": wanted_state})
            state, wanted_state = got["state_out"], wanted["state_out"]
            worst = max(worst, float(np.abs(got["heads"] - wanted["heads"]).max()))
    for incident in token.incidents:  # type: ignore[attr-defined]
        print(f"policy {policy}: {incident}")
    print(f"policy {policy}: 20 steps, worst error of the heads {worst:.1e}", flush=True)
    os._exit(0 if worst < 1e-2 and token.incidents else 1)  # type: ignore[attr-defined]


if __name__ == "__main__":
    main(sys.argv[1])
