"""Outputs are whole or not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeecg.errors import InputError
from edgeecg.io.atomic import atomic_folder, atomic_path


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
