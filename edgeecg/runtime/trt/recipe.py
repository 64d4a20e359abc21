"""What an engine is built for: a profile per batch bucket and one for everything else.

Each bucket is built for exactly one shape (its rows, one step), which is what CUDA graphs need and lets
TensorRT choose kernels for it. The last profile takes any length up to the longest, for whole recordings.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from edgeecg.errors import BackendError
from edgeecg.runtime.executor import TensorSpec
from edgeecg.specs import ModelSpec

__all__ = ["BUCKETS", "Extent", "Recipe", "beat_recipe", "token_recipe"]

BUCKETS = (1, 2, 4, 8, 16, 32, 64)
"""Rows of the profiles that steps run in."""

SETTINGS = 2
"""Changes whenever the builder is asked otherwise for the same recipe: plans built before are built again."""

OPEN_ROWS = 8
"""Most rows of the profile that takes any length."""


@dataclass(frozen=True)
class Extent:
    """Length of an input's second dimension: least, that of a step, greatest."""

    shortest: int
    step: int
    longest: int


@dataclass(frozen=True)
class Recipe:
    """What an engine is built for.

    Parameters
    ----------
    extents : mapping of input name to Extent
        Inputs whose second dimension is dynamic; the first is always rows.
    buckets : tuple of int
        Rows of the exact profiles, ascending.
    workspace : int
        Most device memory that a kernel may use while it runs, bytes.
    effort : int
        TensorRT's builder optimization level, 0 to 5.
    dla : int, optional
        DLA core; what it cannot run falls back to the GPU and is listed in ``Plan.fallback``.
    """

    extents: Mapping[str, Extent]
    buckets: tuple[int, ...] = BUCKETS
    workspace: int = 256 << 20
    effort: int = 3
    dla: int | None = None

    def __post_init__(self) -> None:
        if not self.buckets or list(self.buckets) != sorted(set(self.buckets)) or self.buckets[0] < 1:
            raise BackendError(
                f"batch buckets {self.buckets}: give numbers of rows in ascending order, e.g. 1,4,16"
            )

    @property
    def key(self) -> str:
        """Digest of all that shapes the plan."""
        shape = (sorted(self.extents.items()), self.buckets, self.workspace, self.effort, self.dla)
        text = repr((SETTINGS, *shape))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def rows(self, index: int) -> int:
        """Most rows of a profile; the one after the buckets takes any length."""
        return self.buckets[index] if index < len(self.buckets) else OPEN_ROWS

    def shapes(
        self, spec: TensorSpec, index: int
    ) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """Least, likeliest and greatest shape of an input in profile ``index``."""
        exact = index < len(self.buckets)
        extent = self.extents.get(spec.name)
        kinds: tuple[Literal["least", "likely", "most"], ...] = ("least", "likely", "most")
        shapes = []
        for kind in kinds:
            rows = self.rows(index) if exact or kind == "most" else 1
            lengths = (
                {}
                if extent is None
                else {
                    "least": extent.step if exact else extent.shortest,
                    "likely": extent.step if exact else max(extent.step, extent.longest // 2),
                    "most": extent.step if exact else extent.longest,
                }
            )
            shapes.append((rows, *(s if isinstance(s, int) else lengths[kind] for s in spec.shape[1:])))
        return shapes[0], shapes[1], shapes[2]


def token_recipe(spec: ModelSpec, hop_tokens: int = 8, buckets: tuple[int, ...] = BUCKETS) -> Recipe:
    """Recipe of a token graph: steps of one hop, and whole stretches up to 512 tokens."""
    patch = spec.patch
    return Recipe({"signal": Extent(patch, patch * hop_tokens, patch * 512)}, buckets)


def beat_recipe(buckets: tuple[int, ...] = BUCKETS) -> Recipe:
    """Recipe of a beat graph: steps of one beat, and up to 64 beats at once."""
    return Recipe({"beats": Extent(1, 1, 64)}, buckets)
