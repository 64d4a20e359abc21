"""``edgeecg compare``: do two graphs or backends say the same, and if not, where does it begin?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from rich.text import Text

from edgeecg.bundle import GRAPHS, GraphName
from edgeecg.cli.builder import builder_options
from edgeecg.cli.common import JsonOption, SeedOption, data_console, human_console, progress_bar, write_json
from edgeecg.cli.sides import Side, graphs_of, onnx_tools, parse_side, unequal
from edgeecg.errors import ConfigError, MissingExtra
from edgeecg.io.atomic import check_file
from edgeecg.runtime.compare import Comparison, Departure, compare_executors, departures
from edgeecg.runtime.executor import Executor, Tensors

__all__ = ["compare"]

DISAGREE = 1
"""Exit code where labels differ."""

TOLERANCES = {"fp32": 1e-3, "fp16": 2e-2, "int8": 2e-1, "mixed": 2e-1}
"""Relative error from which on a layer departs, by the coarser precision of the two sides."""


def compare(
    left: Annotated[
        str, typer.Argument(metavar="LEFT", help="BUNDLE[:PRECISION][@EXECUTOR], or FILE.onnx[@...].")
    ],
    right: Annotated[str, typer.Argument(metavar="RIGHT", help="The same, for what is held against it.")],
    graph: Annotated[str, typer.Option(metavar="NAME", help="token, beat or both.")] = "both",
    steps: Annotated[int, typer.Option(min=1, help="Steps that are run, state carried.")] = 32,
    rows: Annotated[int, typer.Option(min=1, help="Streams side by side.")] = 4,
    tolerance: Annotated[
        float | None,
        typer.Option(min=0, metavar="SHARE", help="Relative error from which on a layer departs."),
    ] = None,
    layers: Annotated[
        bool, typer.Option(help="Always look into the layers, not only on disagreement.")
    ] = False,
    json: JsonOption = None,
    seed: SeedOption = 0,
) -> None:
    """Run two graphs, precisions or backends on the same inputs and tell where they differ.

    Prints how many labels agree, the worst error of every output and, where labels differ, the first layer
    that departs. Executors are `onnxruntime`, `native` (of which only outputs can be seen), `tensorrt` and
    `reference` (of the ONNX project: slow and exact). Graphs with FP16 in them run on the reference unless
    told otherwise, since ONNX Runtime's CPU computes that in FP32 and shows no overflow. For a look inside
    `@tensorrt` an engine that keeps every layer's output is built; it fuses less than the one that is
    deployed. The exit code is 1 where labels differ.

    For example:

    - `edgeecg compare small:fp32 small:int8`
    - `edgeecg compare small:fp32 small:fp16@reference --layers`
    - `edgeecg compare small:fp16@onnxruntime small:fp16@tensorrt` on a Jetson
    - `edgeecg compare before.onnx after.onnx`
    """
    if json is not None:
        check_file(json)
    sides = parse_side(left), parse_side(right)
    if graph not in (*GRAPHS, "both"):
        raise ConfigError(f"--graph {graph!r}: choose token, beat or both")
    names = graphs_of(sides, graph)
    limit = tolerance if tolerance is not None else max(TOLERANCES[side.precision] for side in sides)
    console = data_console()
    found: dict[str, Any] = {}
    agree = True
    for name in names:
        comparison = compare_graph(sides, name, steps, rows, seed)
        agree = agree and comparison.agree
        console.print(tables(name, sides, comparison))
        inside: list[Departure] = []
        if layers:
            inside = look_inside(sides, name, comparison)
        elif not comparison.agree:
            inside = look_if_possible(sides, name, comparison)
        if inside:
            show_layers(console, inside, limit)
        if inside and not comparison.agree and first_departure(inside, limit) is None:
            console.print(within(sides))
        found[name] = as_json(comparison, inside, limit)
    if json is not None:
        write_json(json, found)
    if not agree:
        raise typer.Exit(DISAGREE)


def look_if_possible(sides: tuple[Side, Side], name: GraphName, comparison: Comparison) -> list[Departure]:
    """What nobody asked for: where a library for it is missing a note says so, and nothing is lost."""
    try:
        return look_inside(sides, name, comparison)
    except MissingExtra as error:
        human_console().print(Text("note: ", "yellow").append(str(error), "default"))
        return []


def compare_graph(sides: tuple[Side, Side], name: GraphName, steps: int, rows: int, seed: int) -> Comparison:
    """One graph on both sides."""
    with sides[0].open(name) as ours, sides[1].open(name) as theirs:
        asked, other = ours.inputs[0], theirs.inputs[0]
        if asked.shape[2:] != other.shape[2:]:
            raise unequal(name, f"{asked}, {other}")
        return compare_executors(ours, theirs, feeds(ours, steps, rows, seed))


def feeds(executor: Executor, steps: int, rows: int, seed: int) -> Iterator[Tensors]:
    """Input of each step: synthetic ECG through the front end's scale, or beats of noise."""
    spec = executor.inputs[0]
    rng = np.random.default_rng(seed)
    if spec.name == "signal":
        signal = patients(steps * 64, rows, seed)
        for step in range(steps):
            yield {"signal": np.ascontiguousarray(signal[:, 64 * step : 64 * (step + 1)])}
    else:
        width = int(spec.shape[2])
        for _ in range(steps):
            yield {spec.name: rng.standard_normal((rows, 1, width)).astype(np.float32)}


def patients(samples: int, rows: int, seed: int) -> NDArray[np.float32]:
    """Network input of synthetic patients, ``(rows, samples)``."""
    from edgeecg.data.synthetic import SyntheticSettings, synthesize
    from edgeecg.signal.frontend import FrontEnd
    from edgeecg.specs import MODEL_FS, SignalSpec

    seconds = max(10.0, samples / MODEL_FS + 2)
    settings = SyntheticSettings(seconds=seconds, fs=float(MODEL_FS), leads=("MLII",))
    raw = np.stack([synthesize(settings, seed + row).record.signal[:, 0] for row in range(rows)])
    front = FrontEnd(SignalSpec(), MODEL_FS)
    network, _ = front.step(raw, front.initial(rows))
    return network[:, :samples].astype(np.float32)


def look_inside(sides: tuple[Side, Side], name: GraphName, comparison: Comparison) -> list[Departure]:
    """Every layer of both graphs at the worst step, by the executors that ran them."""
    whole = [side.text for side in sides if side.executor == "native"]
    if whole:
        human_console().print(f"{' and '.join(whole)} is one function: what its layers give cannot be seen")
        return []
    tools = onnx_tools()
    models = [tools.load_model(side.model(name)) for side in sides]
    shapes = [[tools.value_spec(value).shape for value in model.graph.input] for model in models]
    if shapes[0] != shapes[1]:
        human_console().print("the graphs take inputs of different sizes: their layers cannot be compared")
        return []
    values = [layer_values(side, name, comparison.worst_inputs) for side in sides]
    return departures(values[0], values[1], tools.layers_of(models[1]))


def layer_values(side: Side, name: GraphName, inputs: Tensors) -> dict[str, NDArray[Any]]:
    """What each layer of a side's graph gives."""
    tools, model = onnx_tools(), side.model(name)
    if side.executor != "tensorrt":
        values: dict[str, NDArray[Any]] = tools.run_exposed(
            tools.load_model(model), inputs, side.executor == "reference"
        )
        return values
    from edgeecg.runtime.trt import run_once

    shown, outputs = tools.show_floats(model)
    with progress_bar() as bars:
        found = run_once(shown, inputs, builder_options(bars))
    return {layer: found[output] for layer, output in outputs.items()}


def tables(name: str, sides: tuple[Side, Side], comparison: Comparison) -> Table:
    """Labels and outputs of one graph."""
    title = f"\n{name} graph, {comparison.steps} steps: {sides[0].text} against {sides[1].text}"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("", min_width=22)
    for head in ("agree", "worst error", "of the range", "at step"):
        table.add_column(head, justify="right")
    for agreement in comparison.agreements:
        share = f"{agreement.equal} of {agreement.scored}"
        table.add_row(agreement.what, share, style="" if agreement.equal == agreement.scored else "red")
    for output in comparison.differences:
        table.add_row(output.name, "", f"{output.worst:.2e}", f"{output.relative:.2e}", str(output.step))
    return table


def show_layers(console: Console, inside: list[Departure], limit: float) -> None:
    """The first layer that departs, and the worst ones."""
    first = first_departure(inside, limit)
    if first is None:
        worst = max((departure.error for departure in inside), default=0.0)
        console.print(f"No layer departs by more than {limit:g} of its size (worst {worst:.2e}).")
        return
    found = Text(f"First layer that departs: {first.layer.output}", "bold").append(
        f" ({first.layer.kind}), by {first.error:.2e} of its size; "
        f"what it reads departs by {first.inherited:.2e}.",
        "not bold",
    )
    console.print(found)
    table = Table(title="Greatest jumps", title_justify="left", box=None, pad_edge=False)
    for head, justify in (
        ("layer", "left"),
        ("kind", "left"),
        ("error", "right"),
        ("of its inputs", "right"),
    ):
        table.add_column(head, justify=justify)  # type: ignore[arg-type]
    for departure in sorted(inside, key=lambda item: item.inherited - item.error)[:5]:
        layer = departure.layer
        table.add_row(layer.output, layer.kind, f"{departure.error:.2e}", f"{departure.inherited:.2e}")
    console.print(table)


def within(sides: tuple[Side, Side]) -> str:
    """Where it must lie, if labels differ and no layer of the graphs does at that step."""
    engines = [side.text for side in sides if side.executor == "tensorrt"]
    if engines:
        return (
            f"With every layer kept apart {' and '.join(engines)} agrees on these inputs: what differs comes "
            "of layers that TensorRT fuses, or adds up in the state. Compare its precisions, fp32 first."
        )
    return "On the same inputs no layer departs: what differs has added up in the state, step by step."


def first_departure(inside: list[Departure], limit: float) -> Departure | None:
    """The first layer in the order of execution whose error is above the limit while its inputs' is not."""
    return next((item for item in inside if item.error > limit >= item.inherited), None)


def as_json(comparison: Comparison, inside: list[Departure], limit: float) -> dict[str, Any]:
    """Plain values; infinity, which JSON lacks, as text."""
    first = first_departure(inside, limit)

    def plain(value: float) -> float | str:
        return value if np.isfinite(value) else "infinite"

    departs = first and {"layer": first.layer.output, "kind": first.layer.kind, "error": plain(first.error)}
    return {
        "steps": comparison.steps,
        "labels": {item.what: {"equal": item.equal, "of": item.scored} for item in comparison.agreements},
        "outputs": {
            item.name: {"worst": plain(item.worst), "relative": plain(item.relative), "step": item.step}
            for item in comparison.differences
        },
        "first_departure": departs,
        "layers": {item.layer.output: plain(item.error) for item in inside},
    }
