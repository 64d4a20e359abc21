"""Whom a network knows: the recordings that its training was shown, and that of the weights it began from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from edgeecg.data.development import is_development
from edgeecg.data.sets import SETS

__all__ = ["PARENT", "trainings", "was_left_out", "was_shown"]

PARENT = "parent"
"""Key of the facts about the training of the weights that were fine-tuned."""


def trainings(training: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A training's facts, and those of each that it began from, the newest first."""
    known: Any = training
    while isinstance(known, Mapping) and known:
        yield known
        known = known.get(PARENT)


def was_shown(home: str, name: str, training: Mapping[str, Any]) -> bool:
    """Whether a training, or one that it began from, has seen a record: not what it leaves for judging.

    Parameters
    ----------
    home, name : str
        The record's set, or the folder that holds it, and its name there.
    training : mapping
        Facts as a checkpoint keeps them: ``sets``, ``validation``, ``parent``.
    """
    if home in SETS and not is_development(home, name):
        return False
    return any(
        home in facts.get("sets", ()) and f"{home}/{name}" not in facts.get("validation", ())
        for facts in trainings(training)
    )


def was_left_out(home: str, name: str, training: Mapping[str, Any]) -> bool:
    """Whether a training left a record out for validation, and none that it began from has seen it."""
    left = any(f"{home}/{name}" in facts.get("validation", ()) for facts in trainings(training))
    return left and not was_shown(home, name, training)
