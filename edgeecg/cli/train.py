"""`edgeecg train`: recordings to a checkpoint."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress, TaskID

from edgeecg.cli.common import DataOption, human_console, progress_bar, quoted
from edgeecg.errors import ConfigError
from edgeecg.ranges import LARGEST_SEED

__all__ = ["train"]


def train(
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="DIR", help="Folder of the run; a run that is there goes on."),
    ],
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", metavar="FILE", help="TOML file; see docs/training.md for every key."),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="nano, micro, small or base; overrides the file.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Batches in all; overrides the file.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, max=LARGEST_SEED, help="Overrides the file.")] = None,
    init: Annotated[
        str | None,
        typer.Option("--init", metavar="NAME|FILE", help="Fine-tune this bundle instead of starting anew."),
    ] = None,
    fold: Annotated[
        str | None,
        typer.Option(metavar="K/N", help="Hold out the K-th (0 to N-1) of N groups of patients."),
    ] = None,
    data: DataOption = None,
    *,
    context: typer.Context,
) -> None:
    """Train a network, on synthetic patients or on recordings.

    Without a configuration it trains on built-in synthetic patients. A configuration names the sets
    to train on, public ones or your own, which lie under `--data` (or `EDGEECG_DATA`), and the
    validation patients, who are left out and scored as the run goes. A killed run goes on where it
    was when the same command is given again; a finished one is left alone. Where stderr is no
    terminal (nohup, the log of a job) a line every half a minute says how far it is.

    The output is a checkpoint folder (`weights.safetensors`, `checkpoint.json`), which
    `edgeecg export` reads, and TensorBoard logs beside it.

    Examples
    --------
        edgeecg train --out runs/first --preset nano --steps 300

        edgeecg train --out runs/real --config my.toml --data ~/ecg

        edgeecg train --out runs/real-0 --config my.toml --fold 0/5 --data ~/ecg

        edgeecg train --out runs/mine --init small --config mine.toml --data ~/my-recordings
    """
    from edgeecg.model.config import read_config
    from edgeecg.model.run import train_run
    from edgeecg.model.team import leads

    settings = read_config(config)
    source = context.get_parameter_source("data")
    typed = source is not None and source.name == "COMMANDLINE"
    if typed and set(settings.data.sets) == {"synthetic"}:
        raise ConfigError(
            f"--data {data} would not be used: only synthetic patients are trained on; name the sets "
            "under it in a --config file, e.g. [data] sets = { mitdb = 1.0 }"
        )
    if data is not None and (typed or not settings.data.root):  # the environment gives way to the file
        settings = replace(settings, data=replace(settings.data, root=str(data)))
    if preset is not None:
        settings = replace(settings, preset=preset)
    if steps is not None:
        settings = replace(settings, optim=replace(settings.optim, steps=steps))
    if seed is not None:
        settings = replace(settings, seed=seed)
    if fold is not None:
        number, folds = _fold(fold)
        settings = replace(settings, data=replace(settings.data, folds=folds, fold=number))
    console = human_console()
    console.quiet = not leads()  # on several devices this command runs once a device
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    with progress_bar(console) as bar:
        shown = _Shown(bar, settings.optim.steps)
        report = train_run(
            settings, out, show=shown.step, say=console.print, prepare=shown.prepare, init=init
        )
    console.quiet = not leads()  # among several machines it is known only now
    for name, value in report.figures.items():
        console.print(f"  {name:<24} {value:.4f}")
    console.print(
        f"checkpoint in {report.checkpoint}; next: edgeecg export {quoted(report.checkpoint)} --out graphs"
    )


class _Shown:
    """A run on a bar, or in a log: recordings that are prepared, steps, and what validations give."""

    def __init__(self, bar: Progress, steps: int) -> None:
        self._bar, self._steps = bar, steps
        self._task: TaskID | None = None
        self._what = ""

    def prepare(self, source: str, done: int, total: int) -> None:
        """A recording of a set is ready."""
        self._bar.update(self._turn(f"preparing {source}", total, 0), completed=done)

    def step(self, step: int, values: dict[str, float]) -> None:
        """A step is done; its figures with a ``/`` are those of a validation."""
        task = self._turn("training", self._steps, step)
        self._bar.update(task, completed=step, description=f"training, loss {values['total']:.3f}")
        figures = ", ".join(f"{name} {value:.4f}" for name, value in values.items() if "/" in name)
        if figures:
            self._bar.console.print(f"validation at step {step:,}: {figures}")

    def _turn(self, what: str, total: int, begun: int) -> TaskID:
        """The task of what is done now, which takes the place of the one before."""
        if self._task is None or what != self._what:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._what = what
            self._task = self._bar.add_task(what, total=total, completed=begun, begun=begun)
        return self._task


def _fold(text: str) -> tuple[int, int]:
    """``"2/5"`` to 2 and 5."""
    number, _, folds = text.partition("/")
    if not (number.isdecimal() and folds.isdecimal()) or int(folds) < 2 or int(number) >= int(folds):
        raise ConfigError(f"--fold {text}: say it like 0/5, the first of five groups of patients")
    return int(number), int(folds)
