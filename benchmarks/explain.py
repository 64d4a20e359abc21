"""Which explanation is about the model? All methods, and chance, on the same beats, with what each costs.

    python benchmarks/explain.py [--data DIR] [--bundle small] [--beats 30] [--dear 4] [--out FOLDER]

Beats are those that the model calls V or S and the reference too, from recordings under --data (or
EDGEECG_DATA: mitdb DS1 and svdb), else from synthetic patients; for AF, stretches that both call so (mitdb
DS1 and the recordings of cinc2017 that are labelled AF). Tables are Markdown, for docs/explain.md. Measures:

deletion    mean probability of the label while the most relevant units go first (patches of 31 ms and
            intervals), replaced by the usual beats on time; *flat*: replaced by a flat line. Lower is better.
            Each is home ground to methods that explain against what units are replaced by: compare by both.
insertion   the same the other way round. Higher is better.
pointing    share of beats whose most relevant unit lies in the beat or its RR interval.
shapley     correlation with Shapley values over the parts of the beat; its head says what chance has. That is
            not 0 where one long part has most of the relevance: whoever spreads it evenly agrees.
random      rank correlation with what the method says of a network with random weights. Near 0 is right. Over
            units; over parts for Shapley values and LIME, which tell parts apart and nothing inside them.
seeds       rank correlation between two seeds, for methods that draw, likewise.
complete    how far the relevance is from adding up to the change in log-odds, as a share of it (median).
cost        passes through the network forward and backward, and milliseconds, for one beat.

Occlusion, Shapley values, LIME and the columns shapley and seeds are measured on the first --dear beats
of each label only. --quick takes 8 beats and leaves out Quantus, which
is used where it is installed (pip install quantus).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from explaining import concepts, measures
from explaining.beats import questions, recordings
from explaining.measures import Figures

from edgeecg.bundle import Bundle
from edgeecg.explain.concepts import CONCEPTS
from edgeecg.explain.methods import DEFAULT
from edgeecg.explain.question import AFIB, Question
from edgeecg.explain.tcav import ConceptScore, layer_names
from edgeecg.explain.trace import load_network

COLUMNS = ("deletion", "flat", "insertion", "pointing", "shapley", "random", "seeds", "complete")
COSTS = ("forward", "backward", "ms")
QUANTUS = (DEFAULT, "held", "gradient", "integrated", "attention", "rollout", "difference", "random")
PASSES = 3  # forward and backward, of a method that may be the default


def mean(figures: Mapping[str, Figures], name: str, column: str) -> float:
    values = figures[name].get(column, [])
    if not values:
        return float("nan")
    return float(np.median(values) if column in ("complete", *COSTS) else np.mean(values))


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table, aligned for people who read the source."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    line = [["-" * (width - 1) + (":" if i else "-") for i, width in enumerate(widths)]]
    cells = [head, *line, *rows]
    return "\n".join(
        "| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in cells
    )


def method_table(figures: Mapping[str, Figures]) -> str:
    rows = []
    for name in measures.NAMES:
        cells = [f"{mean(figures, name, c):.3f}" for c in COLUMNS] + [
            f"{mean(figures, name, c):.0f}" for c in COSTS
        ]
        shown = f"**{name}**" if name == DEFAULT else name
        count = len(figures[name]["deletion"])
        rows.append([shown, str(count), *("" if cell == "nan" else cell for cell in cells)])
    chance = mean(figures, "random", "shapley")
    heads = [f"{c} (chance {chance:.3f})" if c == "shapley" else c for c in COLUMNS]
    return markdown(["method", "beats", *heads, *COSTS], rows)


def concept_table(scores: Sequence[ConceptScore], layers: Sequence[str]) -> str:
    by = {(s.label, s.concept, s.layer): s for s in scores}
    rows = []
    for label in dict.fromkeys(s.label for s in scores):
        for concept in CONCEPTS:
            own = [by[label, concept, layer] for layer in layers]
            rows.append([label, concept, *(f"{s.score:.2f}{'*' if s.significant else ''}" for s in own)])
    return markdown(["label", "concept", *(layer.replace("_", " ") for layer in layers)], rows)


def print_concepts(scores: Sequence[ConceptScore], sets: int, layers: Sequence[str]) -> None:
    """The table of concepts under its heading."""
    hearts = f"{sets} sets of {concepts.HEARTS} hearts"
    print(f"\n### TCAV, {hearts}: * p < .01 (Bonferroni over concepts and layers)\n")
    print(concept_table(scores, layers))
    print()


def goals(
    asked: Mapping[str, Sequence[Question]],
    results: Mapping[str, dict[str, Figures]],
    scores: Sequence[ConceptScore],
) -> list[tuple[str, str, bool]]:
    """Each goal of the issue: what it asks, what was found, whether it is met."""
    found = []
    both = {n: {c: results["V"][n].get(c, []) + results["S"][n].get(c, []) for c in (*COLUMNS, *COSTS)}
            for n in measures.NAMES}  # fmt: skip
    for label in ("V", "S"):
        share = mean(results[label], DEFAULT, "pointing")
        found.append((f"pointing game on {label} at least .95", f"{share:.3f}", share >= 0.95))
    found += measures.deletion_goals(asked, results)
    correlation = abs(mean(both, DEFAULT, "random"))
    found.append(("correlation after weight randomization under .1", f"{correlation:.3f}", correlation < 0.1))
    cheap = [n for n in measures.NAMES if max(mean(both, n, "forward"), mean(both, n, "backward")) <= PASSES]
    for column, by in measures.REMOVALS.items():
        area = {n: mean(both, n, column) for n in cheap}
        first = min(area, key=area.__getitem__)
        said = f"{first} {area[first]:.3f}, {DEFAULT} {area[DEFAULT]:.3f}"
        goal = f"the default has the least area, by {by}, of those with {PASSES} passes"
        found.append((goal, said, first == DEFAULT))
    return found + concept_goals(scores)


def concept_goals(scores: Sequence[ConceptScore]) -> list[tuple[str, str, bool]]:
    """The goals that concepts have."""
    found = []
    for label, concept in concepts.EXPECTED:
        score = concepts.best(scores, label, concept)
        said = (
            "nowhere above chance"
            if score is None
            else f"{score.score:.2f} in {score.layer}, p = {score.p:.1g}"
        )
        found.append(
            (f"{concept} counts for {label}, p < .01", said, score is not None and score.significant)
        )
    return found


def told(verdict: Sequence[tuple[str, str, bool]]) -> list[list[str]]:
    """Goals as rows of a table."""
    return [[a, b, "yes" if met else "no"] for a, b, met in verdict]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path)
    parser.add_argument("--bundle", default="small")
    parser.add_argument("--beats", type=int, default=30, help="of each label")
    parser.add_argument("--dear", type=int, default=4, help="of them, on which dear methods are measured")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--draws", type=int, default=16, help="sets of TCAV, each of other hearts")
    parser.add_argument("--concepts-only", action="store_true", help="TCAV alone; --out gets nothing")
    parser.add_argument("--quick", action="store_true", help="8 beats of each label, 2 of them closely")
    parser.add_argument("--out", type=Path, help="folder for explain.json")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    beats, dear = (8, 2) if args.quick else (args.beats, args.dear)
    torch.set_num_threads(1)
    begun = time.perf_counter(), time.process_time()
    bundle = Bundle.open(args.bundle)
    network = load_network(bundle).requires_grad_(False)
    records, source = recordings(args.data, args.seed)
    asked = {n: questions(bundle, network, records[n], n, beats, args.seed) for n in ("V", "S", AFIB)}
    if args.concepts_only:
        scores = concepts.concept_scores(bundle, network, asked, args.seed, args.draws)
        print_concepts(scores, args.draws, layer_names(network))
        print(markdown(["goal", "found", "met"], told(concept_goals(scores))))
        return
    results: dict[str, dict[str, Figures]] = {}
    for label, of_label in asked.items():
        results[label] = measures.measured(of_label, dear)
        patients = len({q.trace.record.name for q in of_label})
        print(f"\n### {label}: {len(of_label)} beats of {patients} recordings, {source}\n", flush=True)
        print(method_table(results[label]), flush=True)
    closely = [q for label in ("V", "S") for q in asked[label][:dear]]
    layers = measures.cascade(closely)
    print("\n### Layers randomized from the top: rank correlation of the default method with itself\n")
    print(markdown(list(layers), [[f"{value:.3f}" for value in layers.values()]]), flush=True)
    judged = {} if args.quick or not importlib.util.find_spec("quantus") else by_quantus(closely)
    scores = concepts.concept_scores(bundle, network, asked, args.seed, args.draws)
    print_concepts(scores, args.draws, layer_names(network))
    verdict = goals(asked, results, scores)
    print("\n### Goals\n")
    print(markdown(["goal", "found", "met"], told(verdict)))
    wall, cpu = time.perf_counter() - begun[0], time.process_time() - begun[1]
    print(f"\nbundle {bundle.name} {bundle.digest[:12]}; {cpu:.0f} s of one core, {wall:.0f} s on the clock")
    if args.out is not None:
        report = {
            "bundle": bundle.digest,
            "source": source,
            "figures": results,
            "cascade": layers,
            "quantus": judged,
            "concepts": [{**vars(s), "significant": s.significant} for s in scores],
            "goals": verdict,
            "cpu_seconds": cpu,
        }
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "explain.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def by_quantus(closely: list[Any]) -> dict[str, Any]:
    """What Quantus says of these beats, printed too."""
    judged = measures.by_quantus(closely, QUANTUS)
    print(f"\n### Quantus, {len(closely)} beats\n")
    rows = [[name, *(f"{value:.3f}" for value in row.values())] for name, row in judged.items()]
    print(markdown(["method", *next(iter(judged.values()))], rows), flush=True)
    return judged


if __name__ == "__main__":
    main()
