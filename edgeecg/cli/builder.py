"""TensorRT's builder works for minutes: a bar for each of its phases."""

from __future__ import annotations

from rich.progress import Progress, TaskID

from edgeecg.runtime.trt import Options

__all__ = ["builder_options"]


def builder_options(bars: Progress, tokens: int = 8, dla: int | None = None) -> Options:
    """Options of TensorRT engines whose builds are shown in ``bars``.

    Parameters
    ----------
    tokens : int
        Tokens of a step: only steps of this length run as CUDA graphs.
    dla : int, optional
        DLA core to prefer.
    """
    tasks: dict[str, TaskID] = {}

    def told(phase: str, step: int, steps: int) -> bool:
        if phase not in tasks:
            tasks[phase] = bars.add_task(f"TensorRT: {phase.lower()}", total=steps)
        bars.update(tasks[phase], completed=step, total=steps, visible=step < steps)
        return True

    return Options(hop_tokens=tokens, dla=dla, progress=told)
