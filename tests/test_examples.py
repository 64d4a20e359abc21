"""Examples in docstrings hold; what needs a file or a device of its own is marked ``+SKIP`` there."""

from __future__ import annotations

import doctest
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHOWING = [path for path in sorted((ROOT / "edgeecg").rglob("*.py")) if ">>>" in path.read_text("utf-8")]


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("path", SHOWING, ids=module_of)
def test_examples_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = import_module(module_of(path))
    finder = doctest.DocTestFinder(recurse=True)
    shown = [test for test in finder.find(module) if test.examples]
    assert shown
    for test in shown:
        assert doctest.DocTestRunner(optionflags=doctest.REPORT_NDIFF).run(test).failed == 0, test.name
