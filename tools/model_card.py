"""Write `docs/models/PRESET.md`, its figures and pictures from what `tools/kept.py` measured out of fold.

for name in nano-four micro-five small-1-five; do python tools/kept.py $name --data DIR --work runs/kept; done
python tools/model_card.py --data DIR --work runs/kept
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from held_out import REFINED, Told, corrected, folds, told  # beside this file
from matplotlib.figure import Figure
from recipes import LATER, RECIPES, SHARE  # beside this file

from edgeecg import Beat, open_engine
from edgeecg.bundle import Bundle
from edgeecg.cli.strip import draw_strip
from edgeecg.data.catalog import load_record, load_reference
from edgeecg.errors import ConfigError
from edgeecg.metrics.calibration import by_label
from edgeecg.model.checkpoint import load_checkpoint, network_from_weights
from edgeecg.model.config import read_config
from edgeecg.pipeline.annotate import annotate

ROOT = Path(__file__).parents[1]
MODELS = ROOT / "docs" / "models"
FOLDS = RECIPES / "folds"
PRESETS = ("nano", "micro", "small", "base")
KEPT = {"nano": "nano-four", "micro": "micro-five", "small": "small-1-five"}
"""Networks of the folds of `tools/release/folds` that stand for what is shipped."""
CLASSES = ("QRS", "V", "S", "F")
FAILURES = (  # record, what the reference says, what was said
    ("mitdb/207", "V", "N"),
    ("mitdb/209", "S", "N"),
    ("mitdb/203", "N", "V"),
    ("mitdb/109", "N", "P"),
    ("svdb/804", "N", "S"),
    ("svdb/841", "V", "S"),
)
SECONDS = 10.0
CALIBRATED = """Expected calibration error by the label told, beats of held-out patients: before the
correction that the bundle carries (`thresholds.confidence`), and with one that was fitted without their fold.
"""


def percent(value: float | None) -> str:
    """A share as a percentage; a dash where there is none."""
    return "-" if value is None else f"{100 * value:.2f}"


def interval(figure: dict[str, Any]) -> str:
    """A figure and its 95 % interval; one of no width is of a patient or two, and says nothing."""
    if figure["value"] is None:
        return "-"
    low, high = figure["low"], figure["high"]
    wide = low is not None and low < high
    return percent(figure["value"]) + (f" [{percent(low)}, {percent(high)}]" if wide else "")


def primary(group: dict[str, Any]) -> dict[str, Any] | None:
    """Beat scores over whole records by de Chazal's mapping."""
    wanted = ("dechazal", "whole record")
    return next((b for b in group["beats"] if (b["mapping"], b["period"]) == wanted), None)


def gross(groups: Sequence[dict[str, Any]]) -> Iterator[str]:
    """One table of all sets and classes."""
    yield "| set | class | beats | Se % | +P % | F1 % | mean F1 % of records that have it |"
    yield "|---|---|---|---|---|---|---|"
    for group in groups:
        beats = primary(group)
        if beats is None:
            continue
        for name in CLASSES:
            scores = beats["classes"][name]
            count = scores["gross"]["hits"] + scores["gross"]["misses"]
            if count:
                cells = (interval(scores[part]) for part in ("sensitivity", "predictivity", "f1"))
                mean = f"{interval(scores['average']['f1'])} of {scores['average']['records']}"
                yield f"| {group['title']} | {name} | {count} | {' | '.join(cells)} | {mean} |"


def without_largest(groups: Sequence[dict[str, Any]]) -> Iterator[str]:
    """S without the record that has most of it."""
    for group in groups:
        rows = (primary(group) or {"records": []})["records"]
        counts = {row["record"]: row["scores"]["S"] for row in rows}
        largest = max(counts, key=lambda name: counts[name]["hits"] + counts[name]["misses"], default=None)
        if largest is None:
            continue
        hits, misses, false = (
            sum(score[part] for name, score in counts.items() if name != largest)
            for part in ("hits", "misses", "false")
        )
        if hits + misses:
            f1 = percent(2 * hits / (2 * hits + misses + false))
            yield f"- {group['title']}: S without {largest}, which has most of it: F1 {f1} %"


def rhythm(groups: Sequence[dict[str, Any]]) -> Iterator[str]:
    """AF by duration, by episode and by record."""
    for group in groups:
        af = group["af"]
        if af and (af["duration_sensitivity"] or {}).get("value") is not None:
            yield (
                f"- {group['title']}: AF by duration Se {interval(af['duration_sensitivity'])}, "
                f"+P {interval(af['duration_predictivity'])} %"
            )
        if af and af["records"]:
            r = af["records"]
            yield (
                f"- {group['title']}: AF by record, F1 {interval(r['f1'])} %, "
                f"Se {interval(r['sensitivity'])}, +P {interval(r['predictivity'])} %"
            )


def records(groups: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Hits, misses and false ones of each record."""
    yield "| record | QRS | V | S | F |"
    yield "|---|---|---|---|---|"
    for group in groups:
        for row in (primary(group) or {"records": []})["records"]:
            scores = (row["scores"][name] for name in CLASSES)
            cells = (f"{s['hits']} / {s['misses']} / {s['false']}" for s in scores)
            yield f"| {row['record']} | {' | '.join(cells)} |"


def reliability(preset: str, beats: Sequence[Told]) -> Iterator[str]:
    """The diagram of probabilities told of held-out patients, and a table of their errors."""
    yield "| set | correction | all | N | V | S | Brier |"
    yield "|---|---|---|---|---|---|---|"
    figure = Figure(figsize=(7.6, 4.0), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, name, part in zip(
        panels, ("none", "of the other folds"), (beats, corrected(beats)), strict=True
    ):
        axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
        axes.set(xlabel="probability told", title=f"{preset}, correction: {name}")
        for title in ("mitdb DS1", "svdb"):
            mine = [each for each in part if each.group == title]
            table = by_label(*(np.concatenate(column) for column in zip(*(m[2:] for m in mine), strict=True)))
            for label, line in (("all", "o-"), ("V", "s--"), ("S", "^:")):
                if label not in table:
                    continue
                bins = [each for each in table[label].bins if each.count >= 20]
                told_as = title if label == "all" else f"{title}, told {label}"
                axes.plot([b.confidence for b in bins], [b.accuracy for b in bins], line, label=told_as)
            named = (table.get(label) for label in ("all", "N", "V", "S"))
            errors = " | ".join("-" if curve is None else f"{curve.ece:.4f}" for curve in named)
            yield f"| {title} | {name} | {errors} | {table['all'].brier:.4f} |"
    panels[0].set(ylabel="share that is right")
    panels[1].legend(frameon=False, fontsize=8)
    figure.savefig(MODELS / "images" / f"{preset}-reliability.png", dpi=110)


def failure(work: Path, data: Path, name: str, wanted: str, said: str) -> Path:
    """A strip of a held-out record where the network is wrong in this way most often."""
    source, _, number = name.partition("/")
    record = load_record(data / name, source)
    path = next(path for path, unseen in folds(work) if name in unseen)
    with open_engine(path, backend="onnxruntime") as engine:
        events = annotate(engine, record)
    found = [event for event in events if isinstance(event, Beat)]
    reference = load_reference(record, source)
    places = np.array([beat.sample for beat in found])
    wrong = [
        sample
        for sample, label in zip(reference.beats.tolist(), reference.labels.tolist(), strict=True)
        if label == wanted
        and abs(places - sample).min() <= 0.15 * record.fs
        and found[int(abs(places - sample).argmin())].label == said
    ]
    span = round(SECONDS * record.fs)
    if not wrong:
        raise ConfigError(f"{name}: no {wanted} is told as {said} by this network: choose another failure")
    start = max(wrong, key=lambda at: sum(at <= other < at + span for other in wrong))
    target = MODELS / "images" / f"failure-{source}-{number}.png"
    begin = min(max(0, start - round(record.fs)), len(record) - span)
    draw_strip(record, events, target, start=begin, title=f"{name}: {wanted} told as {said}")
    return target


def networks(preset: str) -> str:
    """Which networks the figures are of, and what they lack beside the shipped ones."""
    meta = load_checkpoint(FOLDS / KEPT[preset] / "fold0" / REFINED).meta
    config, stages = meta["config"], 1 + sum(stage in meta for stage in LATER)
    steps, all_steps = config["optim"]["steps"], read_config(RECIPES / f"{preset}.toml").optim.steps
    shorter = f", {steps:,} of the first stage's {all_steps:,} steps" if steps < all_steps else ""
    wanted = 1 + sum(SHARE[preset][stage] > 0 for stage in LATER)  # of what is shipped
    through = "all" if stages >= wanted else f"the first {stages} of"
    return (
        f"The networks lie in `tools/release/folds/{KEPT[preset]}` (seed {config['seed']}{shorter}, "
        f"{through} {wanted} stages); `python tools/kept.py {KEPT[preset]} --data ~/ecg` gives "
        "these figures again.\n"
    )


def card(preset: str, groups: Sequence[dict[str, Any]], work: Path, data: Path) -> str:
    """The page of one preset."""
    bundle = Bundle.open(preset)
    spec = bundle.spec
    token, beat = spec.token, spec.beat
    count = network_from_weights(spec, bundle.weights()).parameter_count
    what = (
        f"**What it is.** A token encoder ({token.layers} layers of width {token.dim}, {token.left} tokens "
        f"back and {token.right} ahead in each) and a beat encoder ({beat.layers} layers of width {beat.dim} "
        f"over {beat.left} beats): {count:,} parameters in both graphs. What holds for all four (data, "
        "training, protocol, use, failures) is in [models](README.md). Written by `tools/model_card.py`.\n"
    )
    parts = [f"# Model card: `{preset}`\n", what]
    if not groups:
        parts.append(
            "**Not cross-validated.** Its folds were not trained, so there is no honest figure of it: take a "
            "preset whose figures on unseen patients are known.\n"
        )
        return "\n".join(parts)
    protocol = (
        "Every patient annotated by a network that never saw him (five folds, one seed), through the "
        "deployed path; 95 % intervals by bootstrap over patients. The shipped weights learnt from all.\n\n"
        f"{networks(preset)}"
    )
    parts += [
        "## Out of fold\n",
        protocol,
        *gross(groups),
        "",
        *without_largest(groups),
        *rhythm(groups),
        "\n## Probabilities\n",
        CALIBRATED,
        *reliability(preset, told(work, data)),
        f"\n![Reliability](images/{preset}-reliability.png)\n",
        "## Each record: hits / misses / false\n",
        *records(groups),
        "",
    ]
    return "\n".join(parts)


def write(
    data: Annotated[Path, typer.Option(help="Folder of the development recordings.")],
    work: Annotated[Path, typer.Option(help="Of tools/kept.py.")] = Path("runs/kept"),
    pictures: Annotated[bool, typer.Option(help="Draw the known failures of small too.")] = True,
) -> None:
    """All cards, and the pictures of known failures."""
    (MODELS / "images").mkdir(exist_ok=True)
    for preset in PRESETS:
        groups, networks_of = [], work / KEPT.get(preset, preset)
        if preset in KEPT:
            figures = (networks_of / f"{preset}.json").read_text(encoding="utf-8")
            (MODELS / f"{preset}.json").write_text(figures, encoding="utf-8")
            groups = json.loads(figures)["groups"]
        page = card(preset, groups, networks_of, data)
        (MODELS / f"{preset}.md").write_text(page, encoding="utf-8")
    if pictures:
        for name, wanted, said in FAILURES:
            typer.echo(failure(work / KEPT["small"], data, name, wanted, said))


if __name__ == "__main__":
    typer.run(write)
