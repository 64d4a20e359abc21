"""``edgeecg build``: graphs to one verified bundle, and to the engine of this machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from edgeecg.cli.common import (
    DataOption,
    SeedOption,
    check_data,
    check_file,
    data_console,
    human_console,
    show_table,
)
from edgeecg.errors import ConfigError
from edgeecg.metrics.references import SYNTHETIC, labelled_records

__all__ = ["build"]


def build(
    graphs: Annotated[
        str, typer.Argument(metavar="GRAPHS", help="Folder that `export` or `quantize` wrote, or a bundle.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The bundle: NAME.edgeecg.")],
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What the bundle calls itself; as exported if left out."),
    ] = None,
    precision: Annotated[
        str,
        typer.Option(
            "--precision",
            "-p",
            metavar="NAME",
            help="What it opens by default: fp32, fp16, int8, mixed or auto.",
        ),
    ] = "fp32",
    calibration: Annotated[
        Path | None,
        typer.Option(
            "--calibration", "-c", metavar="DIR", help="For INT8 candidates that GRAPHS does not hold yet."
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
        str, typer.Option(metavar="NAME", help="Measure on auto, onnxruntime or tensorrt.")
    ] = "auto",
    rows: Annotated[int, typer.Option(min=1, help="Patients in the hop that is timed.")] = 1,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads inside one operator.")] = 1,
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
    - `edgeecg build quantized -o ward3.edgeecg --precision auto --reference mitdb:DS1 --data ~/ecg`
    - `edgeecg build graphs -c calibration -o ward3.edgeecg -p auto --budget 0.3 --backend tensorrt`
    """
    from edgeecg.bundle import PRECISIONS, SUFFIX, write_bundle
    from edgeecg.deploy.build import build_engine
    from edgeecg.deploy.calibrate import read_calibration, read_windows
    from edgeecg.deploy.graphset import read_graphs
    from edgeecg.deploy.select import Evidence, select, selection_table
    from edgeecg.deploy.verdict import SelectSettings
    from edgeecg.deploy.windows import load_windows
    from edgeecg.runtime.engine import BACKENDS

    if out.suffix != SUFFIX:
        raise ConfigError(f"--out {out}: a bundle's name ends in {SUFFIX}")
    wanted = next((known for known in PRECISIONS if known == precision), None)
    if wanted is None and precision != "auto":
        raise ConfigError(f"--precision {precision}: choose auto, {', '.join(PRECISIONS)}")
    measured = next((known for known in BACKENDS if known == backend), None)
    if measured is None and backend != "auto":
        raise ConfigError(f"--backend {backend}: choose auto, {' or '.join(BACKENDS)}")
    check_file(out)
    check_data(data)
    console = human_console()
    found = read_graphs(graphs)
    found = replace(found, name=name) if name else found
    if wanted is None or (check and wanted != "fp32"):
        settings = SelectSettings(
            precisions=(wanted,) if wanted else (),
            budget=budget,
            agreement=agreement,
            backend=measured or "auto",
            rows=rows,
            threads=threads,
        )
        scales = read_calibration(calibration) if calibration is not None else None
        windows = (
            load_windows(read_windows(calibration), found.signal, data) if calibration is not None else []
        )
        cases = labelled_records(references or [SYNTHETIC], data, seed)
        selection = select(found, Evidence(cases, scales, windows), settings, console.print)
        show_table(data_console(), selection_table(selection))
        found, wanted = selection.chosen.candidate.graphs, selection.chosen.candidate.precision
    bundle = found.bundle(wanted)
    write_bundle(out, bundle)
    console.print(
        f"{out}: {bundle.name}, opens {wanted}, holds {', '.join(bundle.precisions)}, "
        f"digest {bundle.digest[:16]}"
    )
    if engine:
        console.print(build_engine(bundle, wanted))
