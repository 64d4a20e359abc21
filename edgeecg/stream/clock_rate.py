"""Do samples come at the rate that is declared? Asked of sources whose packets have no stamps of their own.

An arrival is late by a varying delay and never early. So of each stretch of time the smallest delay of any
sample behind its place at the declared rate is kept. At the right rate it stays where it is, whatever stalls
and bursts lie between; a loss or a clock that is set moves it once; a wrong rate moves it evenly, and on.
"""

from __future__ import annotations

from itertools import pairwise

from edgeecg.stream.sources.base import Packet

__all__ = ["RateWatch"]

STRETCH = 20.0  # seconds of which one delay is kept: most bursts are shorter
STRETCHES = 7  # that tell a rate: packets that are lost at random make none of so many
WRONG = 0.04  # of the declared rate by which none may be off; a crystal never is by half of it
RIGHT = 0.02  # below which a doubt is over
EVEN = 0.03  # of the rate by which steady ones may differ from stretch to stretch


class RateWatch:
    """Looks at when packets come, or at their sender's own time.

    Parameters
    ----------
    fs : float
        Declared rate, hertz.

    Attributes
    ----------
    doubt : str
        What is wrong with the rate at present; empty where nothing is, or nothing is known.
    """

    def __init__(self, fs: float) -> None:
        self.fs = fs
        self.doubt = ""
        self._count = 0  # of samples that came, where the sender has no count
        self._arrivals = True  # whether times are those of arrivals
        # when a stretch began, and its smallest delay; the last lasts
        self._delays: list[tuple[float, float]] = []

    def look(self, packet: Packet) -> None:
        """Take the time of a packet; one that has none, or a stamp for a place, says nothing."""
        arrival = packet.heard is not None
        when = packet.heard if packet.heard is not None else packet.time
        if when is None or len(packet) == 0 or (packet.stamp is not None and packet.sample is None):
            return
        first = self._count if packet.sample is None else packet.sample
        self._count = first + len(packet)
        delay = when - (self._count if arrival else first) / self.fs
        if arrival is not self._arrivals or (self._delays and when < self._delays[-1][0]):
            self._arrivals = arrival
            self._delays.clear()  # other times, or set back
        if self._delays and when - self._delays[-1][0] < STRETCH:
            begun, least = self._delays[-1]
            self._delays[-1] = begun, min(least, delay)
            return
        self._judge()
        self._delays = [*self._delays, (when, delay)][-STRETCHES:]

    def _judge(self) -> None:
        """Compare the delays of stretches that are over."""
        if len(self._delays) < STRETCHES:
            return
        late = [(d1 - d0) / (t1 - t0) for (t0, d0), (t1, d1) in pairwise(self._delays)]
        mean = sum(late) / len(late)
        if max(map(abs, late)) <= RIGHT:
            self.doubt = ""
        elif not self.doubt and min(map(abs, late)) > WRONG and max(late) - min(late) < EVEN:
            self.doubt = (
                f"about {self.fs * (1 - mean):.0f} samples come in a second, but {self.fs:g} Hz is declared: "
                "correct the rate (fs=), or see whether samples are lost on the way. Heart rates are wrong so"
            )
