"""Draws docs/images/pareto.png: size against accuracy on patients held out, from docs/models/PRESET.json.

Run it as ``python docs/images/pareto.py``.
"""

from __future__ import annotations

import json
from pathlib import Path

from matplotlib.figure import Figure

from edgeecg.bundle import Bundle, packaged_names
from edgeecg.model.checkpoint import network_from_weights

MODELS = Path(__file__).parents[1] / "models"
SETS = ("mitdb DS1", "svdb")


def main() -> None:
    figure = Figure(figsize=(7.2, 3.2), layout="constrained")
    panels = dict(zip(("V", "S"), figure.subplots(1, 2, sharey=True), strict=True))
    for shift, title in zip((0.97, 1.03), SETS, strict=True):
        for label, axes in panels.items():
            sizes, values, below, above = [], [], [], []
            for name in packaged_names():
                if not (source := MODELS / f"{name}.json").exists():
                    continue  # base has no folds
                bundle = Bundle.open(name)
                group = next(g for g in json.loads(source.read_text())["groups"] if g["title"] == title)
                table = next(b for b in group["beats"] if b["mapping"] == "dechazal")
                f1 = table["classes"][label]["f1"]
                sizes.append(shift * network_from_weights(bundle.spec, bundle.weights()).parameter_count)
                values.append(100 * f1["value"])
                below.append(100 * (f1["value"] - f1["low"]))
                above.append(100 * (f1["high"] - f1["value"]))
            axes.errorbar(sizes, values, yerr=(below, above), fmt="o", capsize=3, label=title)
    for label, axes in panels.items():
        axes.set(xscale="log", xlabel="parameters of both graphs", title=f"{label}, F1 %, 95 % over patients")
        axes.grid(alpha=0.3)
    panels["V"].legend(frameon=False, loc="lower right")
    figure.savefig(Path(__file__).with_suffix(".png"), dpi=120)


if __name__ == "__main__":
    main()
