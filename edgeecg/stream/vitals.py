"""What is known of a patient now, from the events so far: what a monitor shows."""

from __future__ import annotations

from collections import Counter, deque

from edgeecg.decode import rate
from edgeecg.decode.silence import HOLD_SECONDS
from edgeecg.signal.quality import QUALITY_LABELS, UNREADABLE
from edgeecg.specs import Alarm, Beat, Event, Gap, Quality, Rhythm

__all__ = ["Vitals"]

LAST_BEATS = 24
SILENT = ("asystole", "no-beat")  # alarms behind which the last intervals say nothing
HOLES = 16  # that beats still under decision may lie before
UNREADABLE_LABELS = QUALITY_LABELS[UNREADABLE:]


class Vitals:
    """Heart rate, rhythm, signal and alarms of one patient.

    Parameters
    ----------
    fs : float
        Samples a second.
    leads : tuple of str
        Those that are looked at.

    Attributes
    ----------
    beats : deque of Beat
        The last ones, oldest first.
    counts : Counter
        Beats so far, by label.
    alarms : dict
        Those that last: sample of the onset, by label.
    missing : int
        Samples lost in gaps.
    """

    def __init__(self, fs: float, leads: tuple[str, ...]) -> None:
        self.fs, self.leads = fs, leads
        self.beats: deque[Beat] = deque(maxlen=LAST_BEATS)
        self.counts: Counter[str] = Counter()
        self.alarms: dict[str, int] = {}
        self.missing = 0
        self._rate = rate.initial()
        self._holes: deque[tuple[int, int | None]] = deque(maxlen=HOLES)  # missing or unreadable
        self._open: dict[str | int, str] = {}  # episodes that last, by kind or column of a lead

    @property
    def rate(self) -> float | None:
        """Beats a minute over the last intervals; ``None`` while there are too few, or no beat comes."""
        if any(label in self.alarms for label in SILENT):
            return None
        return rate.per_minute(self._rate, self.fs)

    @property
    def rhythm(self) -> str:
        """Label of the episode that lasts; empty where none does."""
        return self._open.get("Rhythm", "")

    @property
    def signal(self) -> str:
        """How good the signal is, and which leads have none."""
        lasting = self._open.copy()
        off = "".join(f", {lead} {lasting[at]}" for at, lead in enumerate(self.leads) if at in lasting)
        return lasting.get("Quality", "good") + off

    def told(self, event: Event) -> None:
        """An event came out."""
        if isinstance(event, Beat):
            self.beats.append(event)
            self.counts[event.label] += 1
            self._beat(event.sample)
        elif isinstance(event, Gap):
            self.missing += event.length
            self._hole(event.start, event.start + event.length)
        elif isinstance(event, Alarm):
            if event.end is None:
                self.alarms[event.label] = event.start
            else:
                self.alarms.pop(event.label, None)
        elif isinstance(event, (Rhythm, Quality)):
            self._episode(event)

    def _episode(self, event: Rhythm | Quality) -> None:
        """What lasts: a rhythm, a signal that is not good, a lead without one."""
        place: str | int = type(event).__name__
        if isinstance(event, Quality) and event.lead is not None:
            place = event.lead
        elif event.label in UNREADABLE_LABELS:
            self._hole(event.start, event.end)
        if event.end is None:
            self._open[place] = event.label
        elif self._open.get(place) == event.label:
            del self._open[place]

    def _hole(self, start: int, end: int | None) -> None:
        """No beat can be found from ``start`` on; the end is told later where it is not known yet."""
        if (start, None) in self._holes:
            self._holes.remove((start, None))
        self._holes.append((start, end))
        short = end is not None and end - start <= HOLD_SECONDS * self.fs
        self._rate = rate.torn(self._rate) if short else rate.initial()

    def _beat(self, sample: int) -> None:
        """Take a beat into the running rate; an interval with a hole in it says nothing.

        A stretch is told as unreadable while the beats before it are still being decided.
        """
        last = sample if self._rate.last is None else self._rate.last
        if any(start < sample and (end is None or end > last) for start, end in self._holes):
            self._rate = rate.torn(self._rate)
        self._rate = rate.beat(sample, self._rate)
