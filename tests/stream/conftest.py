from __future__ import annotations

from tests.contract.engines import nano, small

__all__ = ["nano", "small"]
