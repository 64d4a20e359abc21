"""The bundle: one file, verified; whatever is wrong with it is said in one line."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeecg.bundle import (
    GRAPHS,
    SCHEMA,
    Bundle,
    Thresholds,
    graph_part,
    make_bundle,
    packaged_names,
    write_bundle,
)
from edgeecg.errors import BundleError, ConfigError
from edgeecg.specs import REACH, ModelSpec, SignalSpec, StackSpec

STACK = StackSpec(dim=16, layers=1, heads=1, ffn=16, left=4, right=0)
SPEC = ModelSpec(token=STACK, beat=STACK)


def golden() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **{"token.signal": np.ones((1, 8), np.float32)})
    return buffer.getvalue()


PARTS = {
    "golden.npz": golden(),
    "graphs/token.fp32.onnx": b"token graph " * 40,
    "graphs/beat.fp32.onnx": b"beat graph " * 40,
    "weights.safetensors": b"weights",
}


def made(**changes: object) -> Bundle:
    plain = {"name": "tiny", "created": "2026-01-01T00:00:00+00:00", "model": SPEC, "parts": PARTS}
    return make_bundle(**{**plain, **changes})  # type: ignore[arg-type]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "tiny.edgeecg", made())


def one_line(error: pytest.ExceptionInfo[BundleError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    assert len(text) < 300
    return text


def repacked(path: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """The zip with its members changed; the zip's own checksums fit again, as a forger would make them."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def with_manifest(change: Callable[[dict[str, object]], None]) -> Callable[[dict[str, bytes]], None]:
    def apply(members: dict[str, bytes]) -> None:
        manifest = json.loads(members["manifest.json"])
        change(manifest)
        members["manifest.json"] = json.dumps(manifest).encode()

    return apply


def test_what_was_written_is_read(path: Path) -> None:
    bundle = Bundle.open(path)
    assert bundle == made()
    assert bundle.spec == SPEC
    assert bundle.signal == SignalSpec()
    assert bundle.precisions == ("fp32",)
    assert [bundle.graph(name) for name in GRAPHS] == [PARTS[graph_part(name, "fp32")] for name in GRAPHS]
    assert bundle.weights() == b"weights"
    assert bundle.golden()["token.signal"].shape == (1, 8)
    assert Bundle.open(str(path)).digest == bundle.digest


def test_equal_parts_make_an_equal_file(tmp_path: Path) -> None:
    files = [write_bundle(tmp_path / f"{i}.edgeecg", made()).read_bytes() for i in range(2)]
    assert files[0] == files[1]


def test_defaults_are_written_down_wherever_they_came_from() -> None:
    """A bundle must mean the same under a release that has other defaults."""
    filled = msgspec.convert({}, Thresholds), msgspec.convert({}, SignalSpec)
    assert made(thresholds=filled[0], signal=filled[1]).digest == made().digest


def test_the_digest_names_every_part_and_setting() -> None:
    digests = [
        made().digest,
        made(parts={**PARTS, "weights.safetensors": b"others"}).digest,
        made(thresholds=Thresholds(beat=0.4)).digest,
        made(signal=SignalSpec(notch=60.0)).digest,
        made(lead_policy="first").digest,
    ]
    assert len(set(digests)) == len(digests)


def test_the_manifest_says_what_the_design_asks_for(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        manifest = json.loads(archive.read("manifest.json"))
    assert manifest["schema"] == SCHEMA
    assert manifest["thresholds"]["beat"] == Thresholds().beat
    assert manifest["labels"]["beats"] == ["N", "S", "V", "F", "P"]
    assert manifest["labels"]["heads"][0] == "beat"
    for part, said in manifest["parts"].items():
        assert said == {"size": len(PARTS[part]), "sha256": hashlib.sha256(PARTS[part]).hexdigest()}


@pytest.mark.parametrize("part", sorted(PARTS))
def test_a_tampered_part_is_named(path: Path, part: str) -> None:
    def change(members: dict[str, bytes]) -> None:
        members[part] = members[part][:-1] + bytes([members[part][-1] ^ 1])

    with pytest.raises(BundleError, match=f"part {part} is not what the manifest says") as error:
        Bundle.open(repacked(path, change))
    assert str(path) in one_line(error)


@pytest.mark.parametrize("part", ["manifest.json", "golden.npz", "graphs/beat.fp32.onnx"])
def test_a_missing_part_is_named(path: Path, part: str) -> None:
    with pytest.raises(BundleError, match=f"part {part} is missing") as error:
        Bundle.open(repacked(path, lambda members: members.__delitem__(part) or None))
    one_line(error)


def test_a_part_that_the_manifest_does_not_name_is_refused(path: Path) -> None:
    with pytest.raises(BundleError, match=r"evil\.so is not in the manifest") as error:
        Bundle.open(repacked(path, lambda members: members.update({"evil.so": b"?"})))
    one_line(error)


def test_a_needed_part_cannot_be_left_out_of_the_manifest_either(path: Path) -> None:
    def change(members: dict[str, bytes]) -> None:
        del members["golden.npz"]
        with_manifest(lambda m: m["parts"].pop("golden.npz"))(members)  # type: ignore[attr-defined]

    with pytest.raises(BundleError, match=r"golden\.npz is missing from the manifest"):
        Bundle.open(repacked(path, change))


@pytest.mark.parametrize(
    ("schema", "advice"),
    [(SCHEMA + 1, "update edgeecg"), (0, "build the bundle again"), ("1", "build"), (None, "build")],
)
def test_another_schema_says_which_way_to_go(path: Path, schema: object, advice: str) -> None:
    with pytest.raises(BundleError, match=advice) as error:
        Bundle.open(repacked(path, with_manifest(lambda m: m.update(schema=schema))))
    assert "schema" in one_line(error)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.pop("model"),
        lambda m: m["model"]["token"].update(dim=15),
        lambda m: m["model"]["token"].update(dim="wide"),
        lambda m: m.update(lead_policy="loudest"),
        lambda m: m["thresholds"].update(beat=1.5),
        lambda m: m["thresholds"].update(bias={"X": 1.0}),
        lambda m: m["labels"].update(beats=["V", "N", "S", "F", "P"]),
        lambda m: m["parts"].update({"golden.npz": "?"}),
        lambda m: m.update(name="tiny\x1b]0;x\x07"),
        lambda m: m.update(created="2026\n"),
    ],
)
def test_a_manifest_that_does_not_fit_is_one_line(
    path: Path, change: Callable[[dict[str, object]], None]
) -> None:
    with pytest.raises(BundleError) as error:
        Bundle.open(repacked(path, with_manifest(change)))
    assert str(path) in one_line(error)


@pytest.mark.parametrize("text", [b"", b"{", b"[1, 2]", b"\xff\xfe"])
def test_a_manifest_that_is_no_json_object(path: Path, text: bytes) -> None:
    with pytest.raises(BundleError, match=r"manifest\.json") as error:
        Bundle.open(repacked(path, lambda members: members.update({"manifest.json": text})))
    one_line(error)


def test_a_part_larger_than_said_is_not_unpacked(path: Path) -> None:
    with pytest.raises(BundleError, match="bytes where"):
        Bundle.open(repacked(path, lambda members: members.update({"weights.safetensors": bytes(1 << 20)})))


@settings(max_examples=60)
@given(share=st.floats(0, 0.999))
def test_a_truncated_file_is_one_line(share: float) -> None:
    data = _zipped()
    with pytest.raises(BundleError) as error:
        Bundle.from_bytes(data[: int(len(data) * share)])
    one_line(error)


@settings(max_examples=200)
@given(place=st.floats(0, 0.9999), bit=st.integers(0, 7))
def test_no_flipped_bit_changes_what_is_run(place: float, bit: int) -> None:
    """Either the file is refused, or every part is what it was."""
    data = bytearray(_zipped())
    data[int(len(data) * place)] ^= 1 << bit
    try:
        bundle = Bundle.from_bytes(bytes(data))
    except BundleError:
        return
    assert bundle == made()


def _zipped() -> bytes:
    buffer = io.BytesIO()
    bundle = made()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for part, data in bundle.parts.items():
            archive.writestr(part, data)
    return buffer.getvalue()


def test_an_unknown_name_lists_the_packaged_ones(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BundleError, match="no bundle 'smal'") as error:
        Bundle.open("smal")
    text = one_line(error)
    assert all(name in text for name in packaged_names())


def test_a_packaged_name_opens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, path: Path) -> None:
    """The zoo is package data: put a bundle beside the others and open it by name."""
    (tmp_path / "zoo").mkdir()
    (tmp_path / "zoo" / "ward.edgeecg").write_bytes(path.read_bytes())
    monkeypatch.setattr("edgeecg.bundle.resources.files", lambda package: tmp_path)
    assert packaged_names() == ("ward",)
    assert Bundle.open("ward") == made()
    with pytest.raises(BundleError, match="packaged bundles are ward"):
        Bundle.open("small")


def test_a_file_that_is_called_like_a_packaged_bundle_does_not_stand_in_its_way(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Bundle.open(Path("nano")).name == "nano"  # a program may make a path of all that it is told
    with pytest.raises(BundleError, match=r"no bundle './nano'"):
        Bundle.open("./nano")
    Path("nano").write_text("notes")
    assert Bundle.open("nano").name == "nano"
    for named in ("./nano", Path("nano")):
        with pytest.raises(BundleError, match="nano: not a whole zip file"):
            Bundle.open(named)


def test_every_packaged_bundle_opens() -> None:
    assert "small" in packaged_names()
    for name in packaged_names():
        assert Bundle.open(name).name == name


@pytest.mark.parametrize("data", [b"", b"not a zip", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_bundle(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "x.edgeecg"
    file.write_bytes(data)
    with pytest.raises(BundleError) as error:
        Bundle.open(file)
    one_line(error)


def test_a_folder_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"a folder, not a bundle: edgeecg build .* makes one"):
        Bundle.open(tmp_path)


def test_a_missing_precision_lists_those_there(path: Path) -> None:
    with pytest.raises(BundleError, match="no token graph in int8: it has fp32"):
        Bundle.open(path).graph("token", "int8")


def test_a_bundle_without_weights_says_so() -> None:
    parts = {name: data for name, data in PARTS.items() if name != "weights.safetensors"}
    with pytest.raises(BundleError, match="no weights"):
        made(parts=parts).weights()


def test_writing_replaces_whole_or_not_at_all(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(BundleError, match=r"cannot write .*No space left"):
        write_bundle(path, made(name="other"))
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_what_was_changed_in_memory_is_not_written_as_it_was(tmp_path: Path) -> None:
    bundle = Bundle.open("nano")
    changed = replace(bundle, manifest=replace(bundle.manifest, thresholds=Thresholds(beat=0.2)))
    with pytest.raises(BundleError, match="changed in memory"):
        write_bundle(tmp_path / "x.edgeecg", changed)
    assert not list(tmp_path.iterdir())


def test_a_beat_is_not_decided_before_it_is_known() -> None:
    assert replace(SPEC, delay=REACH).latency_tokens == 1 + SPEC.token.lag + REACH
    with pytest.raises(ConfigError, match="delay is 1"):
        replace(SPEC, delay=REACH - 1)


def test_thresholds_out_of_range_are_refused() -> None:
    with pytest.raises(BundleError, match="between 0 and 1"):
        Thresholds(beat=0.0)
    with pytest.raises(BundleError, match="labels are N, S, V, F, P"):
        replace(Thresholds(), bias={"Q": 1.0})
    with pytest.raises(BundleError, match="a confidence for Q"):
        Thresholds(confidence={"Q": (1.0, 0.0)})
    with pytest.raises(BundleError, match="confidence of S has a slope"):
        Thresholds(confidence={"S": (0.0, 1.0)})


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("model", "token", "dim"), -32),
        (("model", "token", "heads"), 0),
        (("model", "token", "layers"), 10**9),
        (("model", "token", "left"), 10**9),
        (("model", "patch"), 0),
        (("model", "patch"), 10**9),
        (("signal", "band"), [1e-300, 1e-299]),
        (("signal", "notch"), 1e-300),
    ],
)
def test_sizes_that_no_network_has_are_refused(path: Path, place: tuple[str, ...], value: object) -> None:
    def change(manifest: dict[str, object]) -> None:
        inner: Any = manifest
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = value

    with pytest.raises(BundleError, match="does not fit schema") as error:
        Bundle.open(repacked(path, with_manifest(change)))
    one_line(error)


def test_a_manifest_nested_deep_is_one_line(path: Path) -> None:
    deep = b'{"schema": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    with pytest.raises(BundleError, match="not JSON") as error:
        Bundle.open(repacked(path, lambda members: members.update({"manifest.json": deep})))
    one_line(error)


def test_parts_that_are_none_of_a_bundle_are_refused() -> None:
    with pytest.raises(BundleError, match=r"part '\.\./\.\./evil' is none of a bundle's"):
        made(parts={**PARTS, "../../evil": b"x"})


@pytest.mark.parametrize("data", [b"", b"junk", b"PK\x03\x04 no zip", b"\x93NUMPY\x01\x00"])
def test_damaged_golden_vectors_are_one_line(data: bytes) -> None:
    with pytest.raises(BundleError, match="damaged golden vectors") as error:
        made(parts={**PARTS, "golden.npz": data}).golden()
    one_line(error)


def test_golden_vectors_that_unpack_without_end_are_refused() -> None:
    """Zeros pack a thousandfold: of a bundle of a few MB the memory of a device would be full."""
    packed = io.BytesIO()
    with (
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("token.signal.npy", "w") as member,
    ):
        shape = {"descr": "<f4", "fortran_order": False, "shape": (1 << 27,)}
        np.lib.format.write_array_header_1_0(member, shape)
        for _ in range(32):
            member.write(bytes(1 << 24))
    bundle = made(parts={**PARTS, "golden.npz": packed.getvalue()})
    with pytest.raises(BundleError, match="golden vectors of 536871040 bytes, over 256 MiB") as error:
        bundle.golden()
    one_line(error)


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_damage_in_other_compressions_is_one_line(tmp_path: Path, method: int) -> None:
    bundle = made()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in bundle.parts.items():
            archive.writestr(name, data)
    raw = bytearray(buffer.getvalue())
    for place in range(60, 400, 7):
        raw[place] ^= 0xFF
    with pytest.raises(BundleError):
        Bundle.from_bytes(bytes(raw))
