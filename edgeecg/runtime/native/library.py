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
from edgeecg.runtime.cache import check_own, default_folder, make_own, write_atomically

__all__ = ["find_compiler", "open_library"]

log = logging.getLogger("edgeecg.native")

SOURCES = ("vectors.h", "step.c")
FLAGS = ("-std=gnu11", "-O3", "-fPIC", "-shared", "-fno-math-errno", "-fno-trapping-math", "-Wno-psabi")
COMPILERS = ("cc", "gcc", "clang")
PATIENCE = 300
"""Seconds that a compiler may take; two are usual, twenty on a small board."""


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
        There is no C compiler, it refuses the source, or the folder is not the user's own.
    """
    kept = (folder or default_folder()) / "native"
    sources = {name: files(__package__).joinpath(name).read_bytes() for name in SOURCES}
    macros = [f"-D{name}={size}" for name, size in sizes.items()]
    said = [*macros, *FLAGS, *_tuning(), _processor(), *(text.decode() for text in sources.values())]
    path = kept / f"{hashlib.sha256(chr(10).join(said).encode()).hexdigest()[:32]}.so"
    try:
        if not _is_whole(path):
            make_own(kept)
            _write(path, _compiled(sources, macros))
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise BackendError(
            f"compiled kernels cannot be kept in {kept} ({error}): make room there, or name another folder "
            "by EDGEECG_CACHE"
        ) from error


def find_compiler() -> list[str]:
    """The command of the C compiler: ``CC``, or the first that is installed; empty where there is none."""
    named = shlex.split(os.environ.get("CC", ""))
    if named:
        return named if shutil.which(named[0]) else []
    found = next(filter(None, map(shutil.which, COMPILERS)), None)
    return [found] if found else []


def _compiled(sources: Mapping[str, bytes], macros: list[str]) -> bytes:
    """Compile in a folder of its own; gives the library."""
    compiler = find_compiler()
    if not compiler:
        raise BackendError(
            "the native backend compiles its kernels on the device, and there is no C compiler: "
            "apt install gcc, name one by CC, or take the backend onnxruntime"
        )
    with tempfile.TemporaryDirectory(prefix="edgeecg-") as name:
        work = Path(name)
        for source, text in sources.items():
            (work / source).write_bytes(text)
        command = [*compiler, *FLAGS, *_tuning(), *macros, "step.c", "-o", "step.so", "-lm"]
        log.info("compiling kernels: %s", shlex.join(command))
        try:
            done = subprocess.run(
                command, check=False, cwd=work, capture_output=True, text=True, timeout=PATIENCE
            )
        except subprocess.TimeoutExpired as error:
            raise BackendError(
                f"{compiler[0]} took more than {PATIENCE} s over the kernels of the native backend: take the "
                "backend onnxruntime"
            ) from error
        if done.returncode:
            reason = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr.strip())
            raise BackendError(
                f"{compiler[0]} refuses the kernels of the native backend ({reason[:200]}): name another "
                "compiler by CC, or take the backend onnxruntime"
            )
        return (work / "step.so").read_bytes()


def _write(path: Path, data: bytes) -> None:
    write_atomically(path.with_suffix(".sha256"), hashlib.sha256(data).hexdigest().encode())
    write_atomically(path, data)


def _is_whole(path: Path) -> bool:
    """Whether a library is kept that has its hash; raises where others may write to the folder."""
    try:
        check_own(path.parent)
        data, noted = path.read_bytes(), path.with_suffix(".sha256").read_bytes()
    except FileNotFoundError:
        return False
    if hashlib.sha256(data).hexdigest().encode() == noted:
        return True
    log.warning("compiled kernels %s do not have their hash: compiling them again", path)
    return False


def _tuning() -> tuple[str, ...]:
    """Take all vectors that this processor has."""
    return ("-mcpu=native",) if platform.machine() in ("aarch64", "arm64") else ("-march=native",)


def _processor() -> str:
    """What the processor can do: a home folder may be shared by machines of several kinds."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    told = {
        line
        for line in lines
        if line.split("\t")[0].strip().lower() in ("model name", "flags", "features", "cpu part")
    }
    return "\n".join([platform.machine(), *sorted(told)])
