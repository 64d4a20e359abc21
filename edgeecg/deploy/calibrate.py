"""Calibration: how far activations reach on real windows, through the very path that is deployed."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import onnx

from edgeecg.bundle import GRAPHS, GraphName
from edgeecg.deploy.graphset import GraphSet
from edgeecg.deploy.precision import products
from edgeecg.deploy.ranges import SMALLEST, Histogram, clip_level
from edgeecg.deploy.watch import Tell, watch_windows
from edgeecg.deploy.windows import Recipe, WindowList
from edgeecg.errors import ConfigError, EdgeECGError
from edgeecg.io.atomic import atomic_folder
from edgeecg.io.record import Record
from edgeecg.metrics.tables import Table
from edgeecg.ranges import NotNegative, Positive
from edgeecg.runtime.executor import Tensors

__all__ = [
    "Calibration",
    "Reach",
    "calibrate",
    "network_hash",
    "reach_table",
    "read_calibration",
    "read_windows",
    "write_calibration",
]

SCHEMA = 1
WINDOWS, SCALES = "windows.json", "scales.json"
SEAL = "sha256"  # key of the hash in scales.json

T = TypeVar("T")


@dataclass(frozen=True)
class Reach:
    """One activation: the largest absolute value seen, the clip level, and the INT8 noise, dB."""

    largest: NotNegative
    level: Positive
    signal_to_noise: float

    def __post_init__(self) -> None:
        # a clip level cuts off or cuts nothing: it is never beyond what was seen
        if not SMALLEST <= self.level <= max(self.largest, SMALLEST) < math.inf:
            raise ConfigError(
                f"clip level {self.level:g} is impossible, the largest value is {self.largest:g}"
            )


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

    def of(self, graph: GraphName) -> Mapping[str, Reach]:
        """What was seen of each calibrated value of a graph; ``ConfigError`` where there is none."""
        if graph not in self.tensors:
            raise ConfigError(f"the calibration says nothing of the {graph} graph: calibrate again")
        return self.tensors[graph]

    def levels(self, graph: GraphName) -> dict[str, float]:
        """Clip level of each calibrated value of a graph; ``ConfigError`` where there is none."""
        return {name: reach.level for name, reach in self.of(graph).items()}


def network_hash(graphs: GraphSet) -> str:
    """SHA-256 of both FP32 graphs: what a calibration belongs to."""
    return hashlib.sha256(graphs.graph("token") + graphs.graph("beat")).hexdigest()


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


def reach_table(calibration: Calibration) -> Table:
    """Every calibrated activation, for people."""
    rows = tuple(
        (f"{graph}/{name}", f"{r.largest:.4g}", f"{r.level:.4g}", f"{r.signal_to_noise:.1f}")
        for graph, found in calibration.tensors.items()
        for name, r in found.items()
    )
    title = f"activations, clipped by {calibration.recipe.method}"
    return Table(title, ("activation", "largest", "clips at", "INT8 dB"), rows)


def write_calibration(folder: Path, calibration: Calibration, manifest: WindowList) -> None:
    """Write ``windows.json`` and ``scales.json``; the folder appears whole or not at all."""
    with atomic_folder(folder) as partial:
        (partial / WINDOWS).write_bytes(_json(asdict(manifest)))
        scales = asdict(calibration)
        (partial / SCALES).write_bytes(_json({**scales, SEAL: _seal(scales)}))


def read_calibration(path: Path) -> Calibration:
    """Read a folder of ``edgeecg calibrate``, or its ``scales.json``.

    Raises
    ------
    ConfigError
        The file is missing, is not what it should be, or was changed after it was written, or the windows in
        the folder are not those that it rests on.
    """
    file = path / SCALES if path.is_dir() else path
    found = _read(file, Calibration)
    written = msgspec.json.decode(file.read_bytes())
    said = written.pop(SEAL, None)
    if said is not None and said != _seal(written):  # an older release wrote none
        raise ConfigError(f"{file} is not what was written: copy the folder again, or calibrate again")
    if (path / WINDOWS).is_file() and read_windows(path).digest != found.windows:
        raise ConfigError(f"the windows in {path} are not those of its scales: calibrate again")
    return found


def read_windows(path: Path) -> WindowList:
    """Read a folder of ``edgeecg calibrate``, or its ``windows.json``; raises ``ConfigError`` likewise."""
    return _read(path / WINDOWS if path.is_dir() else path, WindowList)


def _json(value: dict[str, Any]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n"


def _seal(scales: dict[str, Any]) -> str:
    """SHA-256 of everything in ``scales.json`` but itself, white space left out."""
    return hashlib.sha256(msgspec.json.encode(scales)).hexdigest()


def _read(file: Path, kind: type[T]) -> T:
    if not file.is_file():
        raise ConfigError(f"no calibration at {file}: run `edgeecg calibrate` and give its folder")
    try:
        found = msgspec.json.decode(file.read_bytes(), type=kind)
    except (msgspec.MsgspecError, EdgeECGError) as error:
        raise ConfigError(f"{file} is no calibration of this release ({error}): calibrate again") from error
    schema = getattr(found, "schema", None)
    if schema != SCHEMA:
        raise ConfigError(f"{file} has schema {schema}, this release reads {SCHEMA}: calibrate again")
    return found


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
