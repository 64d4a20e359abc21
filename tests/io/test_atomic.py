"""Outputs are whole or not there."""

from __future__ import annotations

import errno
import os
import resource
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest

from edgeecg.errors import InputError
from edgeecg.io import Annotations, Record, write_annotations, write_wfdb
from edgeecg.io.atomic import (
    atomic_folder,
    atomic_path,
    check_file,
    check_folder,
    check_new_file,
    check_new_folder,
    clear_partials,
)


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """Files of this process take no more than ``size`` bytes: to a writer like a disk that gets full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def marks(count: int) -> Annotations:
    return Annotations(300 * np.arange(count), np.full(count, "N"), np.full(count, ""))


# The limit cuts one long write short, and what lies in a buffer is lost when the file is closed.
@pytest.mark.parametrize("count", [300, 9000])
def test_annotations_cut_short_are_an_error_and_no_file(tmp_path: Path, count: int) -> None:
    write_annotations(tmp_path / "r", marks(3), 360.0)
    before = (tmp_path / "r.edg").read_bytes()
    with pytest.raises(OSError, match=r"r\.edg"), room_for(500):
        write_annotations(tmp_path / "r", marks(count), 360.0)
    assert [path.name for path in tmp_path.iterdir()] == ["r.edg"]
    assert (tmp_path / "r.edg").read_bytes() == before


@pytest.mark.parametrize("samples", [400, 40_000])
def test_a_record_cut_short_is_an_error_and_no_file(tmp_path: Path, samples: int) -> None:
    record = Record("r", np.linspace(-1, 1, samples)[:, None], 250.0, ("II",))
    with pytest.raises(OSError, match="r"), room_for(700):
        write_wfdb(record, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_link_stays_one_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    real, link = tmp_path / "far" / "real.json", tmp_path / "link.json"
    for before in ("", "old"):
        real.write_text(before) if before else None
        link.unlink(missing_ok=True)
        link.symlink_to(real)
        check_file(link)
        with atomic_path(link) as path:
            path.write_text("{}")
        assert link.is_symlink()
        assert real.read_text() == "{}"
        assert [file.name for file in real.parent.iterdir()] == ["real.json"]


def test_what_is_no_file_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    heard: list[str] = []
    reader = threading.Thread(target=lambda: heard.append(pipe.read_text()))
    reader.start()
    check_file(pipe)
    with atomic_path(pipe) as path:
        path.write_text("{}")
    reader.join(10)
    assert heard == ["{}"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_standard_output_can_be_named(tmp_path: Path) -> None:
    script = "from edgeecg.io.atomic import *\nprint('told')\n"
    script += "with atomic_path('/dev/stdout') as path: path.write_text('{}\\n')\nprint('more')"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert told.stdout == "told\n{}\nmore\n"
    (tmp_path / "out").write_text("before\n")
    for mode, left in (("a", "before\n"), ("w", "")):
        with open(tmp_path / "out", mode) as out:
            subprocess.run([sys.executable, "-c", script], stdout=out, check=True)
        assert (tmp_path / "out").read_text() == f"{left}told\n{{}}\nmore\n"
    assert Path("/dev/null").is_char_device()


@pytest.mark.parametrize("write", [atomic_path, atomic_folder])
def test_a_full_disk_is_told_with_the_name_of_what_was_written(
    tmp_path: Path, write: Callable[[Path], AbstractContextManager[Path]]
) -> None:
    with pytest.raises(OSError, match="scores") as told, write(tmp_path / "scores"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert told.value.filename == str(tmp_path / "scores")


def test_file_appears_when_done_and_replaces_the_old(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "scores.json"
    for text in ("first", "second"):
        with atomic_path(target) as path:
            path.write_text(text)
            assert path.suffix == target.suffix
            assert not target.exists() or target.read_text() == "first"
        assert target.read_text() == text
    assert [p.name for p in target.parent.iterdir()] == ["scores.json"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_failure_leaves_the_old_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "scores.json"
    target.write_text("old")

    def fail() -> None:
        with atomic_path(target) as path:
            path.write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_or_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="it is a folder"), atomic_path(tmp_path):
        pass
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(InputError, match="is a file, not a folder"),
        atomic_path(tmp_path / "file" / "x.json"),
    ):
        pass


@pytest.mark.parametrize("check", [check_file, check_new_file, check_folder, check_new_folder])
def test_a_name_that_no_disk_takes_is_an_input_error(tmp_path: Path, check: Callable[[Path], None]) -> None:
    for place in (tmp_path / ("x" * 300), tmp_path / ("x" * 300) / "deep"):
        with pytest.raises(InputError, match="File name too long; name another place"):
            check(place)


def test_folder_appears_when_done(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with atomic_folder(target) as folder:
        (folder / "a").write_text("1")
        assert not target.exists()
    assert (target / "a").read_text() == "1"
    with pytest.raises(InputError, match="there already"), atomic_folder(target):
        pass
    assert (target / "a").read_text() == "1"


def test_folder_failure_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with atomic_folder(tmp_path / "out") as folder:
            (folder / "a").write_text("1")
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011, RUF100
        fail()
    assert list(tmp_path.iterdir()) == []


def test_what_killed_processes_left_is_cleared(tmp_path: Path) -> None:
    (tmp_path / ".partial-12-a.json").write_text("half")
    (tmp_path / ".partial-12-folder").mkdir()
    (tmp_path / ".partial-12-folder" / "x").write_text("half")
    kept = [".partial-12-b.json", ".partial-x-a.json", "a.json"]
    for name in kept:
        (tmp_path / name).write_text("of others")
    clear_partials(tmp_path / "a.json", tmp_path / "folder", tmp_path / "nowhere" / "a.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == kept


def test_a_killed_process_leaves_what_clear_partials_finds(tmp_path: Path) -> None:
    die = "import os, sys; from edgeecg.io.atomic import atomic_path, workshop\n"
    for body in (
        "with atomic_path(sys.argv[1]) as p: p.write_text('half'); os._exit(9)",
        "with workshop(sys.argv[1]): os._exit(9)",
    ):
        subprocess.run([sys.executable, "-c", die + body, str(tmp_path / "a.json")], check=False)
        assert len(list(tmp_path.iterdir())) == 1
        clear_partials(tmp_path / "a.json")
        assert not list(tmp_path.iterdir())
