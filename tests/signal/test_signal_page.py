"""docs/signal.md: its examples run, and its latency table is what they print."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "signal.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def printed(code: str) -> list[str]:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, str(PAGE), "exec"), {})
    return out.getvalue().splitlines()


def test_the_chain_example_runs() -> None:
    shown = printed(EXAMPLES[0])
    assert len(shown) == 8
    assert shown[0].startswith("0 (2, 64)")


def test_the_latency_table_is_what_the_code_declares() -> None:
    rows = printed(EXAMPLES[1])
    page = PAGE.read_text(encoding="utf-8").splitlines()
    assert len(rows) == 10
    assert all(row in page for row in rows)
