"""What a bundle says of itself: ``manifest.json``, typed, with the names and orders that all bundles share.

The format is written down in ``docs/bundle.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from edgeecg.errors import BundleError, EdgeECGError
from edgeecg.specs import BEAT_LABELS, HEADS, RHYTHM_LABELS, RR_FEATURES, ModelSpec, SignalSpec

__all__ = [
    "GRAPHS",
    "HALF",
    "LEAD_POLICIES",
    "MANIFEST",
    "PRECISIONS",
    "SCHEMA",
    "GraphName",
    "Labels",
    "LeadPolicy",
    "Manifest",
    "Part",
    "Precision",
    "Thresholds",
    "graph_part",
    "parse_manifest",
]

SCHEMA = 1
"""Version of the format that this release reads and writes."""

GraphName = Literal["token", "beat"]
Precision = Literal["fp32", "fp16", "int8", "mixed"]
LeadPolicy = Literal["first", "best", "fused"]
LEAD_POLICIES: tuple[LeadPolicy, ...] = ("first", "best", "fused")
GRAPHS: tuple[GraphName, ...] = ("token", "beat")
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8", "mixed")
HALF: tuple[Precision, ...] = ("fp16", "mixed")
"""Precisions with FP16 in them."""

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Thresholds:
    """Operating points, chosen on validation patients and settable by the user.

    Parameters
    ----------
    beat : float
        Least probability mass of a beat, 0 to 1. 0.3 balances misses and extras on held-out patients.
    noise : float
        What a beat must hold beside that where the signal is unreadable, less where it is clearer
        (`edgeecg.decode.peaks.clear`), 0 or more; 0 asks the same in noise.
    bias : mapping of label to float
        Added to the class logits before the softmax; labels left out have 0.
    afib : float
        Smoothed P(AFIB) from which on no beat is told as S but as N, above 0; above 1 for never.
    rhythm : mapping of name to float
        Operating points of the rhythm decoder, by its own names.
    confidence : mapping of label to (slope, offset)
        Corrects the probability told with a label, on its log odds (`edgeecg.decode.confidence`); changes
        no label.
    """

    beat: float = 0.3
    noise: float = 0.4
    bias: Mapping[str, float] = field(default_factory=dict)
    afib: float = 0.4
    rhythm: Mapping[str, float] = field(default_factory=dict)
    confidence: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 < self.beat < 1:
            raise BundleError(f"the beat threshold is {self.beat}: it must lie between 0 and 1")
        if not self.noise >= 0:
            raise BundleError(f"the threshold's rise in noise is {self.noise}: it must be 0 or more")
        if not self.afib > 0:
            raise BundleError(f"the limit of fibrillation is {self.afib}: it must be above 0")
        for what, labels in (("bias", self.bias), ("confidence", self.confidence)):
            unknown = sorted(set(labels) - set(BEAT_LABELS))
            if unknown:
                raise BundleError(
                    f"a {what} for {', '.join(unknown)}: the labels are {', '.join(BEAT_LABELS)}"
                )
        flat = [label for label, (slope, _) in self.confidence.items() if not slope > 0]
        if flat:
            raise BundleError(f"the confidence of {', '.join(flat)} has a slope that is not above 0")


@dataclass(frozen=True)
class Labels:
    """Order of the columns that the graphs give and take; a bundle of another order is refused."""

    beats: tuple[str, ...] = BEAT_LABELS
    rhythms: tuple[str, ...] = RHYTHM_LABELS
    heads: tuple[str, ...] = HEADS
    rr_features: tuple[str, ...] = RR_FEATURES


@dataclass(frozen=True)
class Part:
    """Size in bytes and SHA-256 of one part of the zip."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """``manifest.json``, typed.

    Parameters
    ----------
    schema : int
        :data:`SCHEMA`.
    name : str
        What the bundle calls itself, e.g. ``small``.
    created : str
        UTC, ISO 8601.
    model, signal : ModelSpec, SignalSpec
        Sizes of the graphs; the front end that feeds them.
    lead_policy : str
        ``first``, ``best`` or ``fused``.
    default_precision : str
        What an engine opens when it is not told.
    thresholds, labels : Thresholds, Labels
        Operating points; order of columns.
    parts : mapping of path in the zip to Part
        Every other part of the file.
    provenance : mapping
        Data and code that it comes from; free, for people.
    """

    schema: int
    name: str
    created: str
    model: ModelSpec
    signal: SignalSpec
    lead_policy: LeadPolicy
    default_precision: Precision
    thresholds: Thresholds
    labels: Labels
    parts: Mapping[str, Part]
    provenance: Mapping[str, Any] = field(default_factory=dict)


def graph_part(name: GraphName, precision: Precision) -> str:
    """Path of a graph in the zip."""
    return f"graphs/{name}.{precision}.onnx"


def parse_manifest(text: bytes) -> Manifest:
    """Manifest from JSON; the schema is looked at first, so that a newer one says so.

    Raises
    ------
    BundleError
        Not JSON, of another schema, with labels in another order, or a name that steers terminals.
    """
    try:
        schema = msgspec.json.decode(text, type=dict).get("schema")
    except (msgspec.MsgspecError, RecursionError) as error:
        raise BundleError(f"{MANIFEST} is not JSON ({error}): build the bundle again") from error
    if schema != SCHEMA:
        advice = "update edgeecg" if isinstance(schema, int) and schema > SCHEMA else "build the bundle again"
        raise BundleError(f"bundle schema {schema!r}, but this release reads {SCHEMA}: {advice}")
    try:
        manifest = msgspec.json.decode(text, type=Manifest)
    except (msgspec.MsgspecError, EdgeECGError) as error:
        raise BundleError(
            f"{MANIFEST} does not fit schema {SCHEMA} ({error}): build the bundle again"
        ) from error
    if manifest.labels != Labels():
        raise BundleError(
            "its labels are ordered otherwise than this release reads them: build the bundle again"
        )
    if not f"{manifest.name}{manifest.created}".isprintable():
        raise BundleError("its name or its date holds what cannot be printed: build the bundle again")
    return manifest
