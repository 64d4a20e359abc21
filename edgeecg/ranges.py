"""Numbers that a TOML file may give: `msgspec` refuses the others and names their place."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

__all__ = ["LARGEST_SEED", "AtLeastOne", "Count", "Few", "NotNegative", "Positive", "Seed", "Share"]

LARGEST_SEED = 2**32 - 1
"""What every generator of random numbers takes."""

AtLeastOne = Annotated[int, Meta(ge=1)]
Count = Annotated[int, Meta(ge=0)]
Few = Annotated[int, Meta(ge=1, le=256)]
NotNegative = Annotated[float, Meta(ge=0, le=1e9)]
Positive = Annotated[float, Meta(gt=0, le=1e9)]
Seed = Annotated[int, Meta(ge=0, le=LARGEST_SEED)]
Share = Annotated[float, Meta(ge=0, le=1)]
