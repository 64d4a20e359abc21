"""The native kernels on ARM, as on a Jetson's CPU, without one: cross-compiled, run in an emulator, compared.

    apt install gcc-aarch64-linux-gnu qemu-user
    python tools/arm.py [nano micro small base]

Every output of both graphs of each bundle is held to ONNX Runtime's on this machine, over steps of several
lengths and rows from a state that earlier steps left. It shows that the numbers are right there; how fast
they are, an emulator does not know.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console

from edgeecg.bundle import GRAPHS, Bundle, GraphName, packaged_names
from edgeecg.errors import BackendError
from edgeecg.runtime.executor import STATE, STATE_OUT
from edgeecg.runtime.native.constants import read_constants
from edgeecg.runtime.native.executor import decided
from edgeecg.runtime.native.library import FLAGS, SOURCES
from edgeecg.runtime.native.weights import pack_weights, sizes_of
from edgeecg.runtime.ort import OrtExecutor

COMPILER, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64"
LIBRARIES = "/usr/aarch64-linux-gnu"
PROCESSOR = "cortex-a78"  # of an Orin
STEPS = ((1, 1), (3, 8), (5, 13), (2, 48))
ALLOWED = 5e-5

MAIN = r"""
#include "step.c"
#include <stdio.h>
#include <stdlib.h>
static float *take(long count)
{
    float *values = calloc(count, sizeof(float));
    if (fread(values, sizeof(float), count, stdin) != (size_t)count) exit(1);
    return values;
}
int main(int argc, char **argv)
{
    int rows = atoi(argv[1]), tokens = atoi(argv[2]), together = rows > 1 ? rows - 1 : 1;
    const struct network *net = (void *)take(floats());
    float *input = take((long)rows * tokens * STEP), *state = take((long)rows * STATE);
    long places = (long)rows * tokens, sizes[3] = {places * OUTPUTS, places * DIM, (long)rows * STATE};
    float *out[3];
    for (int i = 0; i < 3; i++) out[i] = calloc(sizes[i], sizeof(float));
    float *work = calloc(scratch(together, tokens), sizeof(float));
    step(net, rows, together, tokens, input, state, out[0], out[1], out[2], work);
    for (int i = 0; i < 3; i++) fwrite(out[i], sizeof(float), sizes[i], stdout);
    return argc == 3 ? 0 : 1;
}
"""

Array = NDArray[np.float32]


def main(
    bundles: Annotated[
        list[str] | None, typer.Argument(help="Bundles; the packaged ones if left out.")
    ] = None,
) -> None:
    """Compare the native kernels on an emulated ARM processor with ONNX Runtime here."""
    for tool in (COMPILER, EMULATOR):
        if shutil.which(tool) is None:
            raise BackendError(f"no {tool}: apt install gcc-aarch64-linux-gnu qemu-user")
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for named in bundles or packaged_names():
            bundle = Bundle.open(named)
            for name in GRAPHS:
                found = departure(bundle, name, Path(folder))
                worst = float(np.maximum(worst, found))  # keeps NaN
                Console().print(f"{bundle.name} {name}: within {found:.1e} of ONNX Runtime")
    if not worst <= ALLOWED:
        raise typer.Exit(1)


def departure(bundle: Bundle, name: GraphName, work: Path) -> float:
    """The largest difference of any output of a graph."""
    constants = read_constants(bundle.graph(name, "fp32"))
    sizes = sizes_of(bundle.spec, name, constants)
    weights = pack_weights(bundle.spec, name, constants)
    program = build(sizes, work)
    rng, worst = np.random.default_rng(0), 0.0
    with OrtExecutor(bundle.graph(name, "fp32")) as exact:
        first, carried = exact.inputs
        for rows, tokens in STEPS:
            state = np.zeros((rows, int(carried.shape[1])), np.float32)
            shape = (rows, 8 * tokens) if name == "token" else (rows, tokens, sizes["INPUTS"])
            for _ in range(4):
                given = rng.standard_normal(shape).astype(np.float32)
                wanted = exact.run({first.name: given, STATE: state})
                got = emulated(program, sizes, weights, given, state)
                if name == "beat":
                    got |= decided(got["heads"])
                for key, value in wanted.items():
                    worst = float(np.maximum(worst, np.max(np.abs(got[key] - value))))
                state = wanted[STATE_OUT]
    return worst


def build(sizes: dict[str, int], work: Path) -> Path:
    """A program for ARM around the kernels."""
    source = files("edgeecg.runtime.native")
    for part in SOURCES:
        (work / part).write_bytes(source.joinpath(part).read_bytes())
    (work / "main.c").write_text(MAIN)
    macros = [f"-D{key}={size}" for key, size in sizes.items()]
    flags = [flag for flag in FLAGS if flag not in ("-shared", "-fPIC")]
    command = [COMPILER, *flags, f"-mcpu={PROCESSOR}", *macros, "main.c", "-o", "main", "-lm"]
    subprocess.run(command, cwd=work, check=True)
    return work / "main"


def emulated(
    program: Path, sizes: dict[str, int], weights: Array, given: Array, state: Array
) -> dict[str, Array]:
    """Outputs of one step on the emulated processor."""
    rows, tokens = len(given), given.shape[1] // sizes.get("PATCH", 1)
    command = [EMULATOR, "-L", LIBRARIES, str(program), str(rows), str(tokens)]
    fed = weights.tobytes() + given.tobytes() + state.tobytes()
    told = np.frombuffer(
        subprocess.run(command, input=fed, stdout=subprocess.PIPE, check=True).stdout, np.float32
    )
    widths = {"heads": (rows, tokens, sizes["OUTPUTS"]), "embedding": (rows, tokens, sizes["DIM"])}
    shapes = {**widths, STATE_OUT: state.shape}
    edges = np.cumsum([int(np.prod(shape)) for shape in shapes.values()])
    parts = np.split(told, edges[:-1])
    return {key: part.reshape(shape) for (key, shape), part in zip(shapes.items(), parts, strict=True)}


if __name__ == "__main__":
    typer.run(main)
