"""The live stream, measured: patients a core, overhead, latency, peers, and a day with faults.

    python benchmarks/stream.py [--out FOLDER] [--quick] [--only PART ...]

One thread, in CPU time of that thread (latency percentiles in wall time too), so that a busy machine
troubles the figures less; every comparison is a ratio within one run. With EDGEECG_DATA the signals are
records of the MIT-BIH set, else synthetic patients. Peers are measured where they are installed:
pip install wfdb neurokit2 biosppy peakutils "setuptools<81" sleepecg
"""

from __future__ import annotations

import os
from importlib.metadata import version

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one core, for the peers and for the GEMM rate too
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import gc
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from streaming import capacity, latency, losses, peers, soak

from edgeecg.runtime.engine import open_engine

PARTS = ("capacity", "packets", "windows", "pushes", "latency", "peers", "day", "losses", "soak")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="folder for stream.json")
    parser.add_argument("--bundle", default="small")
    parser.add_argument("--backend", choices=("onnxruntime", "native"), default="onnxruntime")
    parser.add_argument("--quick", action="store_true", help="a tenth of everything")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--hours", type=float, default=24.0, help="of the soak")
    given = parser.parse_args()
    part = 0.1 if given.quick else 1.0
    with open_engine(given.bundle, given.backend) as engine:
        runs: dict[str, Callable[[], dict[str, Any]]] = {
            "capacity": lambda: capacity.capacity(engine, 256, 60 * part),
            "packets": lambda: capacity.capacity(engine, 1280, 20 * part, packet=25),
            "windows": lambda: capacity.windows(engine, 256, 20 * part),
            "pushes": lambda: latency.pushes(engine, 300 * part),
            "latency": lambda: latency.latency(engine, 1800 * part),
            "peers": lambda: peers.peers(engine, 1800 * part, 8),
            "day": lambda: peers.whole_day(engine, 7200 * part),
            "losses": lambda: losses.losses(engine, 600 * part, 8),
            "soak": lambda: soak.soak(engine, given.hours * part),
        }
        gc.freeze()  # what is loaded by now stays: the collector need not look at it again
        results: dict[str, Any] = {}
        for name in given.only:
            begin = time.perf_counter()
            results[name] = runs[name]()
            results[name]["benchmark_seconds"] = round(time.perf_counter() - begin, 1)
            show(name, results[name])
        about = {
            "bundle": engine.bundle.name,
            "digest": engine.bundle.digest,
            "backend": engine.backend,
            "machine": platform.processor() or platform.machine(),
            "python": platform.python_version(),
            "numpy": np.__version__,
            "onnxruntime": version("onnxruntime"),
        }
    if given.out is not None:
        given.out.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"about": about, **results}, indent=2)
        (given.out / "stream.json").write_text(text + "\n", encoding="utf-8")


def show(name: str, result: dict[str, Any]) -> None:
    """A table of one part."""
    table = Table("figure", "value", title=name)
    for key, value in result.items():
        if isinstance(value, dict):
            for inner, figure in value.items():
                table.add_row(f"{key.replace('_', ' ')}: {inner}", _text(figure))
        else:
            table.add_row(key.replace("_", " "), _text(value))
    Console(width=100).print(table)


def _text(value: Any) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
