"""Numbers that a TOML file may give: `msgspec` refuses the others and names their place."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

__all__ = ["AtLeastOne", "Count", "NotNegative", "Positive", "Share"]

AtLeastOne = Annotated[int, Meta(ge=1)]
Count = Annotated[int, Meta(ge=0)]
NotNegative = Annotated[float, Meta(ge=0, le=1e9)]
Positive = Annotated[float, Meta(gt=0, le=1e9)]
Share = Annotated[float, Meta(ge=0, le=1)]
