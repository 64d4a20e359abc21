"""How an engine runs, and how a batch is cut into what its profiles take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["WAITS", "Settings", "StageTimes", "Wait", "choose_slices"]

Wait = Literal["spin", "block"]
WAITS: tuple[Wait, ...] = ("spin", "block")


@dataclass(frozen=True)
class Settings:
    """How an engine runs.

    Parameters
    ----------
    graphs : bool
        Launch steps as CUDA graphs where the CUDA library can capture them.
    transfer : str
        ``copy``, ``mapped``, or ``measure``: on integrated GPUs time both and keep the faster one.
    wait : str
        ``spin`` (lowest latency, one core busy) or ``block`` (the thread sleeps).
    """

    graphs: bool = True
    transfer: Literal["copy", "mapped", "measure"] = "measure"
    wait: Wait = "spin"


@dataclass(frozen=True)
class StageTimes:
    """Milliseconds of one call: the host's time to queue it, and the device's of its three parts."""

    enqueue: float
    copy_in: float
    compute: float
    copy_out: float


def choose_slices(
    rows: int, exact: bool, buckets: tuple[int, ...], open_rows: int
) -> list[tuple[int, int, int]]:
    """Cut a batch into what the profiles take: profile, first row, number of rows.

    The greatest bucket as often as it fills, then the least one that takes the rest; a length that is
    not a step's goes to the open profile, whose index is ``len(buckets)``.
    """
    slices, start = [], 0
    while start < rows:
        left = rows - start
        if not exact:
            count = min(left, open_rows)
            slices.append((len(buckets), start, count))
        else:
            count = min(left, buckets[-1])
            profile = next(i for i, size in enumerate(buckets) if size >= count)
            slices.append((profile, start, count))
        start += count
    return slices
