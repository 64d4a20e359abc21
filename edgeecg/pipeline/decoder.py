"""One patient's beats and graded ticks to events, in the order in which they become known.

Every beat and every tick has a moment in the stream, counted in tokens that have come in, at which it
is known; what is told follows that order. So steps of any length tell the same events in the same order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import msgspec

from edgeecg.decode.alarms import AlarmFinder, AlarmState
from edgeecg.decode.grades import GOOD, ended, regraded
from edgeecg.decode.rhythm import RhythmDecoder
from edgeecg.decode.silence import faint_since
from edgeecg.pipeline.decoder_state import CALM, DecoderSettings, DecoderState, FoundBeat
from edgeecg.pipeline.leads import Tick
from edgeecg.signal.quality import FLAT, LEAD_OFF, NOISY, QUALITY_LABELS, TICK, UNREADABLE
from edgeecg.specs import BEAT_LABELS, Alarm, Beat, Event, Gap

__all__ = ["SHORTEST", "Decoder"]

SLACK = 0.0625  # seconds by which a beat may be found before the signal begins: it is at its first sample
RESTLESS = 0.6  # score of a tick: made fibrillation has less in 19 of 20 (scratch), an ECG in mains hum more
SHORTEST = 0.5  # seconds of a segment that tells beats: in less, as many of them are false as are right


class Decoder:
    """Rhythms, alarms, quality and beats of one patient.

    Parameters
    ----------
    settings : DecoderSettings
    fs : float
        Source rate, hertz.
    ratio : Fraction
        Model samples per source sample.
    latency : int
        Of the front end, model samples.
    """

    def __init__(self, settings: DecoderSettings, fs: float, ratio: Fraction, latency: int) -> None:
        self.settings, self.fs, self.latency = settings, fs, latency
        self.ratio, self._exact = float(ratio), ratio
        self._rhythm = RhythmDecoder(settings.rhythm, fs)
        self._alarms = AlarmFinder(settings.alarms, fs)
        self._size, self._delay = settings.tick, settings.delay
        self._quiet = -1  # sample up to which the alarms have nothing to tell
        self._loud = 0.0  # millivolts from which on a tick may hold a beat
        self._hushed: tuple[int, float, int | None] | None = None
        self.state = DecoderState()

    def sample(self, place: float) -> int:
        """Source sample of a place at the front end's output."""
        return self.state.anchor + math.floor((place - self.latency) / self.ratio + 0.5)

    def begin(self, anchor: int, first: int) -> None:
        """A segment begins, anchored at source sample ``anchor``; its signal begins at ``first``."""
        state = self.state
        state.anchor, state.first, state.last = anchor, first, None
        state.graded, state.clock, state.readable, state.restless = 0, 0, True, False
        state.early = -int((anchor - first) * self.ratio // TICK)  # what is held is not to be graded
        state.ticks.clear()

    def step(self, beats: Sequence[FoundBeat], ticks: Sequence[Tick], now: int) -> list[Event]:
        """Take what a step found; ``now``: tokens that have come in."""
        held, self.state.held = self.state.held, []
        self.state.ticks += ticks
        events: list[Event] = [*self.state.late]
        self.state.late.clear()
        for beat in (*held, *beats):
            known = beat.token + self._delay + 1
            self._until(known, known - 1, events)
            self._beat(beat, events)
        self._until(now, now, events)
        return events

    def step_before(self, stop: int, beats: Sequence[FoundBeat], ticks: Sequence[Tick]) -> list[Event]:
        """As :meth:`step`, but the segment may have ended before ``stop``: what that would change waits."""
        now = math.ceil((stop - self.state.anchor) * self._exact) // self.settings.model.patch
        known = [*self.state.held, *beats]
        sure = [beat for beat in known if beat.token + self._delay < now]
        self.state.held = []
        events = self.step(sure, ticks, now)
        self.state.held = known[len(sure) :]
        return events

    def missed(self, made: int, place: int) -> None:
        """So many model samples have come in, of some of which a failed step told nothing.

        Of quality it is as before them, of beats as in a gap, up to a place before which none can be told.
        """
        self._settle()
        state = self.state
        last = state.ticks[-1] if state.ticks else Tick(0, state.alarms.silence.level or 0.0)
        state.ticks += [last] * (made // TICK - state.clock - len(state.ticks))
        state.last = None
        begin = state.alarms.silence.clock
        told = self._alarms.gap(begin, max(0, self.sample(place) - begin), state.alarms)
        state.late += self._heard(told)  # this step may fail as well

    def hold(self, beats: Sequence[FoundBeat], ticks: Sequence[Tick]) -> None:
        """As :meth:`step` while the segment is carried on past its end, or may be: what follows tells it."""
        self.state.held.extend(beats)
        self.state.ticks.extend(ticks)

    def end(self, stop: int) -> list[Event]:
        """The segment's last sample was ``stop - 1``: what was found beyond it never was."""
        self._settle()
        state = self.state
        made = math.ceil((stop - state.anchor) * self._exact)  # model samples that are real
        whole = max(state.clock, min(state.clock + len(state.ticks), made // TICK))
        while len(state.ticks) > whole - state.clock:
            state.ticks.pop()
        beats = [beat for beat in state.held if self.sample(beat.place) < stop]
        if stop - state.first < SHORTEST * self.fs:
            beats.clear()
        state.held.clear()
        level = state.ticks[-1].level if state.ticks else state.alarms.silence.level
        events = self.step(beats, (), whole * self._size + self._delay)
        self._settle()
        attached = state.open is None or state.open[1] != QUALITY_LABELS[LEAD_OFF]
        told = self._alarms.advance(stop, state.readable, level, state.alarms, attached=attached)
        events += self._heard(told)
        events += self._heard(self._alarms.torn(stop, stop, state.alarms))
        events += ended(stop, state.open)
        for lead, stretch in enumerate(state.leads):
            events += ended(stop, stretch, lead)
        state.open, state.leads = None, []
        return events

    def gap(self, gap: Gap) -> list[Event]:
        """Samples were missing between two segments."""
        state = self.state
        events: list[Event] = [gap]
        self._settle()
        alarms = self._heard(self._alarms.gap(gap.start, gap.length, state.alarms))
        rhythms, state.rhythm = self._rhythm.gap(gap.start, gap.length, state.rhythm)
        return [*events, *rhythms, *alarms]

    def flush(self) -> list[Event]:
        """The stream ends: so does what is open."""
        state = self.state
        self._settle()
        rhythms, state.rhythm = self._rhythm.flush(state.rhythm)
        alarms = self._heard(self._alarms.flush(state.alarms))
        return [*rhythms, *alarms]

    def _until(self, graded: int, clock: int, events: list[Event]) -> None:
        """Tell the ticks that ``graded`` tokens complete; move the alarms' clock to what ``clock`` settle."""
        state, size, delay = self.state, self._size, self._delay
        while True:
            told = (state.graded + 1) * size  # tokens at which the next tick is told
            settled = (state.clock + 1) * size + delay  # and at which all its beats have been
            waiting = state.graded - state.clock
            if told <= graded and told <= settled and waiting < len(state.ticks):
                self._grade(state.ticks[waiting], events)
            elif settled <= clock and waiting:
                self._clock(state.ticks.pop(0), events)
            else:
                return

    def _grade(self, tick: Tick, events: list[Event]) -> None:
        """The next tick has a grade."""
        state = self.state
        early = state.graded < state.early
        grade = 0 if early else tick.label
        state.readable = grade < UNREADABLE
        state.restless = grade == NOISY and tick.score < RESTLESS
        if state.restless and state.calm == CALM:
            state.stirred = self._boundary(state.graded)
        state.calm = 0 if state.restless else min(state.calm + 1, CALM)
        label = QUALITY_LABELS[grade]
        if label != (state.open[1] if state.open else GOOD):  # else its place need not be known
            told, state.open = regraded(self._boundary(state.graded), label, state.open)
            events += told
        if tick.leads or state.leads:
            self._grade_leads(() if early else tick.leads, events)
        state.graded += 1

    def _grade_leads(self, grades: Sequence[int], events: list[Event]) -> None:
        """The next tick of each lead has a grade, none if all have a signal."""
        state = self.state
        start, open_now = self._boundary(state.graded), []
        for lead, stretch in enumerate(state.leads or [None] * len(grades)):
            label = QUALITY_LABELS[grades[lead]] if grades and grades[lead] >= FLAT else GOOD
            told, stretch = regraded(start, label, stretch, lead)
            events += told
            open_now.append(stretch)
        state.leads = open_now if any(open_now) else []

    def _clock(self, tick: Tick, events: list[Event]) -> None:
        """Every beat in the next tick has been told."""
        state = self.state
        readable = tick.label < UNREADABLE or state.clock < state.early
        state.clock += 1
        to = self._boundary(state.clock)
        if state.rhythm.told:
            rhythms, state.rhythm = self._rhythm.advance(to, state.rhythm)
            events += rhythms
        if readable and to <= self._quiet:  # nothing to tell: alarms learn of it with the next beat
            faint = None
            if tick.level < self._loud:
                past = state.alarms.silence
                begin, _, faint = self._hushed or (past.clock, 0.0, past.faint)
                faint = faint_since(begin, tick.level, faint, self._loud)
            self._hushed = to, tick.level, faint
            return
        self._settle()
        attached = tick.label < LEAD_OFF or state.clock <= state.early
        told = self._alarms.advance(to, readable, tick.level, state.alarms, attached=attached)
        events += self._heard(told)

    def _heard(self, told: tuple[list[Alarm], AlarmState]) -> list[Alarm]:
        """Take the alarms' new state; gives what they tell."""
        found, self.state.alarms = told
        self._watch()
        return found

    def _watch(self) -> None:
        """Up to where, and below which level, ticks tell the alarms nothing."""
        self._quiet = self._alarms.quiet_until(self.state.alarms)
        self._loud = self._alarms.loud_from(self.state.alarms)

    def _settle(self) -> None:
        """Let the alarms know of the ticks in which there was nothing to tell."""
        if self._hushed is not None:
            self.state.alarms = self._alarms.settled(*self._hushed, self.state.alarms)
            self._hushed = None

    def _boundary(self, tick: int) -> int:
        """Source sample at which a tick of the model grid begins, not before the signal."""
        state = self.state
        return max(state.first, state.anchor + math.floor((tick * TICK - self.latency) / self.ratio))

    def _beat(self, beat: FoundBeat, events: list[Event]) -> None:
        state = self.state
        if self.settings.withhold and not state.readable:
            state.last = None
            return
        sample = self.sample(beat.place)
        if sample < state.first - SLACK * self.fs:
            return  # in what is held before the first sample
        sample = max(sample, state.first)
        rr = None if state.last is None else (sample - state.last) / self.fs
        state.last = sample
        label = BEAT_LABELS[beat.label]
        events.append(Beat(sample, label, beat.probability, beat.quality, rr))
        # noise looks like fibrillation: it counts as far as the beat can be read
        rhythms, state.rhythm = self._rhythm.beat(sample, beat.afib * beat.quality, state.rhythm)
        self._settle()
        events += rhythms
        events += self._alarmed(sample, label, beat.token)

    def _alarmed(self, sample: int, label: str, token: int) -> list[Alarm]:
        """What the alarms say of a beat."""
        state = self.state
        tick = token // self._size - state.clock
        level = state.ticks[tick].level if 0 <= tick < len(state.ticks) else None
        # a heart that was slow before is slow in noise as well
        restless = state.restless and (state.slowed is None or state.slowed >= state.stirred)
        alarms = self._heard(self._alarms.beat(sample, label, state.alarms, restless=restless, level=level))
        if state.alarms.rate.slow is None:
            state.slowed = None
        elif state.slowed is None:
            state.slowed = sample
        return alarms

    def snapshot(self) -> Any:
        """The state as builtin values."""
        self._settle()
        return msgspec.to_builtins(self.state)

    def restore(self, saved: Any) -> None:
        """Go on from a :meth:`snapshot`; raises ``msgspec.ValidationError`` where it is not one."""
        self.state = msgspec.convert(saved, DecoderState)
        self._hushed = None
        self._watch()
