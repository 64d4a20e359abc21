"""``edgeecg export``: a checkpoint to ONNX graphs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from edgeecg.cli.common import human_console, quoted
from edgeecg.cli.points import PointOption, with_points
from edgeecg.errors import ConfigError
from edgeecg.io.atomic import check_new_folder

__all__ = ["export"]


def export(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="Folder that `edgeecg train` wrote.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the graphs.")],
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What the bundle will call itself; its preset if left out."),
    ] = None,
    lead_policy: Annotated[
        str,
        typer.Option(
            metavar="POLICY",
            help="With several leads: `fused` (as the packaged bundles), `best` (quality now) or `first`.",
        ),
    ] = "fused",
    point: PointOption = None,
) -> None:
    """Write a trained network as two ONNX graphs: token encoder and beat encoder, in step form.

    Both take any number of rows (patients) and of tokens or beats, carry their state as one tensor, and are
    run beside torch before they are written: long and short steps must give what torch gives for the whole.

    Lead policy and operating points of a bundle that the training began from (`edgeecg train --init`) are
    not passed on: choose your own on patients who were left out.

    The output is a folder (`export.json`, `graphs/*.fp32.onnx`, `weights.safetensors`), which `calibrate`,
    `quantize` and `build` read.

    For example:

    - `edgeecg export runs/first/checkpoint --out runs/first/graphs`
    - `edgeecg export runs/first/checkpoint -o graphs --name ward3 --point bias.S=-0.3 --point bias.P=-1`
    """
    from edgeecg.bundle import LEAD_POLICIES
    from edgeecg.deploy.build import export_checkpoint
    from edgeecg.deploy.graphset import write_graphs
    from edgeecg.model.initial import check_finished

    if lead_policy not in LEAD_POLICIES:
        raise ConfigError(f"--lead-policy {lead_policy}: choose {', '.join(LEAD_POLICIES)}")
    check_finished(checkpoint)
    check_new_folder(out)
    policy = next(known for known in LEAD_POLICIES if known == lead_policy)
    graphs = export_checkpoint(checkpoint, name, policy)
    graphs = replace(graphs, thresholds=with_points(graphs.thresholds, point or []))
    write_graphs(out, graphs)
    sizes = ", ".join(
        f"{part.split('/')[-1]} {len(data) / 1024:.0f} kB" for part, data in graphs.graphs.items()
    )
    console = human_console()
    console.print(
        f"{graphs.name}: {sizes}; {graphs.provenance['export_error']:.1e} of their range from torch"
    )
    console.print(
        f"graphs in {out}; next: edgeecg build {quoted(out)} --out {quoted(f'{graphs.name}.edgeecg')}, "
        "or calibrate first"
    )
