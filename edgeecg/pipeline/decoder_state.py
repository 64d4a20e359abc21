"""What the decoder is told and remembers: decided beats, what does not depend on the patient, its state."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any, NamedTuple

from edgeecg.bundle import Bundle, Thresholds
from edgeecg.decode.alarms import AlarmSettings, AlarmState
from edgeecg.decode.grades import Stretch
from edgeecg.decode.rhythm import RhythmSettings, RhythmState
from edgeecg.errors import BundleError, ConfigError
from edgeecg.pipeline.leads import Tick
from edgeecg.signal.quality import TICK
from edgeecg.specs import Alarm, ModelSpec

__all__ = ["CALM", "DecoderSettings", "DecoderState", "FoundBeat", "rhythm_of"]

CALM = 20  # ticks at rest behind which what never rests begins anew


class FoundBeat(NamedTuple):
    """A decided beat, as plain values of ``pending.Decided``."""

    token: int
    place: float
    label: int
    probability: float
    quality: float
    afib: float


def rhythm_of(thresholds: Thresholds) -> RhythmSettings:
    """Operating points of the rhythm decoder.

    Raises
    ------
    BundleError
        One is named that is not there.
    ConfigError
        They contradict each other.
    """
    known = [field.name for field in fields(RhythmSettings)]
    unknown = sorted(set(thresholds.rhythm) - set(known))
    if unknown:
        raise BundleError(f"sets rhythm.{unknown[0]}: there are {', '.join(known)}")
    values: dict[str, Any] = dict(thresholds.rhythm)
    if "beats" in values:
        values["beats"] = round(values["beats"])
    return RhythmSettings(**values)


@dataclass(frozen=True)
class DecoderSettings:
    """What does not depend on the patient.

    Parameters
    ----------
    model : ModelSpec
    rhythm : RhythmSettings
    alarms : AlarmSettings
    withhold : bool
        Leave out beats on unreadable signal.
    """

    model: ModelSpec
    rhythm: RhythmSettings = field(default_factory=RhythmSettings)
    alarms: AlarmSettings = field(default_factory=AlarmSettings)
    withhold: bool = True

    @classmethod
    def of(
        cls, bundle: Bundle, alarms: AlarmSettings | None = None, withhold: bool = True
    ) -> DecoderSettings:
        """The bundle's operating points.

        Raises
        ------
        BundleError
            It names one that is not there.
        ConfigError
            ``alarms`` is no ``AlarmSettings``.
        """
        if alarms is not None and not isinstance(alarms, AlarmSettings):
            raise ConfigError(
                f"alarms is {alarms!r}: give edgeecg.decode.alarms.AlarmSettings(...), or leave it out"
            )
        try:
            rhythm = rhythm_of(bundle.thresholds)
        except BundleError as error:
            raise BundleError(f"bundle {bundle.name} {error}") from error
        return cls(bundle.spec, rhythm, alarms or AlarmSettings(), bool(withhold))

    @property
    def told(self) -> dict[str, Any]:
        """What the caller chose, as builtin values: a snapshot fits no other."""
        return {"withhold": self.withhold, "alarms": asdict(self.alarms)}

    @property
    def tick(self) -> int:
        """Tokens in a tick."""
        return TICK // self.model.patch

    @property
    def delay(self) -> int:
        """Tokens that must have come in after a beat's token for it to be decided."""
        return self.model.token.lag + self.model.delay


@dataclass
class DecoderState:
    """What a decoder remembers; plain values.

    ``anchor``: source sample of the segment's model sample 0; ``first``: of its signal; ``early``: ticks
    that begin before it; ``last``: sample of the last beat told; ``graded``, ``clock``: ticks that were
    told and that moved the clock of the alarms; ``ticks``: those from ``clock`` on; ``readable``,
    ``restless``: whether the newest can be read, and whether it never rests; ``open``: the stretch that
    is not good; ``calm``: ticks since it last was restless, as far as ``CALM``, ``stirred``: where it
    became so, ``slowed``: the beat with which a bradycardia was told that goes on; ``leads``: of each
    lead, those without a signal, empty if all have one; ``held``: beats found since the segment has, or
    may have, ended; ``late``: what a failed step ended and nobody was told.
    """

    anchor: int = 0
    first: int = 0
    early: int = 0
    last: int | None = None
    graded: int = 0
    clock: int = 0
    ticks: list[Tick] = field(default_factory=list)
    readable: bool = True
    restless: bool = False
    calm: int = CALM
    stirred: int = 0
    slowed: int | None = None
    open: Stretch | None = None
    leads: list[Stretch | None] = field(default_factory=list)
    held: list[FoundBeat] = field(default_factory=list)
    late: list[Alarm] = field(default_factory=list)
    rhythm: RhythmState = field(default_factory=RhythmState)
    alarms: AlarmState = field(default_factory=AlarmState)
