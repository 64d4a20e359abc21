"""Beats and the settled clock to alarms, each told at its onset (``end`` is ``None``) and at its end.

=========== ================================================================ ========================
label       begins when                                                      ends
=========== ================================================================ ========================
pause       more than ``pause_seconds`` since the last beat                  with the next beat
asystole    more than ``asystole_seconds`` of signal without a beat,         with the next beat
            and the signal has gone quiet
no-beat     the same, but the signal has not gone quiet (ventricular         with the next beat
            flutter or fibrillation, or a rhythm that is not understood),
            or no beat was ever found
bradycardia the mean rate of ``rate_beats`` intervals is below               ``rate_margin`` above it
            ``bradycardia``
tachycardia that rate is above ``tachycardia``                               ``rate_margin`` below it
couplet     exactly two V in a row; onset and end are told with the beat     with its second V
            after
v-run       three V in a row                                                 with its last V
bigeminy    ``bigeminy`` V with exactly one other beat between each two      with its last V
=========== ================================================================ ========================

``start`` is the first beat of the finding (for silence: the last beat before it, or where the signal
came back; later by what was missing since). Missing signal and a lead that is off begin no alarm, and end
those that are open; but silence and rates survive gaps of up to a second. A pause is told behind one once it
has lasted as long there (:mod:`edgeecg.decode.silence`), and the interval over it does not count in the rate.
Signal that cannot be read and is not quiet does to rates what a gap does, and ends a pause, since beats may
hide in it; that, a gap, asystole and no-beat end patterns. In a signal too faint for a QRS, and in
bradycardia where it never rests, beats do not end silence, but rates and patterns go on with them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import cached_property
from numbers import Real
from typing import Any, NamedTuple

from edgeecg.decode import patterns, rate, silence
from edgeecg.errors import ConfigError
from edgeecg.specs import Alarm

__all__ = ["AlarmFinder", "AlarmSettings", "AlarmState", "RateAlarms"]

COUNTS = ("rate_beats", "bigeminy")
MOST = 1000  # beats
HUGE = 1e300  # a whole number may be beyond what a float holds
RATE_LASTS = 10.0  # seconds without an interval that counts: a rate from before is none
FOREVER = 1e9  # seconds, thirty years: what infinity is in samples


@dataclass(frozen=True)
class AlarmSettings:
    """Thresholds of the alarms.

    Parameters
    ----------
    pause_seconds, asystole_seconds : float
        Silence that makes a pause, and one that makes asystole or no-beat; infinity for never.
    activity : float
        Asystole is quiet: its level is below this share of the level that goes with beats.
    faint : float
        Millivolts of that level below which a stretch is too faint to hold a QRS, if it is below ``activity``
        too; beats in a signal that is faint for ``pause_seconds`` do not end silence.
    bradycardia, tachycardia : float
        Limits of the running rate, beats per minute.
    rate_margin : float
        Beats per minute back inside the limits at which a rate alarm ends.
    rate_beats : int
        Intervals in the running rate of these two alarms.
    bigeminy : int
        V beats, one other beat between each two, that make bigeminy.
    """

    pause_seconds: float = 2.0
    asystole_seconds: float = 4.0
    activity: float = 0.25
    faint: float = 0.03
    bradycardia: float = 50.0
    tachycardia: float = 120.0
    rate_margin: float = 5.0
    rate_beats: int = 8
    bigeminy: int = 3

    def __post_init__(self) -> None:
        for field in fields(self):  # Python's own numbers: others would go on into snapshots, which have none
            value = getattr(self, field.name)
            if not isinstance(value, Real) or not _fits(value):
                raise ConfigError(f"alarms need numbers, {field.name} is {value!r}")
            if field.name not in COUNTS:
                object.__setattr__(self, field.name, float(value))
            elif value not in range(2, MOST + 1):
                raise ConfigError(f"alarms need {field.name} from 2 to {MOST}, whole: it is {value!r}")
            else:
                object.__setattr__(self, field.name, round(float(value)))
        if not 0 < self.pause_seconds <= self.asystole_seconds:
            raise ConfigError("alarms need 0 < pause_seconds <= asystole_seconds")
        if not 0 < self.bradycardia + 2 * self.rate_margin <= self.tachycardia or self.rate_margin < 0:
            raise ConfigError("alarms need bradycardia + 2 * rate_margin <= tachycardia, rate_margin >= 0")
        if not 0 <= self.activity <= 1:
            raise ConfigError("alarms need activity in 0..1")
        if not 0 <= self.faint < math.inf:
            raise ConfigError("alarms need faint >= 0, in millivolts")


def _fits(value: Any) -> bool:
    """Whether a number can be a float: NaN is none, and infinity means never."""
    return bool(abs(value) <= HUGE or value == math.inf)


class RateAlarms(NamedTuple):
    """``rate``: the running rate; ``slow`` and ``fast``: starts of the rate alarms that are open; ``torn``:
    sample from which on beats may be missing, where no interval has counted since, ``missing``: how many
    samples are.
    """

    rate: rate.RateState = rate.RateState()
    slow: int | None = None
    fast: int | None = None
    torn: int | None = None
    missing: int = 0


class AlarmState(NamedTuple):
    """What the finder remembers; nested tuples of plain values."""

    silence: silence.SilenceState = silence.SilenceState()
    rate: RateAlarms = RateAlarms()
    patterns: patterns.PatternState = patterns.PatternState()


@dataclass(frozen=True)
class AlarmFinder:
    """Beats, stretches of signal and gaps in, in the order of time; alarms out. The state is the caller's.

    Parameters
    ----------
    settings : AlarmSettings
    fs : float
        Source rate, hertz.
    """

    settings: AlarmSettings
    fs: float

    @cached_property
    def limits(self) -> silence.SilenceLimits:
        """Thresholds of silence in source samples."""
        pause = round(min(self.settings.pause_seconds, FOREVER) * self.fs)
        asystole = round(min(self.settings.asystole_seconds, FOREVER) * self.fs)
        hold = round(silence.HOLD_SECONDS * self.fs)
        return silence.SilenceLimits(pause, asystole, self.settings.activity, hold, self.settings.faint)

    def initial(self) -> AlarmState:
        """State at sample 0."""
        return AlarmState()

    def beat(
        self,
        sample: int,
        label: str,
        state: AlarmState,
        *,
        restless: bool = False,
        level: float | None = None,
    ) -> tuple[list[Alarm], AlarmState]:
        """Take in a beat at source sample ``sample`` with its ``BEAT_LABELS`` label.

        ``restless``: whether the signal never comes to rest. A heart as slow as bradycardia rests between its
        beats; where it does not, they are waves of a fibrillation, or of noise, that were taken for beats.
        ``level``: mean absolute value of its own stretch in millivolts, where that is known.
        """
        silent, hushed = list[Alarm](), state.silence
        if not restless or state.rate.slow is None:
            silent, hushed = silence.beat(sample, state.silence, self.limits, level)
        ended, state = self._still(silent, state)
        paced, rates = self._rate(sample, state.rate)
        found, pattern = patterns.beat(sample, label, state.patterns, self.settings.bigeminy)
        return silent + ended + paced + found, AlarmState(hushed, rates, pattern)

    def advance(
        self, to: int, readable: bool, level: float | None, state: AlarmState, *, attached: bool = True
    ) -> tuple[list[Alarm], AlarmState]:
        """Move the settled clock: every beat before source sample ``to`` has been told.

        Call it on a grid that does not depend on the caller's blocks (a second of the model grid, a
        change of readability), or the moment at which ``level`` is read will depend on them.

        Parameters
        ----------
        to : int
        readable : bool
            Whether the signal from the clock up to ``to`` could be read.
        level : float or None
            Its recent mean absolute value in millivolts, ``None`` where that is not known.
        attached : bool
            Whether there was a lead to read.
        """
        if attached:
            silent, hushed = silence.advance(to, readable, level, state.silence, self.limits)
        else:
            silent, hushed = silence.detached(to, state.silence)
        if readable or (attached and silence.quiet(hushed, self.limits)):  # where it is quiet no beat hides
            ended, state = self._still(silent, state)
            return silent + ended, state._replace(silence=hushed)
        ended, state = self.torn(state.silence.clock, to, state)
        return silent + ended, state._replace(silence=hushed)

    def quiet_until(self, state: AlarmState) -> int:
        """Sample up to which :meth:`advance` over readable signal tells nothing: :meth:`settled` will do."""
        return silence.quiet_until(state.silence, self.limits)

    def loud_from(self, state: AlarmState) -> float:
        """Level in millivolts from which on a stretch may hold a beat."""
        return silence.loud_from(state.silence, self.limits)

    def settled(self, to: int, level: float | None, faint: int | None, state: AlarmState) -> AlarmState:
        """State after :meth:`advance` over readable signal, for ``to`` up to :meth:`quiet_until`;
        ``faint``: :func:`silence.faint_since` of all its stretches.
        """
        return AlarmState(silence.settled(to, level, faint, state.silence), state.rate, state.patterns)

    def gap(self, start: int, length: int, state: AlarmState) -> tuple[list[Alarm], AlarmState]:
        """``length`` samples from ``start`` on are missing."""
        silent, hushed = silence.broken(start, start + length, state.silence, self.limits)
        ended, state = self.torn(start, start + length, state)
        return silent + ended, state._replace(silence=hushed)

    def flush(self, state: AlarmState) -> tuple[list[Alarm], AlarmState]:
        """The stream ends at the clock: so do the alarms that are open."""
        silent, hushed = silence.ended(state.silence)
        found, pattern = patterns.broken(state.patterns, self.settings.bigeminy)
        return silent + _end_rate(state.rate) + found, AlarmState(hushed, RateAlarms(), pattern)

    def torn(self, start: int, stop: int, state: AlarmState) -> tuple[list[Alarm], AlarmState]:
        """Beats may be missing between two samples: patterns begin anew, after a second of it rates too."""
        found, pattern = patterns.broken(state.patterns, self.settings.bigeminy)
        begin = start if state.rate.torn is None else state.rate.torn
        missing = state.rate.missing + stop - start
        if missing > self.limits.hold or stop - begin > RATE_LASTS * self.fs:
            return _end_rate(state.rate) + found, AlarmState(state.silence, RateAlarms(), pattern)
        rates = state.rate._replace(rate=rate.torn(state.rate.rate), torn=begin, missing=missing)
        return found, AlarmState(state.silence, rates, pattern)

    def _still(self, silent: list[Alarm], state: AlarmState) -> tuple[list[Alarm], AlarmState]:
        """Four seconds without a beat are no tachycardia, and what lies on both sides of them no pattern."""
        # nearly always there is nothing: that is asked first, since this runs with every beat
        if not silent or not any(alarm.end is None and alarm.label != "pause" for alarm in silent):
            return [], state
        found, pattern = patterns.broken(state.patterns, self.settings.bigeminy)
        ended = _end_rate(state.rate._replace(slow=None))
        return ended + found, AlarmState(state.silence, state.rate._replace(fast=None), pattern)

    def _rate(self, sample: int, state: RateAlarms) -> tuple[list[Alarm], RateAlarms]:
        wanted = self.settings.rate_beats
        now = rate.beat(sample, state.rate, wanted)
        per_minute = rate.per_minute(now, self.fs, least=wanted)
        torn, missing = (state.torn, state.missing) if state.rate.last is None else (None, 0)
        state = RateAlarms(now, state.slow, state.fast, torn, missing)
        low, high, margin = self.settings.bradycardia, self.settings.tachycardia, self.settings.rate_margin
        if per_minute is None or (state.slow is state.fast is None and low <= per_minute <= high):
            return [], state
        events = []
        if state.slow is not None and per_minute >= low + margin:
            events.append(Alarm(state.slow, sample, "bradycardia"))
            state = state._replace(slow=None)
        if state.fast is not None and per_minute <= high - margin:
            events.append(Alarm(state.fast, sample, "tachycardia"))
            state = state._replace(fast=None)
        if state.slow is None and per_minute < low:
            events.append(Alarm(now.starts[0], None, "bradycardia"))
            state = state._replace(slow=now.starts[0])
        if state.fast is None and per_minute > high:
            events.append(Alarm(now.starts[0], None, "tachycardia"))
            state = state._replace(fast=now.starts[0])
        return events, state


def _end_rate(state: RateAlarms) -> list[Alarm]:
    """End the rate alarms that are open with the last beat."""
    if state.slow is state.fast is None:
        return []
    starts, lengths, last = state.rate
    end = starts[-1] + lengths[-1] if last is None else last
    opened = ((state.slow, "bradycardia"), (state.fast, "tachycardia"))
    return [Alarm(start, end, label) for start, label in opened if start is not None]
