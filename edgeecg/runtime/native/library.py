"""The kernels as a shared library: compiled once for the sizes of a graph and this processor, and kept."""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from edgeecg.errors import BackendError
from edgeecg.runtime.cache import OwnFolder, default_folder

__all__ = ["FLAGS", "SOURCES", "find_compiler", "open_library"]

log = logging.getLogger("edgeecg.native")

SOURCES = ("vectors.h", "step.c")
FLAGS = ("-std=gnu11", "-O3", "-fPIC", "-shared", "-fno-math-errno", "-fno-trapping-math", "-Wno-psabi")
COMPILERS = ("cc", "gcc", "clang")
EXTENSIONS = (
    "sse", "ssse", "avx", "fma", "f16c", "bmi", "abm", "movbe", "popcnt", "adx", "amx", "xop", "tbm",
)  # fmt: skip
FUNCTIONS = {
    "floats": (ctypes.c_long, ()),
    "state_floats": (ctypes.c_long, ()),
    "vector": (ctypes.c_int, ()),
    "scratch": (ctypes.c_long, (ctypes.c_int,) * 2),
    "step": (None, (ctypes.c_void_p, *(ctypes.c_int,) * 3, *(ctypes.c_void_p,) * 6)),
}
"""Of ``step.c``: what each gives and takes."""
PATIENCE = 300
"""Seconds that a compiler may take; on a PC it takes two."""


def open_library(sizes: Mapping[str, int], folder: Path | None = None) -> ctypes.CDLL:
    """Load the kernels of these sizes, after compiling them where they are not kept yet.

    Parameters
    ----------
    sizes : mapping
        Macros for ``step.c``.
    folder : Path, optional
        Where they are kept; ``runtime.cache.default_folder()`` where left out.

    Raises
    ------
    BackendError
        There is no C compiler, it refuses the source or makes no library, or others may write to the folder.
    """
    kept = _folder(folder)
    sources = {name: files(__package__).joinpath(name).read_bytes() for name in SOURCES}
    macros = [f"-D{name}={size}" for name, size in sizes.items()]
    # A compiler that is named has libraries of its own: naming another one mends those of a bad one.
    said = [*macros, *FLAGS, *_tuning(), *_processor(), os.environ.get("CC", ""), *map(str, sources.values())]
    name = f"{hashlib.sha256(chr(10).join(said).encode()).hexdigest()[:32]}.so"
    library = _kept(kept, name) if kept is not None else None
    if library is not None:
        return library
    log.warning("compiling the kernels of the native backend for this processor: a few seconds, once")
    try:
        data = _compiled(sources, macros)
    except OSError as error:
        raise BackendError(
            f"there is no room to compile the kernels of the native backend ({error}): name another "
            "folder for temporary files by TMPDIR"
        ) from error
    try:
        library = _loaded(data)
    except OSError as error:
        raise BackendError(
            f"what the C compiler made for the native backend cannot be loaded ({error}): name another "
            "compiler by CC, or a folder for temporary files that may hold programs by TMPDIR"
        ) from error
    if kept is not None:
        _keep(kept, name, data)
    return library


def find_compiler() -> list[str]:
    """The command of the C compiler: ``CC``, or the first that is installed; empty where there is none."""
    try:
        named = shlex.split(os.environ.get("CC", ""))
    except ValueError as error:
        raise BackendError(f"CC is no command ({error}): name the C compiler there, or unset it") from error
    names, options = (named[:1], named[1:]) if named else (COMPILERS, [])
    found = next(filter(None, map(shutil.which, names)), None)
    return [str(Path(found).absolute()), *options] if found else []


def _folder(named: Path | None) -> OwnFolder | None:
    """Where libraries are kept; ``None``, and a word in the log, where there is no such place."""
    try:
        return OwnFolder((named or default_folder()) / "native")
    except BackendError as error:
        log.warning("compiled kernels cannot be kept (%s): they are compiled at each start", error)
        return None


def _keep(folder: OwnFolder, name: str, data: bytes) -> None:
    try:
        folder.write({f"{name}.sha256": hashlib.sha256(data).hexdigest().encode(), name: data})
    except OSError as error:
        log.warning(
            "compiled kernels cannot be kept in %s (%s): they are compiled at each start", folder.path, error
        )


def _kept(folder: OwnFolder, name: str) -> ctypes.CDLL | None:
    """The library that is kept, if it is whole and can be loaded; the log says why where it is not."""
    try:
        noted, data = folder.read(f"{name}.sha256", name)
        if hashlib.sha256(data).hexdigest().encode() == noted:
            return _loaded(data)
        said = "do not have their hash"
    except FileNotFoundError:
        return None
    except OSError as error:
        said = f"cannot be loaded ({error})"
    log.warning("compiled kernels %s %s: compiling them again", folder.path / name, said)
    return None


def _loaded(data: bytes) -> ctypes.CDLL:
    """Load a library from its bytes, so that it is the one whose hash was checked."""
    with tempfile.TemporaryDirectory(prefix="edgeecg-") as work:
        path = Path(work) / "step.so"
        path.write_bytes(data)
        library = ctypes.CDLL(str(path))  # stays loaded when the file is gone
    for name, (gives, takes) in FUNCTIONS.items():
        if not hasattr(library, name):
            raise OSError(f"it has no {name}")
        function = getattr(library, name)
        function.restype, function.argtypes = gives, takes
    return library


def _compiled(sources: Mapping[str, bytes], macros: list[str]) -> bytes:
    """Compile in a folder of its own; gives the library."""
    compiler = find_compiler()
    if not compiler:
        named = os.environ.get("CC", "").strip()
        said = f"CC names {named}, which is no program" if named else "there is no C compiler"
        raise BackendError(
            f"the native backend compiles its kernels on the device, and {said}: apt install gcc libc6-dev, "
            "name one by CC, or take the backend onnxruntime"
        )
    with tempfile.TemporaryDirectory(prefix="edgeecg-") as name:
        work = Path(name)
        for source, text in sources.items():
            (work / source).write_bytes(text)
        command = [*compiler, *FLAGS, *_tuning(), *macros, "step.c", "-o", "step.so", "-lm"]
        log.info("compiling kernels: %s", shlex.join(command))
        reason = _run(command, work)
        if not reason and not (work / "step.so").is_file():
            reason = "it wrote nothing"
        if reason:
            raise BackendError(
                f"{compiler[0]} does not compile the kernels of the native backend ({reason[:200]}): name "
                "another compiler by CC, or take the backend onnxruntime"
            )
        return (work / "step.so").read_bytes()


def _run(command: list[str], work: Path) -> str:
    """Run a compiler; gives what is wrong, or nothing."""
    try:
        done = subprocess.run(
            command, check=False, cwd=work, env={**os.environ, "LC_ALL": "C"},
            capture_output=True, text=True, errors="replace", timeout=PATIENCE,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"it took more than {PATIENCE} s"
    except OSError as error:
        return str(error)
    if not done.returncode:
        return ""
    lines = done.stderr.splitlines()
    return next(
        (line for line in lines if "error" in line), "\n".join(lines[:1]) or f"exit {done.returncode}"
    )


def _tuning() -> tuple[str, ...]:
    """Take all vectors that this processor has."""
    return ("-mcpu=native",) if platform.machine() in ("aarch64", "arm64") else ("-march=native",)


def _processor() -> tuple[str, ...]:
    """What the processor can do: a home folder may be shared by machines of several kinds.

    Of x86 what compilers write into plain C; a kernel's own words in the same line differ with its version.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.machine(), platform.processor()
    told = {key.strip().lower(): value.split() for key, _, value in (line.partition(":") for line in lines)}
    flags = (flag for flag in told.get("flags", ()) if flag.startswith(EXTENSIONS))
    arm = (*told.get("features", ()), *told.get("cpu part", ()))
    return platform.machine(), *sorted(flags), *arm
