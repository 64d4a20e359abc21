"""Every verb loads, and its help reads like a guide: what it does, each option, an example."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from edgeecg.cli.main import VERBS, load, main


def commands() -> Iterator[tuple[str, Any]]:
    """All commands with their path, verbs of verbs included."""
    for name in VERBS:
        command = load(name)
        if hasattr(command, "commands"):
            yield from ((f"{name} {inner}", found) for inner, found in command.commands.items())
        else:
            yield name, command


COMMANDS = dict(commands())


@pytest.mark.parametrize("path", COMMANDS)
def test_help_is_a_guide(
    path: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert main([*path.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"Usage: edgeecg {path}" in shown
    assert f"edgeecg {path} " in shown.split("Usage:", 1)[1].split("\n", 2)[2], "no example in the help"


@pytest.mark.parametrize("path", COMMANDS)
def test_every_option_is_explained(path: str) -> None:
    silent = [p.name for p in COMMANDS[path].params if not getattr(p, "help", None) and p.name != "help"]
    assert silent == []


@pytest.mark.parametrize("name", VERBS)
def test_overview_line_is_a_line(name: str) -> None:
    help_text = VERBS[name].help
    assert 10 < len(help_text) < 80
    assert help_text.endswith(".")
