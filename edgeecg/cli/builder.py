"""TensorRT's builder works for minutes: a bar for each of its phases."""

from __future__ import annotations

from rich.progress import Progress, TaskID

from edgeecg.runtime.trt import Options

__all__ = ["builder_options"]


def builder_options(bars: Progress) -> Options:
    """Options of TensorRT engines whose builds are shown in ``bars``."""
    tasks: dict[str, TaskID] = {}

    def told(phase: str, step: int, steps: int) -> bool:
        if phase not in tasks:
            tasks[phase] = bars.add_task(f"TensorRT: {phase.lower()}", total=steps)
        bars.update(tasks[phase], completed=step, total=steps, visible=step < steps)
        return True

    return Options(progress=told)
