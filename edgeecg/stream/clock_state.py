"""What a time base gives and what it remembers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeecg.stream.sources.base import Packet

__all__ = ["Piece", "TimeState"]


@dataclass(frozen=True, eq=False)
class Piece:
    """Samples in their place.

    Parameters
    ----------
    start : int
        Place of the first sample in the unbroken count.
    samples : (n, leads) float64
        Millivolts.
    missing : int
        Samples that are missing just before ``start``.
    cause : str
        Why: ``lost``, ``silence``, ``restart`` or ``jump``; empty when nothing is missing.
    time : float, optional
        Wall-clock time of the first sample, where the packet had one.
    """

    start: int
    samples: NDArray[np.float64]
    missing: int = 0
    cause: str = ""
    time: float | None = None


class TimeState(NamedTuple):
    """What a time base remembers. After `TimeBase.flush` it holds no samples, only numbers.

    ``next`` is the place that is expected; ``offset`` leads from the sender's count to ours; ``anchor``
    is (place, stamp in ns) of the rate tracker and ``rate`` its samples a nanosecond; ``wall`` is the
    wall-clock time at ``next``, ``heard`` when what lies before it came; ``held`` are packets ahead of
    their turn, by place; ``stamps`` are the last stamps with their packets' lengths and checksums.
    ``dropped`` counts packets that were not used (duplicates, too late, strays), ``lost`` missing
    samples, ``restarts`` new beginnings of the device's count. ``since`` is the place at which its
    present count began, ``again`` how many samples were sent again since the last new one, ``spare`` the
    seconds by which arrivals lie behind the samples, as after a stall.
    """

    next: int = 0
    offset: int | None = None
    anchor: tuple[int, float] | None = None
    rate: float = 0.0
    wall: float | None = None
    heard: float | None = None
    held: tuple[tuple[int, Packet], ...] = ()
    suspect: tuple[int, Packet] | None = None
    stamps: tuple[tuple[int, int, int], ...] = ()
    pace: tuple[float, ...] = ()
    dropped: int = 0
    lost: int = 0
    restarts: int = 0
    since: int = 0
    again: int = 0
    spare: float = 0.0

    @property
    def waiting_end(self) -> int:
        """Place after the last sample that has come, given out or held."""
        return self.held[-1][0] + len(self.held[-1][1]) if self.held else self.next
