"""Compares positional encodings: tiny networks that differ in nothing else, on patients whom they never saw.

Run it as ``EDGEECG_DATA=DIR python docs/images/positions.py``: mitdb DS1 without fold 4 of 5 trains, fold 4
is asked. Without recordings synthetic patients do both. It draws docs/images/theory-positions.png, prints a
table and takes about five minutes of one core. All networks see the same batches.
"""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from edgeecg.data.catalog import data_root
from edgeecg.data.dataset import Windows
from edgeecg.data.prepare import load_training_data
from edgeecg.errors import ConfigError
from edgeecg.model.config import DataSettings, OptimSettings, TrainConfig
from edgeecg.model.losses import Objective
from edgeecg.model.train import build_network, learning_rate, to_tensors
from edgeecg.specs import Positions

HERE = Path(__file__).parent
KINDS = get_args(Positions)
SEEDS, STEPS, BATCH, EVERY = 2, 250, 8, 25
ASKED = 6  # batches of held-out windows
SHOWN = ("beat", "offset", "shape", "beat_class", "total")
COLOURS = {"rotary": "#b3202a", "none": "#8a97a5", "sinusoidal": "#3b76af", "learned": "#1c2530"}

Batch = dict[str, Tensor]


def settings() -> TrainConfig:
    """A small network's run on what is there."""
    try:
        source = {"mitdb": 1.0} if (data_root() / "mitdb").is_dir() else {"synthetic": 1.0}
    except ConfigError:
        source = {"synthetic": 1.0}
    data = DataSettings(sets=source, folds=5, fold=4)
    return TrainConfig(preset="micro", data=data, optim=OptimSettings(steps=STEPS, batch=BATCH))


def windows(config: TrainConfig) -> tuple[Windows, Windows, Windows]:
    """Training windows, and held-out ones as long and twice as long, undisturbed."""
    data = load_training_data(config.data, config.seed)
    spec, calm = (
        build_network(config).spec,
        replace(config.augment, noise=0.0, gain=1.0, invert=0.0, warp=0.0),
    )
    own = {
        "noise": data.noise,
        "spec": spec,
        "signal": config.signal,
        "share": config.data.sets,
        "batch": BATCH,
    }
    train = Windows(records=data.training, augment=config.augment, **own)
    asked = Windows(records=data.validation, augment=replace(calm, drop=0.0, extra=0.0), seed=1, **own)
    return train, asked, replace(asked, seconds=120)


@torch.no_grad()
def scored(objective: Objective, batches: list[Batch]) -> dict[str, float]:
    """Mean held-out losses."""
    parts = [objective(batch) for batch in batches]
    return {name: float(np.mean([float(part[name]) for part in parts])) for name in SHOWN}


def main() -> None:
    torch.set_num_threads(1)
    config, begun = settings(), time.process_time()
    train, asked, longer = windows(config)
    held, far = ([to_tensors(w(step)) for step in range(ASKED)] for w in (asked, longer))
    networks = {
        (kind, seed): Objective(build_network(replace(config, positions=kind, seed=seed)), config.loss)
        for kind in KINDS
        for seed in range(SEEDS)
    }
    optimizers = {
        key: torch.optim.AdamW(o.parameters(), lr=config.optim.rate, weight_decay=config.optim.decay)
        for key, o in networks.items()
    }
    curves: dict[tuple[str, int], list[float]] = defaultdict(list)
    for step in range(STEPS):
        batch = to_tensors(train(step))
        for key, objective in networks.items():
            optimizers[key].param_groups[0]["lr"] = learning_rate(step, config)
            loss = objective(batch)["total"]
            optimizers[key].zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(objective.parameters(), config.optim.clip)
            optimizers[key].step()
            if (step + 1) % EVERY == 0:
                curves[key].append(scored(objective, held[:2])["total"])
    source = "mitdb DS1, fold 4 of 5 held out" if "mitdb" in config.data.sets else "synthetic patients"
    print(
        f"{source}; {config.preset}, {STEPS} steps of {BATCH} windows; mean and spread over {SEEDS} seeds\n"
    )
    print("| positions | windows | " + " | ".join(name.replace("_", " ") for name in SHOWN) + " |")
    print("| --- | --- |" + " ---: |" * len(SHOWN))
    for kind in KINDS:
        for name, batches in (("60 s", held), ("120 s", far)):
            rows = [scored(networks[kind, seed], batches) for seed in range(SEEDS)]
            cells = [
                f"{np.mean([r[c] for r in rows]):.3f} ± {np.std([r[c] for r in rows]):.3f}" for c in SHOWN
            ]
            print(f"| {kind} | {name} | " + " | ".join(cells) + " |")
    draw(curves, source)
    print(f"\n{time.process_time() - begun:.0f} s of one core")


def draw(curves: dict[tuple[str, int], list[float]], source: str) -> None:
    """Held-out loss as training goes on."""
    shown = Figure(figsize=(6, 3), dpi=100, layout="constrained", facecolor="white")
    ax = shown.subplots()
    for kind in KINDS:
        rows = np.array([curves[kind, seed] for seed in range(SEEDS)])
        at = EVERY * np.arange(1, rows.shape[1] + 1)
        ax.plot(at, rows.mean(axis=0), color=COLOURS[kind], lw=1.4, label=kind)
        ax.fill_between(at, rows.min(axis=0), rows.max(axis=0), color=COLOURS[kind], alpha=0.12, lw=0)
    ax.set_xlabel("training step", fontsize=8)
    ax.set_ylabel("loss on held-out patients", fontsize=8)
    ax.set_yscale("log")
    ax.set_title(f"Positions compared ({source})", loc="left", fontsize=9)
    ax.tick_params(labelsize=8)
    ax.legend(fontsize=8, frameon=False)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    shown.savefig(HERE / "theory-positions.png")


if __name__ == "__main__":
    main()
