"""The command line's frame: overview, lazy verbs, and errors that become one line."""

from __future__ import annotations

import errno
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import pytest
import typer

import edgeecg
from edgeecg.cli.main import VERBS, Verb, main
from edgeecg.errors import MissingExtra, RecordError


def raise_(kind: Annotated[str, typer.Argument()]) -> None:
    """Fail as asked."""
    errors: dict[str, BaseException] = {
        "record": RecordError("record 100 is\ntruncated: fetch it again [bold]"),
        "extra": MissingExtra("wfdb", "records", "reading WFDB records"),
        "full": OSError(errno.ENOSPC, "No space left on device", "out.json"),
        "denied": PermissionError(errno.EACCES, "Permission denied", "/etc/x"),
        "interrupt": KeyboardInterrupt(),
        "bug": ZeroDivisionError("a bug is not hidden"),
    }
    raise errors[kind]


@pytest.fixture
def failing_verb(monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules[__name__]
    monkeypatch.setitem(sys.modules, "edgeecg_failing_verb", module)
    monkeypatch.setitem(VERBS, "fail", Verb("edgeecg_failing_verb", "raise_", "Test", "Fails."))


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that was printed, and nothing else."""
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert len(lines) == 1, captured.err
    return lines[0]


@pytest.mark.usefixtures("failing_verb")
@pytest.mark.parametrize(
    ("kind", "code", "line"),
    [
        ("record", 2, "error: record 100 is truncated: fetch it again [bold]"),
        ("extra", 2, "error: reading WFDB records needs wfdb: pip install 'edgeecg[records]'"),
        ("full", 2, "error: the disk is full: out.json; free some space and run the same command again"),
        ("denied", 2, "error: permission denied: /etc/x"),
        ("interrupt", 130, "error: interrupted"),
    ],
)
def test_errors_become_one_line(capsys: pytest.CaptureFixture[str], kind: str, code: int, line: str) -> None:
    assert main(["fail", kind]) == code
    assert error_line(capsys) == line


@pytest.mark.usefixtures("failing_verb")
@pytest.mark.parametrize("line", [["--debug", "fail", "record"], ["fail", "record", "--debug"]])
def test_debug_shows_the_traceback_too(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("Traceback")
    assert "raise errors[kind]" in shown
    assert shown.splitlines()[-1] == "error: record 100 is truncated: fetch it again [bold]"


@pytest.mark.usefixtures("failing_verb")
def test_a_bug_is_not_dressed_up_as_bad_input() -> None:
    with pytest.raises(ZeroDivisionError):
        main(["fail", "bug"])


@pytest.mark.usefixtures("failing_verb")
@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["fali", "x"], "No such command 'fali'. Did you mean 'fail'? (see 'edgeecg --help')"),
        (["fail"], "Missing argument 'kind' (see 'edgeecg fail --help')"),
        (["fail", "record", "--speed", "3"], "No such option: --speed"),
        (["--nothing"], "No such option: --nothing"),
    ],
)
def test_wrong_usage_is_one_line(capsys: pytest.CaptureFixture[str], line: list[str], message: str) -> None:
    assert main(line) == 2
    assert message in error_line(capsys)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"edgeecg {edgeecg.__version__}"


@pytest.mark.parametrize("line", [[], ["--help"], ["-h"]])
def test_overview_names_every_verb(capsys: pytest.CaptureFixture[str], line: list[str]) -> None:
    assert main(line) == 0
    shown = capsys.readouterr().out
    for name in VERBS:
        assert f" {name} " in shown


def test_overview_imports_no_verb() -> None:
    code = (
        "import sys; from edgeecg.cli.main import VERBS, main; main(['--help'])\n"
        "loaded = {verb.module for verb in VERBS.values()} & set(sys.modules)\n"
        "heavy = {'numpy', 'scipy', 'torch', 'onnxruntime'} & set(sys.modules)\n"
        "sys.exit(' '.join(sorted(loaded | heavy)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_installed_program_exits_with_the_code(tmp_path: Path) -> None:
    code = "import sys; sys.argv = ['edgeecg', 'nope']; from edgeecg.cli.main import run; run()"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: No such command 'nope'")


@pytest.mark.parametrize("package", ["torch"])
def test_a_verb_without_its_extra_names_it(package: str, tmp_path: Path) -> None:
    line = ["train", "--out", str(tmp_path / "run"), "--steps", "1"]
    code = f"""
import sys

class Without:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == {package!r}:
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Without())
from edgeecg.cli.main import main
sys.exit(main({line!r}))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert done.stderr == f"error: edgeecg train needs {package}: pip install 'edgeecg[train]'\n"
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_had_enough_ends_the_stream_without_a_word() -> None:
    code = "import sys; from edgeecg.cli.main import main; sys.exit(main(sys.argv[1:]))"
    line = ["stream", "synthetic:3", "--speed", "0", "--seconds", "60"]
    with subprocess.Popen(
        [sys.executable, "-c", code, *line], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdout
        assert child.stderr
        assert child.stdout.readline().startswith(b'{"edgeecg":"header"')
        child.stdout.close()
        assert child.stderr.read() == b""
        assert child.wait(60) == 1


def program(*line: str, stdin: bool = True, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """``python -m edgeecg`` by itself; without ``stdin`` it is closed, as under some service managers."""
    command = " ".join([shlex.quote(sys.executable), "-m", "edgeecg", *map(shlex.quote, line)])
    closed = "" if stdin else " <&-"
    return subprocess.run(
        ["sh", "-c", command + closed],
        env={**os.environ, **environment},
        capture_output=True,
        check=False,
        timeout=100,
    )


def test_letters_that_the_terminal_lacks_are_written_another_way() -> None:
    done = program("--help", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.returncode == 0
    assert b"\\u2022" in done.stdout
    assert b"Traceback" not in done.stderr


def test_standard_input_that_is_closed_is_one_line() -> None:
    done = program("stream", "-", "--fs", "250", "-b", "nano", stdin=False)
    assert done.returncode == 2
    assert done.stderr == b"error: standard input is closed: pipe samples into the program\n"
