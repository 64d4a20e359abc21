"""``edgeecg build``: graphs to one verified bundle, and to the engine of this machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from edgeecg.cli.builder import builder_options
from edgeecg.cli.common import (
    DataOption,
    SeedOption,
    check_data,
    data_console,
    human_console,
    progress_bar,
    show_table,
)
from edgeecg.cli.points import PointOption, with_points
from edgeecg.errors import BackendError, ConfigError
from edgeecg.io.atomic import check_new_file
from edgeecg.metrics.references import SYNTHETIC, labelled_records

if TYPE_CHECKING:  # loads onnx
    from collections.abc import Callable

    from edgeecg.bundle import Precision
    from edgeecg.deploy.graphset import GraphSet
    from edgeecg.deploy.select import Evidence

__all__ = ["build"]


def build(
    graphs: Annotated[
        str, typer.Argument(metavar="GRAPHS", help="Folder that `export` or `quantize` wrote, or a bundle.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The bundle: NAME.edgeecg.")],
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What the bundle calls itself; as exported; as its file where that is packaged.",
        ),
    ] = None,
    point: PointOption = None,
    precision: Annotated[
        Literal["fp32", "fp16", "int8", "mixed", "auto"],
        typer.Option("--precision", "-p", help="What it opens by default; `auto` measures first."),
    ] = "fp32",
    calibration: Annotated[
        Path | None,
        typer.Option(
            "--calibration",
            "-c",
            metavar="DIR",
            help="For INT8 and mixed candidates that GRAPHS does not hold yet.",
        ),
    ] = None,
    references: Annotated[
        list[str] | None,
        typer.Option(
            "--reference",
            "-r",
            metavar="NAME",
            help="Labelled recordings that accuracy is measured on; `synthetic` if left out. May repeat.",
        ),
    ] = None,
    budget: Annotated[
        float, typer.Option(min=0, help="Points of F1 (of 100) that QRS, V, S or AF may lose.")
    ] = 0.5,
    agreement: Annotated[
        float, typer.Option(min=0, max=1, help="Least share of beats with the same label as in FP32.")
    ] = 0.99,
    check: Annotated[
        bool, typer.Option(help="Refuse a precision other than fp32 that loses more than its budget.")
    ] = True,
    backend: Annotated[
        Literal["auto", "onnxruntime", "tensorrt"], typer.Option(help="What to measure on.")
    ] = "auto",
    rows: Annotated[int, typer.Option(min=1, help="Patients in the hop that is timed.")] = 1,
    threads: Annotated[int, typer.Option(min=1, max=256, help="CPU threads inside one operator.")] = 1,
    engine: Annotated[
        bool, typer.Option(help="Where TensorRT is installed, build its engine too (on a GPU it is kept).")
    ] = True,
    data: DataOption = None,
    seed: SeedOption = 0,
) -> None:
    """Put graphs into one `.edgeecg` file with everything that a device needs, and prove it.

    The bundle holds every precision that is there, front end, labels, thresholds, provenance, hashes, and
    golden vectors that each engine must reproduce whenever it is opened.

    With `--precision auto` all candidates are timed on this machine and scored on labelled recordings
    through the streaming path. The fastest one is kept whose QRS, V, S and AF F1 lose no more than the
    budget, by the lower end of a bootstrap over patients, and whose labels agree with FP32. Mixed
    candidates put the layers that suffer most from INT8 back to FP16.

    For example:

    - `edgeecg build graphs --out ward3.edgeecg`
    - `edgeecg build small --out wary.edgeecg --point beat=0.2 --point bias.V=0.5`
    - `edgeecg build quantized -c calibration -o ward3.edgeecg -p auto -r mitdb:DS1 --data ~/ecg`
    - `edgeecg build graphs -c calibration -o ward3.edgeecg -p auto --budget 0.3 --backend tensorrt`
    """
    from edgeecg.bundle import SUFFIX, packaged_names, write_bundle
    from edgeecg.deploy.build import build_engine
    from edgeecg.deploy.graphset import read_graphs
    from edgeecg.deploy.select import select, selection_table
    from edgeecg.deploy.verdict import SelectSettings
    from edgeecg.runtime.trt import why_not

    if out.suffix != SUFFIX:
        raise ConfigError(f"--out {out}: a bundle's name ends in {SUFFIX}")
    check_new_file(out)
    check_data(data)
    console = human_console()
    found = read_graphs(graphs)
    found = replace(found, thresholds=with_points(found.thresholds, point or []))
    if name or found.name in packaged_names():  # only the packaged one is called so
        found = replace(found, name=name or out.stem)
    if backend == "tensorrt" and (reason := why_not()):
        raise BackendError(reason)
    opens: Precision
    if precision == "auto" or (check and precision != "fp32"):
        settings = SelectSettings(
            precisions=() if precision == "auto" else (precision,),
            budget=budget,
            agreement=agreement,
            backend=backend,
            rows=rows,
            threads=threads,
        )
        evidence = _evidence(found, calibration, references or [SYNTHETIC], data, seed)
        with progress_bar(console) as bars:
            settings = replace(settings, tensorrt=builder_options(bars))
            selection = select(found, evidence, settings, console.print)
        show_table(data_console(), selection_table(selection))
        found, opens = selection.chosen.candidate.graphs, selection.chosen.candidate.precision
    else:
        found, opens = _unchecked(found, precision, calibration, data, console.print), precision
    bundle = found.bundle(opens)
    write_bundle(out, bundle)
    console.print(
        f"{out}: {bundle.name}, opens {opens}, holds {', '.join(bundle.precisions)}, "
        f"digest {bundle.digest[:16]}"
    )
    if engine:
        with progress_bar(console) as bars:
            said = build_engine(bundle, opens, builder_options(bars))
        console.print(said)


def _unchecked(
    graphs: GraphSet,
    precision: Precision,
    calibration: Path | None,
    data: Path | None,
    say: Callable[[str], None],
) -> GraphSet:
    """Graphs that hold a precision, which nothing measures: made by a calibration where they do not yet."""
    from edgeecg.deploy.select import candidates

    if precision in graphs.precisions:
        if calibration is not None:
            say(f"{precision} is there already: --calibration is not needed")
        return graphs
    return next(candidates(graphs, _evidence(graphs, calibration, [], data, 0), precision, say)).graphs


def _evidence(
    graphs: GraphSet, calibration: Path | None, references: list[str], data: Path | None, seed: int
) -> Evidence:
    """What the candidates are measured on, and what new ones in INT8 are made with."""
    from edgeecg.deploy.calibrate import read_calibration, read_windows
    from edgeecg.deploy.select import Evidence
    from edgeecg.deploy.windows import load_windows

    cases = labelled_records(references, data, seed) if references else ()
    if calibration is None:
        return Evidence(cases)
    scales, manifest = read_calibration(calibration), read_windows(calibration)
    return Evidence(cases, scales, load_windows(manifest, graphs.signal, data))
