"""Kernels are compiled once and kept; what stands in the way is said."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from pathlib import Path

import pytest

from edgeecg.bundle import Bundle
from edgeecg.errors import BackendError
from edgeecg.runtime import native
from edgeecg.runtime.cache import OwnFolder, default_folder
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


def compiler(folder: Path, *lines: str) -> str:
    """A C compiler of one's own; gives its path."""
    path = folder / "my-cc"
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)
    return str(path)


@needs_compiler
def test_kept_kernels_need_no_compiler(
    sizes: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_library(sizes, tmp_path)
    assert len(kept(tmp_path)) == 1
    monkeypatch.setenv("PATH", str(tmp_path))
    assert open_library(sizes, tmp_path).floats() > 0
    with pytest.raises(BackendError, match=r"no C compiler: apt install gcc"):
        open_library({**sizes, "LONGEST": 100}, tmp_path)


@needs_compiler
@pytest.mark.parametrize("damage", ["library", "note", "gone", "no library"])
def test_damaged_kernels_are_compiled_again(
    sizes: dict[str, int], tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    open_library(sizes, tmp_path)
    path = kept(tmp_path)[0]
    good, note = path.read_bytes(), path.with_name(f"{path.name}.sha256")
    if damage == "library":
        path.write_bytes(good[:1000])
    elif damage == "note":
        note.write_bytes(b"\xff\xfe")
    elif damage == "gone":
        note.unlink()
    else:  # whole, and of another system
        path.write_bytes(b"nothing that can be loaded")
        note.write_text(hashlib.sha256(path.read_bytes()).hexdigest())
    assert open_library(sizes, tmp_path).floats() > 0
    assert ("compiling them again" in caplog.text) == (damage != "gone")
    assert len(path.read_bytes()) == len(good)


@needs_compiler
def test_a_folder_that_others_may_write_to_is_refused(sizes: dict[str, int], tmp_path: Path) -> None:
    open_library(sizes, tmp_path)
    folder = tmp_path / "native"
    folder.chmod(folder.stat().st_mode | stat.S_IWOTH)
    with pytest.raises(BackendError, match="others may write"):
        open_library(sizes, tmp_path)


@needs_compiler
def test_kernels_that_cannot_be_kept_are_used_all_the_same(
    sizes: dict[str, int], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    assert open_library(sizes, tmp_path / "file").floats() > 0
    assert "cannot be kept" in caplog.text
    assert "compiled at each start" in caplog.text


@needs_compiler
def test_a_folder_put_in_its_place_is_not_read(
    sizes: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever owns a folder above may exchange it once it was looked at."""
    open_library(sizes, tmp_path)
    name = kept(tmp_path)[0].name
    evil = tmp_path / "evil"
    evil.mkdir()
    (evil / name).write_bytes(b"evil")
    looked = os.fstat

    def exchange(handle: int) -> os.stat_result:
        found = looked(handle)
        (tmp_path / "native").rename(tmp_path / "away")
        evil.rename(tmp_path / "native")
        monkeypatch.undo()
        return found

    monkeypatch.setattr(os, "fstat", exchange)
    (data,) = OwnFolder(tmp_path / "native").read(name)
    assert data[:4] == b"\x7fELF"


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (("echo 'step.c:1: error: no such thing' >&2", "exit 1"), "no such thing"),
        (("printf 'fehler \\351\\n' >&2", "exit 1"), "fehler"),
        (("exit 3",), "exit 3"),
        ((), "it wrote nothing"),
        (("echo garbage > step.so",), "cannot be loaded"),
    ],
)
def test_a_compiler_that_fails_is_told_and_nothing_is_kept(
    sizes: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: tuple[str, ...], words: str
) -> None:
    monkeypatch.setenv("CC", compiler(tmp_path, *lines))
    with pytest.raises(BackendError, match=words) as error:
        open_library(sizes, tmp_path)
    assert "by CC" in str(error.value)
    assert "\n" not in str(error.value)
    assert kept(tmp_path) == []


def test_a_compiler_that_cannot_be_run_is_told(
    sizes: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "cc"
    broken.write_bytes(b"\x7fELF nothing")
    broken.chmod(0o755)
    monkeypatch.setenv("CC", str(broken))
    with pytest.raises(BackendError, match="does not compile the kernels"):
        open_library(sizes, tmp_path)


@needs_compiler
def test_a_library_without_the_kernels_is_told(
    sizes: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = native.find_compiler()[0]
    lines = ("echo 'int step;' > other.c", f"exec {good} -shared -fPIC other.c -o step.so")
    monkeypatch.setenv("CC", compiler(tmp_path, *lines))
    with pytest.raises(BackendError, match="it has no floats"):
        open_library(sizes, tmp_path)
    assert kept(tmp_path) == []


@needs_compiler
def test_another_compiler_mends_what_a_bad_one_made(
    sizes: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that makes a library that loads and is wrong: naming another has it compiled anew."""
    good = native.find_compiler()[0]
    monkeypatch.setenv("CC", compiler(tmp_path, f'exec {good} "$@" -DLAYERS=1 -w'))
    open_library(sizes, tmp_path)
    monkeypatch.setenv("CC", good)
    open_library(sizes, tmp_path)
    assert len(kept(tmp_path)) == 2


def test_a_compiler_that_is_none_is_quoted(
    sizes: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", "no-such-compiler -O9")
    with pytest.raises(BackendError, match="CC names no-such-compiler -O9, which is no program"):
        open_library(sizes, tmp_path)


def test_no_room_to_compile_is_told(
    sizes: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setenv("CC", compiler(tmp_path))
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(BackendError, match=r"no room to compile.*by TMPDIR"):
        open_library(sizes, tmp_path)


def test_a_compiler_with_options_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "sh -x")
    assert native.find_compiler() == [shutil.which("sh"), "-x"]
    monkeypatch.setenv("CC", "gcc '")
    with pytest.raises(BackendError, match="CC is no command"):
        native.find_compiler()
    monkeypatch.setenv("CC", "")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert native.find_compiler() == []


def test_a_compiler_beside_us_is_found_from_elsewhere(
    sizes: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler(tmp_path, "echo 'it is an error that I was found' >&2", "exit 1")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CC", "./my-cc")
    with pytest.raises(BackendError, match="I was found"):
        open_library(sizes, tmp_path)


@needs_compiler
def test_what_root_made_others_may_read(sizes: dict[str, int], tmp_path: Path) -> None:
    """As a service reads what was compiled while its image was built."""
    open_library(sizes, tmp_path)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "native", *kept(tmp_path))]
    assert modes == [0o755, 0o644]


def test_a_user_without_a_home_is_told(
    sizes: dict[str, int], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("EDGEECG_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(BackendError, match="name a folder to keep things in by EDGEECG_CACHE"):
        default_folder()
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(BackendError, match="which is no program"):  # and not for want of a folder
        open_library(sizes)
    assert "compiled at each start" in caplog.text
