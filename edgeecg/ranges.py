"""What a TOML file may give: `msgspec` refuses the rest and names its place."""

from __future__ import annotations

import re
from typing import Annotated, Literal, get_args, get_origin, get_type_hints

from msgspec import Meta

__all__ = [
    "LARGEST_SEED",
    "AtLeastOne",
    "Count",
    "Few",
    "NotNegative",
    "Positive",
    "Seed",
    "Share",
    "choices",
]

LARGEST_SEED = 2**32 - 1
"""What every generator of random numbers takes."""

AtLeastOne = Annotated[int, Meta(ge=1)]
Count = Annotated[int, Meta(ge=0)]
Few = Annotated[int, Meta(ge=1, le=256)]
NotNegative = Annotated[float, Meta(ge=0, le=1e9)]
Positive = Annotated[float, Meta(gt=0, le=1e9)]
Seed = Annotated[int, Meta(ge=0, le=LARGEST_SEED)]
Share = Annotated[float, Meta(ge=0, le=1)]


def choices(told: str, settings: type) -> str:
    """The words that the key may be at which an error of msgspec ends, where they are few; else nothing."""
    found = re.search(r"Invalid enum value .* at `\$\.(\w+)`", told)
    hint = get_type_hints(settings).get(found[1]) if found else None
    literal = next((kind for kind in (hint, *get_args(hint)) if get_origin(kind) is Literal), None)
    return f": choose {', '.join(get_args(literal))}" if literal is not None else ""
