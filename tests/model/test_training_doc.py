"""docs/training.md names every key of the configuration."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from pathlib import Path

from edgeecg.model.config import TrainConfig


def keys(settings: object, prefix: str = "") -> list[str]:
    names = []
    for entry in fields(settings):  # type: ignore[arg-type]
        value = getattr(settings, entry.name)
        names += keys(value, f"{prefix}{entry.name}.") if is_dataclass(value) else [prefix + entry.name]
    return names


def test_every_key_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
    missing = [
        key for key in keys(TrainConfig()) if f"`{key}`" not in text and f"`{key.split('.')[-1]}`" not in text
    ]
    assert missing == []
