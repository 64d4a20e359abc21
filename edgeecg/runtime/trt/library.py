"""Which TensorRT is here: found, probed for what we need, or refused in one line that says what to do."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from edgeecg.errors import BackendError, DeviceError
from edgeecg.runtime.cuda import ADVICE
from edgeecg.runtime.trt import rtx
from edgeecg.runtime.trt.api import Builder, Runtime, TensorRT, missing_names

__all__ = ["FLAVOURS", "TensorRTLibrary", "find_library", "load_library", "on_jetson"]

FLAVOURS = ("tensorrt", "tensorrt_rtx")
"""Modules that are tried, in this order."""

OLDEST = 10
"""Major version below which the named-tensor interface that we use is not there."""

log = logging.getLogger("edgeecg.tensorrt")


@dataclass(frozen=True)
class TensorRTLibrary:
    """A TensorRT that has all the names we need.

    Parameters
    ----------
    module : TensorRT
        The Python module.
    flavour : str
        ``tensorrt`` or ``tensorrt_rtx``.
    version : str
        Its version, e.g. ``10.3.0``.
    logger : ILogger
        Forwards to the logger ``edgeecg.tensorrt``; ``logger.complaint`` is the last error's text.
    """

    module: TensorRT
    flavour: str
    version: str
    logger: Any

    @property
    def key(self) -> str:
        """Short text that tells apart libraries that cannot share an engine."""
        return f"{self.flavour} {self.version}"

    @property
    def rtx(self) -> bool:
        """Whether this is TensorRT-RTX: it tunes kernels on the device at run time, not in the build."""
        return self.flavour == "tensorrt_rtx"

    def builder(self) -> Builder:
        """A builder; ``DeviceError`` where TensorRT finds no CUDA that it can use."""
        try:
            return self.module.Builder(self.logger)
        except TypeError as error:
            raise self._unusable() from error

    def runtime(self) -> Runtime:
        """A runtime; ``DeviceError`` where TensorRT finds no CUDA that it can use."""
        try:
            return self.module.Runtime(self.logger)
        except TypeError as error:
            raise self._unusable() from error

    def _unusable(self) -> DeviceError:
        """What the bindings' bare ``TypeError`` (``factory function returned nullptr``) comes from.

        CUDA's error 35, a driver that is older than TensorRT's CUDA, is the common one
        (https://github.com/NVIDIA/TensorRT/issues/2913); 2 is a device without memory.
        """
        return DeviceError(
            f"{self.key} cannot use CUDA here ({self.complaint()}): see that the GPU has memory left and "
            f"that the NVIDIA driver is new enough for this TensorRT's CUDA, {ADVICE}"
        )

    def complaint(self) -> str:
        """TensorRT's last error, shortened to a line."""
        text = " ".join(str(self.logger.complaint).split()) or "it gave no reason"
        return text if len(text) <= 300 else text[:297] + "..."


def make_logger(module: TensorRT) -> Any:
    """Instance of TensorRT's logger class that forwards to :mod:`logging`."""
    levels = {
        int(module.ILogger.INTERNAL_ERROR): logging.ERROR,
        int(module.ILogger.ERROR): logging.ERROR,
        int(module.ILogger.WARNING): logging.WARNING,
        int(module.ILogger.INFO): logging.DEBUG,  # its "info" is for those who debug it
        int(module.ILogger.VERBOSE): logging.NOTSET,
    }

    class Logger(module.ILogger):  # type: ignore[misc,name-defined]
        """TensorRT calls ``log`` from its own threads too."""

        def __init__(self) -> None:
            module.ILogger.__init__(self)
            self.complaint = ""

        def log(self, severity: Any, message: str) -> None:
            level = levels.get(int(severity), logging.DEBUG)
            if level == logging.ERROR:
                self.complaint = message
                log.debug("%s", message)  # what matters of it is raised, where it has a meaning
            elif level:
                log.log(level, "%s", message)

    return Logger()


def on_jetson(root: Path = Path("/")) -> bool:
    """Whether this is a Jetson: TensorRT comes with JetPack there, and never from a package index."""
    return (root / "etc/nv_tegra_release").exists()


def install_advice(jetson: bool) -> str:
    """What to do where there is no TensorRT."""
    if jetson:
        return (
            "install JetPack's own with 'sudo apt install nvidia-jetpack' and make the virtual environment "
            f"with --system-site-packages (see docs/jetson.md), {ADVICE}"
        )
    return f"pip install 'edgeecg[tensorrt]' on a machine with an NVIDIA GPU, {ADVICE}"


def check_module(module: ModuleType, flavour: str, jetson: bool) -> TensorRTLibrary:
    """Probe a module for the names we need.

    Raises
    ------
    BackendError
        It is too old, or lacks names.
    """
    version = str(getattr(module, "__version__", "unknown"))
    major = version.split(".", maxsplit=1)[0]
    if flavour == "tensorrt" and major.isdigit() and int(major) < OLDEST:
        update = "update to JetPack 6.1 or newer" if jetson else "update TensorRT to 10.3 or newer"
        raise BackendError(f"TensorRT {version} is too old (10.3 or newer is needed): {update}, {ADVICE}")
    lacking = missing_names(module) + (rtx.lacking_names(module) if flavour == "tensorrt_rtx" else [])
    if lacking:
        names = ", ".join(lacking[:3])
        least = "1.2" if flavour == "tensorrt_rtx" else "10.3"
        raise BackendError(f"{flavour} {version} lacks {names}: {least} or newer is needed, {ADVICE}")
    typed = cast("TensorRT", module)
    return TensorRTLibrary(typed, flavour, version, make_logger(typed))


def find_library(flavours: tuple[str, ...] = FLAVOURS, jetson: bool | None = None) -> TensorRTLibrary:
    """Import the first TensorRT that is installed and check it.

    Raises
    ------
    BackendError
        None is there, or the one that is there is too old: in one line, with the way out.
    """
    jetson = on_jetson() if jetson is None else jetson
    broken = ""
    for flavour in flavours:
        try:
            module = import_module(flavour)
        except ModuleNotFoundError:
            continue
        except (ImportError, OSError) as error:  # its shared libraries are missing or of another CUDA
            broken = broken or f"{flavour} does not load ({' '.join(str(error).split())[:150]})"
            continue
        return check_module(module, flavour, jetson)
    raise BackendError(f"{broken or 'TensorRT is not installed'}: {install_advice(jetson)}")


@cache
def load_library() -> TensorRTLibrary:
    """The TensorRT of this process; one, since TensorRT keeps the first logger that it is given."""
    return find_library()
