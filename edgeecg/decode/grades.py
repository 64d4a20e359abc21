"""Stretches in which a signal, or one lead of several, is not good: told as they begin and as they end."""

from __future__ import annotations

from typing import Union

from edgeecg.specs import Quality

__all__ = ["GOOD", "Stretch", "ended", "regraded"]

GOOD = "good"
"""The label of which nothing is told."""

Stretch = tuple[int, str]
"""Where it began, a source sample, and its label."""


def regraded(
    start: int, label: str, before: Union[Stretch, None], lead: Union[int, None] = None
) -> tuple[list[Quality], Union[Stretch, None]]:
    """From sample ``start`` on the signal has this label; gives what that tells, and the stretch now open."""
    if label == (before[1] if before else GOOD):
        return [], before
    events = ended(start, before, lead)
    if label == GOOD:
        return events, None
    return [*events, Quality(start, None, label, lead)], (start, label)


def ended(stop: int, before: Union[Stretch, None], lead: Union[int, None] = None) -> list[Quality]:
    """The signal, or the lead, ends at sample ``stop``."""
    return [] if before is None else [Quality(before[0], stop, before[1], lead)]
