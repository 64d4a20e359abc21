"""Which explanation is about the model? All methods, and chance, on the same beats, with what each costs.

    python benchmarks/explain.py [--data DIR] [--bundle small] [--beats 20] [--out results.json]

Beats are those that the model calls V or S and the reference too, from recordings under --data (or
EDGEECG_DATA: mitdb DS1 and svdb), else from synthetic patients; for AF, beats that both call so. Measures:

deletion    mean probability of the label while the most relevant units go first (patches of 31 ms and
            intervals), replaced by the usual beats on time; *flat*: replaced by a flat line. Lower is better.
insertion   the same the other way round. Higher is better.
pointing    share of beats whose most relevant unit lies in the beat or its RR interval.
shapley     correlation with Shapley values over the parts of the beat.
random      rank correlation with what the method says of a network with random weights. Near 0 is right.
seeds       rank correlation between two seeds, for methods that draw.
complete    how far the relevance is from adding up to the change in log-odds, as a share of it.
cost        passes through the network forward and backward, and milliseconds, for one beat.

With --quantus, sparseness, complexity and faithfulness correlation by Quantus as well; with --concepts, TCAV.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from edgeecg.bundle import Bundle
from edgeecg.data.catalog import data_root
from edgeecg.errors import ConfigError, SignalError
from edgeecg.explain.baseline import Baseline, baseline
from edgeecg.explain.concepts import CONCEPTS, Examples, moments, synthetic_sets
from edgeecg.explain.faithfulness import (
    agreement,
    completeness_error,
    deletion,
    insertion,
    mixed,
    points_at_the_beat,
    randomized,
    segment_agreement,
    unit_relevance,
)
from edgeecg.explain.methods import DEFAULT, METHODS, Attribution, attribute
from edgeecg.explain.question import AFIB, Question, ask
from edgeecg.explain.tcav import layer_names, score_concepts
from edgeecg.explain.trace import Trace, load_network, trace
from edgeecg.metrics.references import LabelledRecord, labelled_records
from edgeecg.metrics.score import Truth
from edgeecg.model.transformer import Network

FLAT = "integrated, flat baseline"
DRAWN = ("shapley", "lime", "random")
DEAR = ("integrated", "occlusion", "shapley", "lime", FLAT)
COLUMNS = ("deletion", "flat", "insertion", "pointing", "shapley", "random", "seeds", "complete")
TRIES = 6  # places in a recording that are looked at for a beat
REFERENCE_SECONDS = 0.15


def near(truth: Truth, sample: int) -> str:
    """Reference label at a sample, or nothing."""
    if not len(truth.sample):
        return ""
    nearest = int(np.argmin(np.abs(truth.sample - sample)))
    close = abs(int(truth.sample[nearest]) - sample) < REFERENCE_SECONDS * truth.fs
    return str(truth.labels["dechazal"][nearest]) if close else ""


def in_af(truth: Truth, sample: int) -> bool:
    return any(start <= sample < stop for start, stop in truth.af or ())


def wanted(found: Trace, truth: Truth, label: str) -> list[int]:
    """Beats of a trace that the model and the reference give a label."""
    beats = range(40, len(found) - 4)
    if label == AFIB:
        return [b for b in beats if found.fibrillation[b] > 0.5 and in_af(truth, int(found.samples[b]))]
    return [b for b in beats if found.labels[b] == label and near(truth, int(found.samples[b])) == label]


def questions(
    bundle: Bundle, network: Network, records: tuple[LabelledRecord, ...], label: str, count: int, seed: int
) -> Iterator[Question]:
    """Up to ``count`` questions, at most two a recording, recordings in random order."""
    rng = np.random.default_rng([seed, ord(label[0])])
    made = 0
    for number in rng.permutation(len(records)):
        record, truth = records[number].load()
        of_record = 0
        for _ in range(TRIES):
            if of_record == 2 or made == count:
                break
            try:
                at = int(rng.uniform(0.1, 0.95) * len(record))
                found = trace(bundle, network, record, at)
            except SignalError:
                continue
            beats = wanted(found, truth, label)
            if not beats:
                continue
            question = ask(bundle, network, found, int(rng.choice(beats)), AFIB if label == AFIB else None)
            if label != AFIB and baseline(question).kind != "usual":
                continue
            of_record, made = of_record + 1, made + 1
            yield question


def attributed(question: Question, name: str, seed: int = 0) -> Attribution:
    if name == FLAT:
        return attribute(question, baseline(question, "flat"), "integrated", seed)
    return attribute(question, baseline(question), name, seed)


def measure(question: Question, name: str, reference: Attribution, *, dear: bool) -> dict[str, float]:
    """All figures of one method on one beat; ``dear``: those too that need a dear method a second time."""
    found = attributed(question, name)
    usual, flat = baseline(question), baseline(question, "flat")
    figures = {
        "deletion": deletion(question, found, usual).area,
        "flat": deletion(question, found, flat).area,
        "insertion": insertion(question, found, usual).area,
        "shapley": segment_agreement(question, found, reference),
        "forward": found.forward,
        "backward": found.backward,
        "ms": 1e3 * found.seconds,
    }
    if question.label != AFIB:
        figures["pointing"] = float(points_at_the_beat(question, found))
    if name in ("path", "held", "gradient", "integrated", "occlusion", "shapley", "lime", FLAT):
        figures["complete"] = completeness_error(question, found)
    if name not in ("difference", "random") and (dear or name not in DEAR):
        _, other = list(randomized(question))[-1]
        figures["random"] = agreement(found, attributed(other, name))
    if name in DRAWN and dear:
        figures["seeds"] = agreement(found, attributed(question, name, seed=1))
    return figures


def table_of(title: str, figures: dict[str, dict[str, list[float]]]) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("method")
    for column in (*COLUMNS, "forward", "backward", "ms"):
        table.add_column(column, justify="right")
    for name, values in figures.items():
        cells = [f"{np.mean(values[c]):.3f}" if values.get(c) else "" for c in COLUMNS]
        cells += [f"{np.median(values[c]):.0f}" for c in ("forward", "backward", "ms")]
        table.add_row(name, *cells, style="bold" if name == DEFAULT else "")
    return table


def cascade(asked: list[Question]) -> dict[str, float]:
    """Correlation of the default method with itself as layers are randomized from the top."""
    values: dict[str, list[float]] = defaultdict(list)
    for question in asked:
        found = attributed(question, DEFAULT)
        for layer, other in randomized(question):
            values[layer].append(agreement(found, attributed(other, DEFAULT)))
    return {layer: float(np.mean(v)) for layer, v in values.items()}


class Units(torch.nn.Module):
    """A question as Quantus wants it: units in, 1 kept and 0 removed; logits of two classes out."""

    def __init__(self, question: Question, other: Baseline) -> None:
        super().__init__()
        self.question, self.other = question, other
        self.anchor = torch.nn.Parameter(torch.zeros(()))  # Quantus asks a parameter for its device

    def forward(self, units: torch.Tensor) -> torch.Tensor:
        """``(B, 1, units)`` to ``(B, 2)``."""
        odds = self.question(*mixed(self.question, self.other, units.flatten(1).float()))
        return torch.stack([torch.zeros_like(odds), odds], dim=1)


def by_quantus(asked: list[Question], names: list[str]) -> Table:
    """Sparseness, complexity and faithfulness correlation of some methods."""
    import quantus

    table = Table(title="\nQuantus", title_justify="left", box=None, pad_edge=False)
    for column in ("method", "sparseness", "complexity", "faithfulness correlation"):
        table.add_column(column, justify="left" if column == "method" else "right")
    for name in names:
        values: dict[str, list[float]] = defaultdict(list)
        for question in asked:
            units = unit_relevance(attributed(question, name)).astype(np.float32)[None, None]
            model = Units(question, baseline(question)).eval()
            common = {
                "model": model,
                "x_batch": np.ones_like(units),
                "y_batch": np.array([1]),
                "a_batch": units,
                "device": "cpu",
            }
            faithful = quantus.FaithfulnessCorrelation(
                nr_runs=50, subset_size=24, perturb_baseline=0.0, disable_warnings=True,
                display_progressbar=False,
            )  # fmt: skip
            plain = {"disable_warnings": True, "display_progressbar": False}
            for column, metric in (
                ("sparseness", quantus.Sparseness(**plain)),
                ("complexity", quantus.Complexity(**plain)),
                ("faithfulness", faithful),
            ):
                values[column].append(float(metric(**common)[0]))
        table.add_row(
            name, *(f"{np.nanmean(values[c]):.3f}" for c in ("sparseness", "complexity", "faithfulness"))
        )
    return table


def concept_table(
    bundle: Bundle, network: Network, records: tuple[LabelledRecord, ...], seed: int, draws: int
) -> tuple[Table, list[dict[str, Any]]]:
    """TCAV: for each label and concept the layer where it counts most."""
    sets = synthetic_sets(bundle, network, seed=seed)
    rows: dict[str, Examples] = {}
    for label in ("V", "S", AFIB):
        packed = [
            moments(network, replace(q.trace), [int(q.targets[len(q.targets) // 2])])[0]
            for q in questions(bundle, network, records, label, 40, seed + 1)
        ]
        rows[label] = np.concatenate(packed)
    bias = np.array([bundle.thresholds.bias.get(name, 0.0) for name in "NSVFP"], np.float32)
    scores = score_concepts(network, bias, sets, rows, draws=draws, seed=seed)
    table = Table(title="\nTCAV: score by layer, * p < .01 (Bonferroni)", title_justify="left", box=None)
    table.add_column("label")
    table.add_column("concept")
    for layer in layer_names(network):
        table.add_column(layer, justify="right")
    for label in rows:
        for concept in CONCEPTS:
            own = [s for s in scores if (s.label, s.concept) == (label, concept)]
            table.add_row(label, concept, *(f"{s.score:.2f}{'*' if s.significant else ' '}" for s in own))
    return table, [{**vars(s), "significant": s.significant} for s in scores]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--bundle", default="small")
    parser.add_argument("--beats", type=int, default=20, help="of each label")
    parser.add_argument(
        "--dear", type=int, default=8, help="beats of each label on which dear checks are made"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quantus", action="store_true")
    parser.add_argument("--concepts", action="store_true")
    parser.add_argument("--draws", type=int, default=30, help="random sets of TCAV")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    console = Console(width=150)
    bundle = Bundle.open(args.bundle)
    network = load_network(bundle).requires_grad_(False)
    try:
        records = labelled_records(["mitdb:DS1", "svdb"], data_root(args.data), args.seed)
        source = "mitdb DS1 and svdb"
    except ConfigError:
        records, source = labelled_records(["synthetic"], seed=args.seed), "synthetic patients"
    report: dict[str, Any] = {"bundle": bundle.digest, "source": source}
    everything: list[Question] = []
    for label in ("V", "S", AFIB):
        asked = list(questions(bundle, network, records, label, args.beats, args.seed))
        everything += asked[: args.dear] if label != AFIB else []
        figures: dict[str, dict[str, list[float]]] = {}
        for number, question in enumerate(track(asked, f"{label}: {len(asked)} beats", console=console)):
            reference = attributed(question, "shapley")
            for name in (*METHODS, FLAT):
                found = measure(question, name, reference, dear=number < args.dear)
                for key, value in found.items():
                    figures.setdefault(name, {}).setdefault(key, []).append(float(value))
        console.print(table_of(f"\n{label}: {len(asked)} beats of {source}", figures))
        report[label] = {n: {k: float(np.mean(v)) for k, v in f.items()} for n, f in figures.items()}
    report["cascade"] = cascade(everything)
    console.print("\nLayers randomized from the top:", {k: round(v, 3) for k, v in report["cascade"].items()})
    if args.quantus:
        console.print(by_quantus(everything[:8], ["path", "held", "integrated", "attention", "random"]))
    if args.concepts:
        table, report["concepts"] = concept_table(bundle, network, records, args.seed, args.draws)
        console.print(table)
    if args.out:
        args.out.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
