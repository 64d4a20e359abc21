"""Time base repair: packets as they come in, an unbroken count of samples out.

A link loses, doubles and reorders packets; a device's clock drifts, jumps and starts again. The network
needs one count of samples that never goes back. `TimeBase.step` gives `Piece` values in that count: what
to push, and how many samples are missing before it.

How a packet finds its place, best knowledge first:

1. by its own sample count (``Packet.sample``);
2. by its device clock (``Packet.stamp``), through a rate that follows the device's drift; a stamp that
   strays less than ``jitter`` from an expected place, or no more than drift explains, means that place;
3. by its turn, when it carries neither; then only the wall clock can tell of a loss: an arrival that is
   ``silence`` seconds later than the samples account for.

What happens then:

======================  ==================================================================================
at the expected place   it is given out
behind, all known       a duplicate, or too late: dropped and counted
behind, partly known    only its new end is given out
ahead by a little       held until the samples between arrive, or until more than ``reorder`` seconds of
                        later signal wait or are missing; then those between are missing (``lost``)
far behind, and old     it was sent again: dropped and counted
far behind otherwise    a suspect: when the next packet follows on it, the device has begun to count
                        anew (``restart``); the wall clock says how much is missing
ahead of all reason     likewise, a ``jump``; "all reason" is the wall clock or, without one, ``longest``
======================  ==================================================================================

Behind after more than ``silence`` seconds is as good as far behind: nothing is that late.

A packet is old when the sender's own time says so too. Where it tells none, a count is old that goes on
inside what was taken, unless it may have begun anew: within 5 s of zero, or, more than a minute behind,
within 5 s of what has passed since the last packet. For a device that begins anew elsewhere there is an end
to it: after a minute of signal (with times: ``longest``) that is sent again, it is a restart after all.

A count that leaps ahead is believed as far as time allows. Arrivals allow any count up to the delay, since
what comes in a burst behind a stall is late and not missing; delay that no sample has used up stays allowed.
The sender's own time allows just its own distance: a count that falls short of it has begun anew ahead.

A restart or jump without a wall clock, or with one that was set back, is of unknown length and counts as one
missing sample. So does any gap for which a wall clock alone says more than a day: it was set, as on a board
without a battery.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgeecg.errors import ConfigError
from edgeecg.stream.clock_stamps import PULL, doubled, place_by_stamp, track, watch_pace
from edgeecg.stream.clock_state import Piece, TimeState
from edgeecg.stream.sources.base import Packet

__all__ = ["TimeBase"]

CLOCK_SLACK = 5.0  # seconds by which device count and wall clock may differ over a gap, plus a tenth
AWAY = 86_400.0  # seconds of absence that a clock is believed which somebody may have set meanwhile
RESENT = 60.0  # seconds of signal without times that may be sent again
DATED = 1e9  # Unix seconds: a sender whose clock is further back does not know the date


@dataclass(frozen=True)
class TimeBase:
    """Settings of the repair.

    Parameters
    ----------
    fs : float
        Declared rate, hertz.
    jitter : float
        How far a stamp may lie from where those before put it, seconds; `Source.jitter` is meant for this.
    reorder : float
        Seconds of signal that may wait for a packet that is late.
    silence : float
        For packets without count or stamp: seconds of unexplained delay that mean a loss.
    longest : float
        Longest gap, seconds, that is believed without a wall clock to confirm it.

    Raises
    ------
    ConfigError
        If a setting is out of range.
    """

    fs: float
    jitter: float = 0.05
    reorder: float = 1.0
    silence: float = 3.0
    longest: float = 3600.0

    def __post_init__(self) -> None:
        if not self.fs > 0:
            raise ConfigError(f"fs={self.fs} is not a positive number of hertz")
        if min(self.jitter, self.reorder) < 0 or min(self.silence, self.longest) <= 0:
            raise ConfigError("jitter and reorder must be at least 0 s, silence and longest more than 0 s")

    def initial(self) -> TimeState:
        """State of a stream that has not begun."""
        return TimeState(rate=self.fs / 1e9)

    def step(self, packet: Packet, state: TimeState) -> tuple[list[Piece], TimeState]:
        """Pieces that a packet settles, and the state after it.

        Raises
        ------
        SignalError
            If the device's stamps show another rate than the declared one.
        """
        if len(packet) == 0:
            return [], state
        if doubled(packet, state):
            return [], state._replace(dropped=state.dropped + 1)
        if state.offset is None and state.anchor is None:
            state = self._begin(packet, state)
        if packet.stamp is not None and packet.sample is None:
            state = watch_pace(packet.stamp, state, self.fs)
        place = self._place(packet, state)
        if self._implausible(place, packet, state):
            if self._sent_again(place, packet, state):
                return [], state._replace(dropped=state.dropped + 1, again=state.again + len(packet))
            return self._doubt(place, packet, state)
        if state.suspect is not None:
            state = state._replace(suspect=None, dropped=state.dropped + 1)
        return self._accept(place, packet, state)

    def flush(self, state: TimeState) -> tuple[list[Piece], TimeState]:
        """Give out what is held; at the end of a stream, or before its state is saved."""
        strays = 0 if state.suspect is None else 1
        return self._release(state._replace(suspect=None, dropped=state.dropped + strays), everything=True)

    def _begin(self, packet: Packet, state: TimeState) -> TimeState:
        """The first packet lies at place ``next``: 0, or where a restored stream goes on."""
        offset = None if packet.sample is None else state.next - packet.sample
        anchor = None if packet.stamp is None else (state.next, float(packet.stamp))
        return state._replace(offset=offset, anchor=anchor, since=state.next)

    def _place(self, packet: Packet, state: TimeState) -> int:
        if packet.sample is not None and state.offset is not None:
            return packet.sample + state.offset
        if packet.stamp is not None and state.anchor is not None:
            return place_by_stamp(packet.stamp, state.anchor, state, self.fs, self.jitter)
        late = self._passed(packet, state)
        if late is None:
            return state.next + (1 if _lapse(packet, state) else 0)  # a gap of unknown length, or none
        return state.next + (round(late * self.fs) if late > self.silence else 0)

    def _passed(self, packet: Packet, state: TimeState) -> float | None:
        """Seconds since the last sample that a packet's coming shows; the wall clock may be set meanwhile."""
        if packet.heard is not None and state.heard is not None:
            return packet.heard - state.heard - len(packet) / self.fs
        lapse = _lapse(packet, state)
        return None if lapse is None or lapse > AWAY else lapse

    def _implausible(self, place: int, packet: Packet, state: TimeState) -> bool:
        ahead = (place - state.waiting_end) / self.fs
        passed = self._passed(packet, state)
        if place + len(packet) <= state.next:
            silent = passed is not None and passed > self.silence
            return silent or (state.next - place - len(packet)) / self.fs > self.reorder
        if ahead <= self.reorder:
            return False
        if passed is None:
            lapse = _lapse(packet, state) if packet.sample is not None else None
            if lapse is not None and abs((place - state.next) / self.fs - lapse) <= CLOCK_SLACK + 0.1 * lapse:
                return False  # its own count says the same as the clock
            return ahead > self.longest
        excess = (place - state.next) / self.fs - passed
        slack = CLOCK_SLACK + 0.1 * abs(passed)
        if packet.heard is None:
            return abs(excess) > slack
        return excess > slack + state.spare  # below: a burst behind a stall

    def _sent_again(self, place: int, packet: Packet, state: TimeState) -> bool:
        """Whether a packet behind is old signal, and not a count that has begun anew."""
        before = state.suspect
        if place >= state.next or (before is not None and place == before[0] + len(before[1])):
            return False
        passed, gap = self._passed(packet, state), (place - state.next) / self.fs
        if packet.heard is None and passed is not None:
            agree = abs(gap - passed) <= CLOCK_SLACK + 0.1 * abs(passed) and passed < gap / 2
            dated = packet.time is not None and packet.time > DATED
            return agree and dated and state.again < self.longest * self.fs
        inside = packet.sample is not None and place >= state.since and state.again < RESENT * self.fs
        return inside and not self._anew(place, packet, passed or 0.0, state)

    def _anew(self, place: int, packet: Packet, passed: float, state: TimeState) -> bool:
        """Whether the device may have counted from zero to here since the last packet."""
        behind = (state.next - place - len(packet)) / self.fs
        if behind <= self.reorder:
            return place <= state.since
        counted = (packet.sample or 0) / self.fs
        return counted <= CLOCK_SLACK + (max(0.0, passed) if behind > RESENT else 0.0)

    def _doubt(self, place: int, packet: Packet, state: TimeState) -> tuple[list[Piece], TimeState]:
        """An implausible packet: believed when it follows on the one before, which was implausible too."""
        before = state.suspect
        follows = before is not None and abs(place - before[0] - len(before[1])) <= self._loose(packet)
        if before is None or not follows:
            strays = 0 if before is None else 1
            return [], state._replace(suspect=(place, packet), dropped=state.dropped + strays)
        return self._rebase(before, packet, state._replace(suspect=None))

    def _loose(self, packet: Packet) -> float:
        return 0.0 if packet.sample is not None else max(self.jitter * self.fs, 1.0)

    def _rebase(
        self, first: tuple[int, Packet], second: Packet, state: TimeState
    ) -> tuple[list[Piece], TimeState]:
        """Go on in the device's new count, at the place that the wall clock says."""
        cause = "restart" if first[0] < state.next else "jump"
        pieces, state = self._release(state, everything=True)
        passed = self._passed(first[1], state)
        missing = 1 if passed is None or passed < -CLOCK_SLACK else max(0, round(passed * self.fs))
        place = state.next + missing
        begun = self._begin(first[1], state._replace(next=place, stamps=(), pace=()))
        state = begun._replace(next=state.next, rate=self.fs / 1e9, restarts=state.restarts + 1, spare=0.0)
        piece, state = self._give(place, first[1], state, cause)
        rest, state = self._accept(self._place(second, state), second, state)
        return [*pieces, piece, *rest], state

    def _accept(self, place: int, packet: Packet, state: TimeState) -> tuple[list[Piece], TimeState]:
        state = track(place, packet, state, self.fs, self.jitter)
        if place + len(packet) <= state.next or any(place == held for held, _ in state.held):
            return [], state._replace(dropped=state.dropped + 1)
        unordered = packet.sample is None and packet.stamp is None
        if place <= state.next or unordered:
            piece, state = self._give(place, packet, state, "silence")
            rest, state = self._release(state)
            return [piece, *rest], state
        held = tuple(sorted((*state.held, (place, packet)), key=lambda item: item[0]))
        return self._release(state._replace(held=held))

    def _release(self, state: TimeState, everything: bool = False) -> tuple[list[Piece], TimeState]:
        """Give out the held packets whose turn has come, or that have waited long enough."""
        pieces: list[Piece] = []
        while state.held:
            place, packet = state.held[0]
            waited = max(state.waiting_end - place, place - state.next) > self.reorder * self.fs
            if not (everything or waited or place <= state.next):
                break
            state = state._replace(held=state.held[1:])
            if place + len(packet) > state.next:
                piece, state = self._give(place, packet, state, "lost")
                pieces.append(piece)
        return pieces, state

    def _give(self, place: int, packet: Packet, state: TimeState, cause: str) -> tuple[Piece, TimeState]:
        known = max(0, state.next - place)
        start = place + known
        samples = packet.samples[known:]
        missing = start - state.next
        time = None if packet.time is None else packet.time + known / self.fs
        end = start + len(samples)
        wall = None if state.wall is None else state.wall + (end - state.next) / self.fs
        if time is not None:
            wall = self._wall(time + len(samples) / self.fs, wall)
        due = None if state.heard is None else state.heard + (end - state.next) / self.fs
        heard = due if packet.heard is None else self._wall(packet.heard, due)
        spare = state.spare - PULL * (end - state.next) / self.fs  # a slow crystal is no stall
        if heard is not None and due is not None:
            spare += heard - due
        after = state._replace(next=end, wall=wall, heard=heard, lost=state.lost + missing)
        after = after._replace(again=0, spare=max(0.0, spare))
        return Piece(start, samples, missing, cause if missing else "", time), after

    def _wall(self, heard: float, expected: float | None) -> float:
        """Time at ``next``: an arrival may be late for many reasons, early for none but drift."""
        if expected is None or heard < expected or heard - expected > self.silence:
            return heard
        return expected + 0.05 * (heard - expected)


def _lapse(packet: Packet, state: TimeState) -> float | None:
    """Seconds since the last sample by the wall clock, which may have been set meanwhile."""
    return None if packet.time is None or state.wall is None else packet.time - state.wall
