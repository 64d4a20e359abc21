"""Which engine is fastest for the packaged model: our own beside PyTorch and OpenVINO, on a CPU or a GPU.

    python benchmarks/engines.py [--out FOLDER] [--quick]
    python benchmarks/engines.py --gpu [--out FOLDER]

The token graph, a step of half a second with carried state and a window of ten seconds, several batch sizes,
1 and 2 threads; every call goes from arrays in to arrays out. Peers take turns in one process, so that they
meet the same machine, and each must first give the numbers of ONNX Runtime FP32. One thread is timed in CPU
time of the process, more of them and the GPU by the wall. *To fastest* and *to limit* are ratios of the best
run on a CPU, of the median on a GPU: to the fastest peer, and to the time that operations alone (products,
and attention within its band) take at the measured rate of a large FP32 product on as many threads.
OpenVINO is measured where it is installed: pip install 'openvino<2026' (2026.4 crashes as it compiles this)
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from inference import graph_peers, torch_peers
from inference.subject import Call, Case, Subject, operations
from inference.timing import Figure, agree, as_json, gemm_rate, table_of, time_in_turns, title_of
from inference.where import where_time_goes
from rich.console import Console

from edgeecg.errors import EdgeECGError

KINDS = ("step", "window")
BATCHES = {"step": (1, 8, 32, 128), "window": (1, 8, 32)}
SETTLED = 6
"""Steps from a fresh stream until all outputs are of tokens that lie within the signal."""

DEFAULT = "ONNX Runtime FP32"
EAGER = "PyTorch eager"

Makers = dict[str, Callable[[], Call]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="folder for engines.json")
    parser.add_argument("--bundle", default="small")
    parser.add_argument("--gpu", action="store_true", help="the peers of a GPU, CUDA device 0")
    parser.add_argument("--quick", action="store_true", help="a tenth of the time, no torch.compile")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--batches", nargs="+", type=int, help="for both kinds")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--precisions", nargs="*", default=["fp32"], help="of TensorRT, on a GPU")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--seconds", type=float, default=0.02, help="of a round of one peer")
    parser.add_argument("--rounds", type=int, default=30)
    given = parser.parse_args()
    seconds = given.seconds / 10 if given.quick else given.seconds
    console, subject = Console(width=120), Subject(given.bundle)
    figures: list[Figure] = []
    for threads in (0,) if given.gpu else given.threads:
        rate = gpu_rate() if given.gpu else cpu_rate(threads)
        console.print(
            f"\nlarge FP32 product: {rate / 1e9:.1f} GFLOP/s {f'on {threads} threads' if threads else ''}"
        )
        for kind in given.kinds:
            for rows in given.batches or BATCHES[kind]:
                case = subject.case(kind, rows)
                skip_compile = given.no_compile or given.quick
                with ExitStack() as opened:
                    makers = (
                        gpu_makers(subject, case, given.precisions, skip_compile, opened)
                        if given.gpu
                        else cpu_makers(subject, case, threads, skip_compile, opened)
                    )
                    found = measure(subject, case, threads, makers, (given.rounds, seconds), rate)
                console.print(table_of(found, title_of(case, threads), EAGER))
                figures += found
                if given.out is not None:
                    write(given.out, given.bundle, figures)
        if threads == 1:
            console.print(where_time_goes(subject, 32, rate))


def write(folder: Path, bundle: str, figures: list[Figure]) -> None:
    """What there is so far: a run that is cut short loses nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    about = {
        "bundle": bundle, "when": time.strftime("%Y-%m-%d %H:%M"), "machine": platform.processor(),
        "cores": os.cpu_count(), "python": platform.python_version(), "numpy": np.__version__,
        "torch": torch.__version__, "onnxruntime": version("onnxruntime"),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else "",
    }  # fmt: skip
    text = json.dumps({**about, "figures": as_json(figures)}, indent=1)
    (folder / "engines.json").write_text(text, encoding="utf-8")


def measure(
    subject: Subject, case: Case, threads: int, makers: Makers, how: tuple[int, float], rate: float
) -> list[Figure]:
    """Make, check and time the peers of one case; one that fails says so and is left out."""
    calls: dict[str, Call] = {}
    errors: dict[str, float] = {}
    wanted = None
    for name, make in makers.items():
        begin = time.perf_counter()
        try:
            call = make()
            answer = [call() for _ in range(SETTLED if case.kind == "step" else 1)][-1]
        except (EdgeECGError, RuntimeError, ImportError) as problem:
            print(f"left out: {name} ({' '.join(str(problem).split())[:200]})", file=sys.stderr, flush=True)
            continue
        if wanted is None:
            wanted = {key: answer[key] for key in ("heads", "embedding")}
        calls[name] = call
        errors[name] = agree(answer, wanted, subject.spec.token.lag, fresh=case.kind == "window")
        print(f"{name}: ready after {time.perf_counter() - begin:.1f} s", file=sys.stderr, flush=True)
    limit = 1e3 * operations(subject.spec, case) / rate
    times = time_in_turns(calls, *how, clock_of(threads))
    return [Figure(case.kind, case.rows, threads, name, errors[name], times[name], limit) for name in calls]


def cpu_makers(subject: Subject, case: Case, threads: int, quick: bool, opened: ExitStack) -> Makers:
    """Peers of the CPU; the first is what the others are held to."""
    torch.set_num_threads(threads)
    makers: Makers = {
        DEFAULT: lambda: graph_peers.onnxruntime(subject, case, "fp32", threads, opened),
        "native FP32": lambda: graph_peers.native(subject, case, threads, opened),
        "ONNX Runtime INT8": lambda: graph_peers.onnxruntime(subject, case, "int8", threads, opened),
        EAGER: lambda: torch_peers.eager(subject, case),
    }
    if not quick:
        makers["PyTorch compiled"] = lambda: torch_peers.compiled(subject, case)
    if find_spec("openvino") is not None:
        makers["OpenVINO FP32"] = lambda: graph_peers.openvino(subject, case, threads)
    else:
        print("OpenVINO is not installed (pip install openvino): left out", file=sys.stderr)
    return makers


def gpu_makers(subject: Subject, case: Case, precisions: list[str], quick: bool, opened: ExitStack) -> Makers:
    """Peers of a GPU, with the CPU's default engine for comparison."""
    makers: Makers = {
        DEFAULT: lambda: graph_peers.onnxruntime(subject, case, "fp32", 1, opened),
        EAGER: lambda: torch_peers.eager(subject, case, "cuda"),
        "PyTorch CUDA graph": lambda: torch_peers.cuda_graph(subject, case),
    }
    for precision in precisions:
        for name, graphs, resident in (
            (f"TensorRT {precision}, no graph", False, False),
            (f"TensorRT {precision}, CUDA graph", True, False),
            (f"TensorRT {precision}, CUDA graph, resident", True, True),
        ):
            if resident and case.kind == "window":
                continue  # a window begins anew: there is no state to stay
            makers[name] = lambda p=precision, g=graphs, r=resident: graph_peers.tensorrt(  # type: ignore[misc]
                subject, case, p, g, r, opened
            )
    if not quick:
        makers["PyTorch compiled"] = lambda: torch_peers.compiled(subject, case, "cuda")
        makers["PyTorch compiled, CUDA graph"] = lambda: torch_peers.compiled(
            subject, case, "cuda", "reduce-overhead"
        )
    return makers


def clock_of(threads: int) -> Callable[[], int]:
    """CPU time of the process for one thread, which a busy machine disturbs little; else the wall's."""
    return time.process_time_ns if threads == 1 else time.perf_counter_ns


def cpu_rate(threads: int) -> float:
    """FP32 operations a second of a large product on the CPU."""
    torch.set_num_threads(threads)
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    return gemm_rate(lambda: a @ b, 2.0 * 1024**3, clock=clock_of(threads))


def gpu_rate() -> float:
    """FP32 operations a second of a large product on the GPU (no TF32)."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    a, b = (torch.randn(8192, 8192, device="cuda") for _ in range(2))

    def product() -> None:
        torch.mm(a, b)
        torch.cuda.synchronize()

    return gemm_rate(product, 2.0 * 8192**3, rounds=2)


if __name__ == "__main__":
    main()
