"""docs/explain.md holds: its examples run, those for other tools where these are installed."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "explain.md"
CODE = re.findall(
    r"^```python(?: adapter)?\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
)
TOOLS = ("shap", "interpret")


def needs(code: str) -> list[str]:
    """Tools that an example imports and that are not here."""
    return [t for t in TOOLS if re.search(rf"^(?:import|from) {t}\b", code, re.MULTILINE)
            and importlib.util.find_spec(t) is None]  # fmt: skip


def test_there_is_an_example_for_each_tool() -> None:
    assert len(CODE) == 1 + len(TOOLS)
    assert [any(re.search(rf"^(?:import|from) {t}\b", c, re.MULTILINE) for c in CODE) for t in TOOLS] == [
        True,
        True,
    ]


@pytest.mark.parametrize(
    "number", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, len(CODE)))]
)
def test_examples_run(number: int, tmp_path: Path) -> None:
    if missing := needs(CODE[number]):
        pytest.skip(f"not installed: {', '.join(missing)}")
    done = subprocess.run(
        [sys.executable, "-c", CODE[number]],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip(), "an example that shows nothing teaches nothing"
