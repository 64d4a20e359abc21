"""Frozen values that every room of the house shares: no behaviour beyond arithmetic on themselves.

Time is counted in integer samples: of the *source* in events, of the 128 Hz *model grid* inside.
One token is ``ModelSpec.patch`` samples of the model grid (8 samples, 62.5 ms).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Union

from edgeecg.errors import ConfigError

__all__ = [
    "AAMI",
    "BEAT_LABELS",
    "HEADS",
    "MODEL_FS",
    "REACH",
    "RHYTHM_LABELS",
    "RR_FEATURES",
    "Alarm",
    "Beat",
    "Event",
    "Gap",
    "ModelSpec",
    "Positions",
    "Quality",
    "Rhythm",
    "SignalSpec",
    "StackSpec",
]

MODEL_FS = 128
"""Rate of the model grid, hertz."""

REACH = 2
"""Tokens on each side that a beat's peak must lead; a beat is known this many tokens late."""

BEAT_LABELS = ("N", "S", "V", "F", "P")
"""Order of the class axis in every graph: AAMI N, S, V, F, and P for a paced beat."""

AAMI = {"N": "N", "S": "S", "V": "V", "F": "F", "P": "Q"}
"""AAMI class of a beat label: AAMI EC57 counts a paced beat as Q."""

RHYTHM_LABELS = ("N", "AFIB")
"""Rhythms that the network tells apart; ``N`` is anything that is not atrial fibrillation."""

HEADS = ("beat", "offset", *(f"shape_{label}" for label in BEAT_LABELS), "p_wave", "af", "quality")
"""Columns of the token graph's ``heads`` output (logits; ``offset`` is in tokens from the token's start)."""

RR_FEATURES = (
    "log_rr",
    "log_rr_over_median",
    "log_rr_over_previous",
    "log_rr_over_slow_mean",
    "irregularity",
    "log_next_over_median",
    "next_known",
    "history",
)
"""Interval columns that follow the two embeddings in the beat graph's ``beats`` input."""

Positions = Literal["rotary", "sinusoidal", "learned", "none"]


LARGEST = 65536
"""No size of a compact network comes near; a greater one in a manifest would only take memory."""

LOWEST = 0.01
"""Hertz; below it a filter of second-order sections is not stable."""


@dataclass(frozen=True)
class SignalSpec:
    """The front end of a bundle: source samples in millivolts to the network's input.

    Parameters
    ----------
    band : (float, float)
        Pass band of the causal Butterworth filter, hertz.
    notch : float
        Mains frequency taken out after resampling, hertz; 60 Hz is already below -60 dB.
    gain_seconds : float
        Time constant of the automatic gain control, seconds.
    gain_floor : float
        Level below which the gain does not rise any more, millivolts (mean absolute value).
    clip : float
        Largest absolute value that the network sees, in units of the level.
    """

    band: tuple[float, float] = (0.5, 40.0)
    notch: float = 50.0
    gain_seconds: float = 3.0
    gain_floor: float = 0.010
    clip: float = 20.0

    def __post_init__(self) -> None:
        low, high = self.band
        if not LOWEST <= low < high < MODEL_FS / 2 or not LOWEST <= self.notch < MODEL_FS / 2:
            raise ConfigError(
                f"band {low:g} to {high:g} Hz, notch {self.notch:g} Hz: give the lower end first, all of it "
                f"between {LOWEST:g} and {MODEL_FS / 2:g} Hz"
            )
        if not all(0 < value < math.inf for value in (self.gain_seconds, self.gain_floor, self.clip)):
            raise ConfigError("gain_seconds, gain_floor and clip of a front end must be numbers above 0")


@dataclass(frozen=True)
class StackSpec:
    """One stack of pre-norm Transformer blocks with banded attention.

    Parameters
    ----------
    dim, layers, heads, ffn : int
        Width, number of blocks, attention heads, and width of the feed-forward layer.
    left, right : int
        Positions that a query sees back and ahead *in each layer*.
    """

    dim: int
    layers: int
    heads: int
    ffn: int
    left: int
    right: int

    def __post_init__(self) -> None:
        if not all(1 <= size <= LARGEST for size in (self.dim, self.heads, self.ffn, self.layers)):
            raise ConfigError(f"dim, layers, heads and ffn must lie between 1 and {LARGEST}")
        if max(self.left, self.right) > LARGEST:
            raise ConfigError(f"left and right are at most {LARGEST} positions")
        if self.dim % self.heads or (self.dim // self.heads) % 2:
            raise ConfigError(f"dim {self.dim} must split into {self.heads} heads of an even width")
        if min(self.layers, self.left) < 1 or self.right < 0:
            raise ConfigError("a stack needs at least one layer, left >= 1 and right >= 0")

    @property
    def span(self) -> int:
        """Cached keys per layer: ``left + right`` positions."""
        return self.left + self.right

    def state_size(self, context: int = 0) -> int:
        """Floats of a stream's state: count, ``context`` samples, phase, pending inputs, keys, values."""
        head = 1 + context + self.dim // self.heads
        return head + self.layers * (self.right + 2 * self.left) * self.dim

    @property
    def lag(self) -> int:
        """Positions by which the stack's output runs late: ``layers * right``."""
        return self.layers * self.right


@dataclass(frozen=True)
class ModelSpec:
    """Sizes of both graphs, and the decision clock.

    Parameters
    ----------
    token, beat : StackSpec
        The token encoder (16 tokens a second) and the beat encoder (one position a beat).
    patch : int
        Model-grid samples per token: 8, what the strides of the patch embedding make.
    stem : tuple of int
        Channels of the first two convolutions of the patch embedding.
    delay : int
        Decision delay D, tokens: a beat at token t is classified once token t + delay is settled; no less
        than ``REACH``, by when it is known.
    positions : str
        ``rotary`` is the one that streams; the others exist for comparison in training.

    Raises
    ------
    ConfigError
        A beat would be decided before it is known.
    """

    token: StackSpec
    beat: StackSpec
    patch: int = 8
    stem: tuple[int, int] = (16, 32)
    delay: int = 5
    positions: Positions = "rotary"

    def __post_init__(self) -> None:
        if self.patch != 8:
            raise ConfigError(f"patch is {self.patch}: the patch embedding makes a token of 8 samples")
        if not all(1 <= size <= LARGEST for size in self.stem) or self.delay > LARGEST:
            raise ConfigError(f"stem and delay must lie between 1 and {LARGEST}")
        if self.delay < REACH:
            raise ConfigError(
                f"delay is {self.delay} tokens, but a beat is known after {REACH}: give that or more"
            )

    @property
    def stem_context(self) -> int:
        """Model-grid samples before a token that its patch embedding reads."""
        return 23  # three stride-2 convolutions of 7, 5 and 5 taps read 31 samples

    @property
    def beat_inputs(self) -> int:
        """Columns of the beat graph's input: token embedding, embedding at the decision, RR features."""
        return 2 * self.token.dim + len(RR_FEATURES)

    @property
    def latency_tokens(self) -> int:
        """Tokens between a beat and its event, without filters and hop: the token itself, lag and D."""
        return 1 + self.token.lag + self.delay

    @property
    def tail(self) -> int:
        """Model samples behind a segment's last one, for all its beats to come out of the network."""
        return (self.latency_tokens + 1) * self.patch  # and one: a beat may lie anywhere in its token

    def window(self, hop_tokens: int) -> int:
        """Smallest window, in tokens, whose settled zone equals the whole-record pass."""
        stem = -(-self.stem_context // self.patch)
        return stem + self.token.layers * self.token.span + hop_tokens


@dataclass(frozen=True)
class Beat:
    """A heart beat, at the source sample of its R peak.

    ``probability`` is that of ``label``; ``quality`` is 0 (unreadable) to 1 (clean); ``rr`` is the
    interval from the beat before in seconds, ``None`` for the first.
    """

    sample: int
    label: str
    probability: float
    quality: float
    rr: float | None


@dataclass(frozen=True)
class Rhythm:
    """A rhythm episode: told once at its onset (``end`` is ``None``) and once at its end."""

    start: int
    end: int | None
    label: str
    probability: float


@dataclass(frozen=True)
class Quality:
    """A stretch of the signal that is not good: told at its onset and at its end.

    ``label`` is ``noisy``, ``unreadable``, ``flat``, ``clipped`` or ``lead-off``; it is that of the best
    lead, and ``lead`` is ``None``. Where one of several leads that are looked at has no signal, whatever the
    others have, it is told by itself: ``lead`` is its column in what was pushed, ``label`` then ``flat`` or
    ``lead-off``.
    """

    start: int
    end: int | None
    label: str
    lead: int | None = None


@dataclass(frozen=True)
class Gap:
    """``length`` source samples from ``start`` on are missing; filters and caches begin anew after it."""

    start: int
    length: int


@dataclass(frozen=True)
class Alarm:
    """A finding over several beats: told at its onset and at its end.

    ``label`` is ``pause``, ``asystole``, ``bradycardia``, ``tachycardia``, ``couplet``, ``v-run``,
    ``bigeminy`` or ``no-beat``.
    """

    start: int
    end: int | None
    label: str


Event = Union[Beat, Rhythm, Quality, Gap, Alarm]
