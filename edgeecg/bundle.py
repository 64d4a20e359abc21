"""What is deployed: one ``.edgeecg`` file with graphs, front end, labels, thresholds and golden vectors.

The format is written down in ``docs/bundle.md``. A bundle is read once into memory; every part is held
against its size and SHA-256 in the manifest, and later reads give those same verified bytes.
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Union

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeecg.errors import BundleError
from edgeecg.io.atomic import atomic_path
from edgeecg.manifest import (
    GRAPHS,
    HALF,
    LEAD_POLICIES,
    MANIFEST,
    PRECISIONS,
    SCHEMA,
    GraphName,
    Labels,
    LeadPolicy,
    Manifest,
    Part,
    Precision,
    Thresholds,
    graph_part,
    parse_manifest,
)
from edgeecg.parts import DAMAGED, GOLDEN, WEIGHTS, pack, unpack
from edgeecg.specs import ModelSpec, SignalSpec

__all__ = [
    "GRAPHS",
    "HALF",
    "LEAD_POLICIES",
    "PRECISIONS",
    "SCHEMA",
    "SUFFIX",
    "Bundle",
    "GraphName",
    "Labels",
    "LeadPolicy",
    "Manifest",
    "Part",
    "Precision",
    "Thresholds",
    "graph_part",
    "make_bundle",
    "packaged_names",
    "write_bundle",
]

SUFFIX = ".edgeecg"
"""How the name of a bundle's file ends."""

_LARGEST_GOLDEN = 1 << 28  # bytes of them unpacked, hundreds of times those of the packaged bundles


@dataclass(frozen=True)
class Bundle:
    """An opened, verified bundle; immutable, and free of any library that runs graphs.

    Parameters
    ----------
    manifest : Manifest
        What it says of itself.
    digest : str
        SHA-256 of ``manifest.json``, which holds the hashes of all parts: it names these exact graphs.
    parts : mapping of str to bytes
        The verified parts, and ``manifest.json`` itself.
    """

    manifest: Manifest
    digest: str
    parts: Mapping[str, bytes] = field(repr=False)

    def __repr__(self) -> str:
        return f"Bundle({self.name!r}, digest={self.digest[:12]}..., precisions={self.precisions})"

    @classmethod
    def open(cls, source: Union[str, os.PathLike[str]]) -> Bundle:
        """Open a bundle by packaged name or by path; a file that is called like one is ``./small``.

        Raises
        ------
        BundleError
            No such file or name; not a zip; a part missing, unnamed or changed; another schema.
        """
        label, data = _read(source)
        try:
            return cls.from_bytes(data)
        except BundleError as error:
            raise BundleError(f"{label}: {error}") from error

    @classmethod
    def from_bytes(cls, data: bytes) -> Bundle:
        """Verify the bytes of a ``.edgeecg`` file."""
        manifest, parts = unpack(data)
        return cls(manifest, hashlib.sha256(parts[MANIFEST]).hexdigest(), parts)

    @property
    def name(self) -> str:
        """What the bundle calls itself."""
        return self.manifest.name

    @property
    def spec(self) -> ModelSpec:
        """Sizes of both graphs."""
        return self.manifest.model

    @property
    def signal(self) -> SignalSpec:
        """The front end that feeds the token graph."""
        return self.manifest.signal

    @property
    def thresholds(self) -> Thresholds:
        """Operating points."""
        return self.manifest.thresholds

    @property
    def lead_policy(self) -> LeadPolicy:
        """What is done with several leads."""
        return self.manifest.lead_policy

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """Precisions of which the bundle holds both graphs."""
        return tuple(p for p in PRECISIONS if all(graph_part(g, p) in self.parts for g in GRAPHS))

    def graph(self, name: GraphName, precision: Precision = "fp32") -> bytes:
        """Serialized ONNX model; raises ``BundleError`` that lists the precisions there are."""
        part = graph_part(name, precision)
        if part not in self.parts:
            raise BundleError(
                f"bundle {self.name} has no {name} graph in {precision}: "
                f"it has {', '.join(self.precisions)}; make others with `edgeecg quantize`"
            )
        return self.parts[part]

    def golden(self) -> dict[str, NDArray[np.float32]]:
        """Golden vectors, by ``<graph>.<input>`` and ``<graph>.<precision>.<output>``.

        Raises
        ------
        BundleError
            They are no arrays, or more than golden vectors of any network are.
        """
        try:
            with zipfile.ZipFile(io.BytesIO(self.parts[GOLDEN])) as archive:
                size = sum(info.file_size for info in archive.infolist())
            if size > _LARGEST_GOLDEN:
                raise BundleError(
                    f"bundle {self.name} has golden vectors of {size} bytes, over "
                    f"{_LARGEST_GOLDEN >> 20} MiB: not a good bundle"
                )
            with np.load(io.BytesIO(self.parts[GOLDEN]), allow_pickle=False) as arrays:
                return dict(arrays)
        except (*DAMAGED, ValueError, TypeError, MemoryError) as error:
            raise BundleError(f"bundle {self.name} has damaged golden vectors: {error}") from error

    def weights(self) -> bytes:
        """The torch weights as safetensors; raises ``BundleError`` where the bundle was built without."""
        if WEIGHTS not in self.parts:
            raise BundleError(f"bundle {self.name} has no weights: it cannot be fine-tuned or explained")
        return self.parts[WEIGHTS]


def packaged_names() -> tuple[str, ...]:
    """Bundles that come with the package."""
    folder = resources.files("edgeecg") / "zoo"
    return tuple(sorted(f.name[: -len(SUFFIX)] for f in folder.iterdir() if f.name.endswith(SUFFIX)))


def make_bundle(
    *,
    name: str,
    created: str,
    model: ModelSpec,
    parts: Mapping[str, bytes],
    signal: SignalSpec | None = None,
    lead_policy: LeadPolicy = "fused",
    default_precision: Precision = "fp32",
    thresholds: Thresholds | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Bundle:
    """Put a bundle together in memory, and verify it.

    Parameters
    ----------
    created : str
        UTC, ISO 8601: equal parts and an equal time make an equal file.
    parts : mapping of path in the zip to bytes
        At least ``golden.npz`` and both graphs of the default precision.
    """
    manifest = Manifest(
        schema=SCHEMA,
        name=name,
        created=created,
        model=model,
        signal=signal or SignalSpec(),
        lead_policy=lead_policy,
        default_precision=default_precision,
        thresholds=thresholds or Thresholds(),
        labels=Labels(),
        parts={key: Part(len(parts[key]), hashlib.sha256(parts[key]).hexdigest()) for key in sorted(parts)},
        provenance=dict(provenance or {}),
    )
    text = msgspec.json.encode(
        asdict(manifest)
    )  # asdict: msgspec leaves out defaults that it filled in itself
    return Bundle.from_bytes(pack({**parts, MANIFEST: msgspec.json.format(text, indent=2)}))


def write_bundle(path: Union[str, os.PathLike[str]], bundle: Bundle) -> Path:
    """Write a bundle under a temporary name beside ``path``, then rename it.

    Raises
    ------
    BundleError
        The file cannot be written, or the manifest was changed in memory: the parts hold what it was.
    """
    if parse_manifest(bundle.parts[MANIFEST]) != bundle.manifest:
        raise BundleError(f"cannot write {path}: its manifest was changed in memory; make it by make_bundle")
    try:
        with atomic_path(Path(path)) as partial:
            partial.write_bytes(pack(bundle.parts))
    except OSError as error:
        raise BundleError(f"cannot write {path}: {error.strerror}") from error
    return Path(path)


def _read(source: Union[str, os.PathLike[str]]) -> tuple[str, bytes]:
    """Name for messages, and the bytes of a path or of a packaged bundle."""
    try:
        names, path = packaged_names(), Path(source)
    except TypeError as error:
        raise BundleError(f"{source!r} is no bundle: give a path or a packaged name") from error
    # whatever lies in the folder by chance: ./small is a file; as a Path both are the same
    if source in names or (os.fspath(source) in names and not path.exists()):
        return str(source), (resources.files("edgeecg") / "zoo" / f"{source}{SUFFIX}").read_bytes()
    try:
        if path.is_file():
            return str(path), path.read_bytes()
    except OSError as error:
        raise BundleError(f"cannot read {path}: {error.strerror}") from error
    if path.is_dir() and any((path / name).exists() for name in ("checkpoint", "checkpoint.json")):
        raise BundleError(
            f"{path} is what `edgeecg train` left, not a bundle: edgeecg export {path} --out GRAPHS, then "
            f"edgeecg build GRAPHS --out NAME{SUFFIX}"
        )
    if path.is_dir():
        raise BundleError(
            f"{path} is a folder, not a bundle: edgeecg build {path} --out NAME{SUFFIX} makes one of graphs"
        )
    have = (
        f"the packaged bundles are {', '.join(names)}"
        if names
        else "this installation has no packaged bundle"
    )
    raise BundleError(f"no bundle {str(source)!r}: give the path of a {SUFFIX} file, or a name; {have}")
