"""``--point``: the operating points of a bundle, set one by one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from edgeecg.errors import BundleError, ConfigError

if TYPE_CHECKING:
    from edgeecg.bundle import Thresholds

__all__ = ["PointOption", "with_points"]

PointOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=NUMBER",
        help="An operating point in the place of what it was: `beat`, `noise`, `afib`, `bias.CLASS`, "
        "`rhythm.NAME`. May repeat.",
    ),
]

PLAIN = ("beat", "noise", "afib")
GROUPS = ("bias", "rhythm")


def with_points(thresholds: Thresholds, said: Sequence[str]) -> Thresholds:
    """Operating points with those that were said in the place of what they were.

    Parameters
    ----------
    thresholds : Thresholds
    said : sequence of str
        ``NAME=NUMBER``: ``beat``, ``noise``, ``afib``, ``bias.CLASS`` or ``rhythm.NAME``.

    Raises
    ------
    ConfigError
        One is something else, or out of range.
    """
    from edgeecg.bundle import Thresholds
    from edgeecg.pipeline.decoder_state import rhythm_of

    points: dict[str, Any] = asdict(thresholds)
    for text in said:
        name, _, number = text.partition("=")
        group, _, member = name.partition(".")
        if not (name in PLAIN or (group in GROUPS and member)) or not math.isfinite(value := _number(number)):
            raise ConfigError(
                f"--point {text}: write NAME=NUMBER, of {', '.join(PLAIN)}, bias.CLASS and rhythm.NAME, as "
                "noise=0 or bias.S=-0.3"
            )
        if member:
            points[group] = {**points[group], member: value}
        else:
            points[name] = value
    try:
        changed = msgspec.convert(points, Thresholds)
        rhythm_of(changed)
    except (msgspec.ValidationError, BundleError, ConfigError) as error:
        raise ConfigError(f"--point: {error}") from error
    return changed


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
