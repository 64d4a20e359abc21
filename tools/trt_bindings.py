"""List the public names of TensorRT's Python bindings, from the published wheels, without TensorRT.

The ``*-bindings`` wheels hold only the Python module; its libraries (gigabytes) are not needed to see
which names it has: a stub library per ``DT_NEEDED`` entry, with the few undefined symbols in it, lets
the module be imported. What comes out (names, which are facts) is committed as
``tests/runtime/trt/bindings.json`` and holds ``edgeecg.runtime.trt.api`` to what really exists.

Run it with the Python whose wheels were downloaded, and gcc and binutils installed::

    pip download --no-deps -d wheels tensorrt-cu12-bindings==10.3.0  # and each of the others
    python tools/trt_bindings.py wheels/*.whl --out tests/runtime/trt/bindings.json

The others: 10.13.3.9, 10.16.1.11 and 11.4.0.106, and tensorrt-rtx-cu13-bindings==1.7.1.116.
(A separate process imports each wheel: two versions cannot live in one.)
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

CLASSES = (
    "Builder",
    "BuilderFlag",
    "IBuilderConfig",
    "ICudaEngine",
    "IExecutionContext",
    "IHostMemory",
    "DataType",
    "DeviceType",
    "ExecutionContextAllocationStrategy",
    "ILogger",
    "INetworkDefinition",
    "IOptimizationProfile",
    "IProfiler",
    "IProgressMonitor",
    "ITensor",
    "ITimingCache",
    "MemoryPoolType",
    "NetworkDefinitionCreationFlag",
    "OnnxParser",
    "ParserError",
    "Runtime",
)

DUMP = """
import importlib, json, sys
module = importlib.import_module(sys.argv[1])
public = lambda thing: sorted(n for n in dir(thing) if not n.startswith("_"))
names = {"": public(module)}
names |= {c: public(getattr(module, c)) for c in sys.argv[2:] if hasattr(module, c)}
print(json.dumps(names))
"""


def tool(*command: str) -> str:
    """Output of a command; its failure ends the run."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def write_stubs(extension: Path, folder: Path) -> None:
    """Put libraries in ``folder`` that satisfy the extension module's TensorRT dependencies."""
    needed = re.findall(r"NEEDED.*\[(lib(?:nv|tensorrt)[^\]]*)\]", tool("readelf", "-d", str(extension)))
    undefined = [line.split()[-1] for line in tool("nm", "-D", "-u", str(extension)).splitlines()]
    symbols = [s for s in undefined if re.fullmatch(r"(create|get|init)\w*(Infer|Nv|Plugin|Onnx)\w*", s)]
    source = folder / "stub.c"
    source.write_text("".join(f"void *{symbol}(void) {{ return 0; }}\n" for symbol in symbols))
    for name in needed:
        tool("gcc", "-shared", "-fPIC", "-o", str(folder / name), f"-Wl,-soname,{name}", str(source))


def names_of(wheel: Path) -> tuple[str, dict[str, list[str]]]:
    """Version key, for example ``tensorrt 10.3.0``, and names by class (``""``: the module's own)."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
        extension = next(folder.glob("tensorrt*_bindings/tensorrt*.so"))
        write_stubs(extension, folder)
        package = extension.parent.name
        paths = {"LD_LIBRARY_PATH": str(folder), "PYTHONPATH": str(folder)}
        out = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", DUMP, f"{package}.{extension.stem}", *CLASSES],
            check=True, text=True, stdout=subprocess.PIPE, env=os.environ | paths,
        )  # fmt: skip
        version = wheel.name.split("-")[1]
        flavour = "tensorrt-rtx" if "rtx" in package else "tensorrt"
        return f"{flavour} {version}", json.loads(out.stdout)


def main() -> None:
    """Write the names of all wheels as one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheels", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    settings = parser.parse_args()
    listing = dict(sorted(names_of(wheel) for wheel in settings.wheels))
    for names in listing.values():  # of the module's hundreds of names only the classes above matter
        names[""] = [n for n in names[""] if n in CLASSES]
    settings.out.parent.mkdir(parents=True, exist_ok=True)
    settings.out.write_text(json.dumps(listing, indent=1) + "\n")


if __name__ == "__main__":
    main()
