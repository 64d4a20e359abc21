"""A device's own clock: where its stamps put a packet, and how fast it really counts.

A second-order loop follows the stamps: a part of each one's error goes into the anchor, a smaller one into
the rate, so that jitter evens out and drift is followed. Stamps without jitter are believed at once.
"""

from __future__ import annotations

import zlib

from edgeecg.errors import SignalError
from edgeecg.stream.clock_state import TimeState
from edgeecg.stream.sources.base import Packet

__all__ = ["PULL", "doubled", "place_by_stamp", "track", "watch_pace"]

ANCHOR_GAIN = 0.1  # of a stamp's error goes into the anchor
RATE_GAIN = 0.005  # and into the rate: critically damped over about 20 packets
ROUNDED = 500.0  # samples: over fewer a stamp that is rounded by half of one says little of the rate
EXACT_GAIN = 0.25  # into the rate at most, once as many have come, where stamps have no jitter
PULL = 0.02  # a crystal is never off by more: beyond that the declared rate is wrong
PACE = 20  # packets from which a wrong rate is told
RECENT = 32  # stamps by which a doubled packet is known, and behind which the rate is
SETTLED = 1e-3  # what may be wrong with it then


def place_by_stamp(stamp: int, anchor: tuple[int, float], state: TimeState, fs: float, jitter: float) -> int:
    """Place of a packet by its stamp: that of a packet end that is near, or where the rate puts it."""
    where = anchor[0] + (stamp - anchor[1]) * state.rate
    taken = {place for place, _ in state.held}
    ends = [state.next, *(end for place, held in state.held if (end := place + len(held)) not in taken)]
    nearest = min(ends, key=lambda end: abs(end - where))
    drifted = unsure(state) * (nearest - anchor[0])
    near = abs(nearest - where) <= max(jitter * fs, 0.5, drifted)
    return nearest if near else round(where)


def unsure(state: TimeState) -> float:
    """By what share the rate may still be wrong: drift within it is no loss."""
    return 2 * PULL if len(state.stamps) < RECENT else SETTLED


def track(place: int, packet: Packet, state: TimeState, fs: float, jitter: float) -> TimeState:
    """Let anchor and rate follow the device's stamps (a second-order loop)."""
    anchor = state.anchor
    if packet.stamp is None or anchor is None:
        return state
    state = state._replace(stamps=(*state.stamps, mark(packet))[-RECENT:])
    passed = place - anchor[0]
    if passed <= 0:
        return state
    expected = anchor[1] + passed / state.rate
    error = packet.stamp - expected
    if abs(error) * 1e-9 > max(jitter, 1 / fs, unsure(state) * passed / fs):
        return state._replace(anchor=(place, float(packet.stamp)))  # a gap lies between
    if jitter:
        anchor_gain, rate_gain = ANCHOR_GAIN, RATE_GAIN
    else:  # the mean of all, later of the last ones
        anchor_gain = 1.0
        rate_gain = max(passed / (place - state.since), min(passed / ROUNDED, EXACT_GAIN))
    nominal = fs / 1e9
    rate = state.rate / (1 + rate_gain * error * state.rate / passed)
    rate = min(max(rate, nominal * (1 - PULL)), nominal * (1 + PULL))
    return state._replace(anchor=(place, expected + anchor_gain * error), rate=rate)


def watch_pace(stamp: int, state: TimeState, fs: float) -> TimeState:
    """Stamps that advance evenly at another rate than declared are no loss: the rate is wrong.

    Raises
    ------
    SignalError
        It names the rate that the stamps show.
    """
    if not state.stamps:
        return state
    before, length = state.stamps[-1][:2]
    pace = (stamp - before) / length * fs * 1e-9
    paces = (*state.pace, pace)[-PACE:]
    even = len(paces) == PACE and max(paces) - min(paces) < PULL * abs(paces[0])
    if even and paces[0] > 0 and abs(sum(paces) / PACE - 1) > 2 * PULL:
        raise SignalError(
            f"the device's clock shows {fs / paces[0]:.4g} Hz, but {fs:g} Hz is declared: "
            f"open the source with fs={fs / paces[0]:.4g}",
            public=True,
        )
    return state._replace(pace=paces)


def doubled(packet: Packet, state: TimeState) -> bool:
    """Whether a packet without count came before; a device that begins anew sends other samples."""
    return packet.sample is None and packet.stamp is not None and mark(packet) in state.stamps


def mark(packet: Packet) -> tuple[int, int, int]:
    """By what a packet that comes again is known."""
    return packet.stamp or 0, len(packet), zlib.crc32(packet.samples.tobytes())
