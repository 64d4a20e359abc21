"""No beat for a while: pause, asystole, or a signal in which no beat is found.

The clock is the *settled* sample, before which every beat has been told. It moves by stretches of
signal, so silence is heard without waiting for a beat that may never come.

A heart that stops leaves a signal that soon cannot be read, and so does fibrillation of a kind: so silence
goes on counting where the signal is unreadable. What is said of it differs: where it has gone quiet, a pause
and asystole; where it is loud, beats may hide in it, and only that none is found. A link that loses packets
ends no silence either: what is missing does not count, and the count goes on to asystole and no-beat. A pause
is told once the signal behind the gap is silent for as long: a beat may be among what is missing. A longer
gap and a lead that is off start the count anew.

Ventricles may stand still while the atria go on, and a P wave by itself is soon taken for a beat. So where
the signal has been *faint* for as long as a pause, a beat is told but does not count, unless its own stretch
or the next turns out not to be: nothing there is as large as a QRS. (One of 0.15 mV, which by IEC 60601-2-27
a monitor should not even find, has 0.01 mV on average over half a second.) Faint is below an absolute limit
and a share of what many beats had. Beats that do not count pull that down, slowly: a heart whose QRS have
become small, or whose level noise had raised, is believed after some minutes.
"""

from __future__ import annotations

from typing import NamedTuple

from edgeecg.specs import Alarm

__all__ = [
    "SilenceLimits",
    "SilenceState",
    "advance",
    "beat",
    "broken",
    "detached",
    "ended",
    "faint_since",
    "loud_from",
    "quiet",
    "quiet_until",
    "settled",
]

LEVEL_MEMORY = 0.1  # weight of one more beat in the level that goes with beats
LONG_MEMORY = 0.02  # and in that of many beats
DOUBT = 0.003  # weight there of a beat that does not count
MANY = 24  # beats from which on that is known
ALL = ("pause", "asystole", "no-beat")
"""What silence is told as."""

HOLD_SECONDS = 1.0
"""Longest gap in the samples that silence, and what is told of it, survives."""


class SilenceLimits(NamedTuple):
    """``pause``, ``asystole`` and ``hold``, the longest gap that is survived: source samples;
    ``activity``: share of the level that goes with beats; ``faint``: millivolts that no stretch with a
    QRS stays below.
    """

    pause: int
    asystole: int
    activity: float
    hold: int
    faint: float


class SilenceState(NamedTuple):
    """Plain values.

    ``clock``: settled sample. ``since``: where the present silence began, ``None`` while the lead is
    off. ``after_beat``: whether it began with a beat, with no beats that may hide since.
    ``level``: that of the last stretch, ``usual``: the one that goes with beats, both in millivolts.
    ``pause``, ``asystole``, ``no_beat``: starts of the alarms that are open. ``begun``: where the present
    stretch without a gap began. ``faint``: where the signal became faint, if it is. ``open``: a beat that
    may yet count. ``beats``: how many have counted since a lead was off or a long gap, as far as ``MANY``;
    ``long``: their level.
    """

    clock: int = 0
    since: int | None = 0
    after_beat: bool = False
    level: float | None = None
    usual: float | None = None
    pause: int | None = None
    asystole: int | None = None
    no_beat: int | None = None
    begun: int = 0
    faint: int | None = None
    open: int | None = None
    beats: int = 0
    long: float = 0.0


def advance(
    to: int, readable: bool, level: float | None, state: SilenceState, limits: SilenceLimits
) -> tuple[list[Alarm], SilenceState]:
    """All beats before sample ``to`` have been told; the signal up to it was readable, or was not."""
    to = max(to, state.clock)
    events: list[Alarm] = []
    faint = faint_since(state.clock, level, state.faint, loud_from(state, limits))
    if faint is None and state.open is not None:
        events, state = _count(state.open, state, limits, level)
    waits = state.open is not None and state.open >= state.clock  # its own stretch, and the next
    state = state._replace(level=level, faint=faint, open=state.open if waits else None)
    if not readable and not quiet(state, limits):
        ended, state = _end(state.clock, state, ("pause",))  # an asystole that was told waits for a beat
        events += ended
        state = state._replace(after_beat=False)
    since = state.clock if state.since is None else state.since
    state = state._replace(clock=to, since=since)
    if state.after_beat and state.pause is None and to - max(since, state.begun) > limits.pause:
        events.append(Alarm(since, None, "pause"))
        state = state._replace(pause=since)
    if to - since > limits.asystole:
        more, state = _silent(to, since, state, limits)
        events += more
    return events, state


def loud_from(state: SilenceState, limits: SilenceLimits) -> float:
    """Level from which on a stretch may hold a beat, millivolts."""
    return min(limits.faint, limits.activity * state.long) if state.beats >= MANY else 0.0


def faint_since(begin: int, level: float | None, before: int | None, loud: float) -> int | None:
    """Where the signal became faint, after a stretch from ``begin`` on; ``None`` if it is not."""
    if level is None or level >= loud:
        return None
    return begin if before is None else before


def _silent(
    to: int, since: int, state: SilenceState, limits: SilenceLimits
) -> tuple[list[Alarm], SilenceState]:
    """Too long without a beat: a heart that stands still, or one that is not understood?

    The level of the signal tells: without beats it decays, in ventricular fibrillation it does not.
    Where the level is not known, nothing is claimed beyond "no beat"; nor where so many packets are lost that
    no stretch of signal is as long as a pause.
    """
    if quiet(state, limits) and to - state.begun > limits.pause:
        if state.asystole is None:
            return [Alarm(since, None, "asystole")], state._replace(asystole=since)
    elif state.no_beat is None:
        return [Alarm(since, None, "no-beat")], state._replace(no_beat=since)
    return [], state


def quiet(state: SilenceState, limits: SilenceLimits) -> bool:
    """Whether the signal is known to have gone quiet, beside what goes with beats."""
    return state.level is not None and state.usual is not None and state.level < limits.activity * state.usual


def detached(to: int, state: SilenceState) -> tuple[list[Alarm], SilenceState]:
    """The lead was off up to sample ``to``: nothing is known of the heart."""
    events, state = _end(state.clock, state)
    clock = max(to, state.clock)
    state = state._replace(clock=clock, since=None, after_beat=False, level=None)
    return events, state._replace(faint=None, open=None, beats=0, long=0.0)


def beat(
    sample: int, state: SilenceState, limits: SilenceLimits, own: float | None = None
) -> tuple[list[Alarm], SilenceState]:
    """A beat ends every silence; in a signal that is faint once its own stretch, or the next, is not.

    ``own``: level of its own stretch, where that is known. The clock has not passed it yet, and the stretch
    before is diastole in a heart that is slow: by its level a standstill would never be faint.
    """
    if state.faint is not None and state.clock - state.faint > limits.pause:
        level = state.long if state.level is None else state.level
        return [], state._replace(open=sample, long=state.long + DOUBT * (level - state.long))
    return _count(sample, state, limits, own)


def _count(
    sample: int, state: SilenceState, limits: SilenceLimits, own: float | None
) -> tuple[list[Alarm], SilenceState]:
    """A beat ends every silence; one that grew too long just before it is told first."""
    events: list[Alarm] = []
    state = state if state.open is None else state._replace(open=None)
    if max(sample, state.clock) > quiet_until(state, limits):
        events, state = advance(sample, True, state.level, state, limits)
        ended, state = _end(sample, state)
        events += ended
    level, usual, beats, long = state.level if own is None else own, state.usual, state.beats, state.long
    if level is None or usual is None:
        usual = level if usual is None else usual
    elif state.faint is None:  # a P wave is no measure of beats
        usual += LEVEL_MEMORY * (level - usual)
    if level is not None and state.faint is None:
        weight = 1 / (beats + 1) if beats < MANY else LONG_MEMORY  # the mean, as long as it is of few
        long += weight * (level - long)
        beats = min(beats + 1, MANY)
    clock, begun, faint = max(sample, state.clock), state.begun, state.faint
    return events, SilenceState(
        clock, sample, True, state.level, usual, None, None, None, begun, faint, None, beats, long
    )


def quiet_until(state: SilenceState, limits: SilenceLimits) -> int:
    """Sample up to which readable signal without a beat tells nothing: only clock and level move."""
    if state.since is None or not (state.pause is state.asystole is state.no_beat is state.open is None):
        return -1
    asystole = state.since + limits.asystole
    return min(max(state.since, state.begun) + limits.pause, asystole) if state.after_beat else asystole


def settled(to: int, level: float | None, faint: int | None, state: SilenceState) -> SilenceState:
    """What :func:`advance` over readable signal leaves behind, for ``to`` up to :func:`quiet_until`."""
    # built anew: ``_replace`` is twice as dear, and this is called with nearly every beat
    clock, since, after, _, usual, *_, begun, _, _, beats, long = state
    return SilenceState(
        max(to, clock), since, after, level, usual, None, None, None, begun, faint, None, beats, long
    )


def broken(
    start: int, stop: int, state: SilenceState, limits: SilenceLimits
) -> tuple[list[Alarm], SilenceState]:
    """Samples from ``start`` up to ``stop`` are missing; a beat may have been among them."""
    if stop - start <= limits.hold:
        since = None if state.since is None else state.since + stop - start
        faint = None if state.faint is None else state.faint + stop - start
        state = state._replace(clock=stop, since=since, begun=stop)
        return [], state._replace(faint=faint, open=None)
    events, state = _end(start, state)
    return events, _anew(stop, state)


def ended(state: SilenceState) -> tuple[list[Alarm], SilenceState]:
    """The stream ends at the clock: in what follows the count begins anew, as behind a long gap."""
    events, state = _end(state.clock, state)
    return events, _anew(state.clock, state)


def _anew(at: int, state: SilenceState) -> SilenceState:
    """The count begins at ``at``; of what was before only the levels are kept."""
    state = state._replace(clock=at, since=at, after_beat=False, begun=at)
    return state._replace(faint=None, open=None, beats=0, long=0.0)


def _end(sample: int, state: SilenceState, labels: tuple[str, ...] = ALL) -> tuple[list[Alarm], SilenceState]:
    """End what is open at ``sample``."""
    opened = {"pause": state.pause, "asystole": state.asystole, "no-beat": state.no_beat}
    events = [Alarm(start, sample, name) for name in labels if (start := opened[name]) is not None]
    left = {name: None if name in labels else start for name, start in opened.items()}
    return events, state._replace(pause=left["pause"], asystole=left["asystole"], no_beat=left["no-beat"])
