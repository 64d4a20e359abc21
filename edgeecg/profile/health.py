"""What is well with this machine, what is not, and what to do about it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Literal

from edgeecg.bundle import Bundle
from edgeecg.errors import BackendError, BundleError
from edgeecg.profile.latency import measure
from edgeecg.profile.machine import Machine
from edgeecg.runtime.cuda import available_libraries
from edgeecg.runtime.engine import BACKENDS, Backend, check_golden, open_engine
from edgeecg.runtime.trt import Options
from edgeecg.runtime.trt.library import FLAVOURS

__all__ = [
    "Finding",
    "State",
    "advise",
    "check_backends",
    "check_cuda",
    "check_jetson",
    "check_python",
    "check_tensorrt",
]

State = Literal["well", "note", "ill"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Parameters
    ----------
    what : str
        Its name.
    state : str
        ``well``, ``note`` (works, could be better) or ``ill`` (does not work).
    says : str
        What was found.
    advice : str
        What to do; empty where nothing is to be done.
    """

    what: str
    state: State
    says: str
    advice: str = ""


def installed(package: str) -> str:
    """Version of an installed package, or nothing."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def version_pair(text: str) -> tuple[int, int]:
    """Major and minor of ``10.3.0`` or ``5``; zeros where there are none."""
    parts = f"{text}.0".split(".")
    return (int(parts[0]), int(parts[1])) if parts[0].isdigit() and parts[1].isdigit() else (0, 0)


def check_python(machine: Machine) -> Finding:
    """Python against what JetPack brings."""
    version = ".".join(map(str, sys.version_info[:3]))
    if not machine.jetson or too_old(machine):
        return Finding("Python", "well", version)
    wanted = (3, 10) if machine.jetpack.startswith("6") else (3, 12)
    if sys.version_info[:2] != wanted:
        name = f"python{wanted[0]}.{wanted[1]}"
        return Finding(
            "Python", "ill", f"{version}, but JetPack's TensorRT is built for {wanted[0]}.{wanted[1]}",
            f"make the virtual environment with /usr/bin/{name} -m venv --system-site-packages",
        )  # fmt: skip
    isolated = sys.prefix != sys.base_prefix and not _sees_system_packages()
    if isolated:
        return Finding(
            "Python", "ill", f"{version}, in an environment that does not see JetPack's packages",
            "make it anew with python3 -m venv --system-site-packages",
        )  # fmt: skip
    return Finding("Python", "well", version)


def _sees_system_packages() -> bool:
    return any("dist-packages" in path for path in sys.path)


def too_old(machine: Machine) -> bool:
    """Whether this JetPack's TensorRT cannot be used, and so no Python has to go with it."""
    return bool(machine.jetpack) and version_pair(machine.jetpack) < (6, 1)


def check_jetson(machine: Machine) -> list[Finding]:
    """JetPack, TensorRT and power mode of a Jetson; nothing elsewhere."""
    if not machine.jetson:
        return []
    name = f"JetPack {machine.jetpack}" if machine.jetpack else "a JetPack newer than this EdgeECG knows"
    findings = [Finding("JetPack", "well", f"{name} ({machine.release})")]
    if too_old(machine):
        says = f"{name} ({machine.release}) brings TensorRT {machine.expected_tensorrt}, which is too old"
        advice = "flash JetPack 6.1 or newer, or run on the CPU with --backend onnxruntime"
        findings = [Finding("JetPack", "ill", says, advice)]
    if not machine.tensorrt:
        says, advice = "JetPack's TensorRT is not installed", "sudo apt install nvidia-jetpack"
        findings.append(Finding("TensorRT", "ill", says, advice))
    elif version_pair(machine.tensorrt) < (10, 3):
        findings.append(Finding("TensorRT", "ill", machine.tensorrt, "flash JetPack 6.1 or newer"))
    else:
        findings.append(Finding("TensorRT", "well", machine.tensorrt))
    findings.append(power_finding(machine))
    return findings


def power_finding(machine: Machine) -> Finding:
    """Whether the board may run as fast as it can."""
    if not machine.power_mode:
        return Finding("power mode", "note", "unknown", "ask with: sudo nvpmodel -q")
    if "MAXN" in machine.power_mode:
        return Finding("power mode", "well", machine.power_mode)
    return Finding(
        "power mode", "note", f"{machine.power_mode} limits the clocks",
        "for most speed: sudo nvpmodel -m MODE (MAXN in /etc/nvpmodel.conf), then sudo jetson_clocks",
    )  # fmt: skip


def check_cuda(machine: Machine) -> list[Finding]:
    """Driver and Python libraries of CUDA."""
    libraries = available_libraries()
    # cuda-python is a shell around cuda-bindings, which may have come alone
    versions = {name: installed(name) or installed("cuda-bindings") for name in libraries}
    named = ", ".join(f"{name} {version}".strip() for name, version in versions.items())
    findings = []
    if machine.driver or machine.jetson:
        findings.append(Finding("NVIDIA driver", "well", machine.driver or "part of Jetson Linux"))
    else:
        advice = "if this machine has an NVIDIA GPU, install its driver; else all runs on the CPU"
        findings.append(Finding("NVIDIA driver", "note", "not there: no NVIDIA GPU can be used", advice))
    if not libraries:
        needed = bool(machine.driver or machine.jetson)
        advice = "pip install 'edgeecg[jetson]'" if needed else ""
        state: State = "ill" if needed else "note"
        findings.append(Finding("CUDA for Python", state, "neither pycuda nor cuda-python", advice))
    elif "cuda-python" not in libraries:
        advice = f"pip install '{cuda_python(machine)}'"
        findings.append(Finding("CUDA for Python", "note", f"{named}: no CUDA graphs", advice))
    elif too_new(machine, versions["cuda-python"]):
        advice = f"if it does not load: pip install '{cuda_python(machine)}'"
        findings.append(Finding("CUDA for Python", "note", f"{named} is newer than CUDA here", advice))
    else:
        findings.append(Finding("CUDA for Python", "well", named))
    return findings


def too_new(machine: Machine, version: str) -> bool:
    """Whether cuda-python is of a later CUDA than the board's."""
    return bool(machine.jetson) and version_pair(version)[0] > version_pair(machine.cuda)[0] > 0


def cuda_python(machine: Machine) -> str:
    """What to ask pip for: cuda-python has the major version of its CUDA."""
    major = version_pair(machine.cuda)[0]
    return f"cuda-python<{major + 1}" if major else "cuda-python"


def check_tensorrt(machine: Machine) -> list[Finding]:
    """Python modules of TensorRT where none comes with the board."""
    if machine.jetson:
        return []
    # a package for one CUDA may have come without the one that chooses it
    packages = ([f"{flavour}{cuda}" for cuda in ("", "_cu12", "_cu13")] for flavour in FLAVOURS)
    found = (next(filter(installed, names), None) for names in packages)
    there = [f"{name} {installed(name)}" for name in found if name]
    if there:
        return [Finding("TensorRT for Python", "well", ", ".join(there))]
    advice = "with an NVIDIA GPU: pip install tensorrt" if machine.driver else ""
    return [Finding("TensorRT for Python", "note", "neither tensorrt nor tensorrt_rtx", advice)]


def check_backends(
    bundle: Bundle,
    needed: tuple[Backend, ...] = ("onnxruntime",),
    backends: tuple[Backend, ...] = BACKENDS,
    tensorrt: Options | None = None,
) -> list[Finding]:
    """Open every backend, run the golden vectors on it, and time a step; only a ``needed`` one can be ill."""
    return [_check_backend(bundle, backend, backend in needed, tensorrt) for backend in backends]


def _check_backend(bundle: Bundle, backend: Backend, needed: bool, tensorrt: Options | None) -> Finding:
    try:
        with open_engine(bundle, backend, tensorrt=tensorrt) as engine:
            precision = engine.precision
            error = max(
                check_golden(bundle, "token", engine.token, precision),
                check_golden(bundle, "beat", engine.beat, precision),
            )
            golden = bundle.golden()
            inputs = {spec.name: golden[f"token.{spec.name}"] for spec in engine.token.inputs}
            step = measure(lambda: engine.token.run(inputs), warmup=5, runs=50)
    except BundleError:
        raise
    except BackendError as problem:
        # what to do comes last; of native's a compiler's own words may stand before it
        says, _, advice = (
            str(problem).rpartition(": ") if backend == "native" else str(problem).partition(": ")
        )
        return Finding(backend, "ill" if needed else "note", says, advice)
    rows, close = len(inputs["state"]), f"within {error:.0e}" if error else "exactly"
    return Finding(
        backend, "well",
        f"golden vectors {close} ({precision}); a step of {rows} streams takes {step.p50:.2f} ms",
    )  # fmt: skip


def advise(
    machine: Machine,
    bundle: Bundle | None,
    tell: Callable[[str], None] = lambda text: None,
    tensorrt: Options | None = None,
    need: Sequence[Backend] = (),
) -> list[Finding]:
    """Look at everything; backends only where there is a bundle to run on them. ``need``: those that must
    work, besides ONNX Runtime and, on a Jetson, TensorRT.
    """
    tell("machine")
    findings = [check_python(machine), *check_jetson(machine), *check_cuda(machine), *check_tensorrt(machine)]
    if bundle is not None:
        tell("backends")
        needed: tuple[Backend, ...] = ("onnxruntime", *(("tensorrt",) if machine.jetson else ()), *need)
        findings += check_backends(bundle, needed, tensorrt=tensorrt)
    return findings
