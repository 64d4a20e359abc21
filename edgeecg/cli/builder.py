"""TensorRT's builder works for minutes: a bar for each of its phases."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer
from rich.progress import Progress, TaskID

from edgeecg.runtime.trt import Options
from edgeecg.runtime.trt.recover import OnDeviceError

__all__ = ["DeviceErrorOption", "builder_options", "shown"]

DeviceErrorOption = Annotated[
    OnDeviceError,
    typer.Option(
        "--on-device-error",
        help="On TensorRT, when an error takes the GPU away (an illegal address, say): `rebuild` opens the "
        "engines anew, or goes on with ONNX Runtime where the driver allows no more within this process; "
        "`cpu` goes on with ONNX Runtime at once; `raise` ends the command, for a service manager that "
        "starts it again with its GPU. The first two lose no sample.",
        rich_help_panel="Running",
    ),
]


def builder_options(
    bars: Progress, tokens: int = 8, dla: int | None = None, on_device_error: OnDeviceError = "rebuild"
) -> Options:
    """Options of TensorRT engines whose builds are shown in ``bars``.

    Parameters
    ----------
    tokens : int
        Tokens of a step: only steps of this length run as CUDA graphs.
    dla : int, optional
        DLA core to prefer.
    on_device_error : str
        What to do when the GPU is lost.
    """
    return shown(Options(hop_tokens=tokens, dla=dla, on_device_error=on_device_error), bars)


def shown(options: Options, bars: Progress) -> Options:
    """The same options, builds shown in ``bars``."""
    tasks: dict[str, TaskID] = {}

    def told(phase: str, step: int, steps: int) -> bool:
        if phase not in tasks:
            tasks[phase] = bars.add_task(f"TensorRT: {phase.lower()}", total=steps)
        bars.update(tasks[phase], completed=step, total=steps, visible=step < steps)
        return True

    return replace(options, progress=told)
