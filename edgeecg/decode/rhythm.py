"""P(AFIB) of each beat to episodes of atrial fibrillation.

The beat encoder looks at some thirty beats, so its probability is slow already; what is left to do is
to keep one odd beat from cutting an episode in two or from making one up. An episode

* *may begin* with the first beat at which the smoothed probability is at ``leave`` or above,
* *has begun* (and is told, with that beat as its start) at the first beat, the ``beats``-th from there
  or a later one, at which the smoothed probability is at ``enter`` or above,
* *has ended* once the smoothed probability is below ``leave``; its end is the first beat after the
  smoothed probability was last at ``enter`` or above.

It also ends, one sample behind its last beat, with the stream, or where none comes for longer than
``hold_seconds``: without beats there is no rhythm. Only atrial fibrillation is told: no open episode means
any other rhythm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from edgeecg.errors import ConfigError
from edgeecg.specs import Rhythm

__all__ = ["RhythmDecoder", "RhythmSettings", "RhythmState"]

LABEL = "AFIB"


@dataclass(frozen=True)
class RhythmSettings:
    """Thresholds of the rhythm decoder.

    Parameters
    ----------
    smoothing : float
        Time constant of the exponential mean over P(AFIB), beats.
    enter, leave : float
        Hysteresis on the smoothed probability.
    beats : int
        Beats that an episode must hold before it is told.
    hold_seconds : float
        Longest gap in the samples, and longest time without a beat, that an open episode survives.
    """

    smoothing: float = 5.0
    enter: float = 0.5
    leave: float = 0.2
    beats: int = 8
    hold_seconds: float = 30.0

    def __post_init__(self) -> None:
        if not 0 < self.leave <= self.enter < 1:
            raise ConfigError(f"rhythm needs 0 < leave <= enter < 1, got {self.leave} and {self.enter}")
        if self.smoothing <= 0 or self.beats < 1 or self.hold_seconds < 0:
            raise ConfigError("rhythm needs smoothing > 0, beats >= 1 and hold_seconds >= 0")


class RhythmState(NamedTuple):
    """What the decoder remembers; plain values.

    ``total`` and ``weight``: decayed sum and count of P(AFIB). ``start``: first beat of the episode
    that is open or may begin. ``fall``: first beat since the smoothed probability left ``enter``.
    ``beats`` and ``mass``: beats since ``start`` and their summed probability. ``told``: whether the
    onset is out. ``last``: last beat seen.
    """

    total: float = 0.0
    weight: float = 0.0
    start: int | None = None
    fall: int | None = None
    beats: int = 0
    mass: float = 0.0
    told: bool = False
    last: int | None = None


@dataclass(frozen=True)
class RhythmDecoder:
    """Beats in, rhythm events out; the state is the caller's.

    Parameters
    ----------
    settings : RhythmSettings
    fs : float
        Source rate, hertz.
    """

    settings: RhythmSettings
    fs: float

    @cached_property
    def _keep(self) -> float:
        """Weight of the past per beat."""
        return math.exp(-1 / self.settings.smoothing)

    def initial(self) -> RhythmState:
        """State before the first beat."""
        return RhythmState()

    def beat(self, sample: int, probability: float, state: RhythmState) -> tuple[list[Rhythm], RhythmState]:
        """Take in the beat at source sample ``sample`` with its P(AFIB)."""
        if state.last is not None and sample - state.last > self.settings.hold_seconds * self.fs:
            ended, state = self.flush(state)
            begun, state = self.beat(sample, probability, state)
            return ended + begun, state
        total, weight = self._keep * state.total + probability, self._keep * state.weight + 1
        smoothed = total / weight
        if smoothed < self.settings.leave and state.start is None:  # as nearly always
            return [], RhythmState(total, weight, last=sample)
        state = state._replace(total=total, weight=weight, last=sample)
        if smoothed < self.settings.leave:
            return self._close(state, state.fall if state.fall is not None else sample)
        return self._hold(sample, probability, smoothed, state)

    def _hold(
        self, sample: int, probability: float, smoothed: float, state: RhythmState
    ) -> tuple[list[Rhythm], RhythmState]:
        """A beat with a smoothed probability of ``leave`` or above."""
        high = smoothed >= self.settings.enter
        state = state._replace(
            start=sample if state.start is None else state.start,
            fall=None if high else (sample if state.fall is None else state.fall),
            beats=state.beats + 1,
            mass=state.mass + probability,
        )
        if state.told or not high or state.beats < self.settings.beats or state.start is None:
            return [], state
        return [Rhythm(state.start, None, LABEL, state.mass / state.beats)], state._replace(told=True)

    def gap(self, start: int, length: int, state: RhythmState) -> tuple[list[Rhythm], RhythmState]:
        """``length`` samples from ``start`` on are missing."""
        if length <= self.settings.hold_seconds * self.fs:
            return [], state
        events, _ = self._close(state, start)
        return events, self.initial()

    def advance(self, to: int, state: RhythmState) -> tuple[list[Rhythm], RhythmState]:
        """Every beat before source sample ``to`` has been told: an episode ends that none goes on with."""
        if state.last is None or to - state.last <= self.settings.hold_seconds * self.fs:
            return [], state
        return self.flush(state)

    def flush(self, state: RhythmState) -> tuple[list[Rhythm], RhythmState]:
        """The stream ends: an open episode ends behind its last beat, which is part of it."""
        events, _ = self._close(state, state.last + 1 if state.last is not None else 0)
        return events, self.initial()

    def _close(self, state: RhythmState, end: int) -> tuple[list[Rhythm], RhythmState]:
        """End the episode, open or not yet told, at ``end``."""
        events = []
        if state.told and state.start is not None:
            events = [Rhythm(state.start, end, LABEL, state.mass / state.beats)]
        return events, RhythmState(total=state.total, weight=state.weight, last=state.last)
