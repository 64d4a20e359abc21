"""The graphs of one network on their way to a bundle: the artefact between ``export`` and ``build``.

On disk a folder: ``export.json``, ``weights.safetensors`` and ``graphs/<graph>.<precision>.onnx``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path
from typing import Any, Union

import msgspec

from edgeecg.bundle import (
    GRAPHS,
    PRECISIONS,
    SUFFIX,
    Bundle,
    GraphName,
    LeadPolicy,
    Precision,
    Thresholds,
    graph_part,
    make_bundle,
    packaged_names,
)
from edgeecg.deploy.golden import golden_inputs, golden_part
from edgeecg.errors import ConfigError, EdgeECGError
from edgeecg.io.atomic import atomic_folder
from edgeecg.parts import WEIGHTS
from edgeecg.specs import ModelSpec, SignalSpec

__all__ = ["GraphSet", "now", "read_graphs", "write_graphs"]

SETTINGS = "export.json"
SCHEMA = 1


@dataclass(frozen=True)
class _Settings:
    """``export.json``."""

    schema: int
    name: str
    model: ModelSpec
    signal: SignalSpec
    lead_policy: LeadPolicy
    thresholds: Thresholds
    provenance: dict[str, Any]
    parts: dict[str, str] = field(default_factory=dict)
    """SHA-256 of each file beside this one; a folder of an older release has none."""


@dataclass(frozen=True)
class GraphSet:
    """What will be a bundle.

    Parameters
    ----------
    name : str
    model, signal : ModelSpec, SignalSpec
    lead_policy : str
    thresholds : Thresholds
    graphs : mapping of path in the bundle to bytes
        ONNX models; at least both in FP32.
    weights : bytes
        The torch weights as safetensors.
    provenance : mapping
        What JSON can hold.
    """

    name: str
    model: ModelSpec
    signal: SignalSpec
    lead_policy: LeadPolicy
    thresholds: Thresholds
    graphs: Mapping[str, bytes] = field(repr=False)
    weights: bytes = field(repr=False)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """Precisions of which both graphs are there."""
        return tuple(p for p in PRECISIONS if all(graph_part(g, p) in self.graphs for g in GRAPHS))

    def graph(self, name: GraphName, precision: Precision = "fp32") -> bytes:
        """One graph; raises ``ConfigError`` where it is not there."""
        part = graph_part(name, precision)
        if part not in self.graphs:
            raise ConfigError(
                f"no {precision} graphs here, only {', '.join(self.precisions)}: run quantize first"
            )
        return self.graphs[part]

    def adding(self, graphs: Mapping[str, bytes], **provenance: Any) -> GraphSet:
        """The same with further graphs and provenance."""
        return replace(self, graphs={**self.graphs, **graphs}, provenance={**self.provenance, **provenance})

    def bundle(
        self,
        precision: Precision = "fp32",
        created: str | None = None,
        keep: Sequence[Precision] | None = None,
    ) -> Bundle:
        """The bundle of these graphs, in memory, its golden vectors made by ONNX Runtime.

        Parameters
        ----------
        precision : str
            What an engine opens when it is not told.
        created : str, optional
            UTC, ISO 8601; now where left out.
        keep : sequence of str, optional
            Precisions to put in; all where left out.
        """
        self.graph("token", precision)
        chosen = [p for p in self.precisions if keep is None or p in keep or p == precision]
        graphs = {graph_part(g, p): self.graph(g, p) for p in chosen for g in GRAPHS}
        inputs = golden_inputs(self.model, self.graph("token"), self.graph("beat"))
        return make_bundle(
            name=self.name,
            created=created or now(),
            model=self.model,
            signal=self.signal,
            lead_policy=self.lead_policy,
            default_precision=precision,
            thresholds=self.thresholds,
            provenance=self.provenance,
            parts={**graphs, "golden.npz": golden_part(inputs, graphs), WEIGHTS: self.weights},
        )


def now() -> str:
    """UTC, to the second, ISO 8601."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def write_graphs(folder: Union[str, os.PathLike[str]], graphs: GraphSet) -> Path:
    """Write the folder; it appears whole or not at all."""
    settings = _Settings(
        SCHEMA,
        graphs.name,
        graphs.model,
        graphs.signal,
        graphs.lead_policy,
        graphs.thresholds,
        dict(graphs.provenance),
        {
            part: sha256(data).hexdigest()
            for part, data in (*graphs.graphs.items(), (WEIGHTS, graphs.weights))
        },
    )
    with atomic_folder(Path(folder)) as partial:
        text = msgspec.json.format(msgspec.json.encode(asdict(settings)), indent=2)  # asdict: defaults too
        (partial / SETTINGS).write_bytes(text + b"\n")
        (partial / WEIGHTS).write_bytes(graphs.weights)
        (partial / "graphs").mkdir()
        for part, data in graphs.graphs.items():
            (partial / part).write_bytes(data)
    return Path(folder)


def read_graphs(source: Union[str, os.PathLike[str]]) -> GraphSet:
    """Read a folder of ``edgeecg export`` or ``quantize``, or take a bundle (path or packaged name) apart.

    Raises
    ------
    ConfigError
        A folder that is none of ours, or nothing at all.
    BundleError
        A bundle that cannot be opened.
    """
    folder = Path(source)
    if folder.is_dir():
        return _read_folder(folder)
    if not folder.exists() and str(source) not in packaged_names():
        raise ConfigError(
            f"no graphs at {source}: give the folder that `edgeecg export` or `edgeecg quantize` wrote, or a "
            f"bundle ({', '.join(packaged_names())}, or a {SUFFIX} file)"
        )
    return _of_bundle(Bundle.open(source))


def _of_bundle(bundle: Bundle) -> GraphSet:
    graphs = {graph_part(g, p): bundle.graph(g, p) for p in bundle.precisions for g in GRAPHS}
    said = bundle.manifest
    return GraphSet(
        bundle.name,
        bundle.spec,
        bundle.signal,
        bundle.lead_policy,
        bundle.thresholds,
        graphs,
        bundle.weights(),
        said.provenance,
    )


def _read_folder(folder: Path) -> GraphSet:
    for name in (SETTINGS, WEIGHTS):
        if not (folder / name).is_file():
            raise ConfigError(f"{folder} has no {name}: give the folder that `edgeecg export` wrote")
    try:
        settings = msgspec.json.decode((folder / SETTINGS).read_bytes(), type=_Settings)
    except (msgspec.MsgspecError, EdgeECGError) as error:
        raise ConfigError(f"{folder / SETTINGS} cannot be read ({error}): export again") from error
    if settings.schema != SCHEMA:
        raise ConfigError(f"{folder / SETTINGS} has schema {settings.schema}, this release reads {SCHEMA}")
    known = [graph_part(g, p) for g in GRAPHS for p in PRECISIONS]
    there = [part for part in known if (folder / part).is_file()]
    _check_parts(folder, settings.parts, there)
    graphs = {part: (folder / part).read_bytes() for part in there}
    found = GraphSet(
        settings.name,
        settings.model,
        settings.signal,
        settings.lead_policy,
        settings.thresholds,
        graphs,
        (folder / WEIGHTS).read_bytes(),
        settings.provenance,
    )
    if "fp32" not in found.precisions:
        raise ConfigError(f"{folder} lacks the FP32 graphs: export again")
    return found


def _check_parts(folder: Path, hashes: Mapping[str, str], there: Sequence[str]) -> None:
    """Refuse a folder whose files are not those that were written: half copied ones, another network's.

    Parameters
    ----------
    hashes : mapping of part to SHA-256
        What was written; nothing where the folder is of an older release, of which nothing can be said.
    there : sequence of str
        The graphs that lie in the folder.
    """
    foreign = [part for part in (*there, WEIGHTS) if hashes and part not in hashes]
    if foreign:
        raise ConfigError(
            f"{folder / foreign[0]} was not written with this folder and may be another network's: remove "
            "it, or export again (INT8 and FP16 graphs are made by `edgeecg quantize`)"
        )
    for part, wanted in hashes.items():
        path = folder / part
        if not path.is_file():
            raise ConfigError(f"{path} is missing: copy the folder again, or export again")
        if sha256(path.read_bytes()).hexdigest() != wanted:
            raise ConfigError(f"{path} is not what was written: copy the folder again, or export again")
