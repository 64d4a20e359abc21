"""From sample numbers to wall-clock time, by a stated rule.

Arrival times are late by a varying delay, never early; sample clocks drift by up to hundreds of parts in
a million. So, for each minute of signal, the observation with the *smallest* delay is kept as an anchor.
Between anchors time is linear; before the first and after the last it runs at the rate that the last ten
anchors show (within 1 % of the declared rate), or at the declared rate while there are fewer than two.
The newest minute's anchor may still move to an earlier time as better observations come in. A wall clock that
leaps ahead by hours is a new anchor at once, and one just before it keeps what was known.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime, timezone
from itertools import pairwise

from edgeecg.errors import StateError

__all__ = ["CALENDAR", "WallClock", "iso_time"]

CALENDAR = (-62135596800.0, 253402300799.0)
"""Unix seconds that a calendar holds: the years 1 to 9999."""

MINUTE = 60.0  # seconds of signal an anchor stands for
KEPT = 1440  # anchors: a day
RECENT = 10  # anchors that tell the present rate
STEP = 6 * 3600.0
"""Seconds that no delay lasts: the wall clock was set, or nobody knows how long nothing came."""
SLACK = 0.01  # a rate further off is a step of the wall clock, not drift


def iso_time(time: float | None) -> str | None:
    """Unix seconds as ISO 8601 in UTC, to the millisecond; ``None`` for a time that no calendar holds."""
    if time is None or not CALENDAR[0] <= time < CALENDAR[1]:
        return None
    stamp = datetime.fromtimestamp(time, timezone.utc).isoformat(timespec="milliseconds")
    return stamp.replace("+00:00", "Z")


class WallClock:
    """Time of day of the samples of one stream.

    Parameters
    ----------
    fs : float
        Declared rate, hertz.
    """

    def __init__(self, fs: float) -> None:
        self.fs = fs
        self._anchors: list[tuple[int, float]] = []

    def observe(self, sample: int, time: float) -> None:
        """Learn that ``sample`` was here at ``time`` (Unix seconds) at the latest."""
        minute = int(sample / self.fs // MINUTE)
        last = self._anchors[-1] if self._anchors else None
        newest = -1 if last is None else int(last[0] / self.fs // MINUTE)
        if last is not None and sample > last[0] + 1 and self._delay(sample, time, last) > STEP:
            before = last[1] + (sample - 1 - last[0]) / self.rate
            self._anchors.append((sample - 1, before))  # what lies before the step keeps its time
            newest = -1
        if minute > newest:
            self._anchors.append((sample, time))
            del self._anchors[:-KEPT]
        elif last is not None and minute == newest and self._delay(sample, time, last) < 0:
            self._anchors[-1] = (sample, time)

    def _delay(self, sample: int, time: float, anchor: tuple[int, float]) -> float:
        """By how much a sample came later than an anchor has it."""
        return time - anchor[1] - (sample - anchor[0]) / self.fs

    def time(self, sample: int) -> float | None:
        """Wall-clock time of a sample, Unix seconds; ``None`` before anything was observed."""
        if not self._anchors:
            return None
        after = bisect_right(self._anchors, sample, key=lambda anchor: anchor[0])
        if 0 < after < len(self._anchors):
            (s0, t0), (s1, t1) = self._anchors[after - 1 : after + 1]
            return t0 + (sample - s0) * (t1 - t0) / (s1 - s0)
        place, time = self._anchors[0 if after == 0 else -1]
        return time + (sample - place) / self.rate

    @property
    def rate(self) -> float:
        """Samples a second of wall-clock time at present."""
        (s0, t0), (s1, t1) = self._anchors[-RECENT:][0], self._anchors[-1]
        if s1 - s0 < MINUTE * self.fs or t1 <= t0:
            return self.fs
        rate = (s1 - s0) / (t1 - t0)
        return rate if abs(rate / self.fs - 1) <= SLACK else self.fs

    def snapshot(self) -> list[tuple[int, float]]:
        """The anchors, to be saved with a stream."""
        return list(self._anchors)

    def restore(self, anchors: Sequence[tuple[int, float]]) -> None:
        """Go on with saved anchors.

        Raises
        ------
        StateError
            If they do not ascend, or are no times of a calendar.
        """
        fresh = [(int(sample), float(time)) for sample, time in anchors]
        if any(b[0] <= a[0] for a, b in pairwise(fresh)):
            raise StateError("saved clock anchors do not ascend: the snapshot is damaged")
        if not all(sample >= 0 and CALENDAR[0] <= time <= CALENDAR[1] for sample, time in fresh):
            raise StateError("saved clock anchors are no times: the snapshot is damaged")
        self._anchors = fresh
