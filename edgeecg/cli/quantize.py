"""``edgeecg quantize``: FP16, INT8 and mixed graphs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer

from edgeecg.cli.common import (
    DataOption,
    SeedOption,
    check_data,
    data_console,
    human_console,
    quoted,
    show_table,
)
from edgeecg.errors import ConfigError
from edgeecg.io.atomic import check_new_folder

__all__ = ["quantize"]


def quantize(
    graphs: Annotated[
        str, typer.Argument(metavar="GRAPHS", help="Folder that `edgeecg export` wrote, or a bundle.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the graphs.")],
    calibration: Annotated[
        Path | None,
        typer.Option("--calibration", "-c", metavar="DIR", help="Folder that `edgeecg calibrate` wrote."),
    ] = None,
    precisions: Annotated[
        list[str] | None,
        typer.Option(
            "--precision",
            "-p",
            metavar="NAME",
            help="fp16, int8, or mixed (INT8 with FP16 around it); may repeat. "
            "All that can be made if left out.",
        ),
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option("--keep", metavar="LAYER", help="Leave this layer out of INT8 (`token/block0.out`)."),
    ] = None,
    references: Annotated[
        list[str] | None,
        typer.Option(
            "--reference",
            "-r",
            metavar="NAME",
            help="Labelled recordings to compare on; `synthetic` if left out.",
        ),
    ] = None,
    data: DataOption = None,
    seed: SeedOption = 0,
) -> None:
    """Rewrite the FP32 graphs in FP16 and INT8, and measure what that changes.

    The precision is written into the graphs: FP16 products with FP32 islands around them, INT8 as explicit
    Q/DQ (symmetric, one scale a weight column). The same files run in ONNX Runtime and compile in TensorRT.
    Prints a row for each layer, with the reason where it is not quantized, FP16's headroom to overflow by
    the exact reference of the ONNX project, and how many beats keep their label.

    The output is a folder like the one of `export`, with the new graphs beside the old; `build` reads it.

    For example:

    - `edgeecg quantize graphs --calibration calibration --out quantized`
    - `edgeecg quantize graphs -o half --precision fp16`
    - `edgeecg quantize graphs -c calibration -o q -p int8 --keep token/block0.shrink -r mitdb:DS1`
    """
    from edgeecg.bundle import PRECISIONS, Precision
    from edgeecg.deploy.calibrate import read_calibration
    from edgeecg.deploy.graphset import read_graphs, write_graphs
    from edgeecg.deploy.quantize import Wanted, quantize_set
    from edgeecg.deploy.select import agreement
    from edgeecg.metrics.references import SYNTHETIC, labelled_records

    unknown = [name for name in precisions or [] if name not in PRECISIONS[1:]]
    if unknown:
        raise ConfigError(f"--precision {unknown[0]}: choose {', '.join(PRECISIONS[1:])}")
    check_new_folder(out)
    check_data(data)
    evidence = read_calibration(calibration) if calibration is not None else None
    chosen = precisions or (PRECISIONS[1:] if evidence is not None else ["fp16"])
    found = read_graphs(graphs)
    cases = labelled_records(references or [SYNTHETIC], data, seed)
    console, human = data_console(), human_console()
    wanted = Wanted(cast("tuple[Precision, ...]", tuple(chosen)), tuple(keep or ()))
    result = quantize_set(found, wanted, evidence)
    for table in result.tables:
        show_table(console, table)
    for name, headroom in result.headroom.items():
        human.print(
            f"fp16 {name} graph: largest value {headroom.largest:.3g} at {headroom.value}, "
            f"{headroom.factor:.0f} times below overflow"
        )
    show_table(console, agreement(result.graphs, cases, wanted.precisions, human.print))
    write_graphs(out, result.graphs)
    if precisions is None and evidence is None:
        human.print("note: FP16 alone was made; INT8 needs --calibration, what edgeecg calibrate writes")
    with_it = f" --calibration {quoted(calibration)}" if calibration is not None else ""
    then = f"edgeecg build {quoted(out)}{with_it} --precision auto --out NAME.edgeecg"
    human.print(f"graphs in {out}; next: {then}")
