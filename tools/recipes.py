"""The recipes of a release: `tools/release/PRESET.toml` of the first stage, and those of the later ones."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from edgeecg.errors import ConfigError
from edgeecg.io.atomic import atomic_path
from edgeecg.model.config import TrainConfig, read_config

RECIPES = Path(__file__).parent / "release"
LATER = {
    "second": "refine.toml",
    "third": "lasting.toml",
    "fourth": "rhythms.toml",
    "refined": "devices.toml",
}
"""Stages behind the first: folder of what comes out, and recipe. The last is called *refined*: in networks
that are kept of four stages that is the fourth, as their facts say."""
SHARE = {
    "nano": {"second": 1.0, "third": 0.5, "fourth": 0.35, "refined": 0.0},
    "micro": {"second": 1.0, "third": 0.5, "fourth": 0.7, "refined": 1.0},
    "small": {"second": 1.0, "third": 0.5, "fourth": 0.7, "refined": 1.0},
    "base": {"second": 1.0, "third": 0.5, "fourth": 0.7, "refined": 1.0},
}
"""How far the weights go in each later stage, from those before it to where training ends. All of the fourth
cost held-out patients of a `nano` seven points of S, and the fifth nearly half of its alarms in made
fibrillation (docs/models/decisions.md): it is shipped as the fourth left it."""

POINTS = {
    "nano": {"bias": {"S": -0.3, "P": -1.0}, "noise": 0.0},
    "micro": {"bias": {"S": -0.3, "P": -1.0}, "noise": 0.6},
    "small": {"bias": {"S": -0.15, "P": -1.0}, "noise": 0.6},
    "base": {"bias": {"S": -0.3, "P": -1.0}, "noise": 0.6},
}
"""Operating points of the packaged bundles (docs/models/decisions.md). The *bias* is added to the logits: the
fourth stage shows more S than hearts have. All of it cost held-out patients of a `small` S, so that it has
half. Four patients with a pacemaker are all that taught P, and a left bundle branch block looks like theirs.
*noise* is what a beat must hold more in noise: of a made fibrillation `nano` would hear too few waves to call
it fast, and too many to call it silence."""


def int8_recipe(preset: str) -> list[str | Path]:
    """The option of ``edgeecg calibrate`` with what stays out of INT8, where a preset has such a file."""
    recipe = RECIPES / f"{preset}-int8.toml"
    return ["--recipe", recipe] if recipe.exists() else []


def recipes(
    presets: Sequence[str], data: Path, seed: int, steps: int | None = None
) -> dict[str, TrainConfig]:
    """The configurations of the first stage; refused where one does not fit on the others' batches."""
    configs = {name: read_config(RECIPES / f"{name}.toml") for name in presets}
    first = next(iter(configs.values()))
    for name, config in configs.items():
        optim = replace(
            config.optim, rate=first.optim.rate, decay=first.optim.decay, dropout=first.optim.dropout
        )
        if replace(config, preset=first.preset, optim=optim, loss=first.loss) != first:
            raise ConfigError(f"{name}.toml may differ in preset, rate, decay, dropout and loss only")
    return {
        name: shortened(replace(config, seed=seed, data=replace(config.data, root=str(data))), steps)
        for name, config in configs.items()
    }


def later(stage: str, recipe: TrainConfig) -> TrainConfig:
    """The configuration of a stage of ``LATER``, on the data of the first."""
    name = LATER[stage]
    config = read_config(RECIPES / name)
    config = replace(
        shortened(config, recipe.optim.steps),
        preset=recipe.preset,
        seed=recipe.seed,
        data=replace(config.data, root=recipe.data.root),
    )
    if (config.data, config.signal) != (recipe.data, recipe.signal):
        raise ConfigError(f"{name} must have the [data] and [signal] of the presets")
    return config


def shortened(config: TrainConfig, steps: int | None) -> TrainConfig:
    """The same with so many steps at most."""
    if steps is None:
        return config
    if steps < 1:
        raise ConfigError(f"--steps {steps}: a rehearsal has at least one")
    return replace(config, optim=replace(config.optim, steps=min(steps, config.optim.steps)))


def recipe_of(config: TrainConfig) -> str:
    """What all stages of a network are made by, wherever the data lie, as a digest."""
    first = replace(config, data=replace(config.data, root="")).to_dict()
    total = hashlib.sha256(json.dumps(first, sort_keys=True, default=str).encode())
    for stage, name in LATER.items():
        total.update((RECIPES / name).read_bytes() + str(SHARE[config.preset][stage]).encode())
    total.update(str(POINTS[config.preset]).encode())
    return total.hexdigest()[:12]


def same_release(path: Path, facts: Mapping[str, int | str]) -> None:
    """Refuse to go on with networks that were made otherwise; the first run writes down how."""
    if path.is_file():
        try:
            before = dict(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise ConfigError(f"{path} cannot be read: delete it, or name another --work") from error
        if before != facts:
            told = ", ".join(f"{n} {before.get(n)}" for n in facts if before.get(n) != facts[n])
            raise ConfigError(f"the networks of {path.parent} were made with {told}: name another --work")
        return
    with atomic_path(path) as partial:
        partial.write_text(json.dumps(facts), encoding="utf-8")
