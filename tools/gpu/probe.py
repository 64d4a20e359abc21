"""Does TensorRT-RTX take this GPU? Tries every target that it can build for, and prints what it says.

The last line is ``mode: rtx`` (as EdgeECG builds), ``mode: rtx-current`` (only if built for this very GPU)
or ``mode: stand-in`` (not at all); see ``standin.py``. Each try is a process of its own: one may crash.
"""

from __future__ import annotations

import logging
import subprocess
import sys

import numpy as np

TARGETS = ("default", "CURRENT", "SM80", "SM89", "SM120")


def attempt(target: str) -> None:
    """Build and run the packaged model's beat graph, one row, for a target."""
    from edgeecg.bundle import Bundle
    from edgeecg.runtime.cuda import open_device
    from edgeecg.runtime.ort import OrtExecutor
    from edgeecg.runtime.trt import build
    from edgeecg.runtime.trt.executor import TrtExecutor
    from edgeecg.runtime.trt.library import load_library

    logging.basicConfig(level=logging.DEBUG, format="  %(levelname)s %(message)s", stream=sys.stdout)
    library = load_library()
    if target != "default":
        choose(library.module, target)
    model = Bundle.open("small").graph("beat", "fp32")
    device = open_device()
    print(f"  GPU {device.info}", flush=True)
    with device.active():
        plan = build.build_plan(library, model, build.beat_recipe(buckets=(1,)))
    print(f"  built: {len(plan.data)} bytes", flush=True)
    with TrtExecutor(library, plan, device, owns_device=True) as executor, OrtExecutor(model) as reference:
        rng = np.random.default_rng(0)
        inputs = {
            spec.name: rng.standard_normal((1, *(n if isinstance(n, int) else 1 for n in spec.shape[1:])))
            .astype(np.float32) for spec in executor.inputs
        }  # fmt: skip
        inputs["state"] *= 0
        wanted = reference.run(inputs)
        for _ in range(3):  # the second run captures a graph, the third launches it
            got = executor.run(inputs)
        error = max(float(np.abs(got[key] - wanted[key]).max()) for key in wanted)
    print(f"  it runs: worst error {error:.1e}", flush=True)
    if not error < 1e-2:
        raise SystemExit("  but the numbers are wrong")


def choose(trt: object, target: str) -> None:
    """Have every build target one compute capability."""
    from edgeecg.runtime.trt import build

    configure = build.configure

    def targeted(module, *arguments):  # type: ignore[no-untyped-def]
        config = configure(module, *arguments)
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(module.ComputeCapability, target), 0)
        return config

    build.configure = targeted


def main() -> None:
    """Try all targets; what a process printed is kept short."""
    took: list[str] = []
    for target in TARGETS:
        try:
            done = subprocess.run(
                [sys.executable, "-m", "tools.gpu.probe", target], capture_output=True, text=True,
                timeout=25, check=False,
            )  # fmt: skip
            said, code = (done.stdout + done.stderr).strip(), done.returncode
        except subprocess.TimeoutExpired as late:
            said, code = f"{late.stdout or b''!r}\n  no answer in 25 s", 1
        print(f"target {target}: {'taken' if code == 0 else f'refused (exit {code})'}")
        print("\n".join(line[:400] for line in said.splitlines()[-12:]))
        if code == 0:
            took.append(target)
        if took and target in ("default", "CURRENT"):
            break
    print(f"mode: {'rtx' if 'default' in took else 'rtx-current' if 'CURRENT' in took else 'stand-in'}")


if __name__ == "__main__":
    attempt(sys.argv[1]) if len(sys.argv) > 1 else main()
