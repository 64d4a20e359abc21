"""``edgeecg calibrate``: how far do activations reach?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeecg.cli.common import (
    DataOption,
    check_data,
    data_console,
    human_console,
    progress_bar,
    quoted,
    show_table,
)
from edgeecg.errors import ConfigError
from edgeecg.io.atomic import check_new_folder
from edgeecg.ranges import LARGEST_SEED

if TYPE_CHECKING:
    from edgeecg.deploy.graphset import GraphSet
    from edgeecg.deploy.windows import Recipe

__all__ = ["calibrate"]


def _check_layers(graphs: GraphSet, settings: Recipe, file: Path | None) -> None:
    """See that the layers that a recipe leaves out are the graphs' own, before minutes are spent."""
    from edgeecg.deploy.quantize import plan_of

    try:
        plan_of(graphs, "int8", settings.float_layers)
    except ConfigError as error:
        raise ConfigError(f"float_layers of {file}: {error}") from error


def calibrate(
    graphs: Annotated[
        str, typer.Argument(metavar="GRAPHS", help="Folder that `edgeecg export` wrote, or a bundle.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the evidence.")],
    recipe: Annotated[
        Path | None, typer.Option("--recipe", metavar="FILE", help="TOML file; options below override it.")
    ] = None,
    references: Annotated[
        list[str] | None,
        typer.Option(
            "--reference",
            "-r",
            metavar="NAME",
            help="Recordings: a set (`mitdb:DS1`), a record, a folder or `synthetic`; may repeat.",
        ),
    ] = None,
    windows: Annotated[int | None, typer.Option(min=1, help="How many windows.")] = None,
    seconds: Annotated[float | None, typer.Option(min=5, help="Length of a window.")] = None,
    method: Annotated[
        str | None, typer.Option(metavar="NAME", help="minmax, percentile, entropy or mse.")
    ] = None,
    percentile: Annotated[float | None, typer.Option(min=50, max=100, help="For `percentile`.")] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, max=LARGEST_SEED, help="Of the choice of windows.")
    ] = None,
    data: DataOption = None,
) -> None:
    """Run windows of recordings through the whole pipeline and see how far each activation reaches.

    INT8 has 127 steps on each side of zero; what lies beyond the clip level is cut off. `minmax` cuts off
    nothing, `percentile` a share, `entropy` loses the least information, `mse` makes the least squared error.

    The output is a folder: `windows.json` names every window (record, lead, offset, SHA-256 of its samples,
    seed, hash of the front end), `scales.json` holds the clip levels. `quantize` reads it. Without
    `--reference` the built-in synthetic patients are used; for a model that meets real patients, use theirs.

    For example:

    - `edgeecg calibrate graphs --out calibration`
    - `edgeecg calibrate graphs -o calibration -r mitdb:DS1 -r svdb --windows 128 --data ~/ecg`
    - `edgeecg calibrate small -o calibration --method percentile --percentile 99.9`
    """
    from edgeecg.deploy.calibrate import calibrate as run
    from edgeecg.deploy.calibrate import reach_table, write_calibration
    from edgeecg.deploy.graphset import read_graphs
    from edgeecg.deploy.ranges import METHODS
    from edgeecg.deploy.windows import Recipe, choose_windows, read_recipe

    if method is not None and method not in METHODS:
        raise ConfigError(f"--method {method}: choose {', '.join(METHODS)}")
    check_new_folder(out)
    check_data(data)
    given: dict[str, Any] = {
        "references": tuple(references) if references else None,
        "windows": windows,
        "seconds": seconds,
        "method": method,
        "percentile": percentile,
        "seed": seed,
    }
    base = read_recipe(recipe) if recipe is not None else Recipe()
    settings = replace(base, **{key: value for key, value in given.items() if value is not None})
    found = read_graphs(graphs)
    _check_layers(found, settings, recipe)
    with progress_bar() as bar:
        task = bar.add_task("choosing windows", total=None)
        manifest, pieces = choose_windows(settings, found.signal, data)
        bar.remove_task(task)
        task = bar.add_task("calibrating", total=len(pieces))
        made = run(found, settings, manifest, pieces, lambda done, _: bar.update(task, completed=done))
    write_calibration(out, made, manifest)
    show_table(data_console(), reach_table(made))
    human_console().print(
        f"{len(pieces)} windows in {out}; next: edgeecg quantize {quoted(graphs)} --calibration {quoted(out)}"
    )
