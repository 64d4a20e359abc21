"""Calibration: how far activations reach on real windows, through the very path that is deployed.

Windows are named in a manifest (record, lead, offset, SHA-256 of the samples, seed, hash of the front end),
so that anybody with the recordings can check and repeat it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
import onnx

from edgeecg.bundle import GRAPHS, GraphName
from edgeecg.deploy.graphset import GraphSet
from edgeecg.deploy.precision import products
from edgeecg.deploy.ranges import Histogram, Method, clip_level
from edgeecg.deploy.watch import Tell, watch_windows
from edgeecg.errors import ConfigError, InputError
from edgeecg.io.record import Record
from edgeecg.pipeline.references import SYNTHETIC, labelled_records
from edgeecg.runtime.executor import Tensors
from edgeecg.signal.frontend import FrontEnd
from edgeecg.specs import SignalSpec

__all__ = [
    "SCHEMA",
    "Calibration",
    "Reach",
    "Recipe",
    "Window",
    "WindowList",
    "calibrate",
    "choose_windows",
    "front_end_hash",
    "load_windows",
    "network_hash",
]

SCHEMA = 1


@dataclass(frozen=True)
class Recipe:
    """What to calibrate on, and how.

    Parameters
    ----------
    references : tuple of str
        Recordings as ``edgeecg evaluate`` names them: sets with splits, records, or ``synthetic``.
    windows : int
        How many windows, spread over the records, leads and time.
    seconds : float
        Length of a window.
    seed : int
        Of the choice of windows.
    method : str
        ``minmax``, ``percentile``, ``entropy`` or ``mse``.
    percentile : float
        For ``percentile``.
    float_layers : tuple of str
        Layers to leave out of INT8, as ``token/block0.out``.
    """

    references: tuple[str, ...] = (SYNTHETIC,)
    windows: int = 64
    seconds: float = 20.0
    seed: int = 0
    method: Method = "mse"
    percentile: float = 99.99
    float_layers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.windows < 1 or self.seconds < 5 or not self.references:
            raise ConfigError("calibration needs references, at least one window, of at least 5 seconds")


@dataclass(frozen=True)
class Window:
    """One stretch of one lead: ``start`` and ``samples`` at the record's rate."""

    reference: str
    record: str
    lead: str
    start: int
    samples: int
    sha256: str


@dataclass(frozen=True)
class WindowList:
    """The manifest: which windows, how they were drawn, and what front end they pass."""

    windows: tuple[Window, ...]
    references: tuple[str, ...]
    seed: int
    front_end: str
    schema: int = SCHEMA

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest's JSON."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()


@dataclass(frozen=True)
class Reach:
    """One activation: the largest absolute value seen, the clip level, and the INT8 noise, dB."""

    largest: float
    level: float
    signal_to_noise: float


@dataclass(frozen=True)
class Calibration:
    """Clip levels of one network, and the evidence they rest on.

    Parameters
    ----------
    network : str
        SHA-256 of both FP32 graphs.
    recipe : Recipe
    windows : str
        Digest of the manifest of windows.
    tensors : mapping of graph to value to Reach
    """

    network: str
    recipe: Recipe
    windows: str
    tensors: Mapping[GraphName, Mapping[str, Reach]] = field(default_factory=dict)
    schema: int = SCHEMA

    def levels(self, graph: GraphName) -> dict[str, float]:
        """Clip level of each calibrated value of a graph."""
        return {name: reach.level for name, reach in self.tensors[graph].items()}


def network_hash(graphs: GraphSet) -> str:
    """SHA-256 of both FP32 graphs: what a calibration belongs to."""
    return hashlib.sha256(graphs.graph("token") + graphs.graph("beat")).hexdigest()


def front_end_hash(spec: SignalSpec) -> str:
    """SHA-256 of what the front end makes of a fixed signal, to three decimals: it names the behaviour."""
    walk = np.cumsum(np.random.default_rng(7).integers(-3, 4, 4 * 360)) / 100.0
    front = FrontEnd(spec, 360.0)
    out, _ = front.step(walk[None], front.initial(1))
    return hashlib.sha256(np.rint(np.asarray(out) * 1000).astype("<i4").tobytes()).hexdigest()


def choose_windows(
    recipe: Recipe, spec: SignalSpec, root: Path | None = None
) -> tuple[WindowList, list[Record]]:
    """Draw windows over records, leads and time; each record gives about as many as any other.

    Returns
    -------
    The manifest, and the windows' samples as records of one lead.

    Raises
    ------
    InputError
        No record is long enough.
    """
    rng = np.random.default_rng(recipe.seed)
    windows: list[Window] = []
    pieces: list[Record] = []
    for number, reference in enumerate(recipe.references):
        cases = labelled_records([reference], root, recipe.seed)
        wanted = (recipe.windows - number - 1) // len(recipe.references) + 1
        turns = [rng.permutation(len(cases)) for _ in range(-(-wanted // len(cases)))]
        for index, count in zip(*np.unique(np.concatenate(turns)[:wanted], return_counts=True), strict=True):
            for piece, start in _cut(cases[index].load()[0], recipe.seconds, int(count), rng):
                digest = samples_hash(piece)
                windows.append(Window(reference, piece.name, piece.leads[0], start, len(piece), digest))
                pieces.append(piece)
    if not windows:
        raise InputError(f"no record of {', '.join(recipe.references)} is {recipe.seconds:g} s long")
    return WindowList(tuple(windows), recipe.references, recipe.seed, front_end_hash(spec)), pieces


def _cut(
    record: Record, seconds: float, count: int, rng: np.random.Generator
) -> Iterator[tuple[Record, int]]:
    """Stretches of single leads at random places, and where they start; none of too short a record."""
    length = round(seconds * record.fs)
    for _ in range(count if len(record) >= length else 0):
        start = int(rng.integers(0, len(record) - length + 1))
        yield record.cut(start, start + length).pick(int(rng.integers(len(record.leads)))), start


def load_windows(manifest: WindowList, spec: SignalSpec, root: Path | None = None) -> list[Record]:
    """The windows of a manifest, each held against its hash.

    Raises
    ------
    InputError
        A record is not there or has other samples, or the front end has changed since.
    """
    if manifest.front_end != front_end_hash(spec):
        raise InputError("the front end is not the one that the windows were drawn for: calibrate anew")
    found: dict[str, Record] = {}
    pieces = []
    for window in manifest.windows:
        key = f"{window.reference}/{window.record}"
        if key not in found:
            cases = labelled_records([window.reference], root, manifest.seed)
            match = [case for case in cases if case.name == window.record]
            if not match:
                raise InputError(f"calibration record {key} is not there: fetch it, or calibrate anew")
            found[key] = match[0].load()[0]
        record = found[key]
        piece = record.cut(window.start, window.start + window.samples).pick(window.lead)
        if samples_hash(piece) != window.sha256:
            raise InputError(
                f"calibration record {key} has other samples than when it was chosen: calibrate anew"
            )
        pieces.append(piece)
    return pieces


def samples_hash(record: Record) -> str:
    """SHA-256 of samples in nanovolts."""
    return hashlib.sha256(np.rint(np.nan_to_num(record.signal) * 1e6).astype("<i8").tobytes()).hexdigest()


def calibrate(
    graphs: GraphSet, recipe: Recipe, manifest: WindowList, pieces: Sequence[Record], tell: Tell | None = None
) -> Calibration:
    """Run the windows through the FP32 pipeline and see how far each activation reaches.

    Parameters
    ----------
    manifest, pieces
        As :func:`choose_windows` or :func:`load_windows` give them.

    Raises
    ------
    SignalError
        An activation was never seen (no beat was found in any window), or is not finite.
    """
    histograms = {name: {value: Histogram.empty() for value in _quantized(graphs, name)} for name in GRAPHS}

    def count(name: GraphName, inputs: Tensors, values: Tensors) -> None:
        for value, histogram in histograms[name].items():
            histogram.add(values[value])

    watch_windows(graphs, pieces, count, {name: tuple(histograms[name]) for name in GRAPHS}, tell)
    tensors = {
        name: {value: _reach(histogram, recipe) for value, histogram in histograms[name].items()}
        for name in GRAPHS
    }
    return Calibration(network_hash(graphs), recipe, manifest.digest, tensors)


def _quantized(graphs: GraphSet, name: GraphName) -> list[str]:
    """Values that INT8 layers of a graph read."""
    found = products(onnx.load_model_from_string(graphs.graph(name)))
    return list(dict.fromkeys(product.reads for product in found if not product.reason))


def _reach(histogram: Histogram, recipe: Recipe) -> Reach:
    level = clip_level(histogram, recipe.method, recipe.percentile)
    return Reach(_short(histogram.largest), _short(level), round(min(histogram.noise(level), 200.0), 1))


def _short(value: float) -> float:
    """Six significant digits, so that the evidence is the same on every machine."""
    return float(f"{value:.6g}")
