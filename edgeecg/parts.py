"""The parts of a bundle in their zip file: verified as they are read, the same bytes whenever written."""

from __future__ import annotations

import hashlib
import io
import lzma
import zipfile
import zlib
from collections.abc import Mapping

from edgeecg.errors import BundleError
from edgeecg.manifest import GRAPHS, MANIFEST, PRECISIONS, Manifest, graph_part, parse_manifest

__all__ = ["DAMAGED", "GOLDEN", "WEIGHTS", "pack", "unpack"]

GOLDEN = "golden.npz"
WEIGHTS = "weights.safetensors"

DAMAGED = zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, NotImplementedError
"""What is raised by zip files that are not whole."""

_LARGEST = 1 << 30  # bytes; no part of a compact network comes near
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same parts give the same file, whenever it is written


def unpack(data: bytes) -> tuple[Manifest, dict[str, bytes]]:
    """The manifest and the verified parts of a file, ``manifest.json`` itself among them.

    Raises
    ------
    BundleError
        Not a zip; a part missing, unnamed or changed; another schema.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            text = _member(archive, MANIFEST, 1 << 24)
            manifest = parse_manifest(text)
            return manifest, {MANIFEST: text, **_verified(archive, manifest)}
    except DAMAGED as error:
        raise BundleError(f"not a whole zip file ({error}): copy or build the bundle again") from error


def pack(parts: Mapping[str, bytes]) -> bytes:
    """The bytes of a file with these parts, the manifest first."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for part in sorted(parts, key=lambda part: (part != MANIFEST, part)):
            info = zipfile.ZipInfo(part, _EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            archive.writestr(info, parts[part])
    return buffer.getvalue()


def _member(archive: zipfile.ZipFile, part: str, largest: int) -> bytes:
    try:
        info = archive.getinfo(part)
    except KeyError:
        raise BundleError(f"part {part} is missing: copy or build the bundle again") from None
    if info.file_size > largest:
        raise BundleError(
            f"part {part} is {info.file_size} bytes where {largest} were expected: not a good bundle"
        )
    try:
        return archive.read(info)
    except (RuntimeError, ValueError) as error:  # an encrypted member, or one that begins before the file
        raise BundleError(f"part {part} cannot be read ({error}): build the bundle again") from error


def _verified(archive: zipfile.ZipFile, manifest: Manifest) -> dict[str, bytes]:
    needed = {GOLDEN, *(graph_part(g, manifest.default_precision) for g in GRAPHS)}
    unnamed = sorted({info.filename for info in archive.infolist()} - set(manifest.parts) - {MANIFEST})
    if unnamed:
        raise BundleError(f"part {unnamed[0]} is not in the manifest: the bundle was changed, get it again")
    known = {GOLDEN, WEIGHTS, *(graph_part(graph, precision) for graph in GRAPHS for precision in PRECISIONS)}
    if foreign := sorted(set(manifest.parts) - known):
        raise BundleError(f"part {foreign[0]!r} is none of a bundle's: get the bundle from whoever built it")
    if sum(said.size for said in manifest.parts.values()) > _LARGEST:
        raise BundleError(f"its parts are over {_LARGEST >> 30} GiB together: not a good bundle")
    missing = sorted(needed - set(manifest.parts))
    if missing:
        raise BundleError(f"part {missing[0]} is missing from the manifest: build the bundle again")
    parts = {}
    for part, said in manifest.parts.items():
        data = _member(archive, part, min(said.size, _LARGEST))
        if len(data) != said.size or hashlib.sha256(data).hexdigest() != said.sha256:
            raise BundleError(
                f"part {part} is not what the manifest says (SHA-256 differs): tampered or damaged"
            )
        parts[part] = data
    return parts
