"""Which stretches of which recordings a calibration rests on: drawn, written down, and found again.

Windows are named in a manifest (record, lead, offset, SHA-256 of the samples, seed, hash of the front end),
so that anybody with the recordings can check and repeat it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import msgspec
import numpy as np

from edgeecg.deploy.ranges import Method
from edgeecg.errors import ConfigError, InputError
from edgeecg.io.identity import samples_hash
from edgeecg.io.reading import named
from edgeecg.io.record import Record
from edgeecg.io.toml import read_toml
from edgeecg.metrics.references import SYNTHETIC, labelled_records
from edgeecg.ranges import LARGEST_SEED, choices
from edgeecg.signal.frontend import FrontEnd
from edgeecg.signal.resample import Resampler
from edgeecg.specs import SignalSpec

__all__ = [
    "SCHEMA",
    "Recipe",
    "Window",
    "WindowList",
    "choose_windows",
    "front_end_hash",
    "load_windows",
    "read_recipe",
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
        How many windows, spread over the references, records, leads and time; at least one a reference.
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
        if self.windows < 1 or not 5 <= self.seconds < math.inf or not self.references:
            raise ConfigError(
                "calibration needs references, at least one window, of at least 5 seconds and not endless"
            )
        if self.windows < len(self.references):
            raise ConfigError(
                f"windows = {self.windows} is too few for {len(self.references)} references: "
                "give at least one window (--windows) for each"
            )
        if not 0 <= self.seed <= LARGEST_SEED:
            raise ConfigError(f"seed {self.seed} must be 0 to {LARGEST_SEED}")


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
        return hashlib.sha256(msgspec.json.encode(asdict(self))).hexdigest()


def read_recipe(path: Path) -> Recipe:
    """Read a TOML file.

    Raises
    ------
    ConfigError
        Missing file, bad TOML, unknown key, wrong type.
    """
    values = read_toml(path, "recipe")
    known = [f.name for f in fields(Recipe)]
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ConfigError(f"{path}: unknown key {unknown[0]!r}, known are {', '.join(known)}")
    try:
        return msgspec.convert(values, Recipe)
    except (msgspec.ValidationError, ConfigError) as error:
        raise ConfigError(f"{path}: {error}{choices(str(error), Recipe)}") from error


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
        No record is long enough, or one, which is named, cannot be read or has a rate that no stream takes.
    """
    rng = np.random.default_rng(recipe.seed)
    windows: list[Window] = []
    pieces: list[Record] = []
    for number, reference in enumerate(recipe.references):
        cases = labelled_records([reference], root, recipe.seed)
        wanted = (recipe.windows - number - 1) // len(recipe.references) + 1
        turns = [rng.permutation(len(cases)) for _ in range(-(-wanted // len(cases)))]
        for index, count in zip(*np.unique(np.concatenate(turns)[:wanted], return_counts=True), strict=True):
            with named(cases[index].title):
                record = cases[index].samples()
                Resampler(record.fs)
            for piece, start in _cut(record, recipe.seconds, int(count), rng):
                digest = samples_hash(piece)
                windows.append(Window(reference, piece.name, piece.leads[0], start, len(piece), digest))
                pieces.append(piece)
    if not windows:
        asked = ", ".join(recipe.references)
        raise InputError(
            f"no record of {asked} is {recipe.seconds:g} s long: ask for shorter ones (--seconds)"
        )
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
            found[key] = match[0].samples()
        record = found[key]
        piece = record.cut(window.start, window.start + window.samples).pick(window.lead)
        if samples_hash(piece) != window.sha256:
            raise InputError(
                f"calibration record {key} has other samples than when it was chosen: calibrate anew"
            )
        pieces.append(piece)
    return pieces
