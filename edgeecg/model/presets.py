"""The four sizes; each counts the parameters of *both* graphs."""

from __future__ import annotations

from edgeecg.errors import ConfigError
from edgeecg.specs import ModelSpec, StackSpec

__all__ = ["LIMITS", "PRESETS", "preset"]

LIMITS = {"nano": 6_000, "micro": 30_000, "small": 100_000, "base": 250_000}
"""Most parameters that a preset may have."""

PRESETS = {
    "nano": ModelSpec(
        token=StackSpec(dim=16, layers=1, heads=1, ffn=32, left=48, right=8),
        beat=StackSpec(dim=16, layers=1, heads=1, ffn=16, left=32, right=0),
        stem=(4, 8),
    ),
    "micro": ModelSpec(
        token=StackSpec(dim=32, layers=2, heads=2, ffn=64, left=32, right=4),
        beat=StackSpec(dim=16, layers=2, heads=1, ffn=32, left=32, right=0),
        stem=(8, 16),
    ),
    "small": ModelSpec(
        token=StackSpec(dim=48, layers=4, heads=3, ffn=64, left=24, right=2),
        beat=StackSpec(dim=32, layers=2, heads=2, ffn=64, left=32, right=0),
        stem=(16, 32),
    ),
    "base": ModelSpec(
        token=StackSpec(dim=80, layers=4, heads=5, ffn=128, left=24, right=2),
        beat=StackSpec(dim=48, layers=2, heads=3, ffn=80, left=32, right=0),
        stem=(16, 32),
    ),
}


def preset(name: str) -> ModelSpec:
    """Sizes by name; raises ``ConfigError`` that lists the names."""
    if name not in PRESETS:
        raise ConfigError(f"no preset {name!r}: choose one of {', '.join(PRESETS)}")
    return PRESETS[name]
