"""A stream or pool as bytes, and back: versioned, checked, bound to its bundle.

Layout: 8 bytes of magic, 32 bytes of SHA-256 over the rest, then MessagePack. Plain values and arrays
only, so that a snapshot from anywhere can be read safely.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeecg.bundle import Bundle
from edgeecg.errors import StateError
from edgeecg.signal.block import Block, Piece, SegmentEnd
from edgeecg.specs import MODEL_FS, Gap

__all__ = [
    "VERSION",
    "Header",
    "check_settings",
    "is_snapshot",
    "pack_arrays",
    "pack_piece",
    "read",
    "unpack_arrays",
    "unpack_piece",
    "write",
]

VERSION = 12
MAGIC = b"EdgeECG" + bytes([VERSION])
_TYPES = {"f4", "f8", "i8", "b1"}

Arrays = Mapping[str, NDArray[Any]]


class Header(msgspec.Struct, forbid_unknown_fields=True):
    """What a snapshot says of itself.

    Parameters
    ----------
    version : int
        :data:`VERSION`.
    kind : str
        ``stream`` or ``pool``.
    bundle, name : str
        Digest and name of the bundle that it was taken with.
    body : mapping
        The rest, by kind.
    """

    version: int
    kind: str
    bundle: str
    name: str
    body: dict[str, Any]


def write(kind: str, bundle: Bundle, body: dict[str, Any]) -> bytes:
    """The bytes of a snapshot."""
    header = Header(VERSION, kind, bundle.digest, bundle.name, body)
    payload = msgspec.msgpack.encode(header)
    return MAGIC + hashlib.sha256(payload).digest() + payload


def is_snapshot(data: bytes) -> bool:
    """Whether a file holds a snapshot, of whatever version, perhaps damaged."""
    return data.startswith(MAGIC[:7])


def read(kind: str, bundle: Bundle, data: bytes) -> dict[str, Any]:
    """The body of a snapshot.

    Raises
    ------
    StateError
        Not a snapshot, a damaged one, of another kind or version, or taken with another bundle.
    """
    if not isinstance(data, (bytes, bytearray)) or len(data) < 40 or not is_snapshot(data):
        raise StateError("this is not a snapshot of EdgeECG: start without it", public=True)
    if data[7] != VERSION:
        raise StateError(
            f"snapshot version {data[7]}, but this release reads {VERSION}: start without it", public=True
        )
    payload = data[40:]
    if hashlib.sha256(payload).digest() != data[8:40]:
        raise StateError("the snapshot is damaged or not whole: start without it", public=True)
    try:
        header = msgspec.msgpack.decode(payload, type=Header)
    except (msgspec.MsgspecError, RecursionError) as error:  # the latter: nested without end
        raise StateError(f"the snapshot cannot be read ({error}): start without it") from error
    if header.kind != kind:
        raise StateError(f"this is a snapshot of a {header.kind}, not of a {kind}", public=True)
    if header.bundle != bundle.digest:
        raise StateError(
            f"the snapshot was taken with bundle {header.name} ({header.bundle[:12]}), but this engine runs "
            f"{bundle.name} ({bundle.digest[:12]}): open that bundle, or start without the snapshot",
            public=True,
        )
    return header.body


def check_settings(saved: Any, now: dict[str, Any]) -> None:
    """Hold the settings of a snapshot against those that it is restored with.

    Raises
    ------
    StateError
        They differ; the message names where.
    """
    if saved != now:
        saved = saved if isinstance(saved, dict) else {}
        other = [name for name in now if saved.get(name) != now[name]]
        was, here = (
            ", ".join(f"{name}={_shown(name, of.get(name))}" for name in other) for of in (saved, now)
        )
        raise StateError(f"the snapshot was taken with {was}, not with {here}: start without it", public=True)


def _shown(name: str, value: Any) -> Any:
    """A setting as the user gave it: the hop in seconds."""
    return f"{value / MODEL_FS:g} s" if name == "hop" and isinstance(value, int) else value


def pack_arrays(arrays: Arrays) -> dict[str, Any]:
    """Arrays as MessagePack values."""
    return {
        name: [array.dtype.str[1:], list(array.shape), np.ascontiguousarray(array).tobytes()]
        for name, array in ((name, np.asarray(array)) for name, array in arrays.items())
    }


def unpack_arrays(packed: Any) -> dict[str, NDArray[Any]]:
    """Arrays from :func:`pack_arrays`; raises ``StateError`` where they are not."""
    try:
        return {name: _array(*parts) for name, parts in packed.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise StateError(
            f"the snapshot holds no arrays where they should be ({error}): start without it"
        ) from error


def pack_piece(piece: Piece) -> dict[str, Any]:
    """A piece of the block stage as MessagePack values."""
    values = piece._asdict() if not isinstance(piece, Gap) else {"start": piece.start, "length": piece.length}
    arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
    plain = {name: value for name, value in values.items() if name not in arrays}
    return {"kind": type(piece).__name__, "plain": plain, "arrays": pack_arrays(arrays)}


def unpack_piece(packed: dict[str, Any]) -> Piece:
    """A piece from :func:`pack_piece`; raises ``StateError`` where it is not one."""
    kinds: dict[str, Any] = {"Block": Block, "SegmentEnd": SegmentEnd, "Gap": Gap}
    values = packed["plain"] | unpack_arrays(packed["arrays"])
    if "restarts" in values:
        values["restarts"] = tuple((lead, column) for lead, column in values["restarts"])
    try:
        piece: Piece = kinds[packed["kind"]](**values)
    except (KeyError, TypeError) as error:
        raise StateError(f"the snapshot's queue cannot be read ({error}): start without it") from error
    return piece


def _array(kind: str, shape: list[int], data: bytes) -> NDArray[Any]:
    if kind not in _TYPES:
        raise ValueError(f"type {kind}")
    array: NDArray[Any] = np.frombuffer(data, "<" + kind if kind != "b1" else "b1").reshape(shape).copy()
    return array
