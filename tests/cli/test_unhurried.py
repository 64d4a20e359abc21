"""What a service says on standard error waits for nobody."""

from __future__ import annotations

import os
import sys

import pytest

from edgeecg.cli import unhurried
from edgeecg.cli.unhurried import Unhurried, unhurried_stderr


def test_lines_without_room_wait_or_are_left_out_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unhurried, "MOST_WAITING", 6000)
    read, write = os.pipe()
    os.set_blocking(read, False)
    with os.fdopen(write, "w") as out:
        stream = Unhurried(out)
        lines = [f"{number:04} " + "x" * 100 + "\n" for number in range(1000)]
        for line in lines:
            assert stream.write(line) == len(line)
        got = b""
        while more := os.read(read, 1 << 20):
            got += more
            stream.write("ä\n")
            if more.endswith("ä\n".encode(stream.encoding)):
                break
    os.close(read)
    told = got.decode(stream.encoding).splitlines(keepends=True)
    whole = [line for line in told if line in lines]
    assert whole == lines[: len(whole)]
    assert f"({len(lines) - len(whole)} lines had no room here)\n" in told
    assert 600 < len(whole) < 1000


def test_a_reader_that_is_gone_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as out:
        stream = Unhurried(out)
        assert stream.write("who is there?\n") == 14
        assert stream.write("nobody\n") == 7, "what nobody will ever read does not wait either"
        assert stream._waiting == b""


def test_a_stderr_without_a_descriptor_stays(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sys.stderr
    unhurried_stderr()
    assert sys.stderr is before
    monkeypatch.setattr(sys, "stderr", None)
    unhurried_stderr()
    assert sys.stderr is None
