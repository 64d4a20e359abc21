"""Kernels are compiled once and kept; what stands in the way is said."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from edgeecg.bundle import Bundle
from edgeecg.errors import BackendError
from edgeecg.runtime import native
from edgeecg.runtime.native.constants import read_constants
from edgeecg.runtime.native.library import open_library
from edgeecg.runtime.native.weights import sizes_of

needs_compiler = pytest.mark.skipif(not native.find_compiler(), reason="no C compiler")


@pytest.fixture(scope="module")
def sizes() -> dict[str, int]:
    bundle = Bundle.open("nano")
    return sizes_of(bundle.spec, "beat", read_constants(bundle.graph("beat", "fp32")))


def kept(folder: Path) -> list[Path]:
    return sorted((folder / "native").glob("*.so"))


@needs_compiler
def test_kept_kernels_need_no_compiler(
    sizes: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_library(sizes, tmp_path)
    assert len(kept(tmp_path)) == 1
    monkeypatch.setenv("CC", "no-such-compiler")
    assert open_library(sizes, tmp_path).floats() > 0
    with pytest.raises(BackendError, match=r"no C compiler: apt install gcc"):
        open_library({**sizes, "LONGEST": 100}, tmp_path)


@needs_compiler
@pytest.mark.parametrize("damage", ["library", "note", "gone"])
def test_damaged_kernels_are_compiled_again(
    sizes: dict[str, int], tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    open_library(sizes, tmp_path)
    path = kept(tmp_path)[0]
    good, note = path.read_bytes(), path.with_suffix(".sha256")
    if damage == "library":
        path.unlink()  # what is loaded stays as it is
        path.write_bytes(good[:1000])
    elif damage == "note":
        note.write_bytes(b"\xff\xfe")
    else:
        note.unlink()
    assert open_library(sizes, tmp_path).floats() > 0
    assert ("compiling them again" in caplog.text) == (damage != "gone")
    assert path.read_bytes()[:4] == b"\x7fELF"
    assert len(path.read_bytes()) == len(good)


@needs_compiler
def test_a_folder_that_others_may_write_to_is_refused(sizes: dict[str, int], tmp_path: Path) -> None:
    open_library(sizes, tmp_path)
    folder = tmp_path / "native"
    folder.chmod(folder.stat().st_mode | stat.S_IWOTH)
    with pytest.raises(BackendError, match="others may write"):
        open_library(sizes, tmp_path)


@needs_compiler
def test_a_folder_that_cannot_be_made_is_said(sizes: dict[str, int], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BackendError, match="name another folder by EDGEECG_CACHE"):
        open_library(sizes, tmp_path / "file")


def test_a_compiler_that_refuses_is_quoted(
    sizes: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = tmp_path / "cc"
    compiler.write_text("#!/bin/sh\necho 'step.c:1: error: no such thing' >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    with pytest.raises(
        BackendError, match=r"refuses the kernels.*no such thing.*name another compiler by CC"
    ):
        open_library(sizes, tmp_path)
    assert kept(tmp_path) == []


def test_a_compiler_with_options_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "sh -x")
    assert native.find_compiler() == ["sh", "-x"]
    monkeypatch.setenv("CC", "")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert native.find_compiler() == []
